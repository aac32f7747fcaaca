"""Judge images, keep the judgement with everything it was made from, and know when it no longer holds."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Max, OuterRef, Q
from django.utils import timezone

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.bulk import among
from secguard.decisions.models import Decision
from secguard.decisions.queries import applicable_for_image
from secguard.decisions.scope import ScopeKind
from secguard.errors import Conflict, Invalid, NotFound
from secguard.findings.models import OPEN, Finding
from secguard.images.models import Image, ImageRepository, Repository
from secguard.jobs import services as job_services
from secguard.jobs.lifecycle import Queue
from secguard.jobs.registry import Run
from secguard.policies import facts as fact_bytes
from secguard.policies import policytests, staging
from secguard.policies.document import render
from secguard.policies.evaluation import PolicyRef, evaluate
from secguard.policies.evaluation import Verdict as Answer
from secguard.policies.facts import Facts, Gate
from secguard.policies.language import Policy as Rules
from secguard.policies.language import parse_policy
from secguard.policies.models import Evaluation, EvaluationInput, Policy, PolicyVersion, Verdict
from secguard.policies.policytests import Outcome
from secguard.policies.queries import facts_of, gating_policy, shown_to, stale_verdicts, statements_of
from secguard.policies.staging import Mode, Staged
from secguard.scans.models import Scan
from secguard.signing.models import Recall
from secguard.signing.statements import Statement
from secguard.workloads.models import Workload

JUDGE_STALE = "policies.judge-stale"
JUDGE_REST = "policies.judge-rest"
SETTLE = "policies.settle"
DEFAULT = Path(__file__).resolve().parent / "defaults.yaml"
DEFAULT_NAME = "default"
BATCH = 200
TESTS_SECONDS = 10.0
"""How long the tests of a policy may take before a save is refused."""
JUDGED: list[Callable[[Image, Mapping[Gate, Verdict]], None]] = []
"""Called inside the transaction with what an image was judged to be; upper apps add themselves."""
SETTLED = 500


# --- policies and their versions ---


def active_version() -> PolicyVersion:
    """The policy version that gates. The first call of an install puts the default in force."""
    policy = gating_policy()
    if policy is None or policy.active_version is None:
        return _install_default()
    return policy.active_version


@transaction.atomic
def _install_default() -> PolicyVersion:
    policy, _ = Policy.objects.select_for_update().get_or_create(name=DEFAULT_NAME, defaults={"is_gating": True})
    if policy.active_version is not None:
        return policy.active_version
    version = _add(policy, DEFAULT.read_text(encoding="utf-8"), "default", None)
    _activate(policy, version, None, timezone.now())
    return version


@lru_cache(maxsize=32)
def rules_of(sha256: str, source: str) -> Rules:
    """A kept version's source, compiled once in a process. ``sha256`` makes the key short."""
    return parse_policy(source, is_kept=True)


@transaction.atomic
def create_version(
    name: str,
    source: str,
    *,
    comment: str = "",
    actor: User,
    activate: bool = False,
    tests: str | None = None,
    draft: bool = False,
) -> PolicyVersion:
    """Keep ``source`` as the next version of policy ``name`` (made where it is new), with its ``tests``.

    Without ``tests`` those of the version before stay. They are run first; with ``draft`` a version whose tests fail is
    kept all the same, and does not gate before they pass.

    Raises ``NotAllowed``, ``PolicyError`` and ``TestsError`` (``Invalid`` with every fault's line and column),
    ``Invalid`` where tests fail, and ``Conflict`` where the newest version says exactly this already.
    """
    require(actor, Permission.POLICY_EDIT)
    text = source.replace("\r\n", "\n")
    rules = parse_policy(text)
    active_version()
    policy, _ = Policy.objects.select_for_update().get_or_create(name=name)
    newest = policy.versions.order_by("-number").first()
    given = tests.replace("\r\n", "\n") if tests is not None else newest.tests if newest is not None else ""
    if newest is not None and newest.sha256 == _sha256(text.encode()) and newest.tests == given:
        raise Conflict(
            f"Version {newest.number} of policy {name!r} says exactly this already; change something, or activate it.",
            code="policy-unchanged",
        )
    outcomes = run_tests(rules, given)
    if not draft:
        _require_passed(outcomes)
    version = _add(policy, text, comment, actor, given)
    if activate:
        activate_version(version.pk, actor=actor)
        version.refresh_from_db()
    return version


