"""``decisions.queries.REACH``: the gates that a decision would turn, and the environments of what it covers."""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec
from django.db.models import Count, F, QuerySet
from django.utils import timezone

from secguard.accounts.models import User, owner_filter
from secguard.bulk import among
from secguard.decisions.queries.reach import EnvironmentReach, Reach, Turn
from secguard.decisions.queries.scopes import Scope, places_with
from secguard.decisions.scope import ScopeKind
from secguard.images.models import Image, ImageRepository, IndexImage
from secguard.policies import facts as fact_bytes
from secguard.policies.evaluation import RECALLED, PolicyRef, evaluate
from secguard.policies.facts import DecisionFact, Facts
from secguard.policies.language import Each, Effect, Policy
from secguard.policies.models import Verdict
from secguard.policies.services import active_version, rules_in_force
from secguard.promotion.models import Environment
from secguard.signing.models import Attestation
from secguard.signing.statements import PROMOTION
from secguard.workloads.models import Workload

MAX_REPOSITORIES: Final = 5_000
COUNTS: Final = "counts"
"""The record of a condition that asks of all findings together."""
SHOWN: Final = 20
AT_ONCE: Final = 50
_REF = PolicyRef(name="", version=0)


class _Found(msgspec.Struct, frozen=True):
    risk: int


class _Reason(msgspec.Struct, frozen=True):
    rule: str
    effect: str
    error: str
    findings: tuple[_Found, ...]


class _Document(msgspec.Struct, frozen=True):
    """Of a verdict's document what is read here."""

    reasons: tuple[_Reason, ...]


_READER: Final = msgspec.json.Decoder(_Document)


class _Lead(NamedTuple):
    """A repository, and its newest image."""

    image: int
    digest: str
    name: str


def reach(risk_ids: Sequence[int], scope: Scope, kind: str, user: User, seconds: float) -> Reach:
    """Judges what stood at the latest verdict of each gate once more, as if the decision were approved.

    Only the newest images of repositories that ``user`` may see, and only answers that are no pass already. Within
    ``seconds``: what was not looked at by then is told. Seven queries, and two for each fifty images that do not pass.
    """
    until, now = time.monotonic() + seconds, timezone.now()
    places = places_with(risk_ids, scope, user)
    leads = places.filter(repository__newest_image=F("image_id")).order_by("image_id", "repository_id")
    rows = leads.values_list("image_id", "image__digest", "repository__name")[:MAX_REPOSITORIES]
    found = _Looking([_Lead(*row) for row in rows], leads.count(), frozenset(risk_ids), kind, now)
    found.leave_out(_with_others([lead.image for lead in found.leads]) if scope.kind in _NARROW else set())
    found.look(until)
    return found.reach(_standing(places, user, now), _clusters(places, user))


_NARROW = (ScopeKind.REPOSITORY, ScopeKind.APPLICATION)
"""What one team decides for itself."""


def _with_others(images: Sequence[int]) -> set[int]:
    """Those of the images that lie with several teams: what one of them decides turns nothing yet."""
    rows = ImageRepository.objects.filter(image__in=among(images), repository__application__isnull=False)
    teams = rows.values("image_id").annotate(n=Count("repository__application__team_id", distinct=True))
    return set(teams.filter(n__gt=1).values_list("image_id", flat=True))


def _standing(places: QuerySet[ImageRepository], user: User, now: datetime) -> dict[str, int]:
    """{environment: covered images that were promoted there and still stand}, themselves or with their index; of what
    lies in repositories of the user's teams."""
    images = Image.objects.filter(pk__in=places.values("image_id"))
    indexes = IndexImage.objects.filter(image__in=places.values("image_id"))
    theirs = owner_filter(user, "repository__application")
    standing = Attestation.objects.standing(now).filter(theirs, predicate_type=PROMOTION).order_by()
    own = standing.filter(digest__in=images.values("digest")).values_list("environment", "digest")
    whole = standing.filter(digest__in=indexes.values("index__digest")).values_list("environment", "digest")
    return Counter(environment for environment, _ in {*own, *whole})


def _clusters(places: QuerySet[ImageRepository], user: User) -> tuple[tuple[str, int], ...]:
    running = Workload.objects.running().visible_to(user).filter(images__in=places.values("image_id"))
    counted = running.order_by().values_list("cluster__name").annotate(n=Count("pk", distinct=True))
    return tuple(counted.order_by("-n", "cluster__name")[:SHOWN])


