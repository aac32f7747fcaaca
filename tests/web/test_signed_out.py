"""A session that ended: a part of a page goes to the sign-in page as a whole, what was sent is said not to be done, and
the way back is the page that was looked at, never another site's."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db
HX = {"HX-Request": "true"}


def test_a_page_goes_to_sign_in_as_ever() -> None:
    answer = Client().get("/decisions/queue/?decision=7")
    assert (answer.status_code, answer["Location"]) == (302, f"/sign-in/?next={quote('/decisions/queue/?decision=7')}")


def test_a_part_of_a_page_sends_the_whole_page_there() -> None:
    shown = {**HX, "HX-Current-URL": "http://testserver/decisions/queue/?decision=7"}
    answer = Client().get("/decisions/queue/?decision=8", headers=shown)
    assert (answer.status_code, answer.content) == (401, b"")
    assert answer["HX-Redirect"] == f"/sign-in/?next={quote('/decisions/queue/?decision=7', safe='')}"


def test_what_was_sent_is_said_not_to_be_done() -> None:
    shown = {**HX, "HX-Current-URL": "http://testserver/decisions/queue/?decision=7"}
    answer = Client().post("/decisions/queue/", {"ids": "7", "choice": "approve"}, headers=shown)
    said = answer.content.decode()
    assert (answer.status_code, answer["HX-Retarget"]) == (401, "#flash")
    assert "You are signed out." in said
    assert f'href="/sign-in/?next={quote("/decisions/queue/?decision=7", safe="")}"' in said
    assert "password" not in said, "not the sign-in page inside of the other"


def test_a_form_that_was_sent_leads_back_to_its_page() -> None:
    answer = Client().post("/decisions/7/vote/", headers={"Referer": "http://testserver/decisions/7/"})
    assert (answer.status_code, answer["Location"]) == (302, f"/sign-in/?next={quote('/decisions/7/', safe='')}")


@pytest.mark.parametrize(
    "said", ["https://elsewhere.example/decisions/7/", "//elsewhere.example/", "javascript:alert(1)", "", "http://["]
)
def test_never_to_another_site(said: str) -> None:
    answer = Client().get("/decisions/queue/", headers={**HX, "HX-Current-URL": said})
    assert answer["HX-Redirect"] == "/sign-in/?next=%2F"


def test_whoever_is_signed_in_meets_none_of_it(reviewer: object) -> None:
    answer = reviewer.client.get("/decisions/queue/", headers=HX)  # type: ignore[attr-defined]
    assert answer.status_code == 200
    assert "HX-Redirect" not in answer


def test_a_step_of_signing_in_that_fails_begins_anew() -> None:
    answer = Client().post("/sign-in/second-factor/", {"code": "000000"}, headers={"Referer": "http://testserver/"})
    assert (answer.status_code, answer["Location"]) == (302, "/sign-in/")