def run_tests(rules: Rules, tests: str) -> list[Outcome]:
    """What becomes of each of the policy's tests; raises ``TestsError``, and ``Invalid`` where they take too long."""
    began = time.monotonic()
    return policytests.run(
        rules, policytests.parse_tests(tests, rules), late=lambda: time.monotonic() - began > TESTS_SECONDS
    )


def _require_passed(outcomes: Sequence[Outcome]) -> None:
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if failed:
        raise Invalid(
            f"{len(failed)} of the policy's {len(outcomes)} tests fail. {failed[0]}. Mend the policy or the test, or "
            "save it as a draft, which does not gate.",
            code="policy-tests",
            where="tests",
            errors=[{"line": o.line, "where": o.name, "detail": str(o)} for o in failed],
        )


def _add(policy: Policy, source: str, comment: str, actor: User | None, tests: str = "") -> PolicyVersion:
    highest = policy.versions.aggregate(n=Max("number"))["n"] or 0
    version = PolicyVersion.objects.create(
        policy=policy,
        number=highest + 1,
        source=source,
        tests=tests,
        sha256=_sha256(source.encode()),
        comment=comment.strip()[:300],
        author=actor,
    )
    _record(Action.POLICY_CREATE, version, actor)
    return version


def rules_in_force(version: PolicyVersion) -> Rules:
    """What decides at each gate while ``version`` is the active one: its own rules, but for gates where it is staged.

    One query more for a version that observes somewhere.
    """
    own, stages = rules_of(version.sha256, version.source), version.stages
    if not stages:
        return own
    deciding = PolicyVersion.objects.in_bulk([s.decided_by for s in stages.values() if s.decided_by is not None])
    parts = {}
    for gate, stage in stages.items():
        if stage.decided_by is None:
            parts[gate] = staging.Part(own, stage.mode)
        else:
            other = deciding[stage.decided_by]
            parts[gate] = staging.Part(rules_of(other.sha256, other.source), stage.decided_as)
    return staging.composed(own, parts)


@transaction.atomic
def activate_version(version_id: int, *, actor: User, modes: Mapping[Gate, Mode] | None = None) -> PolicyVersion:
    """Let this version gate from now on; every stored verdict is asked again before it counts.

    With ``modes`` it is tried: kept as one more version that observes or warns at these gates, and that gates; with
    empty ones it is enforced at every gate, though it was tried before. Returns the version that gates.

    Raises ``NotAllowed``, ``NotFound``, ``Conflict`` where it gates already, and ``Invalid`` where its tests fail.
    """
    require(actor, Permission.POLICY_ACTIVATE)
    version = PolicyVersion.objects.select_related("policy").filter(pk=version_id).first()
    if version is None:
        raise NotFound(f"There is no policy version {version_id}.")
    policies = list(Policy.objects.select_for_update().filter(Q(is_gating=True) | Q(pk=version.policy_id)))
    policy = next(p for p in policies if p.pk == version.policy_id)
    if modes:
        version = _stage(policies, version, modes, actor)
    elif modes is not None and version.staging:
        version = _untried(version)
    if policy.is_gating and policy.active_version_id == version.pk:
        raise Conflict(f"{version.policy.name} version {version.number} gates already.", code="policy-active")
    _require_passed(run_tests(rules_of(version.sha256, version.source), version.tests))
    Policy.objects.filter(is_gating=True).exclude(pk=policy.pk).update(is_gating=False)
    version.policy = policy
    _activate(policy, version, actor, timezone.now())
    return version


