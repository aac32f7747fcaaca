"""Keys of ours: made, imported, rotated, retired, revoked; audited, and their private parts nowhere to be seen."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound, Unavailable
from secguard.signing import ecdsa, queries, services
from secguard.signing.keylife import TRANSITIONS, KeyEvent, KeyStatus, Provider, counts, target
from secguard.signing.models import SigningKey
from secguard.signing.services import NewKey

pytestmark = pytest.mark.django_db
RAW = ecdsa.generate()


def test_a_key_is_made_and_signs_what_its_public_part_verifies(administrator):
    made = services.create_key("production", NewKey(), actor=administrator)
    made.refresh_from_db()
    public = ecdsa.load_public(made.public_pem)
    assert (made.status, made.provider, made.is_imported, public.fingerprint) == (
        "active", "local", False, made.fingerprint,
    )  # fmt: skip
    assert public.verifies(services.sign(made, b"data"), b"data")


def test_a_key_is_imported_with_its_password(administrator):
    import subprocess

    encrypted = subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-passout", "pass:open"],
        input=RAW.pem,
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    new = NewKey(private_pem=encrypted, password="open")
    made = services.create_key("imported", new, actor=administrator)
    assert made.fingerprint == RAW.public.fingerprint
    assert RAW.public.verifies(services.sign(made, b"data"), b"data")
    with pytest.raises(Conflict, match="is or was known here"):
        services.create_key("again", NewKey(private_pem=RAW.pem), actor=administrator)


def test_the_private_part_is_sealed_and_in_no_entry_answer_or_repr(administrator):
    new = NewKey(private_pem=RAW.pem, password="")
    made = services.create_key("production", new, actor=administrator)
    services.rotate_key(made.pk, actor=administrator)
    secret = RAW.pem.splitlines()[1]
    entries = json.dumps([[e.subject, e.details] for e in AuditEntry.objects.all()])
    answers = administrator.api.get("/api/v1/signing-keys/").content.decode()
    pages = administrator.client.get(f"/settings/keys/{made.pk}/").content.decode()
    for text in (made.sealed_private, entries, answers, pages, repr(new), repr(made)):
        assert secret not in text
    assert "sealed_private" not in answers + entries
    assert made.sealed_private not in entries + answers + pages


def test_every_change_is_in_the_audit_log(administrator):
    made = services.create_key("production", NewKey(), actor=administrator)
    second = services.rotate_key(made.pk, overlap_days=7, actor=administrator)
    services.retire_key(made.pk, actor=administrator)
    services.revoke_key(second.pk, "The laptop was stolen.", actor=administrator)
    entries = list(AuditEntry.objects.filter(subject_type="signing-key").order_by("sequence"))
    assert [e.action for e in entries] == [
        "signing-key:create", "signing-key:rotate", "signing-key:retire", "signing-key:revoke",
    ]  # fmt: skip
    assert entries[0].details["fingerprint"] == made.fingerprint
    assert entries[1].details["from"] == made.fingerprint
    assert entries[3].details["reason"] == "The laptop was stolen."
    assert {e.actor for e in entries} == {"administrator"}


def test_rotation_overlaps_and_erases_what_signs_no_more(administrator):
    old = services.create_key("production", NewKey(), actor=administrator)
    new = services.rotate_key(old.pk, overlap_days=30, actor=administrator)
    old.refresh_from_db()
    assert (old.status, old.sealed_private, new.status, new.name) == ("retiring", "", "active", "production")
    now = timezone.now()
    assert [k.pk for k in SigningKey.objects.counting(now)] == [new.pk, old.pk]
    later = now + timedelta(days=31)
    assert [k.pk for k in SigningKey.objects.counting(later)] == [new.pk]
    assert old.status_at(later) == KeyStatus.RETIRED
    with pytest.raises(Conflict, match="retiring"):
        services.sign(old, b"data")


def test_an_overlap_of_no_days_has_ended(administrator):
    old = services.create_key("production", NewKey(), actor=administrator)
    services.rotate_key(old.pk, overlap_days=0, actor=administrator)
    assert list(SigningKey.objects.in_state(KeyStatus.RETIRED)) == [old]
    assert list(SigningKey.objects.in_state(KeyStatus.RETIRING)) == []


@pytest.mark.parametrize("end", [services.retire_key, services.revoke_key])
def test_an_ended_key_signs_and_counts_no_more(end, administrator):
    made = services.create_key("production", NewKey(), actor=administrator)
    ended = end(made.pk, "over", actor=administrator)
    assert ended.sealed_private == ""
    assert not SigningKey.objects.counting(timezone.now()).exists()
    with pytest.raises(Conflict):
        services.sign(ended, b"data")
    with pytest.raises(NotFound):
        queries.served_pem("production", timezone.now())
    again = services.create_key("production", NewKey(), actor=administrator)
    assert again.pk != made.pk


def test_a_stale_row_in_memory_does_not_sign(administrator):
    made = services.create_key("production", NewKey(), actor=administrator)
    services.revoke_key(made.pk, "lost", actor=administrator)
    assert (made.status, bool(made.sealed_private)) == ("active", True)
    with pytest.raises(Conflict, match="revoked"):
        services.sign(made, b"data")


def test_a_key_that_does_not_match_its_public_part_is_not_used(administrator):
    one, two = (services.create_key(name, NewKey(), actor=administrator) for name in ("one", "two"))
    one.sealed_private = two.sealed_private
    one.save(update_fields=["sealed_private"])
    with pytest.raises(Unavailable, match="does not verify"):
        services.sign(one, b"data")


def test_a_key_sealed_with_another_instance_s_key_says_what_to_do(administrator, settings):
    made = services.create_key("production", NewKey(), actor=administrator)
    former, settings.SECRET_KEY = settings.SECRET_KEY, "another " * 8
    with pytest.raises(Unavailable, match="SECGUARD_SECRET_KEY"):
        services.sign(made, b"data")
    settings.SECRET_KEY_FALLBACKS = [former]
    assert services.sign(made, b"data")


def test_one_key_of_a_name_signs_and_the_database_holds_it(administrator):
    made = services.create_key("production", NewKey(), actor=administrator)
    with pytest.raises(Conflict, match="rotate it"):
        services.create_key("production", NewKey(), actor=administrator)
    copy = {"name": "production", "provider": "local", "fingerprint": "f", "public_pem": "p", "sealed_private": "s"}
    for change in ({}, {"name": "x", "sealed_private": ""}, {"name": "x", "status": "retired"}, {"status": "odd"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            SigningKey.objects.create(**copy | change)
    assert SigningKey.objects.get() == made


@pytest.mark.parametrize("name", ["", "Production", "a b", "-a", "a-", "x" * 64, "a/b", "é"])
def test_a_name_that_is_none_is_refused(name, administrator):
    with pytest.raises(Invalid, match="is no name of a key"):
        services.create_key(name, NewKey(), actor=administrator)


@pytest.mark.parametrize(
    ("new", "where"),
    [
        (NewKey(private_pem="no PEM"), "private_key"),
        (NewKey(label="x"), "label"),
        (NewKey(Provider.PKCS11, private_pem=RAW.pem), "private_key"),
    ],
    ids=["no-pem", "label", "import-into-token"],
)
def test_a_key_from_nowhere_is_refused_and_leaves_nothing(new, where, administrator):
    with pytest.raises(Invalid) as refused:
        services.create_key("production", new, actor=administrator)
    assert refused.value.where == where
    assert not SigningKey.objects.exists()


def test_who_may_not_manage_keys_changes_none(administrator, operator, reviewer, stranger):
    made = services.create_key("production", NewKey(), actor=administrator)
    for actor in (operator, reviewer, stranger):
        for act in (
            lambda a: services.create_key("other", NewKey(), actor=a),
            lambda a: services.rotate_key(made.pk, actor=a),
            lambda a: services.retire_key(made.pk, actor=a),
            lambda a: services.revoke_key(made.pk, "x", actor=a),
        ):
            with pytest.raises(NotAllowed):
                act(actor)
    assert list(SigningKey.objects.values_list("status", flat=True)) == ["active"]


def test_what_is_not_there_or_in_another_state_is_told(administrator):
    with pytest.raises(NotFound):
        services.rotate_key(4711, actor=administrator)
    made = services.create_key("production", NewKey(), actor=administrator)
    with pytest.raises(Invalid, match="Say why"):
        services.revoke_key(made.pk, "  ", actor=administrator)
    services.revoke_key(made.pk, "lost", actor=administrator)
    for act in (services.rotate_key, services.retire_key):
        with pytest.raises(Conflict, match="revoked"):
            act(made.pk, actor=administrator)
    with pytest.raises(Conflict, match="revoked"):
        services.revoke_key(made.pk, "again", actor=administrator)


def test_the_table_of_states():
    assert {source for source, _ in TRANSITIONS} == set(KeyStatus) - {KeyStatus.REVOKED}
    assert target(KeyStatus.RETIRED, KeyEvent.REVOKE) == KeyStatus.REVOKED
    now = timezone.now()
    assert counts(KeyStatus.RETIRING, now + timedelta(seconds=1), now)
    assert not counts(KeyStatus.RETIRING, now, now)


# The token ------------------------------------------------------------------------------------------------------------


def test_a_key_in_the_token_is_made_rotated_and_signs(token, administrator):
    made = services.create_key("hsm", NewKey(Provider.PKCS11), actor=administrator)
    assert (made.sealed_private, made.label[:13]) == ("", "secguard-hsm-")
    assert ecdsa.load_public(made.public_pem).verifies(services.sign(made, b"data"), b"data")
    second = services.rotate_key(made.pk, actor=administrator)
    assert (second.provider, second.label != made.label) == ("pkcs11", True)
    assert ecdsa.load_public(second.public_pem).verifies(services.sign(second, b"data"), b"data")


def test_a_key_that_is_in_the_token_already_is_taken_by_its_label(token, administrator):
    label, public = token.generate("theirs")
    made = services.create_key("hsm", NewKey(Provider.PKCS11, label=label), actor=administrator)
    assert (made.is_imported, made.fingerprint) == (True, public.fingerprint)
    with pytest.raises(NotFound, match="'other'"):
        services.create_key("hsm2", NewKey(Provider.PKCS11, label="other"), actor=administrator)


def test_without_a_token_a_key_cannot_be_made_in_one(administrator, settings):
    settings.PKCS11_MODULE = ""
    with pytest.raises(Unavailable, match="No PKCS #11 token is set up"):
        services.create_key("hsm", NewKey(Provider.PKCS11), actor=administrator)


# Pages and REST -------------------------------------------------------------------------------------------------------


def test_the_public_keys_are_served_to_everybody_while_they_count(administrator, client):
    old = services.create_key("production", NewKey(), actor=administrator)
    new = services.rotate_key(old.pk, actor=administrator)
    old.refresh_from_db()
    answer = client.get("/keys/production.pem")
    assert answer.content.decode() == new.public_pem + old.public_pem
    assert answer["Content-Type"] == "application/x-pem-file"
    alone = client.get(f"/keys/{old.fingerprint.replace(':', '-')}.pem")
    assert alone.content.decode() == old.public_pem
    services.revoke_key(old.pk, "lost", actor=administrator)
    assert client.get("/keys/production.pem").content.decode() == new.public_pem
    assert client.get(f"/keys/{old.fingerprint.replace(':', '-')}.pem").status_code == 404
    assert client.get("/keys/nothing.pem").status_code == 404


def test_over_rest(administrator):
    made = administrator.api.post("/api/v1/signing-keys/", {"name": "production", "private_key": RAW.pem})
    assert made.status_code == 201, made.content
    assert (made.json()["fingerprint"], made.json()["status"]) == (RAW.public.fingerprint, "active")
    path = f"/api/v1/signing-keys/{made.json()['id']}/"
    rotated = administrator.api.post(f"{path}rotate/", {"overlap_days": 5})
    assert (rotated.status_code, rotated.json()["name"]) == (201, "production")
    assert administrator.api.get(path).json()["status"] == "retiring"
    listed = administrator.api.get("/api/v1/signing-keys/?status=retiring&name=production").json()["results"]
    assert [row["id"] for row in listed] == [made.json()["id"]]
    revoked = administrator.api.post(f"{path}revoke/", {"reason": "lost"})
    assert (revoked.json()["status"], revoked.json()["reason"]) == ("revoked", "lost")
    again = administrator.api.post(f"{path}revoke/", {"reason": "lost"})
    assert again.status_code == 409
    for answer in (made, rotated, revoked, again):
        assert RAW.pem.splitlines()[1] not in answer.content.decode()


def test_a_refused_import_repeats_nothing_of_the_key(administrator):
    damaged = RAW.pem.replace("-----END", "AAAA-----END")
    answer = administrator.api.post("/api/v1/signing-keys/", {"name": "p", "private_key": damaged})
    assert answer.status_code == 422
    form = {"name": "p", "way": "imported", "private_key": damaged, "password": "open sesame"}
    page = administrator.client.post("/settings/keys/new/", form)
    assert page.status_code == 422
    for text in (answer.content.decode(), page.content.decode()):
        assert RAW.pem.splitlines()[1] not in text
        assert "open sesame" not in text
    assert "cannot be opened" in page.content.decode()


def test_the_pages_make_rotate_and_revoke(administrator):
    answer = administrator.client.post("/settings/keys/new/", {"name": "production", "way": "made"})
    made = SigningKey.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/settings/keys/{made.pk}/")
    administrator.client.post(f"/settings/keys/{made.pk}/rotate/", {"way": "made", "overlap_days": "3"})
    page = administrator.client.get(f"/settings/keys/{made.pk}/").content.decode()
    assert "counts until the overlap ends" in page
    assert "Signs now" in page
    empty = administrator.client.post(f"/settings/keys/{made.pk}/revoke/", {"reason": ""})
    assert empty.status_code == 422
    administrator.client.post(f"/settings/keys/{made.pk}/revoke/", {"reason": "lost"})
    assert "counts no more" in administrator.client.get(f"/settings/keys/{made.pk}/").content.decode()
    assert administrator.client.get("/settings/keys/?format=csv").status_code == 200
