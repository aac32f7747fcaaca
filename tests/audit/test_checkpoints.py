"""Checkpoints over HTTP and as pages: made by the job, signed by the line of keys for it, proven to an auditor."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from secguard.accounts.models import Team
from secguard.audit import checkpoint, services, tree
from secguard.audit.checkpoint import Checkpoint
from secguard.audit.models import AuditCheckpoint, AuditEntry, AuditTile
from secguard.errors import Conflict
from secguard.jobs.models import Job
from secguard.jobs.services import work
from secguard.signing.keylife import AUDIT_LINE
from secguard.signing.models import SigningKey
from secguard.signing.services import notary, retire_key, rotate_key
from tests.audit.test_services import write
from tests.fixtures_people import MakePerson, Person, without_triggers

pytestmark = pytest.mark.django_db

URL = "/api/v1/audit/"


def made(count: int = 5, **line: Any) -> AuditCheckpoint:
    """A checkpoint of the log with ``count`` more entries."""
    if count:
        write(count, **line)
    found = services.make_checkpoint(timezone.now(), is_asked=True)
    assert found is not None
    return found


def known() -> list[checkpoint.Key]:
    return [checkpoint.read_keys(key.public_pem)[0] for key in notary.public_keys()]


def test_the_first_checkpoint_makes_its_key_and_the_next_goes_on(administrator: Person) -> None:
    first = made()
    found, key = checkpoint.verified(first.note, known())
    # The making of the key is an entry of the log itself, after those that were signed.
    assert (found.size, found.root.hex(), key.fingerprint) == (first.size, first.root, first.fingerprint)
    assert SigningKey.objects.get().name == AUDIT_LINE
    second = made()
    assert second.size > first.size
    proof = checkpoint.read_consistency(
        administrator.api.get(f"{URL}consistency/", {"from": first.size, "to": second.size}).json()
    )
    tree.check_consistency(first.size, second.size, found.root, bytes.fromhex(second.root), proof.path)
    assert (proof.old, proof.new) == (first.note, second.note)


def test_the_job_signs_when_it_is_time() -> None:
    now = timezone.now()
    assert services.make_checkpoint(now) is None
    write()
    first = services.make_checkpoint(now)
    assert first is not None
    write()
    for later in (timedelta(0), timedelta(minutes=59)):
        assert services.make_checkpoint(now + later) == first
    second = services.make_checkpoint(now + timedelta(hours=1))
    assert second is not None
    assert second.size > first.size
    assert services.make_checkpoint(now + timedelta(days=9), is_asked=True) == second


def test_a_rotated_key_signs_anew_and_the_old_one_stays_known() -> None:
    first = made()
    made(0)
    rotate_key(SigningKey.objects.get().pk, actor=None)
    second = made(0)
    assert second.fingerprint != first.fingerprint
    assert [key.status for key in notary.public_keys()] == ["active", "retiring"]
    assert notary.public_keys()[1].until == SigningKey.objects.get(status="active").created_at
    for one in (first, second):
        assert checkpoint.verified(one.note, known())[0].size == one.size


def test_a_line_that_was_ended_on_purpose_signs_no_more() -> None:
    made()
    retire_key(SigningKey.objects.get().pk, actor=None)
    write()
    with pytest.raises(Conflict, match="secguard keys create audit-log"):
        services.make_checkpoint(timezone.now(), is_asked=True)


def test_the_audit_log_s_key_signs_no_image() -> None:
    made()
    now = timezone.now()
    assert not SigningKey.objects.counting(now).exists()
    assert not SigningKey.objects.signing_images().exists()


def test_nothing_is_signed_that_does_not_continue_what_was() -> None:
    made()
    with without_triggers():
        tile = AuditTile.objects.get()
        tile.hashes = bytes(tile.hashes)[:-64] + b"x" * 32 + bytes(tile.hashes)[-32:]
        tile.save()
    write()
    with pytest.raises(Conflict, match="Nothing is signed"):
        services.make_checkpoint(timezone.now(), is_asked=True)


@pytest.mark.django_db(transaction=True)
def test_on_request_a_worker_makes_one(administrator: Person) -> None:
    write()
    answer = administrator.api.post(f"{URL}checkpoints/")
    assert answer.status_code == 202
    job = Job.objects.get(pk=answer.json()["job"])
    assert (job.kind, job.args) == (notary.CHECKPOINT, {"is_asked": True})
    work("interactive")
    job.refresh_from_db()
    assert (job.status, job.error) == ("succeeded", "")
    latest = administrator.api.get(f"{URL}checkpoints/latest/").json()
    assert latest["size"] == job.result["size"]
    assert latest["note"] == AuditCheckpoint.objects.get().note


def test_every_entry_is_proven(reviewer: Person) -> None:
    first = made()
    newest = made()
    for entry in AuditEntry.objects.filter(sequence__lte=newest.size):
        proof = checkpoint.read_inclusion(reviewer.api.get(f"{URL}{entry.sequence}/proof/").json())
        found = checkpoint.verified(proof.note, known())[0]
        assert found.size == newest.size
        assert checkpoint.entry_fault(proof, found) is None
    proof = checkpoint.read_inclusion(reviewer.api.get(f"{URL}1/proof/", {"size": first.size}).json())
    assert checkpoint.entry_fault(proof, checkpoint.parse(first.note).checkpoint) is None


def test_what_cannot_be_proven_is_refused_in_words(reviewer: Person) -> None:
    assert reviewer.api.get(f"{URL}1/proof/").status_code == 404
    write()
    answer = reviewer.api.get(f"{URL}1/proof/")
    assert (answer.status_code, "no checkpoint yet" in answer.json()["detail"]) == (404, True)
    assert reviewer.api.get(f"{URL}checkpoints/latest/").status_code == 404
    newest = made()
    newer = write()
    answer = reviewer.api.get(f"{URL}{newer.sequence}/proof/")
    assert (answer.status_code, answer.json()["code"]) == (409, "not-in-checkpoint")
    assert reviewer.api.get(f"{URL}1/proof/", {"size": 10**9}).status_code == 404
    for size in ("0", "-1", "x", "9" * 30, "٣"):
        assert reviewer.api.get(f"{URL}1/proof/", {"size": size}).status_code == 422
    for query in ({}, {"from": "x"}, {"from": newest.size, "to": "0"}):
        assert reviewer.api.get(f"{URL}consistency/", query).status_code == 422
    second = made()
    turned = {"from": second.size, "to": newest.size}
    assert reviewer.api.get(f"{URL}consistency/", turned).status_code == 422


def test_a_team_s_reader_proves_the_team_s_entries_alone(
    make_person: MakePerson, team: Team, other_team: Team, stranger: Person, developer: Person
) -> None:
    reader = make_person("reader", "operator", team=team)
    own, others = write(team_id=team.pk), write(team_id=other_team.pk)
    made()
    proof = reader.api.get(f"{URL}{own.sequence}/proof/")
    assert proof.status_code == 200
    assert reader.api.get(f"{URL}{others.sequence}/proof/").status_code == 404
    assert reader.api.get(f"{URL}checkpoints/").json()["count"] == 1
    assert reader.api.post(f"{URL}checkpoints/").status_code == 403
    for person in (stranger, developer):
        for path in (f"{own.sequence}/proof/", "checkpoints/", "checkpoints/latest/", "keys/", "consistency/?from=1"):
            assert person.api.get(f"{URL}{path}").status_code == 403
        assert person.api.post(f"{URL}checkpoints/").status_code == 403
        for page in ("/audit/checkpoints/", f"/audit/{own.sequence}/proof/", "/audit/keys.pem"):
            assert person.client.get(page).status_code == 403
    assert reader.client.get(f"/audit/{others.sequence}/proof/").status_code == 404


def test_a_proof_costs_the_same_whatever_the_size_of_the_log(reviewer: Person) -> None:
    made()
    counts = []
    for more in (0, 600):
        if more:
            made(more)
        reviewer.api.get(f"{URL}2/proof/")
        with CaptureQueriesContext(connection) as queries:
            reviewer.api.get(f"{URL}2/proof/")
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_a_tree_that_was_cut_off_is_said_to_be(reviewer: Person) -> None:
    made()
    with without_triggers():
        AuditTile.objects.all().delete()
    answer = reviewer.api.get(f"{URL}2/proof/")
    assert (answer.status_code, answer.json()["code"]) == (409, "audit-log-altered")


def test_live_verification_holds_the_log_against_its_checkpoints() -> None:
    made()
    write()
    assert services.verify().intact
    with without_triggers():
        rewrite_from(3)
    fault = services.verify().fault
    assert fault is not None
    assert (fault.sequence, fault.kind) == (1, "forked")


def rewrite_from(sequence: int) -> None:
    """As an intruder who owns the database would: a sound chain, another one, and the head moved with it."""
    previous = AuditEntry.objects.get(sequence=sequence - 1).digest
    for entry in AuditEntry.objects.filter(sequence__gte=sequence).order_by("sequence"):
        entry.actor, entry.previous_digest = "mallory", previous
        entry.digest = previous = checkpoint.chain.digest_of(entry.as_entry())
        entry.save()
    services.recording.AuditHead.objects.update(digest=previous)


# --- pages ---


def test_the_pages_lead_from_the_log_to_its_checkpoints_and_proofs(reviewer: Person) -> None:
    write()
    assert "No checkpoint yet" in reviewer.client.get("/audit/checkpoints/").content.decode()
    assert "Not in a signed checkpoint yet" in reviewer.client.get("/audit/1/").content.decode()
    newest = made()
    page = reviewer.client.get("/audit/").content.decode()
    assert "/audit/checkpoints/" in page
    page = reviewer.client.get("/audit/checkpoints/").content.decode()
    assert newest.root in page
    assert newest.fingerprint in page
    note = reviewer.client.get(f"/audit/checkpoints/{newest.pk}.note")
    assert note.content.decode() == newest.note
    assert "attachment" in note["Content-Disposition"]
    assert reviewer.client.get("/audit/checkpoints/999.note").status_code == 404
    assert f"signed at {newest.size} entries" in reviewer.client.get("/audit/1/").content.decode()
    proof = reviewer.client.get("/audit/1/proof/")
    assert checkpoint.entry_fault(checkpoint.read_inclusion(proof.json()), checkpoint_of(newest)) is None
    keys = checkpoint.read_keys(reviewer.client.get("/audit/keys.pem").content.decode())
    assert [key.fingerprint for key in keys] == [newest.fingerprint]


def checkpoint_of(row: AuditCheckpoint) -> Checkpoint:
    return checkpoint.parse(row.note).checkpoint


def test_an_entry_s_page_says_that_it_is_not_the_one_that_was_signed(reviewer: Person) -> None:
    made()
    with without_triggers():
        AuditEntry.objects.filter(sequence=2).update(actor="mallory")
    page = reviewer.client.get("/audit/2/").content.decode()
    assert "not the entry that was signed" in page


def test_a_new_one_is_asked_for_on_the_page(reviewer: Person, make_person: MakePerson, team: Team) -> None:
    answer = reviewer.client.post("/audit/checkpoints/new/")
    assert answer.status_code == 302
    assert Job.objects.get(kind=notary.CHECKPOINT, key="asked")
    reader = make_person("reader", "operator", team=team)
    assert reader.client.post("/audit/checkpoints/new/").status_code == 403
    assert "Make one now" not in reader.client.get("/audit/checkpoints/").content.decode()
