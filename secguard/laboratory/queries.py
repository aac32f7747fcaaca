"""What a simulation reads, and the numbers and rows that each person may see of it."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

import django_filters
from django.db.models import Count, Exists, Model, OuterRef, Q, QuerySet, Sum

from secguard import bulk
from secguard.accounts.models import Team, User
from secguard.admission.models import AdmissionDecision
from secguard.decisions.models import Decision
from secguard.decisions.queries.deadlines import vectors_of
from secguard.errors import NotFound
from secguard.images.models import Image, ImageRepository
from secguard.jobs.models import Job
from secguard.laboratory.lifecycle import EACH_TIME, Change, Origin
from secguard.laboratory.models import Redecided, Simulation, Turned
from secguard.laboratory.redeciding import Ends, Needs, Reach, Votes
from secguard.policies import facts as fact_bytes
from secguard.policies.facts import Facts, Gate
from secguard.policies.models import Evaluation, EvaluationInput
from secguard.policies.queries import facts_for
from secguard.promotion.models import Promotion
from secguard.web.filters import ChipFilter, YesNoFilter
from secguard.workloads.models import Workload

__all__ = ["AdmissionDecision", "facts_for"]

GROUPED: Final = 100
"""Lines of one table of numbers; how many more there are is told."""
_M = TypeVar("_M", bound=Model)


# --- what is judged again ---


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose things a simulation judges: those of whoever asked, as they were seen then."""

    teams: frozenset[int] | None
    """``None``: everything."""

    @classmethod
    def of(cls, simulation: Simulation) -> Scope:
        if simulation.is_for_everything:
            return cls(None)
        return cls(frozenset(simulation.teams.values_list("pk", flat=True)))

    def has(self, team: int | None) -> bool:
        return self.teams is None or team in self.teams

    def images(self) -> QuerySet[Image]:
        rows = Image.objects.all()
        return rows if self.teams is None else rows.filter(self._lies_here("pk"))

    def evaluations(self, simulation: Simulation) -> QuerySet[Evaluation]:
        rows = Evaluation.objects.filter(evaluated_at__gte=simulation.since, evaluated_at__lte=simulation.until)
        rows = rows.select_related("policy_version")
        return rows if self.teams is None else rows.filter(self._lies_here("image_id"))

    def admissions(self, simulation: Simulation) -> QuerySet[AdmissionDecision]:
        period = {"last_at__gte": simulation.since, "first_at__lte": simulation.until}
        rows = AdmissionDecision.objects.filter(evaluation__isnull=False, **period)
        rows = rows.select_related("cluster", "evaluation__policy_version")
        return rows if self.teams is None else rows.filter(repository__application__team_id__in=self.teams)

    def promotions(self, simulation: Simulation) -> QuerySet[Promotion]:
        rows = Promotion.objects.filter(requested_at__gte=simulation.since, requested_at__lte=simulation.until)
        rows = rows.exclude(evaluation_ids=[]).select_related("environment")
        return rows if self.teams is None else rows.filter(source__application__team_id__in=self.teams)

    def decisions(self, now: datetime) -> QuerySet[Decision]:
        """Those that wait or are in force."""
        live = Decision.objects.in_force(now) | Decision.objects.waiting().filter(expires_at__gt=now)
        rows = live.select_related("appetite", "risk", "approval").defer("reason")
        return rows if self.teams is None else rows.filter(team_id__in=self.teams)

    def _lies_here(self, image: str) -> Exists:
        teams = self.teams or frozenset()
        places = ImageRepository.objects.filter(repository__application__team_id__in=teams)
        return Exists(places.filter(image=OuterRef(image)))


def batches(images: QuerySet[Image], size: int) -> Iterator[list[Image]]:
    """All rows in the order of their ids, a few at a time."""
    last = 0
    while batch := list(images.filter(pk__gt=last).order_by("pk")[:size]):
        yield batch
        last = batch[-1].pk


def newest_first(rows: QuerySet[_M], size: int) -> Iterator[list[_M]]:
    """All rows, the highest id first, a few at a time."""
    batch = list(rows.order_by("-pk")[:size])
    while batch:
        yield batch
        batch = list(rows.filter(pk__lt=batch[-1].pk).order_by("-pk")[:size])


