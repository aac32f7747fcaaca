"""Holding what sensors saw against the baseline of its image, and learning from it: a fixed number of statements a
batch, whatever is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import reduce
from operator import itemgetter
from typing import Any, Final, NamedTuple

from django.db import transaction

from secguard import bulk
from secguard.audit.actions import Action
from secguard.audit.services import record_many
from secguard.images.models import ImageRepository
from secguard.runtime import baseline as rules
from secguard.runtime.baseline import Deviation, Judgement, Learned, Seen, Status, Step, Verdict
from secguard.runtime.baseline_items import Item, ItemKind, items_of
from secguard.runtime.baseline_rates import Range, hour_of, range_of
from secguard.runtime.event import Event
from secguard.runtime.models import Baseline, BaselineDeviation, BaselineItem, Origin
from secguard.runtime.services import intake

MAX_DEVIATIONS: Final = 500
"""Different ones that are told of one batch; what is more is counted with the baseline."""
MAX_REASON: Final = 1_000


class Observation(NamedTuple):
    """An event of one image: where, when, in which pod or container, and whose workload it is."""

    image_id: int
    workload_id: int | None
    event: Event
    at: datetime
    replica: str = ""
    team_id: int | None = None


Judged = Callable[[Sequence[intake.Seen], Sequence[Judgement], datetime], None]
JUDGED: Final[list[Judged]] = []
"""Upper apps follow here: called inside the transaction with each batch of new events and what was judged of each."""


def follow(seen: Sequence[intake.Seen], now: datetime) -> None:
    """A batch of new events (``intake.FOLLOWERS``). What is tied to no image has no baseline."""
    tied = [(n, one) for n, one in enumerate(seen) if one.tie.image_id is not None]
    judged = [rules.UNTOLD] * len(seen)
    for (n, _), judgement in zip(tied, observe([_observation(one) for _, one in tied], now), strict=True):
        judged[n] = judgement
    for tell in JUDGED:
        tell(seen, judged, now)


def _observation(one: intake.Seen) -> Observation:
    event, tied = one.event, one.tie
    replica = event.pod_uid or tied.pod or event.pod or (event.container_id or "")[:64] or event.host or ""
    return Observation(tied.image_id or 0, tied.workload_id, event, one.line.at, replica[:120], tied.team_id)


def observe(observations: Sequence[Observation], now: datetime) -> list[Judgement]:
    """Judge each event, in order, and learn from those of images that still learn. Call it inside a transaction.

    An image's first event begins its baseline: from the locked one of the version before, where there is one. A locked
    one never grows here.
    """
    told = [(one, items_of(one.event)) for one in observations]
    images = {one.image_id for one, items in told if items}
    if not images:
        return [rules.UNTOLD] * len(told)
    with transaction.atomic():
        batch = _Batch(_locked(images, now), told, now)
        judged = [batch.judge(one, items) for one, items in told]
        batch.save()
    return judged


# --- beginning ---


def _locked(images: Iterable[int], now: datetime) -> dict[int, Baseline]:
    """{image: its baseline}, each locked in one order; those that are not there begin."""
    wanted = sorted(images)
    found = _rows(wanted)
    if missing := [image for image in wanted if image not in found]:
        _begin(missing, now)
        found = _rows(wanted)
    return found


def _rows(images: Sequence[int]) -> dict[int, Baseline]:
    rows = Baseline.objects.filter(image_id__in=bulk.among(images)).order_by("image_id")
    rows = rows.select_related("image").select_for_update(of=("self",), no_key=True)
    return {row.image_id: row for row in rows}


_NEW: Final = (
    "image_id", "status", "before_id", "learning_since", "events", "replicas", "varied", "counts", "outside",
)  # fmt: skip


def _begin(images: Sequence[int], now: datetime) -> None:
    before = versions_before(images)
    rows: list[tuple[Any, ...]] = []
    for image in images:
        one = before.get(image)
        varied, counts = (one.varied, one.counts) if one else ([], {})
        rows.append((image, Status.LEARNING.value, one.pk if one else None, now, 0, [], varied, counts, 0))
    bulk.insert_missing(Baseline, _NEW, rows)
    if before:
        _carry({row.pk: before[image].pk for image, row in _rows(images).items() if image in before})


def versions_before(images: Sequence[int]) -> dict[int, Baseline]:
    """{image: the locked baseline of the latest image before it in a repository of its own}."""
    places = ImageRepository.objects.filter(image_id__in=bulk.among(images))
    since = {(repo, image): at for image, repo, at in places.values_list("image_id", "repository_id", "first_seen_at")}
    repositories = {repo for repo, _ in since}
    rows = Baseline.objects.filter(status=Status.LOCKED, image__places__repository__in=bulk.among(sorted(repositories)))
    columns = ("image__places__repository_id", "image__places__first_seen_at", "image_id", "pk")
    known: dict[int, list[tuple[datetime, int, int]]] = {}
    for repo, at, image, pk in rows.values_list(*columns):
        known.setdefault(repo, []).append((at, image, pk))
    latest: dict[int, tuple[datetime, int]] = {}
    for (repo, image), at in since.items():
        earlier = [(seen, pk) for seen, other, pk in known.get(repo, ()) if seen < at and other != image]
        if earlier:
            latest[image] = max([max(earlier), *([latest[image]] if image in latest else [])])
    kept = Baseline.objects.in_bulk([pk for _, pk in latest.values()])
    return {image: kept[pk] for image, (_, pk) in latest.items()}


ITEM_COLUMNS: Final = (
    "baseline_id", "kind", "name", "how", "port", "short", "origin", "team_id", "is_common", "count", "severity",
    "first_at", "last_at", "hours", "volumes", "hour", "hour_count", "hour_bytes",
)  # fmt: skip


def _carry(pairs: Mapping[int, int]) -> None:
    """Copy the items of {new baseline: the locked one before}: normal, and not seen in this version yet."""
    rows = BaselineItem.objects.filter(baseline_id__in=bulk.among(sorted(set(pairs.values()))))
    columns = (
        "baseline_id", "kind", "name", "how", "port", "short", "team_id", "is_common", "severity", "hours", "volumes",
    )  # fmt: skip
    items: dict[int, list[tuple[Any, ...]]] = {}
    for row in rows.values_list(*columns):
        items.setdefault(row[0], []).append(row[1:])
    made = [
        (new, *one[:5], Origin.CARRIED.value, *one[5:7], 0, one[7], None, None, *one[8:], 0, 0, 0)
        for new, old in sorted(pairs.items())
        for one in items.get(old, ())
    ]
    bulk.insert_missing(BaselineItem, ITEM_COLUMNS, made)


# --- judging and learning ---


class _Batch:
    """One batch: the baselines it is about, the items that its events can be, and what it adds to them."""

    def __init__(
        self, baselines: Mapping[int, Baseline], told: Sequence[tuple[Observation, tuple[Item, ...]]], now: datetime
    ) -> None:
        self.baselines, self.now = baselines, now
        self.changed: set[int] = set()
        self.learning: dict[int, list[Observation]] = {}
        self.teams: dict[tuple[int, Item], set[int | None]] = {}
        self.outside: dict[tuple[int, Item, Deviation], tuple[Judgement, Observation, int]] = {}
        self.proposed: list[Baseline] = []
        for row in baselines.values():
            self._propose(row)
        self.items = _items(baselines.values(), {item for _, items in told for item in items})
        self.touched: dict[int, BaselineItem] = {}
        self.named = {pk: _by_name(items) for pk, items in self.items.items()}
        self.ranges: dict[tuple[int, Deviation], Range | None] = {}
        self._verdicts: dict[tuple[int, tuple[Item, ...]], Judgement] = {}

    def _propose(self, row: Baseline) -> None:
        """Learning ends by the clock, once enough was seen."""
        lacking = rules.still_lacking(row.learning_since, row.events, len(row.replicas), self.now)
        if row.status == Status.LEARNING and not lacking:
            row.status, row.learned_until = rules.after(Status.LEARNING, Step.PROPOSE).value, self.now
            self.proposed.append(row)

    def _normal(self, row: Baseline, items: Iterable[Item]) -> rules.Baseline:
        """The baseline, with those of its items alone that could cover ``items``."""
        named = self.named.get(row.pk, {})
        return rules.Baseline(
            Status(row.status),
            frozenset(normal for item in items for normal in named.get(item.name, ())),
            frozenset(map(ItemKind, row.varied)),
            row.days(self.now),
            len(row.replicas),
            "the version before" if row.before_id else "",
        )

    def judge(self, one: Observation, items: tuple[Item, ...]) -> Judgement:
        if not items:
            return rules.UNTOLD
        row = self.baselines[one.image_id]
        key = (one.image_id, items)
        if (found := self._verdicts.get(key)) is None:
            found = self._verdicts[key] = rules.judge(items, self._normal(row, items))
        if row.status == Status.LEARNING:
            self._learn(row, one, items)
        elif found.verdict is Verdict.NORMAL:
            found = self._by_the_hour(row, one, items) or found
        self.changed.add(row.image_id)
        row.last_at = max(row.last_at or one.at, one.at)
        if found.is_outside:
            self._note(row, one, found)
        return found

    def _learn(self, row: Baseline, one: Observation, items: tuple[Item, ...]) -> None:
        self.learning.setdefault(row.image_id, []).append(one)
        for item in items:
            self.teams.setdefault((row.pk, item), set()).add(one.team_id)

    def _by_the_hour(self, row: Baseline, one: Observation, items: tuple[Item, ...]) -> Judgement | None:
        """Count it in its hour, and hold that against the range that was learned."""
        worst = None
        for item in items:
            known = self.items.get(row.pk, {}).get(item)
            seen = rules.seen_in(one.event, item, one.at)
            if known is None or (hour := hour_of(one.at)) < known.hour:
                continue
            if hour > known.hour:
                known.hour, known.hour_count, known.hour_bytes = hour, 0, 0
            known.hour_count += seen.count
            known.hour_bytes += sum(seen.volumes.values())
            self._count(known, seen)
            for deviation, value in ((Deviation.RATE, known.hour_count), (Deviation.VOLUME, known.hour_bytes)):
                usual = self._range(known, deviation)
                worst = rules.judge_hour(item, deviation, value, usual) or worst
        return worst

    def _count(self, known: BaselineItem, seen: Seen) -> None:
        known.count += seen.count
        known.first_at = min(known.first_at or seen.first, seen.first)
        known.last_at = max(known.last_at or seen.last, seen.last)
        self.touched[known.pk] = known

    def _range(self, known: BaselineItem, deviation: Deviation) -> Range | None:
        key = (known.pk, deviation)
        if key not in self.ranges:
            hours = known.hours if deviation is Deviation.RATE else known.volumes
            self.ranges[key] = range_of(hours.values())
        return self.ranges[key]

    def _note(self, row: Baseline, one: Observation, found: Judgement) -> None:
        row.outside += one.event.count
        if found.item is None or found.deviation is None:
            return
        key = (row.pk, found.item, found.deviation)
        times = self.outside[key][2] if key in self.outside else 0
        if times or len(self.outside) < MAX_DEVIATIONS:
            self.outside[key] = (found, one, times + one.event.count)

    # --- writing ---

    def save(self) -> None:
        fresh: list[tuple[Any, ...]] = []
        for image, observations in self.learning.items():
            fresh += self._add(self.baselines[image], _learned(observations))
        bulk.update(BaselineItem, _COUNTED, [_counted(known) for known in self.touched.values()])
        bulk.insert(BaselineItem, ITEM_COLUMNS, sorted(fresh, key=itemgetter(0, 2, 1, 3, 4)))
        bulk.update(Baseline, _KEPT, [_kept(self.baselines[image]) for image in sorted(self.changed)])
        self._save_outside()
        record_many(Action.BASELINE_PROPOSE, [_line(row) for row in self.proposed], actor=None)

    def _add(self, row: Baseline, learned: Learned) -> Iterable[tuple[Any, ...]]:
        row.events += learned.events
        row.replicas = sorted({*row.replicas, *learned.replicas})[: rules.MAX_REPLICAS]
        known = self.items.get(row.pk, {})
        varied = {*row.varied, *(k.value for k in learned.varied)}
        counts = dict(row.counts)
        new: list[tuple[Item, Seen]] = []
        for item, seen in sorted(learned.items.items(), key=itemgetter(0)):
            if item in known:
                self._join(known[item], seen, self.teams[row.pk, item])
            elif item.kind.value not in varied:
                counts[item.kind.value] = counts.get(item.kind.value, 0) + 1
                new.append((item, seen))
        row.varied = sorted(varied | {k for k, n in counts.items() if n > rules.MOST[ItemKind(k)]})
        kept = [(item, seen) for item, seen in new if item.kind.value not in row.varied]
        row.counts = {k: min(n, rules.MOST[ItemKind(k)]) for k, n in counts.items()}
        return [_new(row, item, seen, self.teams[row.pk, item]) for item, seen in kept]

    def _join(self, known: BaselineItem, seen: Seen, teams: set[int | None]) -> None:
        before = Seen(
            known.count, known.first_at or seen.first, known.last_at or seen.last, known.severity,
            _hours(known.hours), _hours(known.volumes),
        )  # fmt: skip
        after = rules.together(before, seen)
        known.count, known.first_at, known.last_at = after.count, after.first, after.last
        known.severity, known.hours, known.volumes = after.severity, _written(after.hours), _written(after.volumes)
        known.is_common = known.is_common or bool(teams - {known.team_id})
        self.touched[known.pk] = known

    def _save_outside(self) -> None:
        rows = [
            (
                pk, item.kind.value, item.name, item.how, item.port, deviation.value, one.team_id, one.workload_id,
                found.reason.replace("\0", "")[:MAX_REASON], found.verdict is Verdict.NEW, times, one.at, one.at,
            )
            for (pk, item, deviation), (found, one, times) in self.outside.items()
        ]  # fmt: skip
        if rows:
            bulk.merge(
                BaselineDeviation, _DEVIATION, sorted(rows, key=itemgetter(0, 1, 2, 3, 4, 5)),
                unique=_DEVIATION[:6], settings=_AGAIN, returning=("id",),
            )  # fmt: skip


_DEVIATION: Final = (
    "baseline_id", "kind", "name", "how", "port", "deviation", "team_id", "workload_id", "reason", "is_new", "count",
    "first_at", "last_at",
)  # fmt: skip
_AGAIN: Final = """
    count = runtime_baselinedeviation.count + excluded.count,
    reason = excluded.reason,
    workload_id = excluded.workload_id,
    is_new = excluded.is_new,
    last_at = CASE WHEN excluded.last_at > runtime_baselinedeviation.last_at
        THEN excluded.last_at ELSE runtime_baselinedeviation.last_at END
