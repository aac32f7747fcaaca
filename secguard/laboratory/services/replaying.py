"""The job behind a simulation: judge everything again with the draft, and keep the verdicts that it would turn."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

from django.utils import timezone

from secguard.accounts.models import Application
from secguard.decisions.appetite import parse_appetite
from secguard.decisions.services.appetite import active_appetite
from secguard.errors import Invalid
from secguard.jobs.registry import Run
from secguard.laboratory import queries
from secguard.laboratory.comparing import Deadlines, Judged, Trial, is_named, kept, why, worst
from secguard.laboratory.lifecycle import EACH_TIME, Change, Event, Origin, Status, change_of
from secguard.laboratory.models import Simulation, Turned
from secguard.laboratory.services.asking import end
from secguard.laboratory.services.redeciding import redecide
from secguard.policies.facts import Facts
from secguard.policies.language import parse_policy
from secguard.policies.models import Evaluation, PolicyVersion
from secguard.policies.services import active_version, rules_in_force
from secguard.promotion.models import Promotion

MAX_ROWS: Final = 50_000
MAX_RECORDED: Final = 100_000
"""Verdicts of the period, and as many answers to clusters: the newest."""
MAX_SECONDS: Final = 3600
IMAGES_AT_ONCE: Final = 50
RECORDED_AT_ONCE: Final = 200
KEPT_CASES: Final = 10_000
_T = TypeVar("_T", Evaluation, queries.AdmissionDecision, Promotion)


def replay_draft(run: Run) -> Mapping[str, Any] | None:
    """The job. Safe to run twice: what an earlier run kept is removed first."""
    simulation = Simulation.objects.filter(pk=run.args["simulation"], status=Status.WAITING).first()
    if simulation is None:
        return None
    simulation.turned.all().delete()
    simulation.redecided.all().delete()
    version = active_version()
    replay = _Replay(simulation, run, _trial(simulation, version))
    replay.estate()
    if simulation.since is not None:
        replay.gates()
        replay.promotions()
        replay.admissions()
    if simulation.kind == "appetite":
        replay.decisions()
    run.require_lease()
    end(simulation.pk, Event.FINISH, totals=replay.totals(), against=version)
    return {"turned": replay.rows.written}


def _trial(simulation: Simulation, version: PolicyVersion) -> Trial:
    in_force = rules_in_force(version)
    if simulation.kind == "policy":
        return Trial(in_force, parse_policy(simulation.source), None)
    impacts = dict(Application.objects.exclude(impact="").values_list("slug", "impact"))
    deadlines = Deadlines(active_appetite()[1], parse_appetite(simulation.source), impacts=impacts)
    return Trial(in_force, in_force, deadlines)


class _Case(NamedTuple):
    """A verdict that turns. ``reference`` is what its reasons may name."""

    image: int
    stage: str
    was: Judged
    would: Judged
    at: datetime
    reference: str
    evaluation: int | None = None
    repository: int | None = None
    """Of a promotion, or an answer to a cluster: the one that was named. Else each that holds the image."""
    where: str = ""
    environment: str = ""
    outcome: str = ""
    times: int = 1

    @property
    def change(self) -> Change | None:
        return change_of(self.was.verdict, self.would.verdict)


class _Rows:
    """Where turned verdicts go: written batch by batch, up to ``MAX_ROWS``."""

    def __init__(self, simulation: Simulation, scope: queries.Scope) -> None:
        self._simulation, self._scope = simulation, scope
        self.written = 0
        self.is_complete = True

    def add(self, origin: Origin, cases: Iterable[_Case]) -> None:
        found = [case for case in cases if case.change is not None]
        places = queries.places_of({case.image for case in found})
        rows = [row for case in found for row in self._rows(origin, case, places.get(case.image, []))]
        if len(rows) > MAX_ROWS - self.written:
            self.is_complete = False
            rows = rows[: MAX_ROWS - self.written]
        Turned.objects.bulk_create(rows, batch_size=500)
        self.written += len(rows)

    def _rows(self, origin: Origin, case: _Case, places: Sequence[queries.Place]) -> Iterator[Turned]:
        named = is_named(case.reference, [(place.name, place.team) for place in places])
        reasons = why(case.was, case.would, named=named)
        holding: list[int | None] = [p.repository for p in places if self._scope.has(p.team)]
        for repository in [case.repository] if origin in EACH_TIME else holding or [None]:
            yield Turned(
                simulation=self._simulation,
                origin=origin,
                change=case.change or "",
                image_id=case.image,
                repository_id=repository,
                stage=case.stage,
                was=case.was.verdict,
                would=case.would.verdict,
                reasons=reasons,
                where=case.where,
                environment=case.environment,
                outcome=case.outcome,
                evaluation_id=case.evaluation,
                at=case.at,
                times=case.times,
            )


@dataclass
class _Replay:
    """One simulation at work. Memory holds one batch, and one small key for each row of the gates."""

    simulation: Simulation
    run: Run
    trial: Trial

    def __post_init__(self) -> None:
        self._scope = queries.Scope.of(self.simulation)
        self.rows = _Rows(self.simulation, self._scope)
        self._now, self._began = timezone.now(), time.monotonic()
        self.judged: Counter[str] = Counter()
        self._cut: set[str] = set()

    def totals(self) -> dict[str, Any]:
        """How much was judged, and what was left out because there was too much."""
        return {**self.judged, "is_complete": self.rows.is_complete and not self._cut, "cut": sorted(self._cut)}

    # --- what is judged again ---

    def estate(self) -> None:
        """Every image as it is now, by what is in force and by the draft."""
        images = self._scope.images()
        total = images.count()
        for batch in queries.batches(images, IMAGES_AT_ONCE):
            facts = queries.facts_for(batch, self._now)
            self._know(facts.values())
            self.rows.add(Origin.ESTATE, (case for pk in facts for case in self._of_image(pk, facts[pk])))
            self._count("images", len(batch), "judging every image again", total)

    def _of_image(self, image: int, facts: Facts) -> Iterator[_Case]:
        for gate in self.trial.gates:
            was, would = self.trial.now(facts, gate, self._now)
            yield _Case(image, gate.value, was, would, self._now, facts.image.reference)

    def gates(self) -> None:
        """The verdicts of the period from their stored inputs, each as of its own instant."""
        times: Counter[tuple[int, str, str, str]] = Counter()
        rows = self._scope.evaluations(self.simulation)
        for batch in self._newest("evaluations", queries.newest_first(rows, RECORDED_AT_ONCE)):
            cases = [case for case in self._again(batch).values() if case.change is not None]
            self.rows.add(Origin.GATE, [case for case in cases if _first(case, times)])
            self._count("evaluations", len(batch), "replaying the gates of the period")
        queries.note_times(self.simulation, times)

    def promotions(self) -> None:
        """What was asked to go to an environment in the period: each stands or falls with the worst that was judged."""
        rows = self._scope.promotions(self.simulation)
        again: dict[int, _Case] = {}  # several promotions rest on one judgement: an image goes from place to place
        for batch in self._newest("promotions", queries.newest_first(rows, RECORDED_AT_ONCE)):
            kept = queries.evaluations_of(batch)
            if len(again) > KEPT_CASES:
                again.clear()
            again |= self._again(e for pk, e in kept.items() if pk not in again)
            cases = (self._of_promotion(promotion, kept, again) for promotion in batch)
            self.rows.add(Origin.PROMOTION, [case for case in cases if case is not None])
            self._count("promotions", len(batch), "replaying the promotions of the period")

    def _of_promotion(
        self, promotion: Promotion, kept: Mapping[int, Evaluation], again: Mapping[int, _Case]
    ) -> _Case | None:
        """``None`` where a judgement that it rests on is no longer kept, or none of them can differ."""
        ids = [int(pk) for pk in promotion.evaluation_ids]
        if not all(pk in kept for pk in ids):
            self.judged["promotions_left_out"] += 1
            return None
        cases = [again[pk] for pk in ids if pk in again]
        if not cases:
            return None
        settled = [Judged(kept[pk].verdict, ()) for pk in ids if pk not in again]
        was, would = worst([*settled, *(c.was for c in cases)]), worst([*settled, *(c.would for c in cases)])
        speaking = next((case for case in cases if case.would == would or case.was == was), cases[0])
        return speaking._replace(
            was=was,
            would=would,
            at=promotion.requested_at,
            repository=promotion.source_id,
            environment=promotion.environment.name,
            outcome=promotion.status,
        )

    def admissions(self) -> None:
        """The verdicts behind what clusters were answered in the period."""
        rows = self._scope.admissions(self.simulation)
        for batch in self._newest("admissions", queries.newest_first(rows, RECORDED_AT_ONCE)):
            again = self._again({a.evaluation.pk: a.evaluation for a in batch if a.evaluation}.values())
            self.rows.add(
                Origin.ADMISSION,
                [
                    again[answer.evaluation_id]._replace(
                        at=answer.last_at,
                        repository=answer.repository_id,
                        where=queries.where(answer),
                        outcome=answer.outcome,
                        times=answer.count,
                    )
                    for answer in batch
                    if answer.evaluation_id in again
                ],
            )
            self._count("admissions", len(batch), "replaying what clusters asked")

    def _again(self, evaluations: Iterable[Evaluation]) -> dict[int, _Case]:
        """{evaluation: what was answered and what would have been}, of those at which the draft can differ."""
        wanted = [e for e in evaluations if self.trial.can_differ(rules_in_force(e.policy_version), e.stage)]
        inputs = queries.stored_inputs(wanted)
        facts = {e.pk: queries.facts_then(e, inputs[e.input_id]) for e in wanted}
        self._know(facts.values())
        return {e.pk: self._one_again(e, facts[e.pk]) for e in wanted}

    def _know(self, facts: Iterable[Facts]) -> None:
        """What an SSVC table asks, and no stored fact holds."""
        if self.trial.deadlines is not None and self.trial.deadlines.ask_for_flaws:
            self.trial = self.trial.knowing(queries.flaws_of(facts))

    def _one_again(self, evaluation: Evaluation, facts: Facts) -> _Case:
        would = self.trial.then(facts, evaluation.evaluated_at, rules_in_force(evaluation.policy_version))
        same = would.verdict == evaluation.verdict
        was = Judged(evaluation.verdict, ()) if same else kept(evaluation.kept_document)
        at, reference = evaluation.evaluated_at, facts.image.reference
        return _Case(evaluation.image_id, evaluation.stage, was, would, at, reference, evaluation.pk)

    def decisions(self) -> None:
        """Those that wait or are in force, asked for anew under the draft of a risk appetite."""
        self.judged["decisions"], is_all = redecide(self.simulation, self._now, self.run)
        if not is_all:
            self._cut.add("decisions")

    # --- bounds and progress ---

    def _newest(self, word: str, batches: Iterator[list[_T]]) -> Iterator[list[_T]]:
        for batch in batches:
            if self.judged[word] + len(batch) > MAX_RECORDED:
                self._cut.add(word)
                return
            yield batch

    def _count(self, word: str, judged: int, text: str, total: int = 0) -> None:
        self.judged[word] += judged
        self.run.progress(text, self.judged[word], total)
        if time.monotonic() - self._began > MAX_SECONDS:
            raise Invalid(
                f"After {MAX_SECONDS // 60} minutes it is not finished, {text}; nothing was changed by it. Try a "
                "shorter period, or conditions that are quicker to answer.",
                code="simulation-too-long",
            )


def _first(case: _Case, times: Counter[tuple[int, str, str, str]]) -> bool:
    """Whether nothing newer of the image turned the same way: that one stands for all, and how often is counted."""
    key = (case.image, case.stage, case.was.verdict, case.would.verdict)
    if key not in times and len(times) >= MAX_ROWS:
        return True
    times[key] += 1
    return times[key] == 1
