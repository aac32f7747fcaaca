"""What scans know of an application's images, for its checklist (``planning.checks``).

Looked at is the newest image of each of its repositories, and every image that its workloads run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Exists, Max, OuterRef, Q, QuerySet, Subquery, TextField
from django.db.models.functions import Cast

from secguard import bulk
from secguard.accounts.queries import application_slugs
from secguard.findings.identity import FindingKind
from secguard.findings.models import Exposure, Finding
from secguard.findings.severity import Severity
from secguard.images.models import Image, ImageComponent, ImageRepository
from secguard.images.queries import newest_images
from secguard.planning.checks import Covered
from secguard.planning.counting import Counting, Measure, Rows, Shown, soonest
from secguard.scans.inspection import checks
from secguard.scans.lifecycle import ScanStatus
from secguard.scans.models import Scan
from secguard.scans.report import OWN_SCANNER
from secguard.workloads.queries import images_running

OLD: Final = timedelta(days=30)
"""An image that was not scanned for longer counts as not scanned."""
RENEWED: Final = timedelta(days=30)
"""So long after a newer base came, what is built on the old one has to be built anew."""


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


def _of_kind(kind: FindingKind, least: Severity) -> Q:
    return Q(risk__kind=kind, severity__gte=least)


def _of_checks(kind: FindingKind, ids: Collection[str]) -> Q:
    return Q(risk__kind=kind, risk__rule__in=ids)


def _free_of(kind: FindingKind, least: Severity) -> Measure:
    """Measures which images have an open finding of a kind that no decision covers, and which nobody looked at for
    such. Five queries."""
    return _free(_of_kind(kind, least), lambda images: _looked_for(kind, images))


def _passed(kind: FindingKind, ids: Collection[str]) -> Measure:
    """The same, of some checks of our own scan, which alone looks for just these."""
    return _free(_of_checks(kind, ids), lambda images: _looked_for(kind, images, scanner=OWN_SCANNER))


def _free(of: Q, looked_at: Callable[[Sequence[int]], Collection[int]]) -> Measure:
    """``of``: which findings count; ``looked_at``: which of some images somebody looked at for such."""

    def measure(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
        images = images_of(application_ids)
        wanted = _all(images)
        pairs = _found(of, wanted)
        covered = _covered(application_ids, {risk for _, risk in pairs}, now)
        looked = looked_at(wanted)
        return {pk: _rows(several, pairs, covered.get(pk, {}), looked) for pk, several in images.items()}

    return measure


def _covering(of: Q) -> Covered:
    """Which decisions cover what ``_free`` would count without them. Four queries."""

    def covering(application_ids: Sequence[int], now: datetime) -> dict[int, set[int]]:
        risks = {risk for _, risk in _found(of, _all(images_of(application_ids)))}
        rows = _decided(application_ids, risks, now).values_list("application_id", "decision_id").distinct()
        found: dict[int, set[int]] = defaultdict(set)
        for application, decision in rows:
            if application is not None and decision is not None:
                found[application].add(decision)
        return dict(found)

    return covering


def _found(of: Q, image_ids: Sequence[int]) -> list[tuple[int, int]]:
    """(image, risk) of what stands open in the images."""
    findings = Finding.objects.open().filter(of, image__in=bulk.among(image_ids))
    return list(findings.order_by().values_list("image_id", "risk_id").distinct())


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
    rows = _decided(application_ids, risks, now)
    found: dict[int, dict[int, datetime]] = defaultdict(dict)
    for application, risk, until in rows.values_list("application_id", "risk_id", "decided_until"):
        if application is not None and until is not None:  # the filter says so
            found[application][risk] = min(until, found[application].get(risk, until))
    return dict(found)


def _decided(application_ids: Sequence[int], risks: Collection[int], now: datetime) -> QuerySet[Exposure]:
    return Exposure.objects.filter(
        application__in=bulk.among(application_ids), risk__in=bulk.among(sorted(risks)), decided_until__gt=now
    ).order_by()


def _looked_for(kind: FindingKind, image_ids: Sequence[int], scanner: str = "") -> set[int]:
    """Those of the images in which a finished scan (of one scanner) looked for findings of that kind."""
    scans = Scan.objects.filter(image__in=bulk.among(image_ids), status=ScanStatus.FINISHED, is_complete=True)
    if scanner:
        scans = scans.filter(scanner=scanner)
    told = scans.annotate(words=Cast("covers", TextField())).filter(words__contains=f'"{kind.value}"').order_by()
    return {pk for pk in told.values_list("image_id", flat=True).distinct() if pk is not None}


# --- what it is built on ---


def _base_current(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
    """Which images are built on an image that is known here, and that had no newer one for long. Four queries."""
    images = images_of(application_ids)
    based: Any = Image.objects.filter(pk__in=bulk.among(_all(images)), base_image__isnull=False).order_by()
    base_of = dict(based.values_list("pk", "base_image_id"))
    replaced = _replaced(sorted(set(base_of.values())))
    since = {image: replaced[base] for image, base in base_of.items() if base in replaced}
    old = {image for image, at in since.items() if at <= now - RENEWED}
    return {
        pk: Rows(
            total=frozenset(several),
            lacking=frozenset(several & old),
            untold=frozenset(several - base_of.keys()),
            changes_at=soonest(*(since[i] + RENEWED for i in several if i in since and i not in old)),
        )
        for pk, several in images.items()
    }


def _replaced(base_ids: Sequence[int]) -> dict[int, datetime]:
    """{base: when the first that is newer came into a repository that holds it, of the same platform}; as
    ``images.queries.newest_of_kind`` finds it."""
    newer = ImageRepository.objects.filter(
        repository=OuterRef("repository"),
        first_seen_at__gt=OuterRef("first_seen_at"),
        image__architecture=OuterRef("image__architecture"),
        image__variant=OuterRef("image__variant"),
        image__last_scanned_at__isnull=False,
    ).exclude(image=OuterRef("image"))
    places = ImageRepository.objects.filter(image__in=bulk.among(base_ids)).order_by()
    first = Subquery(newer.order_by("first_seen_at", "id").values("first_seen_at")[:1])
    found: dict[int, datetime] = {}
    for base, at in places.annotate(at=first).values_list("image_id", "at"):
        if at is not None:
            found[base] = min(at, found.get(base, at))
    return found


_IMAGES: Final = Shown(
    slugs=application_slugs,
    page="/images/",
    noun="image",
    plural="images",
    nothing="It has no image yet: nothing was reported or pushed to its repositories, and nothing of it runs.",
)
_CONFIGURATION, _LEANNESS = FindingKind.MISCONFIGURATION, FindingKind.HYGIENE
_OWN_CHECKS: Final = (
    (
        "images-non-root",
        _CONFIGURATION,
        (checks.RUNS_AS_ROOT.id, checks.SECOND_ROOT.id, checks.EMPTY_PASSWORD.id),
        "none starts as root or has another way to be it",
        "with a user that is not root",
        "that start as root, or have a second root or an account without a password",
    ),
    (
        "images-health-checked",
        _CONFIGURATION,
        (checks.NO_HEALTHCHECK.id,),
        "each says how its health is checked",
        "with a health check",
        "without a health check",
    ),
    (
        "images-updated-whole",
        _CONFIGURATION,
        (checks.UPDATE_ALONE.id,),
        "none updates its lists of packages in a layer of their own",
        "updated and installed in one step",
        "that update lists of packages in a layer of their own",
    ),
    (
        "images-nothing-fetched",
        _CONFIGURATION,
        (checks.ADD_OF_URL.id,),
        "no ADD of theirs fetches from an address",
        "without an ADD from an address",
        "with an ADD from an address",
    ),
    (
        "images-no-administration",
        _CONFIGURATION,
        (checks.ADMIN_PORT.id,),
        "none exposes a port of administration or debugging",
        "without a port of administration",
        "with a port of administration or debugging",
    ),
    (
        "images-base-pinned",
        _CONFIGURATION,
        (checks.UNPINNED_BASE.id,),
        "none names its base by a tag that moves",
        "on a base that is pinned",
        "on a base that is named by a tag that moves",
    ),
    (
        "images-packages-verified",
        _CONFIGURATION,
        (checks.PIPED_SHELL.id, checks.UNSIGNED_PACKAGES.id),
        "none runs what it fetches, or installs without looking at signatures",
        "built of packages whose signatures count",
        "that install what nobody verified",
    ),
    (
        "images-no-set-id",
        _CONFIGURATION,
        (checks.SET_ID.id, checks.SET_ID_OF_DISTRIBUTION.id),
        "none has a program that runs with another's rights",
        "without set-id programs",
        "with set-id programs",
    ),
    (
        "images-lean",
        _LEANNESS,
        (checks.BUILD_TOOLS.id, checks.NETWORK_TOOLS.id, checks.SEVERAL_SERVICES.id, checks.LEFTOVERS.id),
        "none carries compilers, tools to fetch or probe, several services, or what is left of the build",
        "with nothing but what they need",
        "with more in them than they need",
    ),
)
"""(name, kind of finding, checks of docs/checks.md, what is so, words where it is, words where it is not)."""
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
        covered=_covering(_of_kind(FindingKind.SECRET, Severity.UNKNOWN)),
        kept="looked through for secrets, and free of them",
        lacking="with a secret in it",
        untold="not looked through for secrets",
        of=_IMAGES,
    ),
    Counting(
        name="no-malware",
        about="A scan looked for malware in the newest images and in those that run, and none stands open.",
        measure=_free_of(FindingKind.MALWARE, Severity.UNKNOWN),
        covered=_covering(_of_kind(FindingKind.MALWARE, Severity.UNKNOWN)),
        kept="looked through for malware, and free of it",
        lacking="with malware in it",
        untold="not looked through for malware",
        of=_IMAGES,
    ),
    Counting(
        name="images-well-configured",
        about="A scan looked at the configuration of these images, and no misconfiguration of high severity is open.",
        measure=_free_of(FindingKind.MISCONFIGURATION, Severity.HIGH),
        covered=_covering(_of_kind(FindingKind.MISCONFIGURATION, Severity.HIGH)),
        kept="without a misconfiguration of high severity",
        lacking="with a misconfiguration of high severity",
        untold="not looked at for misconfigurations",
        of=_IMAGES,
    ),
    Counting(
        name="images-base-current",
        about="These images are built on images that are known here, and that had no newer one for over 30 days.",
        measure=_base_current,
        kept="on a base that is current",
        lacking="on a base that had a newer one for over 30 days",
        untold="whose base is not known here",
        of=_IMAGES,
    ),
    *(
        Counting(
            name=name,
            about=f"SecGuard's own scan looked at these images; {about}.",
            measure=_passed(kind, ids),
            covered=_covering(_of_checks(kind, ids)),
            kept=kept,
            lacking=lacking,
            untold="not looked at by SecGuard's own scan",
            of=_IMAGES,
        )
        for name, kind, ids, about, kept, lacking in _OWN_CHECKS
    ),
)