class Place(NamedTuple):
    repository: int
    name: str
    team: int | None


def places_of(image_ids: Collection[int]) -> dict[int, list[Place]]:
    """The repositories that hold each image, and whose they are."""
    found: dict[int, list[Place]] = defaultdict(list)
    rows = ImageRepository.objects.filter(image__in=image_ids).order_by("repository__name")
    columns = ("image_id", "repository_id", "repository__name", "repository__application__team_id")
    for image, *place in rows.values_list(*columns) if image_ids else ():
        found[image].append(Place(*place))
    return found


def stored_inputs(evaluations: Iterable[Evaluation]) -> dict[int, bytes]:
    """{id: stored facts} of what the evaluations were made from."""
    rows = EvaluationInput.objects.filter(pk__in={e.input_id for e in evaluations})
    return {pk: bytes(body) for pk, body in rows.values_list("pk", "body")}


def facts_then(evaluation: Evaluation, stored: bytes) -> Facts:
    """What an evaluation was made from (``policies.services.replay``)."""
    return fact_bytes.rejoined(zlib.decompress(stored), evaluation.stage, evaluation.scans)


def evaluations_of(promotions: Iterable[Promotion]) -> dict[int, Evaluation]:
    """{id: what was judged} for the promotions, as far as it is kept."""
    wanted = sorted({int(pk) for promotion in promotions for pk in promotion.evaluation_ids})
    rows = Evaluation.objects.filter(pk__in=bulk.among(wanted)).select_related("policy_version")
    return {row.pk: row for row in rows} if wanted else {}


def flaws_of(facts: Iterable[Facts]) -> dict[int, tuple[str, bool]]:
    """{risk id: (CVSS vector, whether a reference leads to an exploit)}, as known now; one query."""
    risks = {finding.risk for one in facts for finding in one.findings if finding.kind == "vulnerability"}
    return vectors_of(sorted(risks)) if risks else {}


def where(answer: AdmissionDecision) -> str:
    """The workload that asked, as one line."""
    workload = f"{answer.workload_kind} {answer.workload_name}".strip()
    return "/".join(part for part in (answer.cluster.name, answer.namespace, workload) if part)


def note_times(simulation: Simulation, times: Counter[tuple[int, str, str, str]]) -> None:
    """Write beside the rows of the gates how often each turned, where that was more than once."""
    last = 0
    rows = Turned.objects.filter(simulation=simulation, origin=Origin.GATE).order_by("pk")
    while batch := list(rows.filter(pk__gt=last)[:500]):
        last = batch[-1].pk
        for row in batch:
            row.times = times.get((row.image_id, row.stage, row.was, row.would), 1)
        Turned.objects.bulk_update([row for row in batch if row.times > 1], ["times"])


# --- what people see ---


def simulation_for(user: User, pk: int) -> Simulation:
    """A simulation that ``user`` may see; raises ``NotFound``."""
    rows = Simulation.objects.visible_to(user).select_related("asked_by", "against__policy")
    found = rows.filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no simulation {pk} that you may see; they are kept for 14 days.")
    return found


def job_of(simulation: Simulation) -> Job | None:
    return Job.objects.filter(pk=simulation.job_id).first() if simulation.job_id else None


def totals_for(user: User, simulation: Simulation) -> dict[str, Any] | None:
    """How much was judged, to who sees all that was; ``None`` for others: it would count what is not theirs."""
    if user.sees_everything:
        return dict(simulation.totals)
    if simulation.is_for_everything or not set(simulation.teams.values_list("pk", flat=True)) <= user.team_ids:
        return None
    return dict(simulation.totals)


class Line(NamedTuple):
    """One line of a table: what it is about, what leads to its rows, and numbers by (origin, change)."""

    label: str
    query: dict[str, str]
    numbers: dict[str, dict[str, int]]

    def number(self, origin: Origin, change: Change) -> int:
        return self.numbers.get(origin.value, {}).get(change.value, 0)


class Table(NamedTuple):
    by: str
    lines: list[Line]
    more: int
    """Lines that are not told."""


_GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "team": ("repository__application__team__slug", "repository__application__team__name"),
    "repository": ("repository_id", "repository__name"),
    "stage": ("stage",),
}
"""What leads to the rows, and what people read, where that is something else."""
NOBODY: Final = "no team"
AT_START: Final = (Gate.ADMIT.value, Gate.RUN.value)