def _stage(
    policies: Sequence[Policy], version: PolicyVersion, modes: Mapping[Gate, Mode], actor: User
) -> PolicyVersion:
    """One more version with the rules of ``version``, that observes or warns as ``modes`` say."""
    before = next((p.active_version for p in policies if p.is_gating and p.active_version), None)
    before = before or active_version()
    found = staging.staged(modes, before.stages, before.pk)
    same_rules = before.sha256 == version.sha256 and before.policy_id == version.policy_id
    if same_rules and {g: s.mode for g, s in before.stages.items()} == dict(modes):
        raise Conflict(f"{version.policy.name} version {before.number} does that already.", code="policy-active")
    made = _add(version.policy, version.source, _staged_words(version, modes), actor, version.tests)
    made.staging = msgspec.to_builtins(found)
    made.save(update_fields=["staging"])
    return made


def _untried(version: PolicyVersion) -> PolicyVersion:
    """The version that was tried as ``version``: the same rules and tests, enforced at every gate."""
    same = version.policy.versions.filter(sha256=version.sha256, tests=version.tests, number__lt=version.number)
    return next(v for v in same.select_related("policy").order_by("-number") if not v.staging)


def _staged_words(version: PolicyVersion, modes: Mapping[Gate, Mode]) -> str:
    told = ", ".join(f"{mode.value}s at {gate.value}" for gate, mode in modes.items())
    return f"version {version.number}, which {told}: {version.comment}".rstrip(": ")


def _activate(policy: Policy, version: PolicyVersion, actor: User | None, now: datetime) -> None:
    policy.active_version, policy.is_gating = version, True
    policy.save(update_fields=["active_version", "is_gating"])
    version.activated_at = now
    version.save(update_fields=["activated_at"])
    _record(Action.POLICY_ACTIVATE, version, actor)
    _judge_soon()


def _record(action: Action, version: PolicyVersion, actor: User | None) -> None:
    record(
        action,
        actor=actor,
        subject_type="policy",
        subject_id=version.policy_id,
        subject=f"{version.policy.name} version {version.number}",
        details={"sha256": version.sha256, "comment": version.comment}
        | ({"staging": version.staging} if version.staging else {}),
    )


# --- judging ---


def verdict_of(image: Image, stage: Gate, now: datetime | None = None) -> Verdict:
    """The verdict on ``image`` at ``stage`` that holds at this instant; judged anew where the stored one may not."""
    version = active_version()
    stored = Verdict.objects.filter(image=image, stage=stage).select_related("evaluation").first()
    if stored and stored.valid_until > (now or timezone.now()) and stored.evaluation.policy_version_id == version.pk:
        return stored
    return judge(image, [stage], now)[stage]


@transaction.atomic
def judge(image: Image, stages: Sequence[Gate], now: datetime | None = None) -> dict[Gate, Verdict]:
    """Evaluate the policy that gates on what stands at ``now``, and keep the answers.

    The image's row is locked from before the facts are read until the answers are committed, and whoever changes what
    they rest on (a scan, a decision) locks it too: an answer can never overwrite the news that it is stale. Without
    ``now`` the instant is read behind the lock: what was decided while waiting for it has begun then.
    """
    locked = Image.objects.select_for_update(no_key=True).get(pk=image.pk)
    now = now or timezone.now()
    version = active_version()
    facts = facts_of(locked, stages[0], now)
    judged = {stage: _judge(locked, msgspec.structs.replace(facts, stage=stage), version, now) for stage in stages}
    for follow in JUDGED:
        follow(locked, judged)
    return judged


