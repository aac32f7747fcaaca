"""Reads about jobs for pages and the API."""

from __future__ import annotations

from django.db.models import Count

from secguard.jobs.models import Job


def latest(kind: str, key: str) -> Job | None:
    """The last job of a kind and key, whatever its state."""
    return Job.objects.filter(kind=kind, key=key).order_by("-id").first()


def open_by_queue() -> dict[tuple[str, str], int]:
    """How many jobs are open: (queue, status) to count. For the metrics page."""
    rows = Job.objects.open().values_list("queue", "status").annotate(n=Count("id")).order_by()
    return {(queue, status): n for queue, status, n in rows}
