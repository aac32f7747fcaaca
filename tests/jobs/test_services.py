"""The promises of the jobs services, on whichever database the suite runs on."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard.errors import Conflict, Invalid, NotFound, Unavailable
from secguard.jobs import queries, registry, services
from secguard.jobs.adapters import processes
from secguard.jobs.lifecycle import LEASE, Queue, Status
from secguard.jobs.models import Job
from secguard.jobs.services import running

pytestmark = pytest.mark.django_db


def echo(run):
    return {"got": dict(run.args)}


def now_due(job):
    Job.objects.filter(pk=job.pk).update(run_after=timezone.now())


# --- asking ---


def test_a_job_runs_and_keeps_its_result(handles, run_jobs):
    handles("t.echo", echo)
    job = services.enqueue("t.echo", {"scan": 7}, key="7")
    assert run_jobs() == 1
    job.refresh_from_db()
    assert (job.status, job.result, job.attempts) == (Status.SUCCEEDED, {"got": {"scan": 7}}, 1)
    assert job.lease_owner == ""
    assert job.finished_at >= job.started_at >= job.created_at


def test_an_unknown_kind_is_refused_with_the_known_ones(handles):
    handles("t.echo", echo)
    with pytest.raises(NotFound, match=r"'t\.other'; known: .*t\.echo"):
        services.enqueue("t.other", {}, key="1")


def test_the_same_work_asked_for_twice_is_one_job(handles, run_jobs):
    handles("t.echo", echo)
    first = services.enqueue("t.echo", {}, key="a")
    assert services.enqueue("t.echo", {}, key="a").pk == first.pk
    assert run_jobs() == 1
    assert services.enqueue("t.echo", {}, key="a").pk != first.pk, "an ended job does not stand for new work"


def test_the_database_refuses_a_second_open_job_of_a_key(handles):
    handles("t.echo", echo)
    job = services.enqueue("t.echo", {}, key="a")
    twin = Job(kind="t.echo", key="a", queue="interactive", run_after=job.run_after, created_at=job.created_at)
    with pytest.raises(IntegrityError), transaction.atomic():
        twin.save()


def test_a_wake_up_goes_out_after_the_commit_and_only_then(handles, woken, django_capture_on_commit_callbacks):
    handles("t.echo", echo)
    with django_capture_on_commit_callbacks(execute=True):
        services.enqueue("t.echo", {}, key="a", queue="scheduled")
        assert woken == []
    assert woken == ["scheduled"]


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_fails_does_not_fail_the_request(handles, monkeypatch):
    handles("t.echo", echo)

    def broken(_queue):
        raise OSError("no broker")

    monkeypatch.setattr("secguard.jobs.adapters.waking.wake", broken)
    with transaction.atomic():
        job = services.enqueue("t.echo", {}, key="a")
    assert Job.objects.get(pk=job.pk).status == Status.QUEUED


def test_work_asked_for_again_while_it_runs_runs_once_more(handles, run_jobs):
    runs = []

    def work(run):
        runs.append(run.attempt)
        if len(runs) == 1:
            services.enqueue("t.again", {}, key="a", again=True)

    handles("t.again", work)
    job = services.enqueue("t.again", {}, key="a")
    assert run_jobs() == 2
    job.refresh_from_db()
    assert (runs, job.status, job.attempts) == ([1, 1], Status.SUCCEEDED, 1)


def test_work_asked_for_again_before_it_runs_runs_once(handles, run_jobs):
    handles("t.echo", echo)
    services.enqueue("t.echo", {}, key="a")
    services.enqueue("t.echo", {}, key="a", again=True)
    assert run_jobs() == 1


def test_a_job_for_later_is_not_due_before(handles, run_jobs):
    handles("t.echo", echo)
    job = services.enqueue("t.echo", {}, key="a", after=timedelta(minutes=1))
    assert run_jobs() == 0
    assert services.claim("interactive", timezone.now() + timedelta(minutes=2)).job_id == job.pk


def test_queues_are_separate_and_oldest_first(handles):
    handles("t.echo", echo)
    services.enqueue("t.echo", {}, key="s", queue=Queue.SCHEDULED)
    first, second = (services.enqueue("t.echo", {}, key=key) for key in "ab")
    assert [services.claim("interactive").job_id for _ in "ab"] == [first.pk, second.pk]
    assert services.claim("interactive") is None


# --- outcomes ---


def test_a_refusal_is_final_and_keeps_its_words(handles, run_jobs):
    told = []

    def work(_run):
        raise Invalid("The report ends in line 3.", code="report-truncated")

    handles("t.refuse", work, failed=lambda args, code, words: told.append((dict(args), code, words)))
    job = services.enqueue("t.refuse", {"scan": 1}, key="a")
    assert run_jobs() == 1
    job.refresh_from_db()
    assert (job.status, job.error, job.error_code) == (
        Status.FAILED,
        "The report ends in line 3.",
        "report-truncated",
    )
    assert told == [({"scan": 1}, "report-truncated", "The report ends in line 3.")]


def test_an_internal_error_is_tried_again_later_and_given_up_at_last(handles, run_jobs):
    told = []

    def work(_run):
        raise ValueError("password=hunter2")

    handles("t.crash", work, max_attempts=2, failed=lambda *what: told.append(what))
    job = services.enqueue("t.crash", {}, key="a")
    assert run_jobs() == 1, "the second attempt is not due yet"
    job.refresh_from_db()
    assert job.status == Status.QUEUED
    assert job.run_after > timezone.now()
    assert not told
    now_due(job)
    assert run_jobs() == 1
    job.refresh_from_db()
    assert (job.status, job.attempts) == (Status.FAILED, 2)
    assert job.error == f"Internal error (ValueError) in attempt 2; the log has it under job {job.pk}."
    assert len(told) == 1


def test_what_is_unavailable_is_tried_again_when_it_says(handles, run_jobs):
    def work(_run):
        raise Unavailable("The feed is down.", retry_after=600)

    handles("t.down", work)
    job = services.enqueue("t.down", {}, key="a")
    run_jobs()
    job.refresh_from_db()
    assert job.status == Status.QUEUED
    assert timedelta(seconds=590) < job.run_after - timezone.now() <= timedelta(seconds=600)
    assert job.error == "The feed is down."


def test_a_process_told_to_exit_gives_its_job_back_untried(handles):
    def work(_run):
        raise SystemExit

    handles("t.exit", work)
    job = services.enqueue("t.exit", {}, key="a")
    with pytest.raises(SystemExit):
        services.run_job(services.claim("interactive"))
    job.refresh_from_db()
    assert (job.status, job.attempts, job.lease_owner) == (Status.QUEUED, 0, "")


def test_a_failing_callback_leaves_the_job_running_for_the_sweep(handles):
    def broken(*_what):
        raise RuntimeError("callback")

    def work(_run):
        raise Invalid("no")

    handles("t.callback", work, failed=broken)
    job = services.enqueue("t.callback", {}, key="a")
    with pytest.raises(RuntimeError):
        services.run_job(services.claim("interactive"))
    job.refresh_from_db()
    assert job.status == Status.RUNNING, "job and callback are one transaction"


# --- progress and leases ---


def test_progress_is_written_and_bounded_in_rate(handles, run_jobs, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(running, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    seen = []

    def work(run):
        for done, clock[0] in ((1, 10.0), (2, 10.1), (3, 10.3)):
            run.progress("x" * 300, done, 3)
            seen.append(Job.objects.get(pk=run.job_id).progress_done)

    handles("t.progress", work)
    job = services.enqueue("t.progress", {}, key="a")
    services.run_job(services.claim("interactive"))
    job.refresh_from_db()
    assert seen == [1, 1, 3]
    assert (len(job.progress_text), job.progress_total) == (255, 3)


def test_progress_inside_of_the_handlers_transaction_writes_nothing(handles, run_jobs, django_assert_num_queries):
    def work(run):
        with transaction.atomic(), django_assert_num_queries(0):
            run.progress("inside", 1, 2)

    handles("t.inside", work)
    job = services.enqueue("t.inside", {}, key="a")
    run_jobs()
    job.refresh_from_db()
    assert (job.status, job.progress_text) == (Status.SUCCEEDED, "")


def test_who_could_not_extend_the_lease_for_its_whole_length_holds_it_no_more(handles, monkeypatch):
    """Whatever the database says: it is for writes elsewhere, which nobody can make in one statement with a look."""
    clock = [0.0]
    monkeypatch.setattr(running, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    handles("t.held", lambda run: None)
    services.enqueue("t.held", {}, key="a")
    run = services.claim("interactive")
    clock[0] = 29.0
    run.require_lease()
    run.renew()
    clock[0] = 58.0
    run.require_lease()
    clock[0] = 59.5
    with pytest.raises(running.LeaseLost):
        run.require_lease()
    clock[0] = 30.0
    Job.objects.filter(pk=run.job_id).update(lease_owner="elsewhere/1/1/x")
    run.renew()
    with pytest.raises(running.LeaseLost):
        run.require_lease()


def test_a_cancelled_job_stops_at_its_next_progress_and_stays_cancelled(handles, run_jobs):
    reached = []

    def work(run):
        services.cancel(run.job_id)
        run.progress("next")
        reached.append("past it")

    handles("t.cancel", work)
    job = services.enqueue("t.cancel", {}, key="a")
    run_jobs()
    job.refresh_from_db()
    assert (job.status, reached, job.result) == (Status.CANCELLED, [], {})


def test_a_result_that_comes_too_late_counts_for_nothing(handles):
    def work(run):
        Job.objects.filter(pk=run.job_id).update(lease_owner="elsewhere/1/1/x")
        return {"late": True}

    handles("t.late", work)
    job = services.enqueue("t.late", {}, key="a")
    services.run_job(services.claim("interactive"))
    job.refresh_from_db()
    assert (job.status, job.result, job.lease_owner) == (Status.RUNNING, {}, "elsewhere/1/1/x")


def test_cancelling_names_the_state_found(handles, run_jobs):
    handles("t.echo", echo)
    job = services.enqueue("t.echo", {}, key="a")
    run_jobs()
    with pytest.raises(Conflict, match="is succeeded; only a queued or running one"):
        services.cancel(job.pk)
    with pytest.raises(NotFound, match="no job 999999"):
        services.cancel(999_999)


def test_waiting_ends_with_the_job_or_with_the_time(handles, run_jobs):
    handles("t.echo", echo)
    job = services.enqueue("t.echo", {}, key="a")
    assert services.wait_for(job.pk, 0.02).status == Status.QUEUED
    run_jobs()
    assert services.wait_for(job.pk, 60).status == Status.SUCCEEDED


# --- sweeping ---


def test_a_job_whose_lease_ended_is_given_back_and_done(handles, run_jobs):
    handles("t.echo", echo)
    job = services.enqueue("t.echo", {}, key="a")
    run = services.claim("interactive")
    Job.objects.filter(pk=run.job_id).update(lease_owner="elsewhere/1/1/x")
    services.sweep(timezone.now() + LEASE / 2)
    job.refresh_from_db()
    assert job.status == Status.RUNNING, "another host's lease that runs is left alone"
    services.sweep(timezone.now() + LEASE * 2)
    run_jobs()
    job.refresh_from_db()
    assert (job.status, job.attempts) == (Status.SUCCEEDED, 2)


def test_a_job_of_a_process_that_is_gone_is_given_back_at_once_and_woken_for(handles, woken):
    handles("t.echo", echo)
    job = services.enqueue("t.echo", {}, key="a")
    services.claim("interactive")
    mine = processes.this_process()
    gone = processes.Holder(mine.place, 2**22 + 1, "x")  # above the kernel's largest pid
    Job.objects.filter(pk=job.pk).update(lease_owner=str(gone))
    woken.clear()
    services.sweep()
    job.refresh_from_db()
    assert job.status == Status.QUEUED
    assert woken.count("interactive") == 1, "in the same sweep, not in the next one"


def test_a_job_that_keeps_killing_its_worker_is_given_up(handles):
    told = []
    handles("t.killer", echo, max_attempts=1, failed=lambda *what: told.append(what))
    job = services.enqueue("t.killer", {}, key="a")
    services.claim("interactive")
    services.sweep(timezone.now() + LEASE * 2)
    job.refresh_from_db()
    assert (job.status, job.error_code) == (Status.FAILED, "worker-lost")
    assert told == [({}, "worker-lost", "The worker stopped in the middle of attempt 1 of 1.")]


def test_the_sweep_wakes_each_queue_a_bounded_number_of_times(handles, woken):
    handles("t.echo", echo)
    for key in range(20):
        services.enqueue("t.echo", {}, key=str(key))
    services.sweep()
    assert woken.count("interactive") == 4


def test_the_sweep_reads_a_fixed_number_of_rows(handles, django_assert_max_num_queries):
    handles("t.echo", echo)
    services.sweep()  # enqueues what is periodic
    for key in range(50):
        services.enqueue("t.echo", {}, key=str(key))
    with django_assert_max_num_queries(5 + len(list(registry.periodic()))):
        services.sweep()


def test_a_periodic_job_is_enqueued_once_in_its_interval(handles, run_jobs):
    handles("t.tick", echo)
    registry.every(timedelta(hours=1), "t.tick")
    now = timezone.now().replace(minute=10)
    services.sweep(now)
    services.sweep(now + timedelta(minutes=5))
    assert Job.objects.filter(kind="t.tick").count() == 1
    services.sweep(now + timedelta(hours=1))
    assert Job.objects.filter(kind="t.tick").count() == 2


@pytest.mark.parametrize("interval", [timedelta(0), timedelta(days=2)])
def test_an_interval_that_pruning_would_forget_is_refused(interval):
    with pytest.raises(ValueError, match="one second to one day"):
        registry.every(interval, "t.tick")


def test_a_kind_has_one_handler(handles):
    handles("t.echo", echo)
    with pytest.raises(ValueError, match=r"'t\.echo' belongs to"):
        registry.register("t.echo", lambda run: None)


def test_pruning_keeps_what_is_young_or_open(handles, run_jobs):
    def refuse(_run):
        raise Invalid("no")

    handles("t.echo", echo)
    handles("t.refuse", refuse)
    old, failed, young = (
        services.enqueue(kind, {}, key=key) for kind, key in [("t.echo", "old"), ("t.refuse", "f"), ("t.echo", "young")]
    )
    run_jobs()
    waiting = services.enqueue("t.echo", {}, key="open")
    eight_days_ago = timezone.now() - timedelta(days=8)
    Job.objects.filter(pk__in=[old.pk, failed.pk]).update(finished_at=eight_days_ago)
    assert services.prune() == 1
    left = set(Job.objects.filter(kind__startswith="t.").values_list("pk", flat=True))
    assert left == {failed.pk, young.pk, waiting.pk}


def test_open_jobs_are_counted_by_queue_and_state(handles):
    handles("t.echo", echo)
    for key in "abc":
        services.enqueue("t.echo", {}, key=key)
    services.claim("interactive")
    assert queries.open_by_queue() == {("interactive", "queued"): 2, ("interactive", "running"): 1}
    assert queries.latest("t.echo", "c").key == "c"
    assert queries.latest("t.echo", "d") is None


# --- what the database itself refuses ---


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "lost"},
        {"queue": "urgent"},
        {"status": "running"},
        {"status": "succeeded"},
        {"finished_at": timezone.now()},
        {"lease_owner": "me"},
        {"attempts": 99},
    ],
)
def test_the_database_refuses_a_state_that_cannot_be(handles, columns):
    handles("t.echo", echo)
    job = services.enqueue("t.echo", {}, key="a")
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(**columns)
