"""Whose signatures count where, which public keys are served, and what lies beside an image."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import F, Max, Q

from secguard import patterns
from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.errors import NotFound
from secguard.images.models import Image, Repository
from secguard.jobs import lifecycle
from secguard.jobs.models import Job
from secguard.signing import ecdsa
from secguard.signing.models import Signature, SigningKey, TrustedKey
from secguard.signing.verification import Party

WORK = "signing.work"
"""The kind of job that signs and looks."""
MAX_PLACES = 20
MAX_SIGNATURES = 200


def parties(repository: str, now: datetime) -> list[Party]:
    """Everybody whose signature counts in ``repository`` (host/path) at ``now``; ours first. Two queries."""
    ours = [
        Party(key.name, ecdsa.load_public(key.public_pem), signing_key_id=key.pk)
        for key in SigningKey.objects.counting(now)
    ]
    return ours + [
        Party(key.name, ecdsa.load_public(key.public_pem), trusted_key_id=key.pk)
        for key in TrustedKey.objects.counting(now).order_by("name", "pk")
        if patterns.matches(key.repositories, repository)
    ]


def signer_names(now: datetime) -> list[str]:
    """Whose signatures may be asked for: the lines of our keys that count at ``now``, and those who are trusted."""
    ours = SigningKey.objects.counting(now).values_list("name", flat=True)
    theirs = TrustedKey.objects.counting(now).values_list("name", flat=True)
    return sorted({*ours, *theirs})


def served_pem(name: str, now: datetime) -> str:
    """The public keys of the line ``name`` that count, the one that signs first; or the one with that fingerprint.

    A fingerprint is written ``sha256-<hex>`` here. Raises ``NotFound``, also for keys that count no more.
    """
    rows = SigningKey.objects.counting(now)
    found = (
        rows.filter(fingerprint=name.replace("sha256-", "sha256:", 1)) if _is_print(name) else rows.filter(name=name)
    )
    pem = "".join(key.public_pem for key in found)
    if not pem:
        raise NotFound(
            f"No key {name[:80]!r} counts here: there is none of that name, or it was retired or revoked.",
            code="no-such-key",
        )
    return pem


def _is_print(name: str) -> bool:
    return name.startswith("sha256-") and len(name) == 71


# --- beside an image ---


def job_key(repository: Repository, digest: str) -> str:
    """One worker at a time signs, or looks at, a digest in a repository."""
    return f"{repository.pk}@{digest}"


@dataclass(slots=True)
class Place:
    """A repository where an image lies, and what was seen beside it there."""

    repository: Repository
    may_ask: bool = False
    """Whether the reader may have a worker sign the image here, or look."""
    signatures: list[Signature] = field(default_factory=list)
    job: Job | None = None
    """The latest request."""
    looked_at: datetime | None = None

    @property
    def is_busy(self) -> bool:
        return self.job is not None and self.job.status in lifecycle.OPEN

    @property
    def is_set_up(self) -> bool:
        """Whether workers connect to its registry."""
        return self.repository.registry.configured_at is not None


def beside(image: Image, user: User) -> list[Place]:
    """What lies beside the image as last looked, in every repository that ``user`` may see. Four queries."""
    rows = Repository.objects.visible_to(user).filter(places__image=image)
    found = rows.select_related("registry", "application").order_by("name")[:MAX_PLACES]
    teams = user.teams_with(Permission.SIGNATURE_REQUEST)
    places = {r.pk: Place(r, image.is_digest_asserted and _may(r, teams)) for r in found}
    seen = Signature.objects.filter(digest=image.digest, repository__in=list(places)).with_standing()
    # What is there before what is gone, the last seen first.
    for row in seen.order_by(F("gone_at").desc(nulls_first=True), "-first_seen_at", "pk")[:MAX_SIGNATURES]:
        place = places[row.repository_id]
        place.signatures.append(row)
        place.looked_at = max(place.looked_at or row.verified_at, row.verified_at, row.gone_at or row.verified_at)
    _add_jobs(places, image.digest)
    return list(places.values())


def _may(repository: Repository, teams: Collection[int] | None) -> bool:
    return teams is None or (repository.application is not None and repository.application.team_id in teams)


def _add_jobs(places: dict[int, Place], digest: str) -> None:
    """The latest job of each place, and when a worker last looked there: it may have found nothing."""
    keys = {job_key(place.repository, digest): place for place in places.values()}
    jobs = Job.objects.filter(kind=WORK, key__in=list(keys))
    done: Any = jobs.order_by().values("key")
    looked = done.annotate(last=Max("pk"), at=Max("finished_at", filter=Q(status=lifecycle.Status.SUCCEEDED)))
    latest: dict[int, Place] = {}
    for row in looked:
        place = keys[row["key"]]
        latest[row["last"]] = place
        times = [at for at in (place.looked_at, row["at"]) if at is not None]
        place.looked_at = max(times, default=None)
    for pk, job in Job.objects.in_bulk(list(latest)).items():
        latest[pk].job = job


def signing_names() -> list[str]:
    """The names of the keys that sign images. One query."""
    return list(SigningKey.objects.signing_images().order_by("name").values_list("name", flat=True))
