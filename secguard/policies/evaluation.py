"""(policy, facts, now) to verdict and reasons: pure, deterministic, and the same bytes when played again.

Every rule is asked. A rule that fires on a finding counts unless a decision in force covers the finding; the worst
effect that is left is the verdict. A condition that cannot be answered counts as one that holds: a gate that cannot
tell does not pass (DESIGN rule 12).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import cel
import msgspec
from msgspec import UNSET, Struct, UnsetType

from secguard.findings.severity import LABELS
from secguard.policies.conditions import Columns, Condition, Failed, answers, condition, make_context
from secguard.policies.facts import DecisionFact, Facts, FindingFact
from secguard.policies.language import Each, Effect, Policy, Rule
from secguard.policies.upgrades import best_upgrade
from secguard.policies.vocabulary import FINDING, IMAGE, count_values, data_updated, image_values, last_scan, rank

HORIZON: Final = timedelta(hours=24)
"""No verdict is valid for longer: by then the facts themselves deserve a fresh look."""
EXAMPLES: Final = 3
MAX_LISTED: Final = 10
"""Of a list in a message."""
RECALLED: Final = "recalled"
"""The reason's id where an image was called back; it is no rule of any policy."""
PASS: Final = "pass"  # noqa: S105


class PolicyRef(Struct, frozen=True, omit_defaults=True):
    """Which policy judged; a verdict without it could not be reproduced (DESIGN rule 7)."""

    name: str
    version: int
    mode: str = "enforce"
    """What the version does at this gate: ``observe`` and ``warn`` while it is tried (``staging``)."""
    decided_by: int | None = None
    """While it observes: the id of the version whose rules decided."""