def _judge(image: Image, facts: Facts, version: PolicyVersion, now: datetime) -> Verdict:
    answer, observed = _answer(version, facts, now)
    evaluation = Evaluation.objects.create(
        image=image,
        stage=facts.stage,
        verdict=answer.verdict,
        policy_version=version,
        input=_keep(facts),
        document=zlib.compress(render(answer, facts, settings.PUBLIC_URL, observed), 1),
        observed=observed.verdict if observed is not None else "",
        scans=msgspec.to_builtins(facts.scans),
        decision_ids=sorted({f.decision.id for f in facts.findings if f.decision}),
        evaluated_at=now,
        valid_until=answer.valid_until,
    )
    verdict, _ = Verdict.objects.update_or_create(
        image=image,
        stage=facts.stage,
        defaults={
            "verdict": answer.verdict,
            "evaluation": evaluation,
            "evaluated_at": now,
            "valid_until": answer.valid_until,
        },
    )
    return verdict


def _answer(version: PolicyVersion, facts: Facts, now: datetime) -> tuple[Answer, Answer | None]:
    """(the verdict, and what the version would have said where it only observes)."""
    stage = version.stages.get(facts.stage, Staged())
    ref = PolicyRef(version.policy.name, version.number, stage.mode.value, stage.decided_by)
    answer = evaluate(rules_in_force(version), facts, now, policy_ref=ref)
    if stage.mode is not Mode.OBSERVE:
        return answer, None
    return answer, evaluate(rules_of(version.sha256, version.source), facts, now, policy_ref=ref)


def _keep(facts: Facts) -> EvaluationInput:
    raw = fact_bytes.encode(fact_bytes.shared(facts))
    sha256 = _sha256(raw)
    kept = EvaluationInput.objects.filter(sha256=sha256).only("id").first()
    if kept is None:
        body = zlib.compress(raw, 1)
        kept, _ = EvaluationInput.objects.get_or_create(sha256=sha256, defaults={"body": body})
    return kept


def replay(evaluation: Evaluation) -> bytes:
    """The verdict document computed again from what was stored (DESIGN rule 7): the same bytes."""
    version = evaluation.policy_version
    facts = fact_bytes.rejoined(zlib.decompress(evaluation.input.body), evaluation.stage, evaluation.scans)
    answer, observed = _answer(version, facts, evaluation.evaluated_at)
    return render(answer, facts, settings.PUBLIC_URL, observed)


def document_of(verdict: Verdict) -> dict[str, Any]:
    """The verdict document (DESIGN section 5), as it was judged."""
    return verdict.evaluation.kept_document


def read_document(verdict: Verdict, reader: User) -> dict[str, Any]:
    """``document_of``; without what lies outside of a limited token's part of its team, which reads the same images."""
    document = document_of(verdict)
    return document if reader.limit is None else shown_to(reader, verdict.evaluation, document)


def build_verdict(image: Image, reader: User) -> dict[str, Any]:
    """``scans.verdicts``: the document that a finished scan shows."""
    return read_document(verdict_of(image, Gate.BUILD), reader)


def statements_for(image: Image, repository: Repository, now: datetime) -> list[Statement]:
    """``signing.STATEMENTS``: what goes along with an image in ``repository``, judged for promotion."""
    return statements_of(verdict_of(image, Gate.PROMOTE, now), repository, now)


def simulate(rules: Rules, image: Image, stage: Gate, now: datetime) -> dict[str, Any]:
    """What a draft would say of an image now. Nothing is kept."""
    facts = facts_of(image, stage, now)
    answer = evaluate(rules, facts, now, policy_ref=PolicyRef(name=rules.name, version=0))
    document: dict[str, Any] = msgspec.json.decode(render(answer, facts, settings.PUBLIC_URL))
    return document


# --- when an answer no longer holds ---

OVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Until when a verdict holds that news have overtaken: not until now, to which a clock may be set back."""


def follow_scan(image: Image, scan: Scan, now: datetime) -> None:
    """``scans.services.SCANNED``: the pipeline's own gate is answered with the scan; the others right after it."""
    judge(image, [Gate.BUILD], now)
    Verdict.objects.filter(image=image).exclude(stage=Gate.BUILD).update(valid_until=OVER)
    job_services.enqueue(JUDGE_REST, {"image": image.pk}, key=str(image.pk), queue=Queue.SCHEDULED, again=True)