def figures(user: User, simulation: Simulation) -> tuple[dict[str, dict[str, int]], list[Table]]:
    """(numbers over all that ``user`` may see, the same by team, repository, gate and workload).

    An image counts once in each number, however many repositories hold it; a promotion, and an answer to a cluster, as
    often as it was asked for. A fixed number of queries.
    """
    rows = Turned.objects.visible_to(user).filter(simulation=simulation).order_by()
    whole = _numbers(_counted(rows, ()))
    tables = [_table(by, _counted(rows, names)) for by, names in _GROUPS.items()]
    tables.append(_table("environment", _promoted(rows)))
    return whole.get((), {}), [*tables, _table("workload", _of_workloads(user, rows)), _table("where", _asked(rows))]


_Counted = Iterable[tuple[Any, ...]]
"""Rows of: what they are grouped by, then origin, change, number."""


def _counted(rows: QuerySet[Turned], names: tuple[str, ...]) -> _Counted:
    columns = (*names, "origin", "change")
    judged = rows.exclude(origin__in=EACH_TIME).values_list(*columns).annotate(n=Count("image", distinct=True))
    asked = rows.filter(origin__in=EACH_TIME).values_list(*columns).annotate(n=Sum("times"))
    return [*judged, *asked]


_OF_WORKLOADS: Final = Q(origin=Origin.ESTATE, stage__in=AT_START) | Q(origin=Origin.PROMOTION)
"""Images at the gates that a workload passes when it starts anew, and their promotions."""


def _of_workloads(user: User, rows: QuerySet[Turned]) -> _Counted:
    """Those that run now: each image, and each promotion of one, counts once."""
    running = Workload.objects.visible_to(user).running()
    found = rows.filter(_OF_WORKLOADS, image__workloads__in=running.values("pk"))
    parts = [f"image__workloads__{part}" for part in ("cluster__name", "namespace", "kind", "name")]
    counted = found.values_list("image__workloads", *parts, "origin", "change")
    numbers = counted.annotate(images=Count("image", distinct=True), rows=Count("pk", distinct=True))
    for pk, cluster, namespace, kind, name, origin, change, images, times in numbers:
        label = "/".join(part for part in (cluster, namespace, f"{kind} {name}") if part)
        yield pk, label, origin, change, times if origin in EACH_TIME else images


def _promoted(rows: QuerySet[Turned]) -> _Counted:
    promoted = rows.filter(origin=Origin.PROMOTION).values_list("environment", "origin", "change")
    return list(promoted.annotate(n=Sum("times")))


def _asked(rows: QuerySet[Turned]) -> _Counted:
    asked = rows.filter(origin=Origin.ADMISSION).values_list("where", "origin", "change")
    return list(asked.annotate(n=Sum("times")))


