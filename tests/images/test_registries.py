"""Registries as workers speak to them: kept, changed, audited; the password sealed and never shown."""

from __future__ import annotations

import pytest

from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.images.models import Registry
from secguard.images.services import RegistryEdit, add_registry, edit_registry, password_of, renew_webhook_token

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


def test_a_registry_is_added_with_its_password_sealed(operator):
    made = add_registry("Reg.Example:5000", RegistryEdit(username="pull", password=PASSWORD), actor=operator)
    made.refresh_from_db()
    assert (made.host, made.username) == ("reg.example:5000", "pull")
    assert PASSWORD not in made.sealed_password
    assert password_of(made) == PASSWORD


def test_a_known_registry_is_not_added_again(operator):
    add_registry("reg.example", RegistryEdit(), actor=operator)
    with pytest.raises(Conflict, match="set up already"):
        add_registry("reg.example", RegistryEdit(), actor=operator)


def test_one_that_only_a_report_named_is_not_set_up_until_somebody_does(operator):
    named = Registry.objects.create(host="reg.example")
    assert named.configured_at is None
    assert add_registry("reg.example", RegistryEdit(username="pull"), actor=operator).pk == named.pk
    named.refresh_from_db()
    assert (named.username, named.configured_at is not None) == ("pull", True)


def test_what_is_not_said_stays(operator):
    made = add_registry("reg.example", RegistryEdit(username="pull", password=PASSWORD), actor=operator)
    edited = edit_registry(made.pk, RegistryEdit(allowed_hosts=["Auth.example:8443"]), actor=operator)
    assert (edited.username, password_of(edited), edited.allowed_hosts) == ("pull", PASSWORD, ["auth.example:8443"])
    assert password_of(edit_registry(made.pk, RegistryEdit(password=""), actor=operator)) == ""


def test_the_audit_log_tells_the_change_and_no_secret(operator):
    made = add_registry("reg.example", RegistryEdit(username="pull", password=PASSWORD), actor=operator)
    renew_webhook_token(made.pk, actor=operator)
    entries = list(AuditEntry.objects.filter(subject_type="registry").order_by("sequence"))
    assert [e.action for e in entries] == ["registry:create", "registry:edit"]
    assert entries[0].details["password"] == "set"
    assert PASSWORD not in str([e.details for e in entries])
    assert made.sealed_password not in str([e.details for e in entries])


@pytest.mark.parametrize("host", ["", "https://reg.example", "reg.example/path", "a b", "-x", "x" * 300])
def test_a_host_that_is_none_is_refused(host, operator):
    with pytest.raises(Invalid, match="is no host"):
        add_registry(host, RegistryEdit(), actor=operator)


@pytest.mark.parametrize(
    ("edit", "where"),
    [
        (RegistryEdit(allowed_hosts=["http://auth"]), "allowed_hosts"),
        (RegistryEdit(ca_certificate="-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----"), "ca_certificate"),
        (RegistryEdit(ca_certificate="no PEM"), "ca_certificate"),
    ],
)
def test_settings_that_cannot_be_are_refused_and_leave_nothing(edit, where, operator):
    with pytest.raises(Invalid) as refused:
        add_registry("reg.example", edit, actor=operator)
    assert refused.value.where == where
    assert not Registry.objects.exists()


def test_who_may_not_edit_registries_changes_none(operator, developer, stranger):
    made = add_registry("reg.example", RegistryEdit(), actor=operator)
    for actor in (developer, stranger):
        with pytest.raises(NotAllowed):
            edit_registry(made.pk, RegistryEdit(username="mine"), actor=actor)
        with pytest.raises(NotAllowed):
            renew_webhook_token(made.pk, actor=actor)
    made.refresh_from_db()
    assert made.username == made.webhook_token_hash == ""


def test_one_that_is_not_there_is_not_found(operator):
    with pytest.raises(NotFound):
        edit_registry(4711, RegistryEdit(), actor=operator)


def test_the_api_never_tells_the_password(operator):
    body = {"host": "reg.example", "username": "pull", "password": PASSWORD, "uses_plain_http": True}
    made = operator.api.post("/api/v1/registries/", body)
    assert made.status_code == 201
    shown = operator.api.get(f"/api/v1/registries/{made.json()['id']}/")
    assert shown.json()["has_password"] is True
    for answer in (made, shown, operator.api.get("/api/v1/registries/")):
        assert PASSWORD not in answer.content.decode()
        assert Registry.objects.get().sealed_password not in answer.content.decode()


def test_the_page_saves_and_keeps_a_password_that_is_left_empty(operator):
    form = {"username": "pull", "password": PASSWORD, "allowed_hosts": "auth.example\nblobs.example:444"}
    assert "the stored one stays" not in operator.client.get("/settings/registries/new/").content.decode()
    answer = operator.client.post("/settings/registries/new/", {"host": "reg.example", **form})
    assert answer.status_code == 302
    made = Registry.objects.get()
    operator.client.post(f"/settings/registries/{made.pk}/", form | {"password": "", "username": "other"})
    made.refresh_from_db()
    assert (made.username, password_of(made)) == ("other", PASSWORD)
    assert made.allowed_hosts == ["auth.example", "blobs.example:444"]
    page = operator.client.get(f"/settings/registries/{made.pk}/").content.decode()
    assert PASSWORD not in page
    assert "Left empty, the stored one stays." in page
    operator.client.post(f"/settings/registries/{made.pk}/", form | {"password": "", "forget_password": "on"})
    made.refresh_from_db()
    assert password_of(made) == ""


def test_a_webhook_token_is_shown_once(operator):
    made = add_registry("reg.example", RegistryEdit(), actor=operator)
    page = operator.client.post(f"/settings/registries/{made.pk}/webhook-token/")
    assert page.status_code == 201
    assert "sgw_" in page.content.decode()
    assert "sgw_" not in operator.client.get(f"/settings/registries/{made.pk}/").content.decode()