def judge_rest(run: Run) -> None:
    """The job: answer every gate of one image that has no answer that holds. Safe to run twice."""
    image = Image.objects.filter(pk=run.args["image"]).first()
    if image is None:
        return
    now = timezone.now()
    if _out_of_step([image.pk], now):
        forget([image.pk])
    holds = Verdict.objects.filter(image=image, valid_until__gt=now).values_list("stage", flat=True)
    missing = [g for g in Gate if g.value not in set(holds)]
    if missing:
        judge(image, missing)


def follow_decisions(decisions: list[Decision]) -> None:
    """``decisions.services.FOLLOWERS``: whatever these decisions cover is judged anew before it counts again.

    A scan that is being taken in at this moment may add images and findings that are not seen here, and does not see
    these decisions. Whichever of the two commits last has a job behind it that sees both: ``judge_rest`` of the scan,
    ``settle`` of the decisions.
    """
    for images in _covered(decisions):
        forget(images)
    _settle_soon(decisions)


def _settle_soon(decisions: list[Decision]) -> None:
    ids = sorted(d.pk for d in decisions)
    for start in range(0, len(ids), SETTLED):
        chunk = ids[start : start + SETTLED]
        key = _sha256(repr(chunk).encode())
        job_services.enqueue(SETTLE, {"decisions": chunk}, key=key, queue=Queue.SCHEDULED, again=True)


def follow_parted(decisions: list[Decision], repositories: Collection[int]) -> None:
    """``decisions.services.PARTED``: no stored verdict counts on what lies there and rests on one of these decisions.

    Without the images' locks, which come before those that the caller holds; what is judged in this very moment, on
    what stood before, has ``settle`` behind it.
    """
    there = ImageRepository.objects.filter(repository__in=among(sorted(repositories))).values("image_id")
    risks = among(sorted({d.risk_id for d in decisions}))
    images = Finding.objects.filter(image__in=there, risk__in=risks, status=OPEN).values("image_id")
    Verdict.objects.filter(image__in=images, valid_until__gt=OVER).update(valid_until=OVER)
    _judge_soon()
    _settle_soon(decisions)


def settle(run: Run) -> Mapping[str, Any]:
    """The job: forget what was judged beside these decisions while they were taken. Safe to run twice."""
    found = 0
    for images in _covered(list(Decision.objects.filter(pk__in=run.args["decisions"]))):
        stale = _out_of_step(images, timezone.now())
        forget(stale)
        found += len(stale)
    return {"images": found}


def _out_of_step(image_ids: Sequence[int], now: datetime) -> list[int]:
    """Those of the images whose stored verdicts rest on other decisions than those that count now."""
    rows = Verdict.objects.filter(image_id__in=image_ids, valid_until__gt=now)
    used: dict[int, set[frozenset[int]]] = {}
    for image, ids in rows.values_list("image_id", "evaluation__decision_ids"):
        used.setdefault(image, set()).add(frozenset(ids))
    return [image for image, sets in sorted(used.items()) if sets != {_deciding(image, now)}]


def _deciding(image_id: int, now: datetime) -> frozenset[int]:
    return frozenset(d.id for d in applicable_for_image(image_id, now).values())


def follow_repository(repository: Repository, at: datetime) -> None:
    """``images.services.REPOSITORY_FOLLOWERS``: who owns an image is one of its facts."""
    forget(list(repository.places.order_by("image_id").values_list("image_id", flat=True)))


def follow_application(application: Application) -> None:
    """``accounts.services.APPLICATION_FOLLOWERS``: its team, exposure and stage are facts of its images."""
    places = ImageRepository.objects.filter(repository__application=application)
    forget(sorted(set(places.values_list("image_id", flat=True))))


