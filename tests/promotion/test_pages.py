"""The pages of promotions: the list, one of them, asking, voting; who sees and may do what."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.images.models import Registry
from secguard.jobs.models import Job
from secguard.promotion import services
from secguard.promotion.lifecycle import Step
from secguard.promotion.models import Environment, Promotion
from tests.dashboards.test_queries import assert_constant_queries
from tests.fixtures_people import MakePerson, Person
from tests.fixtures_reports import digest, flaw
from tests.promotion.conftest import PLACE

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>"
PEOPLE = ("viewer", "developer", "operator", "reviewer", "business_approver", "administrator")


def text_of(answer: Any) -> str:
    """What a page says, without its tags and line breaks."""
    body = answer.content if not answer.streaming else b"".join(answer.streaming_content)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body.decode())))


def buttons(answer: Any) -> set[str]:
    """The words on the buttons of the main part."""
    main = answer.content.decode().partition("<main")[2]
    found = re.findall(r"<button(?![^>]*type=\"button\")[^>]*>(.*?)</button>", main, re.DOTALL)
    return {re.sub(r"<[^>]+>", "", word).strip() for word in found}


def begun(count: int) -> dict[str, str]:
    return {step.value: timezone.now().isoformat() for step in list(Step)[:count]}


def page(promotion: Promotion, person: Person) -> Any:
    return person.client.get(f"/promotions/{promotion.pk}/")


# --- the list ---


def test_the_list_is_the_teams_own(asked: Callable[..., Promotion], developer: Person, stranger: Person) -> None:
    asked(1)
    assert "shop/web:1.1" in text_of(developer.client.get("/promotions/")).replace(" ", "")
    other = text_of(stranger.client.get("/promotions/"))
    assert "Nothing was promoted yet" in other
    assert digest(1) not in stranger.client.get("/promotions/?format=csv").getvalue().decode()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=refused", {2}), ("status=waiting", {3}), ("environment=production", {3}), ("environment=moon", set()),
        ("mine=true", {1, 2, 3}), ("mine=false", {4}), (f"q={digest(2)}", {2}), (f"q={digest(2)[7:]}", {2}),
        ("q=shop/web", {1, 2, 3, 4}), ("q=prod/shop", {3}), ("q=rc-7", {1}), ('q="', set()), ("q=,", set()),
        ("q=_", set()), ("waiting=true", set()),
    ],
)  # fmt: skip
def test_the_list_is_narrowed(asked: Callable[..., Promotion], operator: Person, query: str, found: set[int]) -> None:
    asked(1, tags=["rc-7", "rc-8"])
    asked(2, flaw("CVE-2026-1", severity="critical", fixed_versions=["2"]))
    asked(3, to="production")
    asked(4, requested_by=None)
    said = operator.client.get(f"/promotions/?format=csv&{query}").getvalue().decode()
    assert {n for n in range(1, 5) if digest(n) in said} == found
    assert operator.client.get(f"/promotions/?{query}").status_code == 200


def test_what_waits_for_somebody_has_a_number_and_stands_first(
    asked: Callable[..., Promotion], reviewer: Person, developer: Person, operator: Person
) -> None:
    waiting = asked(1, to="production")
    said = text_of(reviewer.client.get("/promotions/"))
    assert "1 promotion waits for you" in said
    assert re.search(
        r'Promotions</span>\s*<span class="[^"]*nav-badge[^>]*>1', reviewer.client.get("/policy/").content.decode()
    )
    only = reviewer.client.get("/promotions/?waiting=true&format=csv").getvalue().decode()
    assert digest(1) in only
    for person in (developer, operator):
        assert "waits for you" not in text_of(person.client.get("/promotions/"))
    services.approve(waiting.pk, actor=reviewer)
    assert "waits for you" not in text_of(reviewer.client.get("/promotions/"))


def test_a_seat_that_is_filled_waits_for_nobody(
    asked: Callable[..., Promotion], reviewer: Person, make_person: MakePerson, business_approver: Person
) -> None:
    waiting = asked(1, to="production")
    second = make_person("second", "security-reviewer")
    services.approve(waiting.pk, actor=reviewer)
    assert "waits for you" not in text_of(second.client.get("/promotions/"))
    assert "Approve" not in buttons(page(waiting, second))
    assert "1 promotion waits for you" in text_of(business_approver.client.get("/promotions/"))


def test_an_empty_list_says_what_to_do(operator: Person, viewer: Person) -> None:
    assert "There is no environment yet" in text_of(operator.client.get("/promotions/"))
    assert "There is nowhere to promote to" in text_of(operator.client.get("/promotions/new/"))


@pytest.mark.usefixtures("way")
def test_an_empty_list_says_it_by_what_one_may(operator: Person, viewer: Person) -> None:
    assert "Promote an image" in text_of(operator.client.get("/promotions/"))
    assert "An operator asks" in text_of(viewer.client.get("/promotions/"))


# --- one of them ---


def test_it_is_nobody_s_but_the_team_s(
    asked: Callable[..., Promotion], stranger: Person, request: pytest.FixtureRequest
) -> None:
    made = asked(1)
    for name in PEOPLE:
        assert page(made, request.getfixturevalue(name)).status_code == 200, name
    assert page(made, stranger).status_code == 404
    for act in ("withdraw", "retry", "vote"):
        assert stranger.client.post(f"/promotions/{made.pk}/{act}/", {"choice": "approve"}).status_code == 404
    made.refresh_from_db()
    assert made.status == "running"


def test_while_it_is_copied_the_page_says_how_far_and_what_failed_before(
    asked: Callable[..., Promotion], viewer: Person
) -> None:
    made, now = asked(1, steps=begun(4)), timezone.now()
    job = Job.objects.filter(pk=made.job_id)
    job.update(attempts=1, error="No answer in 30 s.", run_after=now + timedelta(minutes=3, seconds=9))
    said = text_of(page(made, viewer))
    assert "Attempt 1 of 5 did not succeed: No answer in 30 s. It is tried again in 3 minutes" in said
    job.update(status="running", attempts=2, started_at=now, lease_until=now, lease_owner="worker")
    job.update(progress_text="copy", progress_done=64 * 2**20, progress_total=120 * 2**20)
    answer = page(made, viewer)
    said = text_of(answer)
    assert "64.0 MiB of 120 MiB" in said
    assert "The attempt before did not succeed: No answer in 30 s." in said
    assert "Attempt 2 of 5, begun just now" in said
    assert "The job" not in said, "what is folded out would be folded in again each second"
    assert 'hx-trigger="every 1s"' in answer.content.decode()
    assert '<li class="stage stage-now" aria-current="step">' in answer.content.decode()
    assert "Reload the page" in said


def test_the_page_asks_again_until_it_has_ended(asked: Callable[..., Promotion], viewer: Person) -> None:
    made = asked(1)
    hx = {"HX-Request": "true"}
    part = viewer.client.get(f"/promotions/{made.pk}/", headers=hx)
    assert b"<html" not in part.content
    assert b"hx-get" in part.content
    Promotion.objects.filter(pk=made.pk).update(status="failed", why="It broke.", steps=begun(4))
    part = viewer.client.get(f"/promotions/{made.pk}/", headers=hx)
    assert b"hx-get" not in part.content
    assert "HX-Refresh" not in part


def test_a_page_that_waits_loads_itself_anew_once_it_is_settled(
    asked: Callable[..., Promotion], viewer: Person, reviewer: Person
) -> None:
    made, hx = asked(1, to="production"), {"HX-Request": "true"}
    address = f"/promotions/{made.pk}/?seen=waiting"
    assert address in viewer.client.get(f"/promotions/{made.pk}/").content.decode()
    assert "HX-Refresh" not in viewer.client.get(address, headers=hx)
    services.reject(made.pk, comment="Not on a Friday.", actor=reviewer)
    assert viewer.client.get(address, headers=hx)["HX-Refresh"] == "true"


def test_a_refused_one_says_the_way_out(asked: Callable[..., Promotion], developer: Person, operator: Person) -> None:
    made = asked(1, flaw("CVE-2026-7777", "zlib", severity="critical", fixed_versions=["1.3"]))
    assert made.status == "refused"
    answer = page(made, developer)
    said = text_of(answer)
    assert "CVE-2026-7777" in said
    assert "Upgrade zlib from 1.1.1 to 1.3" in said
    assert "Ask for an exception" in said
    assert re.search(r'href="[^"]*/decisions/new/\?[^"]*risk=', answer.content.decode())
    assert f"/images/{digest(1)}/?stage=promote" in answer.content.decode()
    assert "Ask again" not in said, "a developer may not ask for promotions"
    again = re.search(r'href="(/promotions/new/[^"]*)"', page(made, operator).content.decode())
    assert again is not None
    form = operator.client.get(html.unescape(again[1])).content.decode()
    assert 'value="build.example/shop/web:1.1"' in form
    assert re.search(r'value="staging"[^>]*checked', form)


def test_a_promoted_one_says_how_to_check_it_without_us(
    asked: Callable[..., Promotion], viewer: Person, settings: Any
) -> None:
    from secguard.images.models import Repository
    from secguard.signing.models import SigningKey
    from secguard.signing.services import note_attestations, revoke_key
    from secguard.signing.statements import PROMOTION

    settings.PUBLIC_URL = "https://secguard.example"
    made, now, key = asked(1), timezone.now(), SigningKey.objects.get()
    place = Repository.objects.create(
        registry=Registry.objects.get(host="live.example"), path="staging/shop/web", name=made.destination_name,
        application=made.source.application,
    )  # fmt: skip
    note_attestations([made.digest], place, PROMOTION, "staging", key, now)
    Promotion.objects.filter(pk=made.pk).update(
        status="promoted", steps=begun(8), finished_at=now, destination=place, copied_bytes=2**20
    )
    said = text_of(page(made, viewer))
    assert "cosign verify --key https://secguard.example/keys/release.pem" in said
    assert f"live.example/staging/shop/web@{digest(1)}" in said
    assert f"--type {PROMOTION}" in said
    assert "1.0 MiB sent" in said
    assert f"/repositories/{place.pk}/" in page(made, viewer).content.decode()
    revoke_key(key.pk, "it leaked", actor=None)
    said = text_of(page(made, viewer))
    assert "cosign" not in said
    assert "counts no more" in said


def test_an_index_s_reasons_name_the_platform(asked: Callable[..., Promotion], viewer: Person) -> None:
    made = asked(1, flaw("CVE-2026-7777", severity="critical", fixed_versions=["2"]))
    Promotion.objects.filter(pk=made.pk).update(digest=digest(99))
    answer = page(made, viewer)
    assert "an index, with all its platforms" in text_of(answer)
    assert re.search(rf"Platform.*{digest(1)}", answer.content.decode())


NOTHING: dict[str, set[str]] = {name: set() for name in PEOPLE}
VOTES, WITHDRAWS, RETRIES = {"Approve", "Reject"}, {"Withdraw"}, {"Try again", "Withdraw"}
ASKERS = ("operator", "administrator")
EVERYBODYS: dict[str, tuple[dict[str, Any], dict[str, set[str]]]] = {
    "waiting": (
        {"to": "production"},
        NOTHING | dict.fromkeys(ASKERS, WITHDRAWS) | dict.fromkeys(("reviewer", "business_approver"), VOTES),
    ),
    "running": ({}, NOTHING | dict.fromkeys(ASKERS, WITHDRAWS)),
    "tagging": ({"steps": {"tag": "2026-11-27T10:00:00+00:00"}}, NOTHING),
    "failed": ({"status": "failed", "why": "It broke."}, NOTHING | dict.fromkeys(ASKERS, RETRIES)),
    "promoted": ({"status": "promoted"}, NOTHING),
    "withdrawn": ({"status": "withdrawn"}, NOTHING),
}


@pytest.mark.parametrize("state", EVERYBODYS)
def test_buttons_stand_only_where_they_work(
    state: str, asked: Callable[..., Promotion], request: pytest.FixtureRequest
) -> None:
    given, expected = EVERYBODYS[state]
    made = asked(1, **given)
    assert {n: buttons(page(made, request.getfixturevalue(n))) for n in PEOPLE} == expected


def test_whoever_asked_withdraws_though_they_may_not_ask_any_more(
    asked: Callable[..., Promotion], developer: Person
) -> None:
    made = asked(1, requested_by=developer)
    assert buttons(page(made, developer)) == {"Withdraw"}
    answer = developer.client.post(f"/promotions/{made.pk}/withdraw/", follow=True)
    assert "Withdrawn by Developer." in text_of(answer)


def test_trying_again(asked: Callable[..., Promotion], operator: Person) -> None:
    made = asked(1, status="failed", why="It broke.", steps=begun(4))
    said = text_of(operator.client.post(f"/promotions/{made.pk}/retry/", follow=True))
    assert "It goes on where it stopped." in said
    made.refresh_from_db()
    assert (made.status, made.why) == ("running", "")
    assert operator.client.post(f"/promotions/{made.pk}/retry/").status_code == 409
    assert operator.client.post(f"/promotions/{made.pk}/delete/").status_code == 404


# --- voting ---


def test_from_two_votes_to_a_worker(
    asked: Callable[..., Promotion], reviewer: Person, business_approver: Person, viewer: Person
) -> None:
    made = asked(1, to="production")
    assert "It waits for 1 business approver and 1 security reviewer" in text_of(page(made, viewer))
    vote = f"/promotions/{made.pk}/vote/"
    said = text_of(reviewer.client.post(vote, {"choice": "approve", "comment": "Looked at it."}, follow=True))
    assert "Your vote is counted; it needs another one." in said
    assert "It waits for 1 business approver to approve it" in said
    assert "Looked at it." in text_of(page(made, viewer))
    assert buttons(page(made, reviewer)) == set()
    said = text_of(business_approver.client.post(vote, {"choice": "approve"}, follow=True))
    assert "Approved: it is on its way." in said
    made.refresh_from_db()
    assert made.status == "running"


def test_a_rejection_needs_words(asked: Callable[..., Promotion], reviewer: Person, viewer: Person) -> None:
    made = asked(1, to="production")
    answer = reviewer.client.post(f"/promotions/{made.pk}/vote/", {"choice": "reject", "comment": " "})
    assert answer.status_code == 422
    assert "A rejection needs a comment" in text_of(answer)
    assert buttons(answer) == {"Approve", "Reject"}
    assert reviewer.client.post(f"/promotions/{made.pk}/vote/", {"choice": "maybe"}).status_code == 422
    answer = reviewer.client.post(
        f"/promotions/{made.pk}/vote/", {"choice": "reject", "comment": "After the freeze."}, follow=True
    )
    assert "Reviewer rejected it: After the freeze." in text_of(page(made, viewer))
    made.refresh_from_db()
    assert made.status == "refused"


def test_a_vote_on_what_was_settled_meanwhile_says_so(
    asked: Callable[..., Promotion], reviewer: Person, operator: Person
) -> None:
    made = asked(1, to="production")
    services.withdraw(made.pk, actor=operator)
    answer = reviewer.client.post(f"/promotions/{made.pk}/vote/", {"choice": "approve"})
    assert answer.status_code == 422
    assert "The promotion is withdrawn" in text_of(answer)


def test_nobody_votes_on_their_own(asked: Callable[..., Promotion], make_person: MakePerson) -> None:
    both = make_person("both", "operator", "security-reviewer")
    made = services.ask(services.Ask(asked(1).asked_reference, "production"), actor=both)
    assert buttons(page(made, both)) == {"Withdraw"}
    assert both.client.post(f"/promotions/{made.pk}/vote/", {"choice": "approve"}).status_code == 403


# --- asking ---


def test_asking_leads_to_its_page(scanned: Callable[..., str], operator: Person, developer: Person) -> None:
    name = scanned(1)
    shown = operator.client.get(f"/promotions/new/?image={name}&to=staging&tags=1.1 latest").content.decode()
    assert f'value="{name}"' in shown
    assert 'value="1.1 latest"' in shown
    assert 'value="build"' not in shown, "images are pushed to the first"
    assert developer.client.post("/promotions/new/", {"image": name, "to": "staging"}).status_code == 403
    sent = {"image": f"{PLACE}@{digest(1)}", "to": "staging", "tags": "1.1, latest  stable"}
    answer = operator.client.post("/promotions/new/", sent)
    made = Promotion.objects.get()
    assert answer["Location"] == f"/promotions/{made.pk}/"
    assert (made.tags, made.digest, made.requested_by) == (["1.1", "latest", "stable"], digest(1), operator)
    named = operator.client.post("/promotions/new/", {"image": name, "to": "production", "tags": ""}, follow=True)
    assert "It goes to production once it is approved" in text_of(named)
    assert Promotion.objects.order_by("-pk")[0].tags == ["1.1"]


@pytest.mark.parametrize(
    ("changed", "field", "words"),
    [
        ({"image": "build.example/shop/none:1"}, "image", "There is no repository build.example/shop/none"),
        ({"image": f"{PLACE}:none"}, "image", "There is no tag 'none'"),
        ({"image": digest(1)}, "image", "Name the repository too"),
        ({"image": "UPPER"}, "image", "is not an image reference"),
        ({"image": ""}, "image", "This field is required"),
        ({"to": "moon"}, "to", "moon is not one of the available choices"),
        ({"to": "build"}, "to", "build is not one of the available choices"),
        ({"tags": "no/tag"}, "tags", "'no/tag' is no tag"),
        ({"tags": "sha256-1"}, "tags", "is kept for what refers to images"),
    ],
)
def test_what_cannot_be_is_said_at_its_field(
    scanned: Callable[..., str], operator: Person, changed: dict[str, str], field: str, words: str
) -> None:
    sent = {"image": scanned(1), "to": "staging", "tags": ""} | changed
    answer = operator.client.post("/promotions/new/", sent)
    assert answer.status_code == 422
    told = re.search(rf'id="id_{field}_error">(.*?)</div>', answer.content.decode(), re.DOTALL)
    assert told is not None
    assert words in html.unescape(told[1])
    assert not Promotion.objects.exists()


def test_the_environment_before_and_other_teams_places(
    scanned: Callable[..., str], operator: Person, make_person: MakePerson, team: Any, other_application: Any
) -> None:
    from secguard.images.models import Repository

    name = scanned(1)
    Environment.objects.filter(name="production").update(requires_previous=True)
    answer = operator.client.post("/promotions/new/", {"image": name, "to": "production"})
    assert answer.status_code == 422
    assert "does not stand in staging" in text_of(answer)
    Repository.objects.create(
        registry=Registry.objects.get(host="live.example"), path="staging/shop/web",
        name="live.example/staging/shop/web", application=other_application,
    )  # fmt: skip
    own = make_person("own", "operator", team=team)
    answer = own.client.post("/promotions/new/", {"image": name, "to": "staging"})
    assert answer.status_code == 422
    assert "is another team's" in text_of(answer)


def test_another_team_s_operator_finds_no_such_image(
    scanned: Callable[..., str], make_person: MakePerson, other_team: Any
) -> None:
    other = make_person("other", "operator", team=other_team)
    answer = other.client.post("/promotions/new/", {"image": scanned(1), "to": "staging"})
    assert answer.status_code == 422
    assert "There is no repository build.example/shop/web that you may see" in text_of(answer)


# --- hostile and many ---


def test_what_others_wrote_is_text(asked: Callable[..., Promotion], reviewer: Person, operator: Person) -> None:
    waiting = asked(1, to="production")
    services.approve(waiting.pk, actor=reviewer, comment=HOSTILE)
    columns: dict[str, Any] = {"tags": [HOSTILE], "asked_reference": f"{PLACE}:{HOSTILE}", "why": HOSTILE}
    for status in ("waiting", "running", "promoted", "refused", "failed", "recalled", "withdrawn"):
        Promotion.objects.filter(pk=waiting.pk).update(status=status, **columns)
        for address in ("/promotions/", f"/promotions/{waiting.pk}/", f"/images/{digest(1)}/", "/"):
            body = operator.client.get(address).content.decode()
            assert HOSTILE not in body, (status, address)
    assert html.escape(HOSTILE) in operator.client.get(f"/promotions/{waiting.pk}/").content.decode()
    assert HOSTILE not in operator.client.get(f"/promotions/new/?image={HOSTILE}&tags={HOSTILE}").content.decode()


def test_as_many_queries_at_any_size(asked: Callable[..., Promotion], reviewer: Person) -> None:
    first = asked(1, to="production")

    def grow() -> None:
        n = 2 + Promotion.objects.count()
        asked(n, to="production")
        asked(n + 1)
        # The first image's own, and more to tell about it.
        ended = timezone.now() - timedelta(days=n)
        Promotion.objects.create(
            digest=first.digest, image=first.image, source=first.source, environment=first.environment,
            status="refused", asked_reference=first.asked_reference, destination_name="x/y", requested_at=ended,
            reasons=first.reasons * n,
        )  # fmt: skip
        Environment.objects.create(
            name=f"more-{n}", position=100 + n, registry=first.environment.registry, key_name="release"
        )

    pages = [
        "/promotions/", "/promotions/?waiting=true", "/promotions/?format=csv", f"/promotions/{first.pk}/",
        "/settings/environments/", f"/images/{digest(1)}/", f"/images/{digest(1)}/recall/", "/",
    ]  # fmt: skip
    assert_constant_queries(grow, pages, reviewer.client.get)