class Upgrade(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """``to`` is the smallest version that fixes all of the component's findings in this verdict, where one does."""

    package: str
    name: str
    from_: str
    to: str
    fixes: tuple[str, ...]
    is_complete: bool
    """False where no single version is known to fix all of them."""


class ExceptionRequest(Struct, frozen=True, kw_only=True):
    """The risks to ask a decision for."""

    risks: tuple[int, ...]


class Remedy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the developer can do about it."""

    upgrades: tuple[Upgrade, ...] = ()
    exception: ExceptionRequest | UnsetType = UNSET
    text: str = ""


class Reason(Struct, frozen=True, kw_only=True):
    """A rule that fired and is not covered."""

    rule: str
    effect: Effect
    message: str
    findings: tuple[int, ...]
    remedy: Remedy
    until: datetime | None = None
    """A warning in its grace: from when the first of these findings blocks."""
    error: str = ""
    """Why the condition could not be answered, where it could not."""


class Covered(Struct, frozen=True, kw_only=True):
    """Findings on which a rule fired and that a decision lets pass."""

    decision: int
    rules: tuple[str, ...]
    findings: tuple[int, ...]


class UsedDecision(Struct, frozen=True, kw_only=True):
    id: int
    kind: str
    scope: str
    expires_at: datetime | None
    findings: int
    """How many of this image's findings it covers."""


class Counts(Struct, frozen=True, kw_only=True):
    """Findings by severity word, each with a ``total``. ``blocking`` and ``warned`` may share findings."""

    open: dict[str, int]
    blocking: dict[str, int]
    warned: dict[str, int]
    covered: dict[str, int]


class Verdict(Struct, frozen=True, kw_only=True):
    """The verdict document of DESIGN section 5."""

    image: str
    """The manifest digest."""
    reference: str
    stage: str
    verdict: str
    """``pass``, ``warn`` or ``block``."""
    valid_until: datetime
    """The earliest instant at which the answer can change; the verdict holds before it, not at it."""
    policy: PolicyRef
    reasons: tuple[Reason, ...]
    covered: tuple[Covered, ...]
    counts: Counts
    decisions: tuple[UsedDecision, ...]
    scans: tuple[int, ...]
    scanned_at: datetime | None
    """The last complete scan for vulnerabilities; ``None`` where there was none."""
    data_updated_at: datetime | None
    """How old the vulnerability data is that it rests on; ``None`` where no scanner told."""
    evaluated_at: datetime


_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_DECODER: Final = msgspec.json.Decoder(Verdict)


def encode_verdict(verdict: Verdict) -> bytes:
    """The verdict document as JSON; equal verdicts give equal bytes."""
    return _ENCODER.encode(verdict)


def decode_verdict(raw: bytes) -> Verdict:
    """What ``encode_verdict`` wrote; raises ``msgspec.MsgspecError`` where ``raw`` is something else."""
    return _DECODER.decode(raw)


def holds(decision: DecisionFact | None, now: datetime) -> bool:
    """Whether the decision counts at ``now``; at its end it no longer does (DESIGN rule 5)."""
    if decision is None:
        return False
    started = decision.starts_at is None or decision.starts_at <= now
    return started and (decision.expires_at is None or now < decision.expires_at)


def evaluate(policy: Policy, facts: Facts, now: datetime, *, policy_ref: PolicyRef) -> Verdict:
    """What ``policy`` says of ``facts`` at ``now`` (aware UTC). The policy must come from ``parse_policy``."""
    judgement = _Judgement(facts, now)
    if facts.image.recalled:
        judgement.call_back(facts.image.recalled)
    for rule in policy.rules:
        if facts.stage in rule.stages:
            judgement.ask(rule)
    return judgement.verdict(policy_ref)


class _Judgement:
    """The state of one evaluation: what fired so far, and when that may change."""

    def __init__(self, facts: Facts, now: datetime) -> None:
        self._facts, self._now = facts, now
        self._findings: Sequence[FindingFact] = sorted(facts.findings, key=lambda f: f.id)
        self._is_covered = [holds(f.decision, now) for f in self._findings]
        self._columns = Columns(self._findings, now)
        self._image = image_values(facts, now)
        self._open = [f for f, covered in zip(self._findings, self._is_covered, strict=True) if not covered]
        self._counts = count_values(self._open, now)
        self._fired: list[_Fired] = []
        self._let_pass: dict[int, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._turns = {now + HORIZON}
        self._note_decisions()

    def _note_decisions(self) -> None:
        moments: set[datetime | None] = set()
        for decision in {f.decision for f in self._findings if f.decision is not None}:
            moments |= {decision.starts_at, decision.expires_at}
        self._turns.update(m for m in moments if m is not None and m > self._now)

    def _context(self) -> cel.Context:
        return make_context(image=self._image, counts=self._counts, stage=self._facts.stage.value)

    def call_back(self, why: str) -> None:
        """No policy lets pass what somebody called back, at any gate."""
        said = why.rstrip(".").replace("{", "{{").replace("}", "}}")
        rule = Rule(
            id=RECALLED,
            each=Each.IMAGE,
            when="true",
            effect=Effect.BLOCK,
            message=f"It was called back: {said}.",
            remedy="Run another version. Whoever called it back, or others who may, can lift that on the image's page.",
        )
        self._fired.append(_Fired(rule, rule.effect, [], ""))

    def ask(self, rule: Rule) -> None:
        asked = condition(rule.when)
        self._note_image_turns(asked)
        if rule.each is Each.IMAGE:
            self._ask_of_image(rule, asked)
        else:
            self._ask_of_findings(rule, asked)

    def _ask_of_image(self, rule: Rule, asked: Condition) -> None:
        answer = asked.whole.answer(self._context())
        if answer is True or isinstance(answer, Failed):
            self._fired.append(_Fired(rule, rule.effect, [], answer.why if isinstance(answer, Failed) else ""))

    def _ask_of_findings(self, rule: Rule, asked: Condition) -> None:
        self._note_finding_turns(asked)
        found: dict[tuple[Effect, str], _Fired] = {}
        for index, answer in answers(asked, self._columns, self._context()):
            finding = self._findings[index]
            if self._is_covered[index] and finding.decision is not None:
                self._let_pass[finding.decision.id][finding.id].add(rule.id)
                continue
            error = answer.why if isinstance(answer, Failed) else ""
            effect, until = self._effect(rule, finding)
            fired = found.setdefault((effect, error), _Fired(rule, effect, [], error))
            fired.findings.append(finding)
            if until is not None:
                fired.until = min(fired.until or until, until)
        self._fired.extend(found[key] for key in sorted(found))

    def _effect(self, rule: Rule, finding: FindingFact) -> tuple[Effect, datetime | None]:
        """The rule's effect on one finding, and until when its grace makes it less."""
        if not rule.grace_days:
            return rule.effect, None
        end = finding.first_seen_at + timedelta(days=rule.grace_days)
        if end <= self._now:
            return rule.effect, None
        self._turns.add(end)
        return Effect.WARN, end

    def _note_image_turns(self, asked: Condition) -> None:
        for record, name in asked.limits:
            word = IMAGE.get(name) if record == "image" else None
            moment = word.moment(self._facts) if word is not None and word.moment is not None else None
            if moment is not None:
                self._note(asked.changes(record, name, moment, self._now))

    def _note_finding_turns(self, asked: Condition) -> None:
        for record, name in asked.limits:
            read = FINDING[name].moment if record == "finding" else None
            if read is None:
                continue
            for moment in {read(finding) for finding in self._findings}:
                self._note(moment and asked.changes(record, name, moment, self._now))

    def _note(self, turn: datetime | None) -> None:
        if turn is not None:
            self._turns.add(turn)

    def verdict(self, policy_ref: PolicyRef) -> Verdict:
        worst = {fired.effect for fired in self._fired}
        word = next((e.value for e in (Effect.BLOCK, Effect.WARN) if e in worst), PASS)
        return Verdict(
            image=self._facts.image.digest,
            reference=self._facts.image.reference,
            stage=self._facts.stage.value,
            verdict=word,
            valid_until=min(self._turns),
            policy=policy_ref,
            reasons=self._reasons(),
            covered=self._covered(),
            counts=self._counted(),
            decisions=self._decisions(),
            scans=tuple(sorted(s.id for s in self._facts.scans)),
            scanned_at=last_scan(self._facts),
            data_updated_at=data_updated(self._facts),
            evaluated_at=self._now,
        )

    def _reasons(self) -> tuple[Reason, ...]:
        """Blocks before warnings, each in the policy's order."""
        ordered = sorted(self._fired, key=lambda f: f.effect is not Effect.BLOCK)
        targets = {effect: _upgrades(self._fired, effect) for effect in Effect}
        return tuple(self._reason(fired, targets[fired.effect]) for fired in ordered)

    def _reason(self, fired: _Fired, targets: dict[str, tuple[str, bool]]) -> Reason:
        return Reason(
            rule=fired.rule.id,
            effect=fired.effect,
            message=self._message(fired),
            findings=tuple(f.id for f in fired.findings),
            remedy=_remedy(fired, targets),
            until=fired.until,
            error=fired.error,
        )

    def _message(self, fired: _Fired) -> str:
        if fired.error:
            return f"Rule {fired.rule.id} could not be answered: {fired.error}"
        facts = self._facts
        values: dict[str, Any] = {**self._image, "stage": facts.stage.value, "reference": facts.image.reference}
        if fired.rule.each is Each.FINDING:
            values |= _finding_placeholders(fired.findings)
        if not facts.image.reference:
            # It lies with several owners (or nowhere): what is said to all of them names none.
            values |= {"reference": facts.image.digest, "application": "", "registry": "", "team": ""}
        return fired.rule.message.format_map({n: _shown(value) for n, value in values.items()})

    def _covered(self) -> tuple[Covered, ...]:
        groups: dict[tuple[int, tuple[str, ...]], list[int]] = defaultdict(list)
        for decision, findings in self._let_pass.items():
            for finding, rules in findings.items():
                groups[(decision, tuple(sorted(rules)))].append(finding)
        return tuple(
            Covered(decision=decision, rules=rules, findings=tuple(sorted(groups[(decision, rules)])))
            for decision, rules in sorted(groups)
        )

    def _counted(self) -> Counts:
        fired = {effect: {f.id for x in self._fired if x.effect is effect for f in x.findings} for effect in Effect}
        covered = {finding for findings in self._let_pass.values() for finding in findings}
        return Counts(
            open=_by_severity(self._findings),
            blocking=_by_severity(f for f in self._findings if f.id in fired[Effect.BLOCK]),
            warned=_by_severity(f for f in self._findings if f.id in fired[Effect.WARN]),
            covered=_by_severity(f for f in self._findings if f.id in covered),
        )

    def _decisions(self) -> tuple[UsedDecision, ...]:
        known = {f.decision.id: f.decision for f in self._findings if f.decision is not None}
        return tuple(
            UsedDecision(
                id=id_,
                kind=known[id_].kind,
                scope=known[id_].scope,
                expires_at=known[id_].expires_at,
                findings=len(self._let_pass[id_]),
            )
            for id_ in sorted(self._let_pass)
        )


class _Fired:
    """A rule that fired with one effect, and on which findings."""

    def __init__(self, rule: Rule, effect: Effect, findings: list[FindingFact], error: str) -> None:
        self.rule, self.effect, self.findings, self.error = rule, effect, findings, error
        self.until: datetime | None = None


class _Number(int):
    """A number in a message; ``{count:finding|findings}`` is the word that goes with it."""

    def __format__(self, spec: str) -> str:
        one, _, many = spec.partition("|")
        return (one if self == 1 else many) if many else str(int(self))


def _shown(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, list | tuple):
        more = f" and {len(value) - MAX_LISTED} more" if len(value) > MAX_LISTED else ""
        return (", ".join(map(str, value[:MAX_LISTED])) or "none") + more
    return _Number(value) if type(value) is int else value


def _by_severity(findings: Iterable[FindingFact]) -> dict[str, int]:
    found = Counter(f.severity for f in findings)
    return {**{label: found[label] for label in LABELS}, "total": found.total()}


def _label(finding: FindingFact) -> str:
    """How people call a finding in a sentence."""
    return finding.vulnerability or finding.rule or finding.title or f"finding {finding.id}"


def _some(names: Iterable[str]) -> str:
    """``a, b, c and 4 more``."""
    distinct = list(dict.fromkeys(name for name in names if name))
    shown = ", ".join(distinct[:EXAMPLES])
    return f"{shown} and {len(distinct) - EXAMPLES} more" if len(distinct) > EXAMPLES else shown


def _finding_placeholders(findings: Sequence[FindingFact]) -> dict[str, Any]:
    worst_first = sorted(findings, key=lambda f: (not f.known_exploited, -rank(f.severity), _label(f), f.id))
    return {
        "count": len(findings),
        "examples": _some(_label(f) for f in worst_first),
        "packages": _some(f"{f.name} {f.version}".strip() or f.path for f in worst_first),
        "worst": worst_first[0].severity,
    }


def _upgrades(fired: Iterable[_Fired], effect: Effect) -> dict[str, tuple[str, bool]]:
    """For each component with fixes: the version that gets it past all rules of ``effect`` at once."""
    fixes: dict[str, dict[int, FindingFact]] = defaultdict(dict)
    for one in fired:
        for finding in one.findings if one.effect is effect else ():
            if finding.fixed_versions and finding.purl:
                fixes[finding.purl][finding.id] = finding
    targets = {}
    for purl, findings in fixes.items():
        first = next(iter(findings.values()))
        ecosystem = FINDING["ecosystem"].read(first, first.first_seen_at)
        fixed = sorted({finding.fixed_versions for finding in findings.values()})
        targets[purl] = best_upgrade(ecosystem, first.version, tuple(fixed))
    return targets


def _remedy(fired: _Fired, targets: dict[str, tuple[str, bool]]) -> Remedy:
    by_component: dict[str, list[FindingFact]] = defaultdict(list)
    for finding in fired.findings:
        if finding.purl in targets and finding.fixed_versions:
            by_component[finding.purl].append(finding)
    upgrades = tuple(_upgrade(by_component[purl], *targets[purl]) for purl in sorted(by_component))
    risks = tuple(sorted({f.risk for f in fired.findings}))
    texts = (fired.rule.remedy, _in_part(fired.findings))
    return Remedy(
        upgrades=upgrades,
        exception=ExceptionRequest(risks=risks) if risks else UNSET,
        text=" ".join(text for text in texts if text),
    )


def _in_part(findings: Sequence[FindingFact]) -> str:
    """Why a decision that somebody knows of lets nothing pass here; it names no other team."""
    some = [f for f in findings if f.is_decided_in_part]
    if not some:
        return ""
    return (
        f"{_some(_label(f) for f in some)}: decided by one of the teams that have this very image, but not by each of "
        "them. One digest has one verdict: each decides for its own repositories, or a decision is asked for on the "
        "image itself."
    )


def _upgrade(findings: list[FindingFact], to: str, is_complete: bool) -> Upgrade:
    first = findings[0]
    return Upgrade(
        package=first.package or first.purl,
        name=first.name,
        from_=first.version,
        to=to,
        fixes=tuple(sorted({_label(f) for f in findings})),
        is_complete=is_complete,
    )
