"""What a promotion says of its digests at the destination, signed; and that the destination shows all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from secguard.errors import Conflict
from secguard.images.adapters import copying
from secguard.images.adapters.transfers import told
from secguard.policies.queries import statements_of
from secguard.promotion import queries
from secguard.promotion.lifecycle import Step
from secguard.promotion.queries import Judged
from secguard.promotion.services.way import Found, Way
from secguard.signing import statements
from secguard.signing.services import Prepared, beside, images_of, lacking, look, prepare
from secguard.signing.statements import Promoted, Statement, Subject
from secguard.signing.verification import Judged as Seen

_TICK = 0.25
_AT_ONCE = 4
"""Images of an index that are looked at at the same time."""
Said = Mapping[str, Sequence[bytes]]
"""Digest to what was signed of each statement about it."""


def sign(way: Way, found: Found, judged: Judged) -> list[Prepared]:
    """Sign the digest, and of an index each image in it, and what is said of each: the verdict, the decisions, the
    SBOM and the promotion. What of it lies at the destination already is not signed again."""
    at = datetime.fromisoformat(way.promotion.steps[Step.SIGN.value])
    client, place, images = way.writing, way.destination, images_of(found.whole)
    with ThreadPoolExecutor(_AT_ONCE) as threads, told("destination", client, place.path):
        looks = [threads.submit(beside, client, place, image.digest) for image in images]
        said = _said(way, found, judged, at)
        return [
            prepare(client, place, image, way.key, said[image.digest], seen=look.result())
            for image, look in zip(images, looks, strict=True)
        ]


def _said(way: Way, found: Found, judged: Judged, at: datetime) -> dict[str, list[Statement]]:
    said = {verdict.image.digest: statements_of(verdict, way.destination, at) for verdict in judged.verdicts}
    if found.whole.digest not in said:
        summary = statements_of(judged.worst, way.destination, at)[0]
        said[found.whole.digest] = [_of_index(way, found, summary)]
    for digest, several in said.items():
        subject = Subject(digest, way.destination.name)
        several.append(statements.promotion(subject, _promoted(way, digest, judged, at)))
    return said


def send(way: Way, signed: Sequence[Prepared]) -> None:
    """Send what was signed, where nobody sees it yet."""
    with told("destination", way.writing, way.destination.path):
        for one in signed:
            one.send(way.writing)


def attest(way: Way, signed: Sequence[Prepared]) -> Said:
    """Attach to the digests what was signed."""
    for one in signed:
        way.run.progress(Step.ATTEST.value)
        with told("destination", way.writing, way.destination.path):
            one.attach(way.writing)
    return {one.image.digest: one.said for one in signed}


def _of_index(way: Way, found: Found, summary: Statement) -> Statement:
    """The verdict on an index is the worst of its platforms': whoever runs the index's tag asks for that digest."""
    subject = Subject(found.whole.digest, way.destination.name)
    resource = {"resourceUri": f"{way.destination.name}@{found.whole.digest}"}
    return replace(summary, subjects=(subject,), predicate={**summary.predicate, **resource})


def _promoted(way: Way, digest: str, judged: Judged, at: datetime) -> Promoted:
    promotion = way.promotion
    approval = queries.approvals_of([promotion]).get(promotion.approval_id or 0)
    votes = queries.voters(promotion, approval.counted) if approval else []
    return Promoted(
        environment=promotion.environment.name,
        source=way.source.name,
        destination=way.destination.name,
        digest=digest,
        promoted_at=at,
        asked_by=promotion.requested_by.username if promotion.requested_by else "rule",
        approved_by=votes,
        promotion=f"{settings.PUBLIC_URL.rstrip('/')}/promotions/{promotion.pk}/",
        verdict=judged.worst.verdict,
    )


def read_back(way: Way, found: Found, copied: Sequence[str], said: Said) -> dict[str, list[Seen]]:
    """Everything as the destination answers it: the bytes, and by our key the signature and what was attested."""
    now, seen, client, path = timezone.now(), {}, way.writing, way.destination.path
    with ThreadPoolExecutor(1) as threads:
        verified = threads.submit(copying.verify, client, path, copied)
        for digest in found.digests:
            way.run.progress(Step.READ_BACK.value)
            with told("destination", client, path):
                seen[digest] = look(client, way.destination, digest, now)
        while not verified.done():
            way.run.progress(Step.READ_BACK.value)
            wait([verified], _TICK)
        verified.result()
    for digest, there in seen.items():
        if missing := lacking(there, way.destination, digest, way.key, said.get(digest, ())):
            raise Conflict(
                f"At the destination, {way.destination.name} does not show what was just written beside {digest} "
                f"({'; '.join(missing)}): the registry lost or changed it, or the key counts no more. Nothing was "
                "moved; try it again, and ask who runs the registry where that does not help.",
                code="not-read-back",
            )
    return seen
