"""A clock that jumps: what a clock that ran ahead left behind waits for no time that is still to come."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.jobs import services
from secguard.jobs.adapters import processes
from secguard.jobs.lifecycle import LEASE, Queue, Status
from secguard.jobs.models import Job
from secguard.jobs.services.doing import claim
from secguard.jobs.services.running import LeaseLost

pytestmark = pytest.mark.django_db
AHEAD = timedelta(hours=6)


@pytest.fixture
def ahead(handles: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Six hours ahead; undone where a test says so."""
    handles("t.echo", lambda run: {})
    real = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: real() + AHEAD)
    return monkeypatch


def test_a_job_that_was_asked_for_by_a_clock_ahead_is_done_now(ahead: Any, run_jobs: Any) -> None:
    job = services.enqueue("t.echo", {}, key="1")
    ahead.undo()
    assert run_jobs() == 0
    assert services.sweep() >= 1
    assert run_jobs() >= 1
    job.refresh_from_db()
    assert job.status == Status.SUCCEEDED
    assert job.created_at <= job.finished_at  # type: ignore[operator]


def test_a_job_that_waits_for_its_time_keeps_it(handles: Any) -> None:
    handles("t.echo", lambda run: {})
    job = services.enqueue("t.echo", {}, key="1", after=AHEAD)
    before = Job.objects.get(pk=job.pk).run_after
    services.sweep()
    assert Job.objects.get(pk=job.pk).run_after == before


def test_what_a_dead_worker_held_by_a_clock_ahead_is_given_back(ahead: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = services.enqueue("t.echo", {}, key="1")
    run = claim(Queue.INTERACTIVE)
    assert run is not None
    ahead.undo()
    monkeypatch.setattr(processes, "is_gone", lambda owner: False)  # on another machine: nobody can look
    services.sweep()
    job.refresh_from_db()
    assert job.status == Status.RUNNING  # whoever lives renews it, and loses nothing
    assert job.lease_until <= timezone.now() + LEASE  # type: ignore[operator]
    run.renew()
    assert not run.lost.is_set()
    services.sweep(timezone.now() + 2 * LEASE)
    job.refresh_from_db()
    assert (job.status, job.lease_owner) == (Status.QUEUED, "")
    run.renew()
    with pytest.raises(LeaseLost):
        run.require_lease()


def test_a_clock_that_jumps_ahead_gives_a_job_to_one_worker_alone(
    handles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that had it writes nothing more."""
    handles("t.echo", lambda run: {})
    services.enqueue("t.echo", {}, key="1")
    first = claim(Queue.INTERACTIVE)
    assert first is not None
    later = timezone.now() + AHEAD
    services.sweep(later)
    Job.objects.filter(pk=first.job_id).update(run_after=later)
    monkeypatch.setattr(processes, "this_process", lambda: "another 1 2")
    second = claim(Queue.INTERACTIVE, later)
    assert second is not None
    assert second.job_id == first.job_id
    first.renew()
    with pytest.raises(LeaseLost):
        first.require_lease()
    second.renew()
    assert not second.lost.is_set()


def test_periodic_work_goes_on_after_the_clock_was_set_back(ahead: Any, run_jobs: Any) -> None:
    from secguard.jobs import registry

    services.sweep()
    kinds = {job.kind for job in Job.objects.all()}
    assert {item.kind for item in registry.periodic()} <= kinds
    ahead.undo()
    Job.objects.all().delete()
    services.sweep()
    assert Job.objects.due(timezone.now()).exists()
