"""Promotions that stopped between one thing and the next, and what else happened before they went on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from secguard.errors import Conflict, Invalid
from secguard.images.adapters.pushing import PushingClient
from secguard.jobs import services as jobs
from secguard.jobs.models import Job
from secguard.promotion import services
from secguard.promotion.models import Promotion
from secguard.promotion.services import carrying, undoing
from secguard.signing.models import Attestation
from tests.promotion.test_carrying import MALWARE, shown

pytestmark = [pytest.mark.django_db, pytest.mark.enable_socket]


@pytest.fixture
def at_tag(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``at_tag("1.5", SystemExit)``: that is raised instead of moving the tag; with none, it is moved."""
    plain = PushingClient.point

    def arm(name: str = "", raised: BaseException | None = None) -> None:
        def point(self: Any, path: str, tag: str, to: Any) -> None:
            if raised is not None and tag == name:
                raise raised
            plain(self, path, tag, to)

        monkeypatch.setattr(PushingClient, "point", point)

    return arm


def test_with_one_tag_moved_it_is_ended_whatever_is_found_meanwhile(estate, promote, run_jobs, at_tag):
    """Its answer was yes, and is shown already: half of it would be neither. Admission asks for the verdict itself."""
    from secguard.images.models import Image
    from secguard.policies.facts import Gate
    from secguard.policies.services import verdict_of

    built = estate.scanned()
    at_tag("1.5", SystemExit())
    with pytest.raises(SystemExit):
        promote(f"{estate.name}:1.4", tags=["1.4", "1.5"])
    estate.report(built, MALWARE, scanner="clamav")
    at_tag()
    run_jobs()
    made = Promotion.objects.get()
    assert made.status == "promoted", made.why
    assert [estate.points(estate.staged, tag) for tag in ("1.4", "1.5")] == [built.digest] * 2
    assert Attestation.objects.get().digest == built.digest
    assert verdict_of(Image.objects.get(), Gate.ADMIT).verdict == "block"


def test_a_tag_that_named_it_before_says_nothing_of_this_time(estate, promote, operator, run_jobs, at_tag):
    built = estate.scanned()
    assert promote(f"{estate.name}:1.4").status == "promoted"
    at_tag("1.4", SystemExit())
    with pytest.raises(SystemExit):
        promote(f"{estate.name}:1.4", tags=["1.4", "1.5"])
    estate.report(built, MALWARE, scanner="clamav")
    at_tag()
    run_jobs()
    made = Promotion.objects.latest("pk")
    assert (made.status, "block" in made.why) == ("refused", True)
    assert [estate.points(estate.staged, tag) for tag in ("1.4", "1.5")] == [built.digest, ""]


def test_failed_while_its_tags_were_moved_it_is_not_called_off(estate, promote, operator, run_jobs, at_tag):
    built = estate.scanned()
    at_tag("1.5", Invalid("It takes nothing now."))
    made = promote(f"{estate.name}:1.4", tags=["1.4", "1.5"])
    assert made.status == "failed"
    with pytest.raises(Conflict, match="some of them may show it"):
        services.withdraw(made.pk, actor=operator)
    at_tag()
    services.retry(made.pk, actor=operator)
    run_jobs()
    made.refresh_from_db()
    assert made.status == "promoted"
    assert [estate.points(estate.staged, tag) for tag in ("1.4", "1.5")] == [built.digest] * 2


@pytest.fixture
def signed_in_vain(estate: Any, promote: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An image whose promotion was refused once it was signed; it passes again, and what was signed is there still."""
    built, plain = estate.scanned(), carrying.read_back

    def meanwhile(*args: Any) -> Any:
        estate.report(built, MALWARE, scanner="clamav")
        return plain(*args)

    with monkeypatch.context() as patched:
        patched.setattr(carrying, "read_back", meanwhile)
        assert promote(f"{estate.name}:1.4").status == "refused"
    estate.report(built, scanner="clamav")
    assert shown(estate.staged, built.digest)
    return built


def test_what_another_one_signs_now_is_not_taken_away(estate, promote, signed_in_vain, monkeypatch):
    """The refused one's signatures are due to go just when the same is promoted anew, between signing and the tag."""
    plain, taken = carrying.read_back, []

    def meanwhile(*args: Any) -> Any:
        seen = plain(*args)
        Job.objects.filter(kind=services.UNDO).update(run_after=Job.objects.first().created_at)
        run = jobs.claim("interactive")
        assert run.job.kind == services.UNDO
        jobs.run_job(run)
        taken.append(Job.objects.get(pk=run.job_id).result)
        return seen

    monkeypatch.setattr(carrying, "read_back", meanwhile)
    made = promote(f"{estate.name}:1.4")
    assert made.status == "promoted", made.why
    assert taken == [{"removed": 0, "left": 0}]
    assert len(shown(estate.staged, signed_in_vain.digest)) >= 4


def test_nothing_is_signed_while_signatures_beside_it_are_taken_away(estate, promote, signed_in_vain, run_jobs):
    Job.objects.filter(kind=services.UNDO).update(run_after=Job.objects.first().created_at)
    taking = jobs.claim("interactive")
    assert taking.job.kind == services.UNDO
    made = promote(f"{estate.name}:1.4")
    assert made.status == "running"
    waiting = Job.objects.get(pk=made.job_id)
    assert "are being taken away beside" in waiting.error
    jobs.run_job(taking)
    assert Job.objects.get(pk=taking.job_id).result["removed"] == 0, "another one is about to sign it"
    jobs.hurry(waiting.pk)
    run_jobs()
    made.refresh_from_db()
    assert made.status == "promoted", made.why


def test_what_failed_and_is_called_off_leaves_nothing_though_it_was_tried_again(
    estate, promote, operator, run_jobs, monkeypatch
):
    built = estate.scanned()
    monkeypatch.setattr(undoing, "UNDO_AFTER", timedelta(0))

    def fail(*args: Any) -> Any:
        raise Invalid("No.")

    with monkeypatch.context() as patched:
        patched.setattr(carrying, "read_back", fail)
        made = promote(f"{estate.name}:1.4")
    assert made.status == "failed"
    services.retry(made.pk, actor=operator)
    services.withdraw(made.pk, actor=operator)
    run_jobs()
    assert shown(estate.staged, built.digest) == set()
