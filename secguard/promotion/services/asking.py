"""Asking for a promotion: everything that can be known at once is answered at once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission, Role
from secguard.accounts.services import require
from secguard.approvals.models import ApprovalRequest
from secguard.approvals.services import open_requests
from secguard.audit.actions import Action
from secguard.errors import Conflict, Invalid, NotFound
from secguard.images.models import Repository
from secguard.images.reference import parse
from secguard.jobs import services as jobs
from secguard.policies.facts import Gate
from secguard.promotion import queries, route
from secguard.promotion.lifecycle import PromotionEvent, PromotionStatus, Step, after
from secguard.promotion.models import Environment, Promotion
from secguard.promotion.queries import Chosen, Judged, why_blocked
from secguard.promotion.services.recording import note, require_name, require_place, team_of
from secguard.promotion.services.telling import tell_waiting
from secguard.signing.keylife import KeyStatus
from secguard.signing.models import SigningKey

CARRY = "promotion.carry"
_NEAR, _FAR, _MOST = 0.01, 0.05, 0.25
MAX_TAGS = 20


@dataclass(frozen=True, slots=True)
class Ask:
    """Which image (a reference), to which environment, and under which tags there: by default the one it names."""

    image: str
    to: str
    tags: Sequence[str] | None = None


def ask(asked: Ask, *, actor: User | None) -> Promotion:
    """Have an image promoted. Needs promotion:request in the team that owns the repository.

    Returns the promotion: ``running``; ``waiting`` where the environment wants approvals; ``refused`` with the reasons
    where the verdict at its gate blocks. The same that is open already is returned as it is. Raises ``NotFound``,
    ``Invalid``, ``Conflict`` where it was not promoted to the environment before, and ``NotAllowed`` where the
    repository at the destination is another team's.
    """
    chosen = queries.choose(asked.image, actor=actor)
    owner = chosen.repository.application
    require(
        actor,
        Permission.PROMOTION_REQUEST,
        team_id=team_of(chosen.repository),
        application=owner,
        repository=chosen.repository.name,
    )
    environment = queries.environment_named(asked.to)
    tags = _tags(asked)
    place = _destination(chosen, environment, actor)
    _check_route(chosen, environment)
    if (open_one := _open(chosen, environment, place, tags)) is not None:
        return open_one
    judged = queries.judge(chosen.images, Gate(environment.gate))
    try:
        with transaction.atomic():
            return _make(asked, chosen, environment, place, tags, judged, actor)
    except IntegrityError:
        same = _open(chosen, environment, place, tags)
        if same is None:
            raise Conflict("The same was asked for at this moment and has ended; ask again.") from None
        return same


@transaction.atomic
def wait_while_running(pk: int, seconds: float) -> None:
    """Until the promotion has ended or waits for people, or ``seconds`` are over. Outside of a transaction only."""
    running = Promotion.objects.filter(pk=pk, status=PromotionStatus.RUNNING)
    begun = time.monotonic()
    while (steps := running.values_list("steps", flat=True).first()) is not None:
        passed = time.monotonic() - begun
        if passed >= seconds:
            return
        time.sleep(min(_pause(steps, passed), seconds - passed))


def _pause(steps: Mapping[str, str], passed: float) -> float:
    """Seconds until another look is worth while: few before all was copied, as each takes from what the copy needs."""
    least = _NEAR if Step.READ_BACK in steps else _FAR
    return min(max(passed / 40, least), _MOST)


def retry(pk: int, *, actor: User) -> Promotion:
    """Go on with a promotion that failed, where it stopped; or at once with one that waits for its next attempt.

    Raises ``NotFound``, ``Conflict`` where it does neither, or the same was asked for again.
    """
    seen = Promotion.objects.visible_to(actor).filter(pk=pk).values("pk")
    found = Promotion.objects.select_for_update(of=("self",)).filter(pk__in=seen).first()
    if found is None:
        raise NotFound(f"There is no promotion {pk}.")
    require(
        actor,
        Permission.PROMOTION_REQUEST,
        team_id=team_of(found.source),
        application=found.source.application,
        repository=found.source.name,
    )
    require_name(actor, found.destination_name)
    if not (found.status == PromotionStatus.RUNNING and found.job_id and jobs.hurry(found.job_id)):
        _restart(found)
    note(Action.PROMOTION_RETRY, found, actor)
    return found


def _restart(found: Promotion) -> None:
    found.status = after(found.status, PromotionEvent.RETRY).value
    found.why, found.finished_at = "", None
    try:
        with transaction.atomic():
            found.save(update_fields=["status", "why", "finished_at"])
    except IntegrityError:
        raise Conflict(
            f"The same was asked for again: another promotion takes {found.digest} to {found.destination_name} now.",
            code="promotion-open",
        ) from None
    begin(found)


def begin(promotion: Promotion) -> None:
    """Wake a worker for it."""
    job = jobs.enqueue(CARRY, {"promotion": promotion.pk}, key=str(promotion.pk), again=True)
    Promotion.objects.filter(pk=promotion.pk).update(job_id=job.pk)
    promotion.job_id = job.pk


def _make(
    asked: Ask,
    chosen: Chosen,
    environment: Environment,
    place: str,
    tags: list[str],
    judged: Judged,
    actor: User | None,
) -> Promotion:
    now = timezone.now()
    made = Promotion(
        digest=chosen.digest,
        image=chosen.images[0],
        asked_reference=asked.image.strip()[:700],
        source=chosen.repository,
        environment=environment,
        destination_name=place,
        tags=tags,
        requested_by=actor,
        requested_at=now,
        evaluation_ids=judged.evaluation_ids,
    )
    if judged.is_blocked:
        made.status, made.finished_at = PromotionStatus.REFUSED.value, now
        made.why, made.reasons = why_blocked(judged), judged.reasons
    elif environment.approvers:
        made.status = PromotionStatus.WAITING.value
        made.approval = _request(environment, actor)
    made.save(force_insert=True)
    if made.status == PromotionStatus.RUNNING:
        begin(made)
    note(Action.PROMOTION_REQUEST, made, actor, verdict=judged.worst.verdict, status=made.status)
    if made.status == PromotionStatus.WAITING:
        tell_waiting(made, now=now)
    return made


def _request(environment: Environment, actor: User | None) -> ApprovalRequest:
    if actor is None:
        raise Conflict(f"{environment.name} wants approvals: somebody has to ask.", code="needs-requester")
    seats = {Role(role): count for role, count in environment.approvers.items()}
    return open_requests([seats], requester=actor, now=timezone.now())[0]


def _tags(asked: Ask) -> list[str]:
    reference = parse(asked.image)
    wanted = list(asked.tags) if asked.tags is not None else [reference.tag or ("" if reference.digest else "latest")]
    found = list(dict.fromkeys(tag for tag in wanted if tag))
    if len(found) > MAX_TAGS:
        raise Invalid(f"{len(found)} tags; at most {MAX_TAGS} are moved at once.", where="tags")
    for tag in found:
        try:
            is_tag = parse(f"registry.example/x:{tag}").tag == tag
        except Invalid:
            is_tag = False
        if not is_tag:
            raise Invalid(
                f"{tag[:140]!r} is no tag; expected letters, digits, '_', '.' and '-', at most 128.", where="tags"
            )
        if tag.startswith(("sha256-", "sha512-")):
            raise Invalid(f"The tag {tag[:80]!r} is kept for what refers to images.", where="tags")
    return found


def _open(chosen: Chosen, environment: Environment, place: str, tags: list[str]) -> Promotion | None:
    found = Promotion.objects.open().filter(digest=chosen.digest, environment=environment, destination_name=place)
    same = found.first()
    if same is not None and sorted(same.tags) != sorted(tags):
        raise Conflict(
            f"Promotion {same.pk} takes the same digest to {environment.name} under the tags "
            f"{', '.join(same.tags) or 'none'}. Ask again once it has ended.",
            code="promotion-open",
        )
    return same


def _destination(chosen: Chosen, environment: Environment, actor: User | None) -> str:
    stops = queries.stops()
    source = chosen.repository
    if route.is_first(stops, environment.name):
        raise Invalid(
            f"{environment.name} is the first environment: images are pushed to it, and promoted to those after it.",
            code="first-environment",
            where="to",
        )
    for registry in (source.registry, environment.registry):
        if registry.configured_at is None:
            raise Invalid(
                f"Workers do not connect to {registry.host}: nobody has set that registry up here.",
                code="registry-not-set-up",
            )
    if not SigningKey.objects.filter(name=environment.key_name, status=KeyStatus.ACTIVE).exists():
        raise Conflict(
            f"No key {environment.key_name!r} signs, and {environment.name} wants what comes there signed with it. "
            "Make or rotate it, or name another one in the environment.",
            code="no-such-key",
        )
    path = route.destination(stops, source.registry.host, source.path, environment.stop)
    place = f"{environment.registry.host}/{path}"
    require_name(actor, place)
    there = Repository.objects.select_related("application").filter(name=place).first()
    if there is not None:
        require_place(actor, source, there)
    return place


def _check_route(chosen: Chosen, environment: Environment) -> None:
    if why := queries.why_not_yet(chosen.repository, chosen.digest, environment, timezone.now()):
        raise Conflict(why, code="previous-environment")
