"""No sequence of requests, votes, rescans, feeds, role changes and time lets an image pass against its rules.

Hypothesis makes the sequences against the product's own services and a real database; ``naivelaw`` says, from what
people did and what is known, what may pass at each instant. After every step every gate is asked about every image.

The clock is the test's. Jobs run when the sequence says so, or never: what counts must not wait for a worker. One
exception: a feed is itself a job, and the job that carries its news to the images follows it in the same worker, so
here both are one step.
"""

from __future__ import annotations

import zlib
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from secguard.accounts import services as accounts
from secguard.accounts.models import Application, Membership, Team, User
from secguard.advisories.epss import Score
from secguard.advisories.kev import Catalogue, Exploited
from secguard.advisories.services.facts import store_catalogue, store_scores
from secguard.approvals import models as approvals_models
from secguard.approvals import services as approvals
from secguard.approvals.models import Vote
from secguard.decisions import queries, services
from secguard.decisions.models import Decision
from secguard.decisions.services.appetite import DEFAULT
from secguard.errors import SecGuardError
from secguard.findings.models import Risk
from secguard.images.models import Image, Repository
from secguard.images.services import assign_repository
from secguard.jobs import services as jobs
from secguard.jobs.lifecycle import Queue
from secguard.policies import facts
from secguard.policies.facts import Gate
from secguard.policies.services import verdict_of
from secguard.scans import services as scans
from tests.fixtures_reports import digest, flaw, report
from tests.flows.naivelaw import SEVERITIES, Absence, Known, Law, Request

pytestmark = pytest.mark.django_db

FLAWS = ["CVE-2026-1001", "CVE-2026-1002"]
IMAGES = ["1", "2"]
REPOSITORIES = {"reg.example/shop/web": "shop", "reg.example/shop/cart": "shop", "reg.example/logistics/api": "depot"}
TEAM_OF = {"shop": "a", "depot": "b"}
PEOPLE: dict[str, list[tuple[str, str | None]]] = {
    "dev-a": [("developer", "a")],
    "dev-both": [("developer", "a"), ("developer", "b")],
    "chief": [("developer", None), ("administrator", None)],
    "reviewer-a": [("security-reviewer", "a")],
    "reviewer-b": [("security-reviewer", "b"), ("developer", "b")],
    "reviewer": [("security-reviewer", None)],
    "business": [("business-approver", None)],
    "admin": [("administrator", None)],
}
AWAY = ["reviewer", "reviewer-a", "reviewer-b", "business"]
ROLES = ["security-reviewer", "business-approver", "developer"]
STRICT = DEFAULT.read_text(encoding="utf-8").replace(
    "approvers: {security-reviewer: 1}", "approvers: {security-reviewer: 1, business-approver: 1}"
)
APPETITES = {
    "as it comes": DEFAULT.read_text(encoding="utf-8"),
    "strict": STRICT,
    "with a second look": DEFAULT.read_text(encoding="utf-8").replace(
        "{approvals: 100, within_minutes: 10}", "{approvals: 100, within_minutes: 10, seconds: 5}"
    ),
}
LOOK_FOR = {"with a second look": timedelta(seconds=5)}
GATES = [Gate.BUILD, Gate.PROMOTE]
PASSED: Counter[str] = Counter()


class Clock:
    def __init__(self) -> None:
        self.now = timezone.now()


people = st.sampled_from(sorted(PEOPLE))
flaws = st.sampled_from([FLAWS[0], *FLAWS])
images = st.sampled_from(IMAGES)
repositories = st.sampled_from(sorted(REPOSITORIES))
severities = st.sampled_from(["high", "critical", "critical"])
scope_kinds = st.sampled_from(["image", "repository", "repository", "application", "organisation"])
kinds = st.sampled_from(["accept", "accept", "mitigate", "not_affected", "fix"])


looks = st.sampled_from([None, None, timedelta(seconds=1), timedelta(seconds=20)])
stories = st.sampled_from(["nothing", "by a deputy", "undone", "by a deputy, undone"])
conditions = st.sampled_from([{}, {"until_fixed": True}, {"until_fixed": True}, {"max_severity": "high"}])


