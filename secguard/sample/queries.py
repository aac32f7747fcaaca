"""What of the sample is here."""

from __future__ import annotations

from enum import StrEnum

from django.db.models import QuerySet

from secguard.accounts.models import Team, User
from secguard.images.models import Image, Registry
from secguard.jobs.models import Job
from secguard.sample.organisation import REGISTRY
from secguard.workloads.models import Cluster

LOAD, REMOVE = "sample.load", "sample.remove"


class Standing(StrEnum):
    ABSENT = "absent"
    PARTIAL = "partial"
    LOADED = "loaded"


def standing() -> Standing:
    """Whether the sample is loaded. Its clusters come last, so that they tell a whole one from one that broke off."""
    if Cluster.objects.filter(is_sample=True).exists():
        return Standing.LOADED
    begun = (
        Team.objects.filter(is_sample=True).exists()
        or User.objects.filter(is_sample=True, is_active=True).exists()
        or Registry.objects.filter(host=REGISTRY).exists()
    )
    return Standing.PARTIAL if begun else Standing.ABSENT


def open_job() -> Job | None:
    """The job that loads or removes the sample now, if any."""
    return Job.objects.open().filter(kind__in=(LOAD, REMOVE)).order_by("-id").first()


def latest_job() -> Job | None:
    return Job.objects.filter(kind__in=(LOAD, REMOVE)).order_by("-id").first()


def sample_images() -> QuerySet[Image]:
    """Images that lie in the sample's registry and nowhere else."""
    here = Image.objects.filter(places__repository__registry__host=REGISTRY)
    elsewhere = Image.objects.exclude(places__repository__registry__host=REGISTRY).filter(places__isnull=False)
    return here.exclude(pk__in=elsewhere.values("pk")).distinct()