class _Looking:
    """The gates of repositories' newest images, as they are and as they would be."""

    def __init__(self, leads: list[_Lead], count: int, risks: frozenset[int], kind: str, now: datetime) -> None:
        self.leads, self._of, self._risks, self._now = leads, count, risks, now
        self._decision = DecisionFact(id=0, kind=kind)
        version = active_version()
        self._rules, self._version = rules_in_force(version), version.pk
        # Rules that ask of each finding alone: what one says of a finding no other finding changes.
        alone = (rule for rule in self._rules.rules if rule.each is Each.FINDING and COUNTS not in rule.when)
        self._alone = frozenset(rule.id for rule in alone) if not version.stages else frozenset()
        self._shared: set[int] = set()
        self._names: dict[int, list[_Lead]] = {}
        for lead in leads:
            self._names.setdefault(lead.image, []).append(lead)
        self._looked = 0
        self._turns: list[Turn] = []

    def leave_out(self, images: set[int]) -> None:
        self._shared = images & self._names.keys()
        self._looked = sum(len(self._names[image]) for image in self._shared)

    def look(self, until: float) -> None:
        images = [image for image in self._names if image not in self._shared]
        for start in range(0, len(images), AT_ONCE):
            chunk = images[start : start + AT_ONCE]
            refused: dict[int, list[Verdict]] = {image: [] for image in chunk}
            rows = Verdict.objects.filter(image__in=chunk).exclude(verdict="pass").order_by("image_id", "stage")
            for verdict in rows.select_related("evaluation__input"):
                refused[verdict.image_id].append(verdict)
            for image, verdicts in refused.items():
                if time.monotonic() >= until:
                    return
                self._turns += self._of_image(image, verdicts)
                self._looked += len(self._names[image])

    def _of_image(self, image: int, verdicts: Sequence[Verdict]) -> Iterator[Turn]:
        bodies: dict[int, Facts] = {}
        for verdict in verdicts:
            kept = verdict.evaluation
            if self._is_refused_anyhow(verdict):
                continue
            if kept.input_id not in bodies:
                raw = zlib.decompress(kept.input.body)
                bodies[kept.input_id] = fact_bytes.rejoined(raw, kept.stage, kept.scans)
            facts = msgspec.structs.replace(bodies[kept.input_id], stage=fact_bytes.Gate(verdict.stage))
            was, would = self._turned(facts, verdict.verdict)
            if was != would:
                for lead in self._names[image]:
                    yield Turn(verdict.stage, was, would, lead.name, lead.digest)

    def _is_refused_anyhow(self, verdict: Verdict) -> bool:
        """Whether a verdict that holds names another risk, by a rule that asks of each finding alone, or a recall: then
        it blocks whatever is decided here, and need not be judged again. Most that block do."""
        kept = verdict.evaluation
        if verdict.verdict != Effect.BLOCK or kept.policy_version_id != self._version or kept.valid_until <= self._now:
            return False
        reasons = _READER.decode(zlib.decompress(kept.document)).reasons
        return any(
            r.rule == RECALLED
            or (r.rule in self._alone and not r.error and any(f.risk not in self._risks for f in r.findings))
            for r in reasons
            if r.effect == Effect.BLOCK
        )

    def _turned(self, facts: Facts, stored: str) -> tuple[str, str]:
        """What is answered, and what would be. What only time has turned since is not the decision's doing."""
        covered = tuple(
            msgspec.structs.replace(f, decision=self._decision) if f.risk in self._risks and f.decision is None else f
            for f in facts.findings
        )
        would = _answer(self._rules, msgspec.structs.replace(facts, findings=covered), self._now)
        return (stored, would) if would == stored else (_answer(self._rules, facts, self._now), would)

    def reach(self, standing: Mapping[str, int], clusters: tuple[tuple[str, int], ...]) -> Reach:
        gates = Counter((t.gate, t.was, t.would) for t in self._turns)
        opened = Counter(t.gate for t in self._turns if t.was == "block")
        every = enumerate(Environment.objects.order_by("position"))
        environments = [
            EnvironmentReach(e.name, standing.get(e.name, 0), opened[e.gate] if at else 0) for at, e in every
        ]
        return Reach(
            turns=tuple(sorted(self._turns, key=_first_to_open)[:SHOWN]),
            gates=dict(sorted(gates.items())),
            environments=tuple(e for e in environments if e.images or e.opens),
            clusters=clusters,
            looked=self._looked,
            of=self._of,
            shared=sum(len(self._names[image]) for image in self._shared),
        )


def _answer(rules: Policy, facts: Facts, now: datetime) -> str:
    return str(evaluate(rules, facts, now, policy_ref=_REF).verdict)


def _first_to_open(turn: Turn) -> tuple[bool, str, str]:
    return (turn.was != "block", turn.repository, turn.gate)