def _numbers(counted: _Counted) -> dict[tuple[Any, ...], dict[str, dict[str, int]]]:
    found: dict[tuple[Any, ...], dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for *key, origin, change, n in counted:
        found[tuple(key)][origin][change] = n
    return found


def _table(by: str, counted: _Counted) -> Table:
    """Most blocked first."""
    lines = [_line(by, key, numbers) for key, numbers in _numbers(counted).items()]
    lines.sort(key=lambda line: (-sum(n.get(Change.BLOCKED, 0) for n in line.numbers.values()), line.label))
    return Table(by, lines[:GROUPED], max(0, len(lines) - GROUPED))


def _line(by: str, key: tuple[Any, ...], numbers: dict[str, dict[str, int]]) -> Line:
    return Line(str(key[-1] or NOBODY), {by: "none" if key[0] is None else str(key[0])}, dict(numbers))


def rows_of(user: User, simulation: Simulation) -> QuerySet[Turned]:
    """The turned verdicts that ``user`` may see."""
    rows = Turned.objects.visible_to(user).filter(simulation=simulation)
    return rows.select_related("image", "repository__application__team")


class RowFilter(django_filters.FilterSet):
    """What leads from a number to its rows."""

    change = django_filters.ChoiceFilter(label="Would be", choices=[(c.value, c.value) for c in Change])
    origin = django_filters.ChoiceFilter(
        label="Of",
        choices=[
            ("estate", "images as they are"),
            ("gate", "gates"),
            ("promotion", "promotions"),
            ("admission", "admissions"),
        ],
    )
    stage = django_filters.ChoiceFilter(label="Gate", choices=[(g.value, g.value) for g in Gate])
    team = ChipFilter(label="Team", method="by_team")
    repository = ChipFilter(label="Repository", method="by_repository")
    workload = ChipFilter(label="Workload", method="by_workload")
    environment = ChipFilter(label="Environment", field_name="environment")
    where = ChipFilter(label="Asked by", field_name="where")

    class Meta:
        model = Turned
        fields: list[str] = []

    def by_team(self, rows: QuerySet[Turned], name: str, value: str) -> QuerySet[Turned]:
        if value == "none":
            return rows.filter(repository__application=None)
        return rows.filter(repository__application__team__slug=value)

    def by_repository(self, rows: QuerySet[Turned], name: str, value: str) -> QuerySet[Turned]:
        if value == "none":
            return rows.filter(repository=None)
        return rows.filter(repository_id=int(value)) if is_id(value) else rows.none()

    def by_workload(self, rows: QuerySet[Turned], name: str, value: str) -> QuerySet[Turned]:
        """Of a workload that this person may see; its images at the gates that they pass when they start anew."""
        if not is_id(value):
            return rows.none()
        user: Any = self.request.user if self.request is not None else None
        seen = Workload.objects.visible_to(user).running().filter(pk=int(value))
        return rows.filter(_OF_WORKLOADS, image__in=Image.objects.filter(workloads__in=seen))


# --- decisions, under the draft of a risk appetite ---


class Decided(NamedTuple):
    """Numbers of decisions over all that a person may see, and by team."""

    needs: dict[str, int]
    ends: dict[str, int]
    short: int
    votes: dict[str, int]
    reach: dict[str, int]
    teams: list[tuple[str, int]]
    """(team, decisions that the draft makes something else of), most first."""


def decided(user: User, simulation: Simulation) -> Decided | None:
    """``None`` of the draft of a policy: it moves no decision. Two queries."""
    if simulation.kind != "appetite":
        return None
    rows = Redecided.objects.visible_to(user).filter(simulation=simulation).order_by()
    found = Decided(Counter(), Counter(), 0, Counter(), Counter(), [])
    by_team: Counter[int | None] = Counter()
    columns = ("needs", "ends", "votes", "reach", "decision__team_id")
    for needs, ends, votes, reach, team, n in rows.values_list(*columns).annotate(n=Count("pk")):
        found.needs[needs] += n
        found.ends[ends] += n
        found.votes[votes] += n
        found.reach[reach] += n
        by_team[team] += n
    names = dict(Team.objects.filter(pk__in=[pk for pk in by_team if pk]).values_list("pk", "name"))
    teams = [(names.get(pk or 0, NOBODY), n) for pk, n in by_team.most_common(GROUPED)]
    return Decided(
        {n.value: found.needs[n.value] for n in Needs if n},
        {e.value: found.ends[e.value] for e in Ends if e},
        found.votes[Votes.SHORT.value],
        {v.value: found.votes[v.value] for v in Votes if v},
        {r.value: found.reach[r.value] for r in Reach if r},
        teams,
    )


def redecided_of(user: User, simulation: Simulation) -> QuerySet[Redecided]:
    """The decisions that the draft makes something else of, as far as ``user`` may see them."""
    rows = Redecided.objects.visible_to(user).filter(simulation=simulation)
    return rows.select_related("decision__risk__vulnerability")


class RedecidedFilter(django_filters.FilterSet):
    needs = django_filters.ChoiceFilter(label="Approvals", choices=[(n.value, n.value) for n in Needs if n])
    ends = django_filters.ChoiceFilter(label="End", choices=[(e.value, e.value) for e in Ends if e])
    votes = django_filters.ChoiceFilter(label="Votes", choices=[(v.value, v.value) for v in Votes if v])
    reach = django_filters.ChoiceFilter(label="Who could approve", choices=[(r.value, r.value) for r in Reach if r])
    is_short = YesNoFilter(label="Too few votes")

    class Meta:
        model = Redecided
        fields: list[str] = []


def is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19