class Estate(RuleBasedStateMachine):
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        self._transaction = transaction.atomic()
        self._transaction.__enter__()
        self.law = Law()
        self.appetite = "as it comes"
        self.teams = {name: Team.objects.create(name=f"team {name}", slug=f"team-{name}") for name in ("a", "b")}
        self.applications = {
            name: Application.objects.create(name=name, slug=name, team=self.teams[team])
            for name, team in TEAM_OF.items()
        }
        self.ids = {name: self._person(name, grants) for name, grants in PEOPLE.items()}
        self.law.team_of = dict(TEAM_OF)
        keeper = User.objects.create(username="keeper")
        Membership.objects.create(user=keeper, role="administrator")

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self._transaction.__exit__(None, None, None)

    def _person(self, name: str, grants: list[tuple[str, str | None]]) -> int:
        user = User.objects.create(username=name, created_at=self.now)
        for role, team in grants:
            Membership.objects.create(user=user, role=role, team=self.teams[team] if team else None)
        self.law.grants[name] = set(grants)
        return user.pk

    def user(self, name: str) -> User:
        return User.objects.get(pk=self.ids[name])

    def keeper(self) -> User:
        """Who keeps the installation, and has no part in the story."""
        return User.objects.get(username="keeper")

    @property
    def now(self) -> Any:
        return self.clock.now

    def tick(self) -> None:
        """Nothing happens twice in the same instant."""
        self.clock.now += timedelta(seconds=1)

    # --- what is found ---

    @initialize(fix=st.booleans(), severity=severities, story=stories)
    def first_scan(self, fix: bool, severity: str, story: str) -> None:
        """And, often enough, something that is agreed from the beginning: by a deputy, or anew."""
        self.scan("1", "reg.example/shop/web", {FLAWS[0]: (severity, fix)})
        if story == "nothing":
            return
        voter = "reviewer"
        if "deputy" in story:
            self.go_away("reviewer", "chief", 30, 0)
            voter = "chief"
        self.ask("dev-a", FLAWS[0], "accept", "repository", "1", 24 * 6, {})
        self.approve(voter, 0, None)
        if "undone" in story:
            self._undo(self._some(0), voter)
            self.approve(voter, 0, None)

    @rule(image=images, severity=severities, fix=st.booleans())
    def scan_again(self, image: str, severity: str, fix: bool) -> None:
        """The same image where it lies, with other words on the same flaw."""
        if image in self.law.places:
            self.scan(image, sorted(self.law.places[image])[0], self.law.found[image] | {FLAWS[0]: (severity, fix)})

    @rule(image=images, repository=repositories, found=st.dictionaries(flaws, st.tuples(severities, st.booleans())))
    def scan(self, image: str, repository: str, found: dict[str, tuple[str, bool]]) -> None:
        self.tick()
        told = [
            flaw(name, severity=severity, fixed_versions=["1.1.1w"] if fix else [])
            for name, (severity, fix) in sorted(found.items())
        ]
        raw = report(*told, image={"reference": f"{repository}:{image}", "digest": digest(int(image))})
        submission = scans.Submission(raw)
        posted, _ = scans.submit(submission, actor=self.keeper(), max_bytes=10**7)
        scans.take_in(posted.pk, progress=lambda *_: None)
        if repository not in self.law.places.get(image, set()):
            self.law.newest[repository] = image
        self.law.places.setdefault(image, set()).add(repository)
        self.law.found[image] = dict(found)
        self.law.looked(image, set(FLAWS), self.now)
        if repository not in self.law.owner:
            self._give(repository, REPOSITORIES[repository])

    def _give(self, repository: str, application: str | None) -> None:
        row = Repository.objects.get(name=repository)
        assign_repository(row.pk, self.applications[application] if application else None, actor=self.keeper())
        self.law.owner[repository] = application

    @rule(repository=repositories, application=st.sampled_from(["shop", "depot"]))
    def hand_over(self, repository: str, application: str) -> None:
        if repository in self.law.owner:
            self.tick()
            self._give(repository, application)

    @rule(application=st.sampled_from(["shop", "depot"]), outside=st.booleans())
    def expose(self, application: str, outside: bool) -> None:
        self.tick()
        row = accounts.edit_application(self.applications[application].pk, actor=self.keeper(), is_exposed=outside)
        self.applications[application] = row
        (self.law.exposed.add if outside else self.law.exposed.discard)(application)

    @rule(name=flaws)
    def begin_exploitation(self, name: str) -> None:
        self.tick()
        listed = self.law.exploited | {name}
        store_catalogue(Catalogue(tuple(Exploited(n) for n in sorted(listed)), is_counted=True))
        self.law.exploited = listed
        self.work()

    @rule(name=flaws, score=st.sampled_from([0.05, 0.2, 0.7]))
    def score(self, name: str, score: float) -> None:
        self.tick()
        store_scores([Score(name, score, 0.9)])
        self.law.epss[name] = score
        self.work()

    @rule(repository=repositories, severity=severities)
    def fix_and_break_again(self, repository: str, severity: str) -> None:
        """The newest image of a repository is scanned without the flaw, and then with it."""
        if repository in self.law.newest:
            image = self.law.newest[repository]
            had = self.law.found[image]
            self.scan(image, repository, {k: v for k, v in had.items() if k != FLAWS[0]})
            self.scan(image, repository, had | {FLAWS[0]: (severity, False)})

    # --- what people do ---

    @rule(
        asker=people,
        name=flaws,
        kind=kinds,
        scope_kind=scope_kinds,
        image=images,
        hours=st.sampled_from([1, 30, 24 * 6]),
        conditions=conditions,
    )
    def ask(
        self, asker: str, name: str, kind: str, scope_kind: str, image: str, hours: int, conditions: dict[str, Any]
    ) -> None:
        self.tick()
        risk = Risk.objects.filter(vulnerability__name=name).first()
        image = image if image in self.law.places else IMAGES[0]
        if risk is None:
            return
        repository = sorted(self.law.places[image])[0]
        application = self.law.owner[repository]
        label: Any = {"image": digest(int(image)), "repository": repository, "application": application}.get(
            scope_kind, True
        )
        scope = (scope_kind, {"image": image, "repository": repository, "application": application}.get(scope_kind, ""))
        actor = self.user(asker)
        ends = self.now + timedelta(hours=hours)
        try:
            wanted = services.Ask(
                risk.pk, kind, queries.find_scope(actor, scope_kind, label), "because", ends, conditions
            )
            with transaction.atomic():
                made = services.request_decision(wanted, actor=actor)
        except SecGuardError:
            return
        self._note(made, name, asker, (scope[0], str(scope[1])))

    def _note(self, made: Decision, name: str, asker: str, scope: tuple[str, str]) -> None:
        """What was asked for, in the law's own words; what the product says was known is no worse than what was."""
        said, worst = made.snapshot, self.law.worst(name, scope)
        assert worst is not None, "asked for something that stands nowhere"
        known = Known(
            severity=SEVERITIES[said["severity"]],
            fix=said["fix_available"],
            exploited=said["known_exploited"],
            epss=said["epss"] or 0.0,
            exposed=bool(said["exposed"]),
        )
        assert SEVERITIES.index(known.severity) <= SEVERITIES.index(worst.severity)
        assert known.exploited <= worst.exploited
        assert known.epss <= worst.epss
        everywhere = {k.severity for i in self.law.images_in(scope) if (k := self.law.known(name, i))}
        seats = ["security-reviewer"]
        if self.appetite == "strict" or (worst.exploited and everywhere == {"critical"}):
            seats.append("business-approver")
        self.law.requests[made.pk] = Request(
            flaw=name,
            kind=made.kind,
            scope=scope,
            requester=asker,
            asked_at=made.requested_at,
            ends_at=made.expires_at,
            seats=tuple(seats),
            known=known,
            until_fixed=made.conditions.get("until_fixed", False),
            max_severity=made.conditions.get("max_severity", ""),
            look_for=LOOK_FOR.get(self.appetite, timedelta(0)),
            late_at=made.requested_at + timedelta(days=1) if "high" in everywhere and not worst.exploited else None,
        )

    def _some(self, pick: int) -> int:
        numbers = sorted(self.law.requests)
        return numbers[-1 - pick % len(numbers)]

    @precondition(lambda self: self.law.requests)
    @rule(voter=people, pick=st.integers(0, 5), looked_for=looks)
    def approve(self, voter: str, pick: int, looked_for: timedelta | None) -> None:
        self.tick()
        number = self._some(pick)
        opened_at = None if looked_for is None else self.now - looked_for
        try:
            with transaction.atomic():
                services.approve(number, actor=self.user(voter), opened_at=opened_at)
        except SecGuardError:
            return
        self.law.cast(number, voter, "approve", self.now, seat=self._seat(number, voter), looked_for=looked_for)

    def _seat(self, number: int, voter: str) -> str:
        """In whose seat the product says that the vote was cast; whether it might have been, the law says."""
        vote = Vote.objects.select_related("seat_of").get(request__decision=number, voter=self.ids[voter])
        if vote.seat_of is None:
            return voter
        PASSED["a vote in another's seat"] += 1
        return vote.seat_of.username

    @precondition(lambda self: self.law.requests)
    @rule(voter=people, pick=st.integers(0, 2))
    def undo(self, voter: str, pick: int) -> None:
        self.tick()
        self._undo(self._some(pick), voter)

    def _undo(self, number: int, voter: str) -> None:
        try:
            with transaction.atomic():
                again = services.undo(number, actor=self.user(voter))
        except SecGuardError:
            return
        PASSED["a vote undone"] += 1
        self.law.undone(number, voter, again.pk, self.now)

    @precondition(lambda self: self.law.requests)
    @rule(voter=st.sampled_from(["reviewer", "reviewer-a", "business"]), pick=st.integers(0, 2), rejects=st.booleans())
    def vote_and_undo(self, voter: str, pick: int, rejects: bool) -> None:
        if rejects:
            self.reject(voter, pick)
        else:
            self.approve(voter, pick, None)
        self.tick()
        self._undo(self._some(pick), voter)

    @rule(person=st.sampled_from(AWAY), deputy=people, hours=st.sampled_from([1, 30]), begins=st.sampled_from([0, 1]))
    def go_away(self, person: str, deputy: str, hours: int, begins: int) -> None:
        self.tick()
        first = self.now + timedelta(hours=begins)
        last = first + timedelta(hours=hours)
        try:
            approvals.name_deputy(deputy, starts_at=first, ends_at=last, actor=self.user(person))
        except SecGuardError:
            return
        self.law.absences.append(Absence(person, deputy, first, last))

    @rule(person=st.sampled_from(AWAY))
    def come_back(self, person: str) -> None:
        self.tick()
        for row in approvals_models.Absence.objects.filter(
            person=self.ids[person], ends_at__gt=self.now, ended_at=None
        ):
            approvals.end_absence(row.pk, actor=self.user(person))
        for absence in self.law.absences:
            if absence.person == person:
                absence.ends = min(absence.ends, self.now)

    @rule(
        asker=st.sampled_from(["dev-a", "dev-both", "chief"]),
        name=flaws,
        kind=kinds,
        scope_kind=scope_kinds,
        image=images,
        hours=st.sampled_from([1, 30, 24 * 6]),
        conditions=conditions,
        looked_for=looks,
    )
    def ask_and_everybody_approves(self, looked_for: timedelta | None, **wanted: Any) -> None:
        """Often enough something is approved, whatever its rules ask for."""
        before = set(self.law.requests)
        self.ask(**wanted)
        if set(self.law.requests) > before:
            for voter in sorted(PEOPLE):
                self.approve(voter, 0, looked_for)

    @precondition(lambda self: self.law.requests)
    @rule(voter=people, pick=st.integers(0, 5))
    def reject(self, voter: str, pick: int) -> None:
        self.tick()
        number = self._some(pick)
        try:
            with transaction.atomic():
                services.reject(number, actor=self.user(voter), comment="no")
        except SecGuardError:
            return
        self.law.cast(number, voter, "reject", self.now, seat=self._seat(number, voter))

    @precondition(lambda self: self.law.requests)
    @rule(person=people, pick=st.integers(0, 5), revokes=st.booleans())
    def take_back(self, person: str, pick: int, revokes: bool) -> None:
        self.tick()
        number, actor = self._some(pick), self.user(person)
        try:
            with transaction.atomic():
                if revokes:
                    services.revoke(number, reason="no longer", actor=actor)
                else:
                    services.withdraw(number, actor=actor)
        except SecGuardError:
            return
        self.law.requests[number].is_over = True

    @rule(by=st.sampled_from(["admin", "chief"]), whom=people, role=st.sampled_from(ROLES), team=st.sampled_from("ab-"))
    def grant(self, by: str, whom: str, role: str, team: str) -> None:
        self.tick()
        where = None if team == "-" else team
        try:
            accounts.grant(self.ids[whom], role, actor=self.user(by), team=self.teams[where] if where else None)
        except SecGuardError:
            return
        if (role, where) not in self.law.grants[whom]:
            self.law.grants[whom].add((role, where))
            self.law.made_able.append((by, whom, self.now))

    @rule(whom=people, pick=st.integers(0, 3))
    def take_role(self, whom: str, pick: int) -> None:
        self.tick()
        rows = list(Membership.objects.filter(user_id=self.ids[whom]).select_related("team").order_by("pk"))
        if not rows:
            return
        row = rows[pick % len(rows)]
        try:
            accounts.revoke(row.pk, actor=self.keeper())
        except SecGuardError:
            return
        self.law.grants[whom].discard((row.role, row.team.slug[-1] if row.team else None))

    @rule(whom=st.sampled_from(["reviewer", "reviewer-a", "business", "dev-a"]))
    def leave_or_return(self, whom: str) -> None:
        self.tick()
        if whom in self.law.inactive:
            accounts.reactivate(self.ids[whom], actor=self.keeper())
            self.law.inactive.discard(whom)
        else:
            accounts.deactivate(self.ids[whom], actor=self.keeper())
            self.law.inactive.add(whom)

    @rule(appetite=st.sampled_from(sorted(APPETITES)))
    def have_another_appetite(self, appetite: str) -> None:
        self.tick()
        services.create_appetite(f"{APPETITES[appetite]}# {self.now}\n", actor=self.keeper(), activate=True)
        self.appetite = appetite

    # --- time and workers ---

    @rule(hours=st.sampled_from([1, 5, 24, 24 * 7]))
    def wait(self, hours: int) -> None:
        self.clock.now += timedelta(hours=hours)

    @rule()
    def wait_for_an_end(self) -> None:
        """To the very instant at which the next decision ends."""
        ends = [r.ends_at for r in self.law.requests.values() if r.ends_at > self.now]
        if ends:
            self.clock.now = min(ends)

    @rule()
    def work(self) -> None:
        while sum(jobs.work(queue, seconds=60) for queue in Queue):
            pass

    # --- what must hold ---

    @invariant()
    def nothing_passes_that_may_not(self) -> None:
        for image in sorted(self.law.places):
            row = Image.objects.get(digest=digest(int(image)))
            for gate in GATES:
                self._check(image, verdict_of(row, gate))

    def _check(self, image: str, verdict: Any) -> None:
        raw = zlib.decompress(verdict.evaluation.input.body)
        used = facts.rejoined(raw, verdict.stage, verdict.evaluation.scans)
        for finding in used.findings:
            if finding.decision is None:
                continue
            assert self.law.allows(finding.vulnerability, image, self.now), (
                f"{finding.vulnerability} in image {image} rests on decision {finding.decision.id}"
            )
            PASSED["resting on a decision"] += 1
        if verdict.verdict == "block":
            return
        for name in self.law.found[image]:
            known = self.law.known(name, image)
            assert known is not None
            if known.exploited or (known.severity == "critical" and known.fix):
                assert self.law.allows(name, image, self.now), f"image {image} passes {verdict.stage} with {name}"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timezone, "now", lambda: clock.now)
    monkeypatch.setattr(Estate, "clock", clock, raising=False)
    return clock


def test_no_sequence_lets_an_image_pass_against_its_rules(clock: Clock) -> None:
    PASSED.clear()
    # Less than a minute. A failure is shown as found: making it smaller would take minutes.
    limits = settings(
        max_examples=24,
        stateful_step_count=30,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Estate, settings=limits)
    assert PASSED["resting on a decision"], "no verdict ever rested on a decision, so this said nothing"
    assert PASSED["a vote in another's seat"], "no deputy ever voted"
    assert PASSED["a vote undone"], "no vote was ever undone"
