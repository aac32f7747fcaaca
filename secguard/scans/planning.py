"""What scans know of an application's images, for its checklist (``planning.checks``).

Looked at is the newest image of each of its repositories, and every image that its workloads run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Exists, Max, OuterRef, TextField
from django.db.models.functions import Cast

from secguard import bulk
from secguard.accounts.queries import application_slugs
from secguard.findings.identity import FindingKind
from secguard.findings.models import Exposure, Finding
from secguard.findings.severity import Severity
from secguard.images.models import Image, ImageComponent
from secguard.images.queries import newest_images
from secguard.planning.counting import Counting, Measure, Rows, Shown, soonest
from secguard.scans.lifecycle import ScanStatus
from secguard.scans.models import Scan
from secguard.workloads.queries import images_running

OLD: Final = timedelta(days=30)
"""An image that was not scanned for longer counts as not scanned."""


def images_of(application_ids: Sequence[int]) -> dict[int, set[int]]:
    """{application: its images that matter: the newest of each repository, and what its workloads run}. Two queries."""
    newest, running = newest_images(application_ids), images_running(application_ids)
    return {pk: newest.get(pk, set()) | running.get(pk, set()) for pk in {*newest, *running}}


def _all(images: Mapping[int, Collection[int]]) -> list[int]:
    return sorted(set().union(*images.values()))


# --- looked at at all ---


def _scanned(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
    images = images_of(application_ids)
    scans: Any = Scan.objects.filter(
        image__in=bulk.among(_all(images)), status=ScanStatus.FINISHED, is_complete=True, finished_at__isnull=False
    ).order_by()
    last = dict(scans.values_list("image_id").annotate(at=Max("finished_at")))
    fresh = {image: at for image, at in last.items() if at > now - OLD}
    return {
        pk: Rows(
            total=frozenset(several),
            lacking=frozenset(several - fresh.keys()),
            changes_at=soonest(*(fresh[image] + OLD for image in several if image in fresh)),
        )
        for pk, several in images.items()
    }


def _known(application_ids: Sequence[int], _now: datetime) -> dict[int, Rows]:
    images = images_of(application_ids)
    inventory = ImageComponent.objects.filter(image=OuterRef("pk"))
    unknown = Image.objects.filter(~Exists(inventory), pk__in=bulk.among(_all(images))).order_by()
    lacking = set(unknown.values_list("pk", flat=True))
    return {pk: Rows(total=frozenset(several), lacking=frozenset(several & lacking)) for pk, several in images.items()}


# --- what was found ---


def _free_of(kind: FindingKind, least: Severity) -> Measure:
    """Measures which images have an open finding of a kind that no decision covers, and which nobody looked at for
    such. Five queries."""

    def measure(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
        images = images_of(application_ids)
        wanted = _all(images)
        findings = Finding.objects.open().filter(image__in=bulk.among(wanted), risk__kind=kind, severity__gte=least)
        pairs = list(findings.order_by().values_list("image_id", "risk_id").distinct())
        covered = _covered(application_ids, {risk for _, risk in pairs}, now)
        looked = _looked_for(kind, wanted)
        return {pk: _rows(several, pairs, covered.get(pk, {}), looked) for pk, several in images.items()}

    return measure


def _rows(
    images: Collection[int], pairs: Iterable[tuple[int, int]], covered: Mapping[int, datetime], looked: Collection[int]
) -> Rows:
    here = [(image, risk) for image, risk in pairs if image in images]
    lacking = frozenset(image for image, risk in here if risk not in covered)
    return Rows(
        total=frozenset(images),
        lacking=lacking,
        untold=frozenset(images) - lacking - frozenset(looked),
        changes_at=soonest(*(covered[risk] for _, risk in here if risk in covered)),
    )


def _covered(application_ids: Sequence[int], risks: Collection[int], now: datetime) -> dict[int, dict[int, datetime]]:
    """{application: {risk: until when a decision covers it there}}."""
    rows = Exposure.objects.filter(
        application__in=bulk.among(application_ids), risk__in=bulk.among(sorted(risks)), decided_until__gt=now
    ).order_by()
    found: dict[int, dict[int, datetime]] = defaultdict(dict)
    for application, risk, until in rows.values_list("application_id", "risk_id", "decided_until"):
        if application is not None and until is not None:  # the filter says so
            found[application][risk] = min(until, found[application].get(risk, until))
    return dict(found)


def _looked_for(kind: FindingKind, image_ids: Sequence[int]) -> set[int]:
    """Those of the images in which a finished scan looked for findings of that kind."""
    scans = Scan.objects.filter(image__in=bulk.among(image_ids), status=ScanStatus.FINISHED, is_complete=True)
    told = scans.annotate(words=Cast("covers", TextField())).filter(words__contains=f'"{kind.value}"').order_by()
    return {pk for pk in told.values_list("image_id", flat=True).distinct() if pk is not None}


_IMAGES: Final = Shown(
    slugs=application_slugs,
    page="/images/",
    noun="image",
    plural="images",
    nothing="It has no image yet: nothing was reported or pushed to its repositories, and nothing of it runs.",
)
COUNTINGS: Final = (
    Counting(
        name="images-scanned",
        about="The newest images, and those that run, were scanned whole within the last 30 days.",
        measure=_scanned,
        kept="scanned within the last 30 days",
        lacking="not scanned within the last 30 days",
        of=_IMAGES,
    ),
    Counting(
        name="sbom-known",
        about="The contents of the newest images, and of those that run, are known (an SBOM).",
        measure=_known,
        kept="with known contents",
        lacking="without known contents",
        of=_IMAGES,
    ),
    Counting(
        name="no-secrets",
        about="A scan looked for secrets in the newest images and in those that run, and none stands open.",
        measure=_free_of(FindingKind.SECRET, Severity.UNKNOWN),
        kept="looked through for secrets, and free of them",
        lacking="with a secret in it",
        untold="not looked through for secrets",
        of=_IMAGES,
    ),
    Counting(
        name="no-malware",
        about="A scan looked for malware in the newest images and in those that run, and none stands open.",
        measure=_free_of(FindingKind.MALWARE, Severity.UNKNOWN),
        kept="looked through for malware, and free of it",
        lacking="with malware in it",
        untold="not looked through for malware",
        of=_IMAGES,
    ),
    Counting(
        name="images-well-configured",
        about="A scan looked at the configuration of these images, and no misconfiguration of high severity is open.",
        measure=_free_of(FindingKind.MISCONFIGURATION, Severity.HIGH),
        kept="without a misconfiguration of high severity",
        lacking="with a misconfiguration of high severity",
        untold="not looked at for misconfigurations",
        of=_IMAGES,
    ),
)
