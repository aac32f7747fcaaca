"""Calling a digest back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, NotAllowed, NotFound
from secguard.images.models import Image, Repository
from secguard.jobs.models import Job
from secguard.policies.facts import Gate
from secguard.policies.services import document_of, verdict_of
from secguard.promotion import services
from secguard.signing.models import Attestation, Signature
from secguard.signing.services import TAKE_AWAY, lift_recall, recall
from secguard.workloads.models import Cluster, Workload
from tests.promotion.test_carrying import shown

pytestmark = pytest.mark.django_db


@pytest.fixture
def promoted(estate, promote):
    built = estate.scanned()
    made = promote(f"{estate.name}:1.4")
    assert made.status == "promoted", made.why
    return made, built


def test_what_is_called_back_is_refused_unsigned_and_told_where_it_runs(
    estate, promoted, reviewer, viewer, stranger, operator, run_jobs, application
):
    made, built = promoted
    image = Image.objects.get(digest=built.digest)
    web = Workload.objects.create(cluster=Cluster.objects.create(name="here"), name="web", application=application)
    web.images.add(image)
    assert verdict_of(image, Gate.ADMIT).verdict == "pass"
    assert viewer.api.get(f"/api/v1/images/{built.digest}/recall/").json()["is_recalled"] is False
    answer = reviewer.api.post(f"/api/v1/images/{built.digest}/recall/", {"reason": "A backdoor in the build."})
    assert answer.status_code == 201, answer.content
    assert [w["name"] for w in answer.json()["runs"]] == ["web"]
    verdict = verdict_of(image, Gate.ADMIT)
    assert verdict.verdict == "block"
    assert "A backdoor in the build." in document_of(verdict)["reasons"][0]["message"]
    assert document_of(verdict)["reasons"][0]["rule"] == "recalled"
    stated = Attestation.objects.get(digest=built.digest)
    assert stated.withdrawn_at is not None
    assert not Attestation.objects.standing(timezone.now()).exists()
    assert {s.standing.value for s in Signature.objects.filter(digest=built.digest)} == {"recalled"}
    made.refresh_from_db()
    assert made.status == "recalled"
    assert operator.notices.filter(kind="promotion-recalled").count() == 1
    run_jobs()
    job = Job.objects.get(kind=TAKE_AWAY)
    assert job.result["failed"] == []
    assert job.result["removed"] >= 4
    assert shown(estate.staged, built.digest) == set()
    assert stranger.api.get(f"/api/v1/images/{built.digest}/recall/").status_code == 404
    assert AuditEntry.objects.get(action="image:recall").details["reason"] == "A backdoor in the build."


def test_lifted_it_is_judged_by_itself_again_and_has_to_be_promoted_anew(estate, promoted, promote, reviewer, run_jobs):
    _, built = promoted
    recall(built.digest, "A mistake", actor=reviewer)
    with pytest.raises(Conflict, match="already"):
        recall(built.digest, "again", actor=reviewer)
    assert promote(f"{estate.name}:1.4").status == "refused"
    lift_recall(built.digest, "It was another one.", actor=reviewer)
    image = Image.objects.get(digest=built.digest)
    assert verdict_of(image, Gate.ADMIT).verdict == "pass"
    assert not Attestation.objects.standing(timezone.now()).exists(), "what was withdrawn stays so"
    assert promote(f"{estate.name}:1.4").status == "promoted"
    assert Attestation.objects.standing(timezone.now()).count() == 1
    assert shown(estate.staged, built.digest)
    with pytest.raises(NotFound, match="not called back"):
        lift_recall(built.digest, "once more", actor=reviewer)


def test_an_index_is_called_back_with_its_platforms(estate, promote, reviewer):
    whole, platforms = estate.index()
    assert promote(f"{estate.name}:multi").status == "promoted"
    recall(whole.digest, "bad", actor=reviewer)
    for one in platforms:
        assert verdict_of(Image.objects.get(digest=one.digest), Gate.PROMOTE).verdict == "block"
    assert not Attestation.objects.standing(timezone.now()).exists()


def test_only_who_may_in_every_team_that_has_it(estate, promoted, make_person, team, other_application, developer):
    from secguard.images.models import ImageRepository
    from secguard.images.reference import parse
    from secguard.images.services import ensure_repository

    _, built = promoted
    with pytest.raises(NotAllowed):
        recall(built.digest, "no", actor=developer)
    own = make_person("own", "operator", team=team)
    theirs = ensure_repository(parse("reg.example/theirs/web:1"), application=other_application)
    place = ImageRepository.objects.create(image=Image.objects.get(digest=built.digest), repository=theirs)
    with pytest.raises(NotAllowed):
        recall(built.digest, "no", actor=own)
    place.delete()
    recall(built.digest, "yes", actor=own)


def test_what_is_on_its_way_stops(estate, operator, reviewer, run_jobs):
    built = estate.scanned()
    made = services.ask(services.Ask(f"{estate.name}:1.4", "staging"), actor=operator)
    recall(built.digest, "stop", actor=reviewer)
    run_jobs()
    made.refresh_from_db()
    assert made.status == "recalled"
    assert estate.points(estate.staged, "1.4") == ""
    assert not Repository.objects.filter(name=estate.staged).exists()


def test_called_back_between_the_tag_and_the_record_it_does_not_stand(
    estate, operator, reviewer, run_jobs, monkeypatch
):
    from secguard.promotion.services import carrying, undoing

    built = estate.scanned()
    plain = carrying.move_tags

    def meanwhile(way, found):
        moved = plain(way, found)
        recall(built.digest, "just now", actor=reviewer)
        return moved

    monkeypatch.setattr(carrying, "move_tags", meanwhile)
    monkeypatch.setattr(undoing, "UNDO_AFTER", timedelta(0))
    made = services.ask(services.Ask(f"{estate.name}:1.4", "staging"), actor=operator)
    run_jobs()
    made.refresh_from_db()
    assert made.status == "recalled"
    assert not Attestation.objects.standing(timezone.now()).exists()
    assert shown(estate.staged, built.digest) == set()
