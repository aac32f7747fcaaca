"""The pages of environments: their order, setting one up, changing and deleting it."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from secguard.audit.models import AuditEntry
from secguard.images.services import RegistryEdit, add_registry
from secguard.promotion.models import Environment, Promotion
from secguard.signing.services import NewKey, create_key
from tests.fixtures_people import Person
from tests.promotion.test_pages import text_of

pytestmark = pytest.mark.django_db
LIST = "/settings/environments/"
FORM = {
    "name": "live", "position": "30", "registry": "live.example", "path_prefix": "/apps/live/", "gate": "admit",
    "key_name": "release", "approvers-security-reviewer": "2", "approvers-business-approver": "",
    "requires_previous": "on", "automatic_for": "",
}  # fmt: skip


def error_at(answer: Any, field: str) -> str:
    """What the form says at a field."""
    found = re.search(rf'id="id_{field}_error">(.*?)</div>', answer.content.decode(), re.DOTALL)
    return html.unescape(found[1]) if found else ""


def test_an_empty_list_says_what_to_do_first(administrator: Person, viewer: Person, operator: Person) -> None:
    said = text_of(administrator.client.get(LIST))
    assert "An environment is a place that images go through" in said
    assert "Set up the registries that images are pushed to" in said
    assert "Make a key : what arrives is signed with it" in said
    assert "Add an environment" not in said, "not before a registry is set up"
    for person in (viewer, operator):
        said = text_of(person.client.get(LIST))
        assert "An administrator sets them up." in said
        assert "Make a key" not in said
    add_registry("live.example", RegistryEdit(), actor=None)
    create_key("release", NewKey(), actor=None)
    said = text_of(administrator.client.get(LIST))
    assert "Registries are set up" in said
    assert "A key signs" in said
    assert "Add an environment" in said


def test_one_is_added_listed_changed_and_deleted(way: list[Environment], administrator: Person) -> None:
    answer = administrator.client.get(f"{LIST}new/").content.decode()
    assert 'name="position" value="4"' in answer, "the last place is suggested"
    assert administrator.client.post(f"{LIST}new/", FORM)["Location"] == LIST
    made = Environment.objects.get(name="live")
    assert (made.position, made.registry.host, made.path_prefix, made.gate) == (
        30,
        "live.example",
        "apps/live",
        "admit",
    )
    assert (made.approvers, made.requires_previous, made.is_automatic) == ({"security-reviewer": 2}, True, False)
    said = text_of(administrator.client.get(LIST))
    assert re.search(r"1 build .* 2 staging .* 3 production .* 30 live live.example/apps/live admit release", said)
    assert "2 security reviewers" in said
    shown = administrator.client.get(f"{LIST}{made.pk}/").content.decode()
    assert 'name="path_prefix" value="apps/live"' in shown
    assert 'name="name"' not in shown, "statements beside images carry the name"
    changed = FORM | {"position": "2", "approvers-security-reviewer": "0"}
    answer = administrator.client.post(f"{LIST}{made.pk}/", changed)
    assert answer.status_code == 422
    assert "staging stands at place 2" in error_at(answer, "position")
    del changed["requires_previous"]
    answer = administrator.client.post(f"{LIST}{made.pk}/", changed | {"position": "9", "is_automatic": "on"})
    made.refresh_from_db()
    assert (made.position, made.approvers, made.requires_previous, made.is_automatic) == (9, {}, False, True)
    asked = text_of(administrator.client.get(f"{LIST}{made.pk}/delete/"))
    assert "Nothing can be promoted to live any more" in asked
    assert Environment.objects.filter(name="live").exists(), "reading deletes nothing"
    assert administrator.client.post(f"{LIST}{made.pk}/delete/")["Location"] == LIST
    assert not Environment.objects.filter(name="live").exists()
    kept = AuditEntry.objects.filter(subject="live").order_by("sequence").values_list("action", flat=True)
    assert list(kept) == ["environment:create", "environment:edit", "environment:delete"]


@pytest.mark.parametrize(
    ("changed", "field", "words"),
    [
        ({"name": "Live!"}, "name", "is no name of an environment"),
        ({"name": "staging"}, "name", "There is an environment 'staging' already"),
        ({"position": "3"}, "position", "production stands at place 3"),
        ({"position": "0"}, "position", "greater than or equal to 1"),
        ({"registry": "moon.example"}, "registry", "moon.example is not one of the available choices"),
        ({"path_prefix": "UPPER"}, "path_prefix", "is no beginning of a repository's path"),
        ({"gate": "run"}, "gate", "run is not one of the available choices"),
        ({"key_name": ""}, "key_name", "Name the key that signs"),
        ({"approvers-security-reviewer": "11"}, "approvers-security-reviewer", "less than or equal to 10"),
        ({"is_automatic": "on"}, "is_automatic", "choose approvers, or that it goes by itself"),
        ({"automatic_for": "live.example/Shop/*"}, "automatic_for", "live.example/Shop/*"),
    ],
)
@pytest.mark.usefixtures("way")
def test_what_cannot_be_is_said_at_its_field(
    administrator: Person, changed: dict[str, str], field: str, words: str
) -> None:
    answer = administrator.client.post(f"{LIST}new/", FORM | changed)
    assert answer.status_code == 422
    assert words in error_at(answer, field)
    assert Environment.objects.count() == 3


def test_a_key_that_signs_no_more_is_shown_and_has_to_be_changed(way: list[Environment], administrator: Person) -> None:
    from secguard.signing.models import SigningKey
    from secguard.signing.services import retire_key

    retire_key(SigningKey.objects.get().pk, actor=None)
    address = f"{LIST}{way[1].pk}/"
    assert "release (signs no more)" in text_of(administrator.client.get(address))
    answer = administrator.client.post(address, FORM | {"position": "2"})
    assert answer.status_code == 422
    assert "No key 'release' signs" in error_at(answer, "key_name")


def test_who_may_not_change_one_reads_it(way: list[Environment], developer: Person, administrator: Person) -> None:
    answer = developer.client.get(f"{LIST}{way[2].pk}/")
    said = text_of(answer)
    assert "1 business approver and 1 security reviewer" in said
    assert "paths begin with prod/" in said
    assert "<form" not in answer.content.decode().partition("<main")[2]
    assert developer.client.post(f"{LIST}{way[2].pk}/", FORM).status_code == 403
    assert developer.client.get(f"{LIST}999/").status_code == 404
    assert LIST in developer.client.get("/settings/").content.decode()


def test_one_that_was_used_stays(way: list[Environment], asked: Any, administrator: Person, stranger: Person) -> None:
    asked(1)
    address = f"{LIST}{way[1].pk}/"
    assert "Delete it" not in text_of(administrator.client.get(address))
    assert "Delete it" in text_of(administrator.client.get(f"{LIST}{way[2].pk}/"))
    said = text_of(administrator.client.get(f"{address}delete/"))
    assert "Images were asked for in staging: it stays" in said
    assert administrator.client.post(f"{address}delete/").status_code == 409
    assert Promotion.objects.get().environment.name == "staging"
    assert stranger.client.post(f"{LIST}{way[2].pk}/delete/").status_code == 403
