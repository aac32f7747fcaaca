"""Whether what an application runs was promoted, is signed, and was not called back, for its checklist
(``planning.checks``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from secguard import bulk
from secguard.accounts.queries import application_slugs
from secguard.images.models import Image, IndexImage
from secguard.planning.counting import Counting, Rows, Shown, soonest
from secguard.signing.models import Attestation, Recall, Signature
from secguard.signing.statements import COSIGN_SIGNATURE, PROMOTION
from secguard.signing.verification import Standing
from secguard.workloads.queries import images_running

_EVER: Final = datetime.max.replace(tzinfo=UTC)


def _names(image_ids: Collection[int]) -> dict[int, set[str]]:
    """{image: its digest, and those of the indexes that it is a platform of}: either is signed and attested."""
    wanted = sorted(image_ids)
    found: dict[int, set[str]] = defaultdict(set)
    for pk, digest in Image.objects.filter(pk__in=bulk.among(wanted)).values_list("pk", "digest"):
        found[pk].add(digest)
    for pk, digest in IndexImage.objects.filter(image__in=bulk.among(wanted)).values_list("image_id", "index__digest"):
        found[pk].add(digest)
    return dict(found)


def _digests(names: Mapping[int, Collection[str]]) -> list[str]:
    return sorted(set().union(*names.values()))


def _rows(
    running: Mapping[int, set[int]], names: Mapping[int, Collection[str]], until: Mapping[str, datetime]
) -> dict[int, Rows]:
    """``until``: by digest, until when the best that was said of it counts."""
    best = {
        image: max(until[d] for d in digests if d in until)
        for image, digests in names.items()
        if not until.keys().isdisjoint(digests)
    }
    return {
        pk: Rows(
            total=frozenset(images),
            lacking=frozenset(images - best.keys()),
            changes_at=soonest(*(best[i] for i in images if i in best and best[i] is not _EVER)),
        )
        for pk, images in running.items()
    }


def _longest(said: Iterable[tuple[str, datetime | None]]) -> dict[str, datetime]:
    found: dict[str, datetime] = {}
    for digest, until in said:
        found[digest] = max(found.get(digest, until or _EVER), until or _EVER)
    return found


def _promoted(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
    running = images_running(application_ids)
    names = _names(set().union(*running.values()))
    rows = Attestation.objects.standing(now).filter(digest__in=bulk.among(_digests(names)), predicate_type=PROMOTION)
    said = rows.order_by().values_list("digest", "signing_key__counts_until")
    return _rows(running, names, _longest(said))


def _signed(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
    running = images_running(application_ids)
    names = _names(set().union(*running.values()))
    rows = Signature.objects.filter(
        digest__in=bulk.among(_digests(names)), gone_at__isnull=True, predicate_type__in=("", COSIGN_SIGNATURE)
    )
    trusted = [row for row in rows.with_standing() if row.standing_at(now) is Standing.TRUSTED]
    return _rows(running, names, _longest((row.digest, _counts_until(row)) for row in trusted))


def _counts_until(row: Signature) -> datetime | None:
    if row.signing_key is not None:
        return row.signing_key.counts_until
    return row.trusted_key.valid_until if row.trusted_key is not None else None


def _not_recalled(application_ids: Sequence[int], _now: datetime) -> dict[int, Rows]:
    running = images_running(application_ids)
    names = _names(set().union(*running.values()))
    recalled = Recall.objects.standing().filter(digest__in=bulk.among(_digests(names))).order_by()
    digests = set(recalled.values_list("digest", flat=True))
    gone = {image for image, known in names.items() if not digests.isdisjoint(known)}
    return {pk: Rows(total=frozenset(images), lacking=frozenset(images & gone)) for pk, images in running.items()}


_RUNNING: Final = Shown(
    slugs=application_slugs,
    page="/images/",
    noun="running image",
    plural="running images",
    nothing="Nothing of it runs, as far as is known here.",
)
COUNTINGS: Final = (
    Counting(
        name="running-promoted",
        about="Every image that the application's workloads run was promoted, by its digest.",
        measure=_promoted,
        kept="promoted",
        lacking="never promoted",
        of=_RUNNING,
    ),
    Counting(
        name="running-signed",
        about="Every image that the application's workloads run is signed by a key that counts.",
        measure=_signed,
        kept="signed by a key that counts",
        lacking="not signed by a key that counts",
        of=_RUNNING,
    ),
    Counting(
        name="running-not-recalled",
        about="No image that the application's workloads run was called back.",
        measure=_not_recalled,
        kept="not called back",
        lacking="called back",
        of=_RUNNING,
    ),
)