"""
_COUNTED: Final = (
    "count", "severity", "first_at", "last_at", "hours", "volumes", "is_common", "hour", "hour_count", "hour_bytes",
)  # fmt: skip
_KEPT: Final = ("status", "learned_until", "events", "replicas", "varied", "counts", "last_at", "outside")


def _counted(known: BaselineItem) -> tuple[Any, ...]:
    return (known.pk, *(getattr(known, column) for column in _COUNTED))


def _kept(row: Baseline) -> tuple[Any, ...]:
    return (row.pk, *(getattr(row, column) for column in _KEPT))


def _items(baselines: Iterable[Baseline], told: set[Item]) -> dict[int, dict[Item, BaselineItem]]:
    """{baseline: {item: its row}} of those that have a name in common with what was told."""
    ids = bulk.among(sorted(row.pk for row in baselines))
    names = sorted({item.name for item in told})
    bare = sorted({i.name for i in told if i.kind is ItemKind.PROCESS and "/" not in i.name})
    rows = BaselineItem.objects.filter(baseline_id__in=ids, name__in=bulk.among(names))
    if bare:
        rows = rows | BaselineItem.objects.filter(baseline_id__in=ids, short__in=bulk.among(bare))
    found: dict[int, dict[Item, BaselineItem]] = {}
    for row in rows:
        found.setdefault(row.baseline_id, {})[row.item] = row
    return found


def _by_name(items: Iterable[Item]) -> dict[str, list[Item]]:
    """Items by what an event may call them: a program by its path and by its bare name."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item.name, []).append(item)
        if item.kind is ItemKind.PROCESS and "/" in item.name:
            found.setdefault(item.name.rpartition("/")[2], []).append(item)
    return found