def follow_planning(application_ids: Sequence[int]) -> None:
    """``planning.services.CHANGED``: their checklists are facts of their images, where the policy in force asks."""
    policy = gating_policy()
    if policy is None or not policy.versions.filter(source__contains="planning_").exists():
        return
    places = ImageRepository.objects.filter(repository__application__in=application_ids)
    forget(sorted(set(places.values_list("image_id", flat=True))))


def follow_risks(risk_ids: Sequence[int], at: datetime) -> None:
    """``findings.services.RISKS_CHANGED``: a fix, exploitation or severity is new where these risks stand."""
    images = Finding.objects.filter(risk_id__in=risk_ids, status=OPEN).values("image_id")
    forget(list(Image.objects.filter(pk__in=images).order_by("pk").values_list("pk", flat=True)))


def follow_images(image_ids: Sequence[int], at: datetime) -> None:
    """``findings.services.IMAGES_CHANGED``: findings came or went there without a scan."""
    forget(list(image_ids))


def follow_recall(recall: Recall, image_ids: Sequence[int], at: datetime) -> None:
    """``signing.services.RECALLED``: what was called back is refused at every gate, at once."""
    forget(list(image_ids))


def _covered(decisions: list[Decision]) -> list[list[int]]:
    """Ids of the images in which the decisions' risks stand open, within their scopes."""
    by_scope: dict[tuple[str, int | None], list[int]] = {}
    for d in decisions:
        scope = (d.scope_kind, d.image_id or d.repository_id or d.application_id)
        by_scope.setdefault(scope, []).append(d.risk_id)
    found: set[int] = set()
    for (kind, pk), risks in by_scope.items():
        open_here = Finding.objects.filter(image=OuterRef("pk"), risk_id__in=risks, status=OPEN)
        found.update(Image.objects.filter(_inside(kind, pk), Exists(open_here)).values_list("pk", flat=True))
    ordered = sorted(found)
    return [ordered[i : i + 5000] for i in range(0, len(ordered), 5000)]


def _inside(kind: str, pk: int | None) -> Q:
    if kind == ScopeKind.ORGANISATION:
        return Q()
    if kind == ScopeKind.IMAGE:
        return Q(pk=pk)
    path = "repository_id" if kind == ScopeKind.REPOSITORY else "repository__application_id"
    return Q(Exists(ImageRepository.objects.filter(image=OuterRef("pk"), **{path: pk})))


@transaction.atomic
def forget(image_ids: Sequence[int]) -> None:
    """From now on no stored verdict on these images counts. Locks their rows first, in one order (see ``judge``)."""
    if not image_ids:
        return
    rows = Image.objects.select_for_update(no_key=True).filter(pk__in=image_ids)
    list(rows.order_by("pk").values_list("pk", flat=True))
    Verdict.objects.filter(image_id__in=image_ids, valid_until__gt=OVER).update(valid_until=OVER)
    _judge_soon()


def _judge_soon() -> None:
    job_services.enqueue(JUDGE_STALE, {}, key="all", queue=Queue.SCHEDULED, again=True)


def judge_stale(run: Run) -> Mapping[str, Any]:
    """The job: judge anew what no longer holds, so that lists and figures show it. Safe to run twice."""
    done = 0
    while images := _next_stale():
        for image in images:
            judge(image, list(Gate))
        done += len(images)
        run.progress("judging images anew", done)
        if len(images) < BATCH:
            break
    return {"images": done}


def _next_stale() -> list[Image]:
    """Some of the images whose verdicts no longer hold, those that run somewhere first."""
    runs = Exists(Workload.objects.running().filter(images=OuterRef("pk")))
    stale = Image.objects.filter(pk__in=stale_verdicts(timezone.now()).order_by().values("image_id"))
    return list(stale.annotate(runs=runs).order_by("-runs", "pk")[:BATCH])


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
