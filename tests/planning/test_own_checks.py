"""Checks over people, channels, registries, images and the log: kept, missing, not measured; each team by itself."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from tests.fixtures_people import MakePerson
from tests.measuring import DAY, NOW, image_in, outcome, outcomes, repository_of, rows_behind

pytestmark = pytest.mark.django_db


# --- people ---


def test_somebody_has_to_act_for_the_team(
    application: Any, other_application: Any, team: Any, make_person: MakePerson
) -> None:
    make_person("reader", "viewer", "security-reviewer", team=team)
    make_person("everywhere", "developer")
    assert outcome("owner-known", application).state == "missing"
    ann = make_person("ann", "operator", team=team)
    ours, theirs = outcomes("owner-known", [application, other_application])
    assert (ours.state, theirs.state) == ("kept", "missing")
    assert ours.says == "1 active person acts as developer or operator for Payments."
    assert ann.client.get(ours.links[0][1]).status_code == 200
    type(ann).objects.filter(pk=ann.pk).update(is_active=False)
    assert outcome("owner-known", application).state == "missing"


def test_everybody_with_a_password_needs_a_second_factor(
    application: Any, other_application: Any, team: Any, other_team: Any, make_person: MakePerson
) -> None:
    from secguard.accounts.models import SecondFactor

    make_person("sso", "developer", team=team)
    assert outcome("second-factors", application).state == "unmeasured"
    ann = make_person("ann", "developer", "operator", team=team, password="long enough, surely")
    bob = make_person("bob", "viewer", team=team, password="long enough, surely")
    SecondFactor.objects.create(user=ann, kind="totp", name="phone")
    found = outcome("second-factors", application)
    assert (found.state, found.says) == (
        "missing", "1 of 2 people of Payments who sign in with a password: no second factor.",
    )  # fmt: skip
    assert ann.client.get(found.links[0][1]).status_code == 200
    SecondFactor.objects.create(user=bob, kind="passkey", name="key", credential_id="x")
    make_person("eve", "developer", team=other_team, password="long enough, surely")
    ours, theirs = outcomes("second-factors", [application, other_application])
    assert (ours.state, theirs.state) == ("kept", "missing")


# --- channels ---


def channel(team: Any, **columns: Any) -> None:
    from secguard.channels.models import Channel

    values = {"name": f"c{Channel.objects.count()}", "format": "slack", "host": "x", "sealed_url": "x"} | columns
    Channel.objects.create(team=team, **values)


def test_a_channel_of_the_team_or_of_all_has_to_work(
    application: Any, other_application: Any, team: Any, operator: Any
) -> None:
    assert outcome("team-told", application).says == "No channel is told what happens."
    channel(team)
    assert outcome("team-told", application).state == "unmeasured"
    channel(team, is_active=False, sent_at=NOW)
    channel(team, failures=3, sent_at=NOW)
    assert outcome("team-told", application).state == "missing"
    channel(team, sent_at=NOW)
    ours, theirs = outcomes("team-told", [application, other_application])
    assert (ours.state, theirs.state) == ("kept", "missing")
    assert operator.client.get(ours.links[0][1]).status_code == 200
    channel(None, sent_at=NOW)
    assert outcome("team-told", other_application).state == "kept"


# --- the log ---


def test_the_newest_entries_have_to_fit_their_chain(application: Any, reviewer: Any, monkeypatch: Any) -> None:
    from django.db import transaction

    from secguard.audit import chain
    from secguard.audit.actions import Action
    from secguard.audit.services import record_many
    from secguard.planning import own_checks

    assert outcome("audit-chained", application).state == "unmeasured"
    line = {"subject_type": "x", "subject_id": 1, "subject": "x"}
    with transaction.atomic():
        record_many(next(iter(Action)), [line] * 5, actor=None)
    found = outcome("audit-chained", application)
    assert (found.state, found.says) == ("kept", "The newest 5 entries of the audit log fit their chain.")
    assert reviewer.client.get(found.links[0][1]).status_code == 200
    monkeypatch.setattr(own_checks, "TAIL", 2)
    assert "newest 2 entries" in outcome("audit-chained", application).says
    # The database lets nobody rewrite the log, so the head is told otherwise.
    monkeypatch.setattr(own_checks, "head", lambda: chain.Head(5, "0" * 64))
    found = outcome("audit-chained", application)
    assert (found.state, "entry 5 was altered" in found.says) == ("missing", True)


def test_a_signed_checkpoint_holds_the_log_or_is_a_day_old_at_most(application: Any, reviewer: Any) -> None:
    from django.db import transaction

    from secguard.audit.actions import Action
    from secguard.audit.models import AuditCheckpoint
    from secguard.audit.services import record_many
    from secguard.planning.own_checks import SIGNED_WITHIN

    def sign(size: int) -> None:
        AuditCheckpoint.objects.create(size=size, root="0", fingerprint="x", note="x", made_at=NOW)

    assert outcome("audit-checkpointed", application).state == "unmeasured"
    with transaction.atomic():
        record_many(next(iter(Action)), [{"subject_type": "x", "subject_id": 1, "subject": "x"}] * 5, actor=None)
    assert outcome("audit-checkpointed", application).says == "No checkpoint of the audit log was ever signed."
    sign(3)
    found = outcome("audit-checkpointed", application)
    assert (found.state, found.changes_at) == ("kept", NOW + SIGNED_WITHIN)
    assert found.says == "The newest signed checkpoint holds 3 of 5 entries, and is not a day old."
    assert outcome("audit-checkpointed", application, NOW + SIGNED_WITHIN).state == "missing"
    assert reviewer.client.get(found.links[0][1]).status_code == 200
    sign(5)
    found = outcome("audit-checkpointed", application, NOW + 99 * DAY)
    assert (found.state, found.changes_at) == ("kept", None)


# --- registries and images ---


def test_registries_are_spoken_to_over_tls(application: Any, other_application: Any, viewer: Any) -> None:
    assert outcome("registries-encrypted", application).state == "unmeasured"
    now = timezone.now()
    good = repository_of(application, host="good.example", configured_at=now)
    assert outcome("registries-encrypted", application).state == "kept"
    bad = repository_of(application, host="bad.example", configured_at=now, uses_plain_http=True)
    repository_of(other_application, host=good.registry.host)
    ours, theirs = outcomes("registries-encrypted", [application, other_application])
    assert (ours.state, theirs.state) == ("missing", "kept")
    assert ours.says == "1 of 2 repositories: in a registry that is spoken to without TLS."
    ((_, path),) = ours.links
    assert [row["Repository"] for row in rows_behind(viewer, path)] == [bad.name]


def test_of_a_registry_that_only_a_report_named_nothing_is_known(application: Any) -> None:
    repository_of(application)
    assert outcome("registries-encrypted", application).state == "unmeasured"


def test_images_have_to_be_rebuilt_within_ninety_days(application: Any, other_application: Any, viewer: Any) -> None:
    assert outcome("images-rebuilt", application).state == "unmeasured"
    image_in(repository_of(application), built_at=NOW - 80 * DAY)
    found = outcome("images-rebuilt", application)
    assert (found.state, found.changes_at) == ("kept", NOW + 10 * DAY)
    assert outcome("images-rebuilt", application, NOW + 10 * DAY).state == "missing"
    image_in(repository_of(application))
    assert outcome("images-rebuilt", application).state == "unmeasured"
    old = image_in(repository_of(application), built_at=NOW - 90 * DAY)
    image_in(repository_of(other_application), built_at=NOW)
    ours, theirs = outcomes("images-rebuilt", [application, other_application])
    assert (ours.state, theirs.state) == ("missing", "kept")
    path = next(path for _, path in ours.links if "lacking=" in path)
    assert old.digest in {row["Digest"] for row in rows_behind(viewer, path)}
