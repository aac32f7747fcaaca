"""Targets are set up by who may, lead only where they may, and tell the log what was done."""

from __future__ import annotations

from typing import Any

import pytest

from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed
from secguard.exports import services
from secguard.exports.models import ExportTarget
from secguard.exports.services import Start, TargetEdit, sending
from secguard.exports.targets import Cursor

pytestmark = pytest.mark.django_db


def add(sink: str = "syslog-tls", **edit: Any) -> tuple[ExportTarget, str]:
    asked = TargetEdit(**{"name": "SOC", "address": "8.8.8.8:6514", "format": "cef", **edit})
    return services.add_target(asked, sink=sink, start=Start.NOW, actor=None)


@pytest.mark.parametrize(
    ("sink", "edit", "where"),
    [
        ("smoke-signals", {}, "sink"),
        ("syslog-tls", {"name": " "}, "name"),
        ("syslog-tls", {"name": None}, "name"),
        ("syslog-tls", {"address": "8.8.8.8"}, "address"),
        ("syslog-tls", {"address": "8.8.8.8:0"}, "address"),
        ("syslog-tls", {"address": "8.8.8.8:65536"}, "address"),
        ("syslog-tls", {"address": "8.8.8.8:6514/x"}, "address"),
        ("syslog-tls", {"address": ":6514"}, "address"),
        ("syslog-tls", {"address": "user@8.8.8.8:x"}, "address"),
        ("syslog-tls", {"address": "a b:6514"}, "address"),
        ("syslog-tls", {"address": "127.0.0.1:6514"}, "address"),
        ("syslog-tls", {"address": "10.0.0.1:6514"}, "address"),
        ("syslog-tls", {"address": "169.254.169.254:6514"}, "address"),
        ("syslog-tls", {"address": "[::1]:6514"}, "address"),
        ("syslog-tls", {"address": "nowhere.invalid:6514"}, "address"),
        ("webhook", {"address": "8.8.8.8:6514"}, "address"),
        ("webhook", {"address": "http://8.8.8.8/x"}, "address"),
        ("webhook", {"address": "https://127.0.0.1/x"}, "address"),
        ("webhook", {"address": "https://8.8.8.8/x", "format": "text"}, "format"),
        ("syslog-tls", {"format": "leef"}, "format"),
        ("syslog-tls", {"kinds": ["process", "nonsense"]}, "kinds"),
        ("syslog-tls", {"ca_certificate": "nonsense"}, "ca_certificate"),
        ("syslog-tls", {"ca_certificate": "-----BEGIN CERTIFICATE-----\nAA\n"}, "ca_certificate"),
        ("syslog-tls", {"ca_certificate": "-----BEGIN " + "x" * 70_000}, "ca_certificate"),
        ("syslog-tls", {"is_wide": False}, "teams"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_its_place(sink: str, edit: dict[str, Any], where: str) -> None:
    with pytest.raises(Invalid) as refused:
        add(sink, **edit)
    assert refused.value.where == where
    assert not ExportTarget.objects.exists()


def test_a_host_inside_is_reached_where_the_operator_named_it(settings: Any) -> None:
    settings.WEBHOOK_HOSTS = ["10.0.0.1:6514"]
    target, _ = add(address="10.0.0.1:6514")
    assert sending.destination(target.host).is_named
    with pytest.raises(Invalid, match="SECGUARD_WEBHOOK_HOSTS"):
        add(name="other", address="10.0.0.1:514")


def test_a_certificate_and_its_key_belong_together(client_certificate: Any, authority: Any) -> None:
    target, _ = add(client_certificate=client_certificate.pem, client_key=client_certificate.key_pem)
    assert target.client_certificate == client_certificate.pem.strip()
    assert client_certificate.key_pem[40:80] not in target.sealed_client_key
    assert sending.opened(target.sealed_client_key) == client_certificate.key_pem.strip()
    for key in (authority.key_pem, "", "-----BEGIN EC PRIVATE KEY-----\nx"):
        with pytest.raises(Invalid, match="do not belong together"):
            add(name="other", client_certificate=client_certificate.pem, client_key=key)
    with pytest.raises(Invalid, match="Only syslog over TLS"):
        add("webhook", name="w", address="https://8.8.8.8/", client_certificate=client_certificate.pem)


def test_a_name_is_taken_once() -> None:
    add()
    with pytest.raises(Conflict, match="already"):
        add()


def test_there_are_so_many_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services.setting_up, "MOST_TARGETS", 1)
    add()
    with pytest.raises(Conflict, match="There are 1 targets"):
        add(name="another")


def test_secrets_are_sealed_and_told_once(operator: Any) -> None:
    target, secret = add("webhook", address="https://8.8.8.8/hook/TOKEN")
    assert secret.startswith("whsec_")
    assert "TOKEN" not in target.sealed_url + target.host
    assert sending.opened(target.sealed_secret) == secret
    _, newer = services.renew_secret(target.pk, actor=operator)
    assert newer != secret
    assert "TOKEN" not in str(list(AuditEntry.objects.values()))
    assert secret not in str(list(AuditEntry.objects.values()))
    syslog, none = add(name="syslog")
    assert none == ""
    with pytest.raises(Conflict, match="not signed"):
        services.renew_secret(syslog.pk, actor=operator)


def test_the_log_tells_what_was_done(operator: Any, application: Any) -> None:
    edit = TargetEdit(name="SOC", address="8.8.8.8:6514", format="cef", teams=[application.team])
    target, _ = services.add_target(edit, sink="syslog-tls", start=Start.OLDEST, actor=operator)
    services.edit_target(target.pk, TargetEdit(name="SIEM", is_wide=True), actor=operator)
    services.pause_target(target.pk, actor=operator)
    services.resume_target(target.pk, actor=operator)
    services.move_target(target.pk, Start.NOW, actor=operator)
    services.remove_target(target.pk, actor=operator)
    found = list(AuditEntry.objects.filter(subject_type="export-target").order_by("sequence"))
    verbs = ["create", "edit", "pause", "resume", "move", "delete"]
    assert [entry.action for entry in found] == [f"export-target:{verb}" for verb in verbs]
    assert found[0].details["teams"] == [application.team.slug]
    assert found[0].details["host"] == "8.8.8.8:6514"
    assert (found[1].details["name"], found[1].details["is_wide"]) == ("SIEM", True)


def test_whose_events_follows_what_was_chosen(operator: Any, application: Any) -> None:
    target, _ = add(teams=[application.team], applications=[application])
    assert (target.is_wide, target.teams.get(), target.applications.get()) == (False, application.team, application)
    services.edit_target(target.pk, TargetEdit(name="SIEM"), actor=operator)
    target.refresh_from_db()
    assert (target.is_wide, target.teams.count(), target.revision) == (False, 1, 1)
    with pytest.raises(Invalid, match="Choose either"):
        services.edit_target(target.pk, TargetEdit(is_wide=True, teams=[application.team]), actor=operator)
    services.edit_target(target.pk, TargetEdit(is_wide=True), actor=operator)
    target.refresh_from_db()
    assert (target.is_wide, target.teams.count(), target.applications.count()) == (True, 0, 0)


def test_a_new_address_is_tried_at_once_and_keeps_the_position(operator: Any) -> None:
    target, _ = add()
    ExportTarget.objects.update(failures=9, position_id=77)
    services.edit_target(target.pk, TargetEdit(address="9.9.9.9:6514"), actor=operator)
    target.refresh_from_db()
    assert (target.host, target.failures, target.position_id) == ("9.9.9.9:6514", 0, 77)


def test_moving_says_from_where(operator: Any) -> None:
    target, _ = add()
    moved = services.move_target(target.pk, Start.OLDEST, actor=operator)
    assert moved.position == Cursor(0, 0, moved.position_day)


@pytest.mark.parametrize("name", ["viewer", "developer", "stranger", "reviewer", "business_approver"])
def test_others_set_up_nothing(name: str, request: pytest.FixtureRequest) -> None:
    person, (target, _) = request.getfixturevalue(name), add()
    asked = TargetEdit(name="mine", address="8.8.8.8:6514", format="cef")
    for attempt in (
        lambda: services.add_target(asked, sink="syslog-tls", start=Start.NOW, actor=person),
        lambda: services.edit_target(target.pk, asked, actor=person),
        lambda: services.remove_target(target.pk, actor=person),
        lambda: services.pause_target(target.pk, actor=person),
        lambda: services.move_target(target.pk, Start.NOW, actor=person),
        lambda: services.send_test(target.pk, actor=person),
        lambda: services.renew_secret(target.pk, actor=person),
    ):
        with pytest.raises(NotAllowed, match="export:edit"):
            attempt()


def test_an_operator_of_one_team_sets_up_nothing(make_person: Any, make_team: Any) -> None:
    """A target may be told everybody's events, so the role is needed in the organisation."""
    person = make_person("ops", "operator", team=make_team("One"))
    with pytest.raises(NotAllowed):
        services.add_target(
            TargetEdit(name="mine", address="8.8.8.8:6514", format="cef"),
            sink="syslog-tls",
            start=Start.NOW,
            actor=person,
        )
