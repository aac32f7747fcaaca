"""Signing and looking on behalf of somebody: asked for, done by a worker, and kept for whoever reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotFound
from secguard.images.models import Image, ImageRepository, Repository
from secguard.images.services import pusher_of
from secguard.jobs import services as jobs
from secguard.jobs.models import Job
from secguard.jobs.registry import Run
from secguard.signing import queries
from secguard.signing.models import Signature, SigningKey
from secguard.signing.services.images import attest, look, sign_image
from secguard.signing.services.keys import require_signing
from secguard.signing.statements import Statement
from secguard.signing.verification import Judged

WORK = queries.WORK
MAX_PLACES = 500
STATEMENTS: list[Callable[[Image, Repository, datetime], Sequence[Statement]]] = []
"""What upper apps say of an image in a repository, to be signed and put beside it; they add themselves."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Sign with the key of that name and look at what is there; without a name, only look.

    ``attest``: put the verdict, the decisions in force and the SBOM beside the image too.
    """

    repository: str
    key: str = ""
    attest: bool = False


@transaction.atomic
def ask(image: Image, asked: Ask, *, actor: User | None) -> Job:
    """Have a worker sign an image where it lies. Needs signature:request in the team that owns the repository.

    Raises ``NotFound`` where the image does not lie in that repository or no key of that name signs, ``Invalid`` where
    nobody set the registry up, and ``Conflict`` while a worker does something else with the same image.
    """
    repository = _repository(image, asked.repository, actor)
    require(actor, Permission.SIGNATURE_REQUEST, team_id=_team(repository))
    if repository.registry.configured_at is None:
        raise Invalid(
            f"Workers do not connect to {repository.registry.host}: nobody has set that registry up here.",
            code="registry-not-set-up",
            where="repository",
        )
    key = _signing_key(asked.key) if asked.key else None
    if asked.attest and key is None:
        raise Invalid("Attestations are signed: name the key.", where="key")
    args = {"repository": repository.pk, "image": image.pk, "key": key.pk if key else None, "attest": asked.attest}
    job = jobs.enqueue(WORK, args, key=queries.job_key(repository, image.digest))
    if job.args != args:
        raise Conflict("A worker signs this image with another key, or looks at it, just now. Ask again in a moment.")
    if key is not None:
        record(
            Action.SIGNATURE_REQUEST,
            actor=actor,
            subject_type="image",
            subject_id=image.pk,
            subject=f"{repository.name}@{image.digest}",
            team_id=_team(repository),
            details={"key": key.name, "fingerprint": key.fingerprint, "attestations": asked.attest},
        )
    return job


def latest_job(image: Image, repository_name: str = "", *, actor: User) -> Job | None:
    """What became of the latest request, in one repository or in any that ``actor`` may see; None where there is none.

    Raises ``NotFound`` where the image does not lie in that repository.
    """
    if repository_name:
        places = [_repository(image, repository_name, actor)]
    else:
        lying = ImageRepository.objects.filter(image=image).values("repository")
        places = list(Repository.objects.visible_to(actor).filter(pk__in=lying)[:MAX_PLACES])
    keys = [queries.job_key(place, image.digest) for place in places]
    return Job.objects.filter(kind=WORK, key__in=keys).order_by("-pk").first()


def work(run: Run) -> Mapping[str, Any]:
    """The job: sign where a key is named, look at what is there, keep it."""
    repository = Repository.objects.select_related("registry").get(pk=run.args["repository"])
    image, key_id = Image.objects.get(pk=run.args["image"]), run.args["key"]
    digest = image.digest
    with pusher_of(repository.registry, run.require_lease) as client:
        if key_id is not None:
            run.progress("Signing")
            key = require_signing(SigningKey.objects.get(pk=key_id))
            sign_image(client, repository, digest, key)
            if run.args["attest"]:
                run.progress("Attesting")
                said = [s for say in STATEMENTS for s in say(image, repository, timezone.now())]
                attest(client, repository, digest, said, key)
        run.progress("Looking at the signatures")
        now = timezone.now()
        found = look(client, repository, digest, now)
    keep(repository, digest, found, now)
    kept = Signature.objects.filter(repository=repository, digest=digest, gone_at=None).with_standing()
    return {"signatures": len(kept), "trusted": sum(row.standing_at(now) == "trusted" for row in kept)}


@transaction.atomic
def keep(repository: Repository, digest: str, found: Sequence[Judged], now: datetime) -> None:
    """Keep what was seen: the same again is one row, and what is missing now is marked as gone."""
    rows = {judged.seen.identity: _row(repository, digest, judged, now) for judged in found}
    Signature.objects.bulk_create(
        rows.values(),
        update_conflicts=True,
        unique_fields=["digest", "repository", "identity"],
        update_fields=["problem", "signing_key", "trusted_key", "verified_at", "gone_at"],
    )
    there = Signature.objects.filter(repository=repository, digest=digest)
    there.filter(gone_at__isnull=True).exclude(identity__in=rows).update(gone_at=now)


def _row(repository: Repository, digest: str, judged: Judged, now: datetime) -> Signature:
    seen, party = judged.seen, judged.party
    return Signature(
        repository=repository,
        digest=digest,
        identity=seen.identity,
        form=seen.form,
        place=seen.place[:150],
        predicate_type=seen.predicate_type[:255],
        docker_reference=seen.docker_reference[:511],
        problem=judged.why[:500] if judged.standing == "invalid" else "",
        signing_key_id=party.signing_key_id if party else None,
        trusted_key_id=party.trusted_key_id if party else None,
        first_seen_at=now,
        verified_at=now,
    )


def _repository(image: Image, name: str, actor: User | None) -> Repository:
    places = ImageRepository.objects.filter(image=image).values("repository")
    seen = Repository.objects.visible_to(actor) if actor else Repository.objects.all()
    found = seen.filter(pk__in=places, name=name).select_related("registry", "application").first()
    if found is None:
        raise NotFound(
            f"The image does not lie in a repository {name[:300]!r} that you may see.",
            code="no-repository",
            where="repository",
        )
    return found


def _signing_key(name: str) -> SigningKey:
    found = SigningKey.objects.signing_images().filter(name=name).first()
    if found is None:
        raise NotFound(f"No key {name[:80]!r} signs.", code="no-such-key", where="key")
    return found


def _team(repository: Repository) -> int | None:
    return repository.application.team_id if repository.application else None
