"""One image of the sample: its reports are posted and taken in as of the moment it was built."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction

from secguard.images.models import Image, Repository
from secguard.jobs.lifecycle import Event, Status, sources
from secguard.jobs.models import Job
from secguard.policies.facts import Gate
from secguard.policies.services import JUDGE_REST, judge
from secguard.sample.generate import Push
from secguard.sample.organisation import application_of, reference
from secguard.sample.services.days import Cast
from secguard.scans import services as scans


def push(one: Push, cast: Cast) -> int:
    """Post and take in the reports of one image; returns its repository's id.

    One transaction an image: no worker sees a scan before it is taken in, and nobody waits for the whole sample.
    """
    app = application_of(one.repository)
    sender = cast.users[f"ci-{app.team.lower()}"]
    with transaction.atomic():
        jobs = [_take_in(raw, cast.applications[app.name].slug, sender, one) for raw in one.reports]
        image = Image.objects.get(digest=one.digest)
        Image.objects.filter(pk=image.pk).update(is_sample=True)
        judge(image, [Gate.PROMOTE], one.at)
        _spare(jobs, image)
    return Repository.objects.values_list("pk", flat=True).get(name=reference(one.repository.path))


def _take_in(raw: bytes, application: str, sender: object, one: Push) -> int:
    submission = scans.Submission(raw=raw, application=application)
    scan, _ = scans.submit(submission, actor=sender, max_bytes=settings.MAX_REPORT_BYTES, now=one.at)  # type: ignore[arg-type]
    scans.take_in(scan.pk, progress=lambda text, done, total: None, now=one.at)
    return scan.job_id or 0


def _spare(jobs: list[int], image: Image) -> None:
    """The jobs that were asked for on the way have nothing left to do."""
    taken_in = Job.objects.filter(pk__in=jobs)
    judging = Job.objects.filter(kind=JUDGE_REST, key=str(image.pk))
    (taken_in | judging).filter(status__in=[s for s in sources(Event.CANCEL) if s == Status.QUEUED]).delete()