def _learned(observations: Sequence[Observation]) -> Learned:
    """What all of one image's events tell. Joined two by two, so that no part is copied often."""
    found = [rules.learned(one.event, one.at, one.replica) for one in observations]
    while len(found) > 1:
        found = [reduce(rules.merged, found[n : n + 2]) for n in range(0, len(found), 2)]
    return found[0]


def _new(row: Baseline, item: Item, seen: Seen, teams: set[int | None]) -> tuple[Any, ...]:
    short = item.name.rpartition("/")[2] if item.kind is ItemKind.PROCESS else ""
    team = min((t for t in teams if t is not None), default=None)
    return (
        row.pk, item.kind.value, item.name, item.how, item.port, short, Origin.OBSERVED.value, team, len(teams) > 1,
        seen.count, seen.severity, seen.first, seen.last, _written(seen.hours), _written(seen.volumes), 0, 0, 0,
    )  # fmt: skip


def _hours(kept: Mapping[str, int]) -> dict[int, int]:
    return {int(hour): n for hour, n in kept.items()}


def _written(hours: Mapping[int, int]) -> dict[str, int]:
    return {str(hour): n for hour, n in sorted(hours.items())}


def _line(row: Baseline) -> dict[str, Any]:
    return {
        "subject_type": "baseline",
        "subject_id": row.pk,
        "subject": row.image.digest,
        "details": {"events": row.events, "replicas": len(row.replicas), **row.counts},
    }
