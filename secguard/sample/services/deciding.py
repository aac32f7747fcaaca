"""The plan's decisions, each through the product's own services and as of its day."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import QuerySet

from secguard.accounts.models import User
from secguard.decisions import services as decisions
from secguard.decisions.controls import EvidenceKind
from secguard.decisions.lifecycle import DecisionStatus
from secguard.decisions.models import Decision
from secguard.decisions.queries import Scope, find_scope
from secguard.decisions.services import Ask
from secguard.errors import SecGuardError
from secguard.findings.models import Exposure, Risk
from secguard.findings.severity import Severity
from secguard.images.models import Repository
from secguard.sample.organisation import BUSINESS, REVIEWERS, reference
from secguard.sample.plan import PLAN, Request
from secguard.sample.services.days import Cast

OPEN = (DecisionStatus.REQUESTED.value, DecisionStatus.APPROVED.value)


class Deciding:
    """Lives through the plan: asks, votes and ends on the days that it names."""

    def __init__(self, cast: Cast, now: datetime) -> None:
        self._cast, self._now = cast, now
        self._made: dict[Request, int] = {}
        self._controls: dict[Request, int] = {}

    def live(self, day: int, at: datetime, *, is_news: bool) -> set[int]:
        """Everything of this day; returns the repositories for which something changed."""
        touched: set[int] = set()
        if is_news:
            for ended in decisions.review_material_changes(self._risks_decided(), at):
                touched |= _reached(ended)
        self._end_due(at)
        for request in PLAN:
            if request.asked == day:
                self._ask(request, at)
            elif (decision := self._made.get(request)) is not None and self._act(request, decision, day, at):
                touched |= _reached(Decision.objects.get(pk=decision))
        return touched

    def _risks_decided(self) -> list[int]:
        return list(Decision.objects.filter(pk__in=self._made.values()).values_list("risk_id", flat=True))

    def _end_due(self, at: datetime) -> None:
        """By their date, and with their controls. Real ones that still stand are not touched: ``at`` is past."""
        if Decision.objects.filter(pk__in=self._made.values(), status__in=OPEN, expires_at__lte=at).exists():
            decisions.end_due(at)
        if Decision.objects.filter(pk__in=self._made.values(), status="approved", controls_until__lte=at).exists():
            decisions.end_lapsed(at)

    def _ask(self, request: Request, at: datetime) -> None:
        actor = self._cast.users[request.by]
        scope = self._scope(request, actor)
        risk = self._risk(request, scope)
        if risk is None:
            return
        required = decisions.preview([risk.pk], scope, request.kind)
        days = min(request.days, required.max_days if required else request.days)
        try:
            control = self._control(request, actor, at)
            ask = Ask(risk.pk, request.kind, scope, request.reason, at + timedelta(days=days), controls=control)
            self._made[request] = decisions.request_decision(ask, actor=actor, now=at).pk
        except SecGuardError:
            # A risk appetite that somebody wrote may refuse what the default one allows: the story goes on without it.
            return

    def _control(self, request: Request, actor: User, at: datetime) -> list[int]:
        """What the request leans on, proposed with it."""
        if request.control is None:
            return []
        place = Repository.objects.filter(name=reference(request.place)).select_related("application").first()
        new = decisions.NewControl(
            name=request.control.name,
            kind=request.control.kind,
            kept_alive_by=EvidenceKind.CHECK.value,
            every_hours=request.control.days * 24,
            description=request.reason,
            application=place.application if place else self._cast.applications[request.place],
        )
        made = decisions.propose(new, actor=actor, now=at).pk
        self._controls[request] = made
        return [made]

    def _see_to_control(self, request: Request, reviewer: User, at: datetime) -> None:
        """A reviewer confirms what the request leans on, and whoever asked says that it holds."""
        if request in self._controls:
            decisions.confirm(self._controls[request], actor=reviewer, now=at)
            seen = decisions.Evidence(EvidenceKind.CHECK.value, note=request.words or "Looked at it.")
            decisions.add_evidence(self._controls[request], seen, actor=self._cast.users[request.by], now=at)

    def _scope(self, request: Request, actor: User) -> Scope:
        if request.scope == "organisation":
            return find_scope(actor, "organisation", True)
        if request.scope == "application":
            return find_scope(actor, "application", self._cast.applications[request.place].slug)
        repository = Repository.objects.select_related("newest_image").get(name=reference(request.place))
        if request.scope == "image" and repository.newest_image is not None:
            return find_scope(actor, "image", repository.newest_image.digest)
        return find_scope(actor, "repository", repository.name)

    def _risk(self, request: Request, scope: Scope) -> Risk | None:
        """The risk that the plan names, or the worst that fits and that nobody has decided on."""
        if request.flaw or request.rule:
            named = Risk.objects.filter(vulnerability__name=request.flaw) if request.flaw else None
            rows = named if named is not None else Risk.objects.filter(rule=request.rule)
            return rows.order_by("pk").first()
        rows = Risk.objects.filter(exposures__in=self._open(request), kind="vulnerability")
        rows = rows.exclude(pk__in=self._risks_decided()).exclude(vulnerability__name__startswith="SAMPLE-2026-9")
        return rows.order_by("-epss", "vulnerability__name").distinct().first()

    def _open(self, request: Request) -> QuerySet[Exposure]:
        rows = Exposure.objects.present().filter(severity=Severity[request.severity.upper()], known_exploited=False)
        if request.fix is not None:
            rows = rows.filter(fix_available=request.fix)
        if request.scope == "application":
            return rows.filter(application=self._cast.applications[request.place])
        return rows.filter(repository__name=reference(request.place))

    def _act(self, request: Request, decision: int, day: int, at: datetime) -> bool:
        """What the plan says for this day; True where the set in force may have changed."""
        author = self._cast.users[request.by]
        reviewers = [self._cast.users[name] for name in REVIEWERS if name != request.by]
        try:
            if request.approved == day:
                self._see_to_control(request, reviewers[0], at)
                return self._approve(request, decision, [*reviewers, self._cast.users[BUSINESS]], at)
            if request.rejected == day:
                decisions.reject(decision, comment=request.words, actor=reviewers[0], now=at)
            elif request.withdrawn == day:
                decisions.withdraw(decision, actor=author, now=at)
            elif request.revoked == day:
                decisions.revoke(decision, reason=request.words, actor=reviewers[-1], now=at)
                if request in self._controls:
                    decisions.retire(self._controls[request], reason=request.words, actor=author, now=at)
                return True
        except SecGuardError:
            # It ended before: a fix appeared, or its date came.
            return False
        return False

    def _approve(self, request: Request, decision: int, voters: list[User], at: datetime) -> bool:
        """As many votes as the risk appetite asks for."""
        for voter in voters:
            if Decision.objects.get(pk=decision).status != DecisionStatus.REQUESTED:
                return True
            try:
                decisions.approve(decision, actor=voter, comment=request.words, now=at)
            except SecGuardError:
                continue
        return True


def _reached(decision: Decision) -> set[int]:
    """The repositories that a decision covers."""
    rows = Exposure.objects.present().filter(risk_id=decision.risk_id)
    if decision.image_id:
        rows = rows.filter(repository__newest_image=decision.image_id)
    elif decision.repository_id:
        rows = rows.filter(repository=decision.repository_id)
    elif decision.application_id:
        rows = rows.filter(application=decision.application_id)
    return set(rows.values_list("repository_id", flat=True))
