"""The sources of an image's timeline: one query each, whatever the image has, and only rows that may be seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import Case, Count, F, Max, OuterRef, Q, QuerySet, Subquery, When
from django.db.models.functions import Coalesce, Least
from django.urls import reverse

from secguard.accounts.models import User
from secguard.admission.models import AdmissionDecision
from secguard.admission.queries import glass, sees_glass
from secguard.approvals.models import Vote
from secguard.findings.models import Finding
from secguard.findings.severity import Severity
from secguard.history.queries.places import Sight, scope_words, sight_of
from secguard.history.timeline import Event, Kind, Place, newest_first
from secguard.images.models import Image, ImageRepository, TagMove
from secguard.policies.models import Evaluation
from secguard.promotion.models import Promotion
from secguard.scans.lifecycle import ScanStatus
from secguard.scans.models import Scan
from secguard.scans.queries import shown_references
from secguard.signing.models import Attestation, Recall, Signature
from secguard.workloads.models import Workload

Told = tuple[str, str, str]
"""(who, words, path here)."""
RULE = "the rule"
SYSTEM = "the system"


@dataclass(frozen=True, slots=True)
class Source:
    """``rows`` with an instant in ``at``; ``tell`` says of each of a page's rows what happened then."""

    kind: Kind
    rows: QuerySet[Any, Any]
    at: str
    tell: Callable[[list[Any]], list[Told]]
    is_grouped: bool = False
    """A row for each instant: none has a number of its own."""


@dataclass(frozen=True, slots=True)
class Span:
    """From ``start`` on (none: from the beginning), up to and with ``end``, after the page that ends at ``after``."""

    end: datetime
    start: datetime | None = None
    after: Place | None = None


def timeline(image: Image, user: User, span: Span, limit: int) -> tuple[list[Event], Place | None]:
    """A page of what happened to the image, newest first, and where the next one begins. A fixed number of queries."""
    sight = sight_of(image, user)
    return newest_first((_events(n, s, span, limit + 1) for n, s in enumerate(_sources(sight, span.end))), limit)


def count(image: Image, user: User, end: datetime) -> int:
    """How many events there are up to ``end``. As many queries as the timeline takes."""
    sources = _sources(sight_of(image, user), end)
    return sum(s.rows.filter(**{f"{s.at}__lte": end}).order_by().count() for s in sources)


def _events(rank: int, source: Source, span: Span, limit: int) -> list[Event]:
    wanted = Q(**{f"{source.at}__lte": span.end})
    if span.start is not None:
        wanted &= Q(**{f"{source.at}__gte": span.start})
    if span.after is not None:
        wanted &= _after(rank, source, span.after)
    rows = source.rows.filter(wanted).order_by(f"-{source.at}", *([] if source.is_grouped else ["-pk"]))
    page: list[Any] = list(rows[:limit])
    told = source.tell(page)
    return [Event(_place(rank, source, row), source.kind, *words) for row, words in zip(page, told, strict=True)]


def _after(rank: int, source: Source, place: Place) -> Q:
    before = Q(**{f"{source.at}__lt": place.at})
    if rank > place.rank:
        return before | Q(**{source.at: place.at})
    if rank == place.rank and not source.is_grouped:
        return before | Q(**{source.at: place.at, "pk__lt": place.row})
    return before


def _place(rank: int, source: Source, row: Any) -> Place:
    return Place(row[source.at], rank, 0) if source.is_grouped else Place(getattr(row, source.at), rank, row.pk)


def _each(tell: Callable[[Any], Told]) -> Callable[[list[Any]], list[Told]]:
    return lambda rows: [tell(row) for row in rows]


def _sources(sight: Sight, now: datetime) -> Iterator[Source]:
    """In the order of a life from its end: of one instant, what follows from the other stands above it."""
    yield from _running(sight)
    yield from _carried(sight)
    yield from _said(sight)
    yield from _decided(sight)
    yield from _looked_at(sight)
    yield from _placed(sight)


def _name(person: User | None, nobody: str = "") -> str:
    return person.username if person is not None else nobody


# --- runs ---


def _running(sight: Sight) -> Iterator[Source]:
    gone = Workload.objects.visible_to(sight.user).filter(images=sight.image, gone_at__isnull=False)
    yield Source(Kind.ENDED, gone.select_related("cluster"), "gone_at", _each(_gone))
    answers = AdmissionDecision.objects.visible_to(sight.user).filter(image=sight.image)
    yield Source(Kind.ADMITTED, answers.select_related("cluster"), "first_at", _each(_admitted))
    if sees_glass(sight.user):
        used = glass(sight.user).filter(digest__in=sight.digests, used_at__isnull=False)
        yield Source(Kind.ADMITTED, used, "used_at", _each(_glass_used))


def _gone(w: Workload) -> Told:
    path = reverse("workloads:detail", args=[w.pk])
    return "", f"{w.kind} {w.namespace}/{w.name} in {w.cluster.name} no longer runs it", path


def _admitted(d: AdmissionDecision) -> Told:
    what = f"{d.workload_kind} {d.namespace}/{d.workload_name}".strip()
    times = f", {d.count} times so far" if d.count > 1 else ""
    why = f": {d.reason[:300]}" if d.reason else ""
    words = f"{d.get_outcome_display().capitalize()} in {d.cluster.name} ({what}{times}){why}"
    return d.requested_by, words, reverse("admissions:detail", args=[d.pk])


def _glass_used(g: Any) -> Told:
    words = f"Started by break-glass {g.pk} in {g.cluster.name}, {g.namespace}: {g.reason[:300]}"
    return _name(g.requested_by), words, reverse("break-glass:detail", args=[g.pk])


# --- promoted, signed, called back ---


def _carried(sight: Sight) -> Iterator[Source]:
    ways = Promotion.objects.visible_to(sight.user).filter(Q(image=sight.image) | Q(digest__in=sight.digests))
    ways = ways.select_related("environment", "requested_by")
    yield Source(Kind.PROMOTED, ways.filter(finished_at__isnull=False), "finished_at", _each(_promoted))
    votes = Vote.objects.filter(request__in=ways.filter(approval__isnull=False).values("approval_id"))
    yield Source(Kind.VOTED, votes.select_related("voter"), "created_at", _each(_promotion_voted))
    yield Source(Kind.ASKED, ways, "requested_at", _each(_promotion_asked))


def _promoted(p: Promotion) -> Told:
    why = f": {p.why[:300]}" if p.why else ""
    words = f"Promotion {p.pk} to {p.environment.name}: {p.status}{why}"
    return _name(p.requested_by, RULE), words, reverse("promotions:detail", args=[p.pk])


def _promotion_asked(p: Promotion) -> Told:
    words = f"Promotion {p.pk} to {p.environment.name} was asked for"
    return _name(p.requested_by, RULE), words, reverse("promotions:detail", args=[p.pk])


def _promotion_voted(v: Vote) -> Told:
    return v.voter.username, f"{_vote(v)} its promotion{_comment(v)}", ""


def _vote(v: Vote) -> str:
    return "Approved" if v.choice == "approve" else "Rejected"


def _comment(v: Vote) -> str:
    return f": {v.comment[:300]}" if v.comment else ""


def _said(sight: Sight) -> Iterator[Source]:
    recalls = Recall.objects.filter(digest=sight.image.digest).select_related("recalled_by", "lifted_by")
    yield Source(Kind.ENDED, recalls.filter(lifted_at__isnull=False), "lifted_at", _each(_lifted))
    yield Source(Kind.RECALLED, recalls, "recalled_at", _each(_recalled))
    stated = Attestation.objects.filter(digest__in=sight.digests, repository__in=list(sight.repositories))
    stated = stated.select_related("signing_key", "repository")
    yield Source(Kind.ENDED, stated.filter(withdrawn_at__isnull=False), "withdrawn_at", _each(_withdrawn))
    yield Source(Kind.SIGNED, stated, "made_at", _each(_stated))
    signatures = Signature.objects.visible_to(sight.user).filter(digest__in=sight.digests)
    signatures = signatures.select_related("signing_key", "trusted_key", "repository")
    yield Source(Kind.ENDED, signatures.filter(gone_at__isnull=False), "gone_at", _each(_signature_gone))
    yield Source(Kind.SIGNED, signatures, "first_seen_at", _each(_signed))


def _recalled(r: Recall) -> Told:
    return _name(r.recalled_by, SYSTEM), f"Called back: {r.reason}", ""


def _lifted(r: Recall) -> Told:
    return _name(r.lifted_by, SYSTEM), f"The recall was lifted: {r.lift_reason}", ""


def _stated(a: Attestation) -> Told:
    to = f", promoted to {a.environment}" if a.environment else ""
    return f"key {a.signing_key.name}", f"Stated in {a.repository.name}: {a.predicate_type}{to}", ""


def _withdrawn(a: Attestation) -> Told:
    return "", f"The statement {a.predicate_type} in {a.repository.name} was withdrawn: {a.reason}", ""


def _signed(s: Signature) -> Told:
    problem = f": {s.problem}" if s.problem else ""
    return f"key {s.by}" if s.by else "", f"{s.what} seen in {s.repository.name}{problem}", ""


def _signature_gone(s: Signature) -> Told:
    return "", f"{s.what} lies in {s.repository.name} no more", ""


# --- decided ---


def _decided(sight: Sight) -> Iterator[Source]:
    decisions = sight.decisions().select_related("risk__vulnerability", "requested_by", "ended_by", "approval")
    # Past its end a decision counts for nothing, whenever a worker wrote that down (rule 5).
    over = Case(
        When(status="approved", then=Least("expires_at", Coalesce("controls_until", "expires_at"))),
        When(decided_at__isnull=True, then=F("ended_at")),
        default=Coalesce(Least("ended_at", "expires_at"), F("expires_at")),
    )
    ended = decisions.annotate(over_at=over).filter(over_at__isnull=False).exclude(status="rejected")
    yield Source(Kind.ENDED, ended, "over_at", _each(_decision_over))
    yield Source(Kind.DECIDED, decisions.filter(decided_at__isnull=False), "decided_at", _each(_decision_made))
    votes = Vote.objects.filter(request__in=decisions.values("approval_id"))
    yield Source(Kind.VOTED, votes.select_related("voter", "request__decision"), "created_at", _each(_decision_voted))
    yield Source(Kind.ASKED, decisions, "requested_at", _each(_decision_asked))


def _decision_path(pk: int) -> str:
    return reverse("decisions:detail", args=[pk])


def _what(d: Any) -> str:
    return f"Decision {d.pk} ({d.kind.replace('_', ' ')} {d.risk.name}, {scope_words(d)})"


def _decision_asked(d: Any) -> Told:
    return d.requested_by.username, f"{_what(d)} was asked for: {d.reason[:300]}", _decision_path(d.pk)


def _decision_voted(v: Vote) -> Told:
    pk = v.request.decision.pk
    return v.voter.username, f"{_vote(v)} decision {pk}{_comment(v)}", _decision_path(pk)


def _decision_made(d: Any) -> Told:
    if d.status == "rejected":
        return "", f"{_what(d)} was rejected", _decision_path(d.pk)
    return "", f"{_what(d)} is in force until {_day(d.expires_at)}", _decision_path(d.pk)


def _decision_over(d: Any) -> Told:
    if d.ended_at is None and d.counts_until < d.expires_at:
        return "", f"{_what(d)} was ended: a control that it leans on lapsed", _decision_path(d.pk)
    if d.ended_at is None or d.ended_at >= d.expires_at:
        return "", f"{_what(d)} came to its end", _decision_path(d.pk)
    why = f": {d.end_reason}" if d.end_reason else ""
    return _name(d.ended_by, SYSTEM), f"{_what(d)} was {d.status}{why}", _decision_path(d.pk)


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


# --- judged, found, scanned ---


def _looked_at(sight: Sight) -> Iterator[Source]:
    before = Evaluation.objects.filter(image=OuterRef("image"), stage=OuterRef("stage"), pk__lt=OuterRef("pk"))
    last = Subquery(before.order_by("-pk").values("verdict")[:1])
    judged = Evaluation.objects.filter(image=sight.image).annotate(former=last).defer("document")
    # Told where it changed: every rescan judges anew, and mostly says the same.
    changed = judged.filter(Q(former__isnull=True) | ~Q(former=F("verdict"))).select_related("policy_version__policy")
    page = reverse("history:image", args=[sight.image.digest])
    yield Source(Kind.JUDGED, changed, "evaluated_at", _each(lambda e: _judged(e, page)))
    found = Finding.objects.filter(image=sight.image)
    gone = found.filter(closed_at__isnull=False).values("closed_at").annotate(n=Count("pk"), worst=Max("severity"))
    yield Source(Kind.ENDED, gone, "closed_at", _each(_closed), is_grouped=True)
    new = found.values("first_seen_at").annotate(n=Count("pk"), worst=Max("severity"))
    yield Source(Kind.FOUND, new, "first_seen_at", _each(_found), is_grouped=True)
    scans = Scan.objects.visible_to(sight.user).filter(image=sight.image, finished_at__isnull=False)
    scans = scans.filter(status__in=[ScanStatus.FINISHED, ScanStatus.FAILED]).select_related("requested_by", "image")
    yield Source(Kind.SCANNED, scans, "finished_at", lambda rows: _scanned(rows, sight.user))


def _judged(e: Any, page: str) -> Told:
    policy = e.policy_version
    former = f", {e.former} before" if e.former else ""
    words = (
        f"{e.verdict.capitalize()} at the {e.stage} gate{former} (policy {policy.policy.name} version {policy.number})"
    )
    return "", words, f"{page}?{urlencode({'at': e.evaluated_at.astimezone(UTC).isoformat()})}"


def _many(row: dict[str, Any]) -> str:
    worst = Severity(row["worst"]).label
    return f"{row['n']} finding{'s' if row['n'] != 1 else ''}, the worst {worst}"


def _found(row: dict[str, Any]) -> Told:
    return "", f"Found: {_many(row)}", ""


def _closed(row: dict[str, Any]) -> Told:
    return "", f"No longer there: {_many(row)}", ""


def _scanned(scans: list[Scan], user: User) -> list[Told]:
    shown = shown_references(user, scans)
    return [_scan(s, shown[s.pk] == s.reference) for s in scans]


def _scan(s: Scan, is_known: bool) -> Told:
    tool = f"{s.scanner} {s.scanner_version}".strip()
    partly = "" if s.is_complete else ", in part"
    words = f"Scanned by {tool}{partly}" if s.status == ScanStatus.FINISHED else f"A scan by {tool} failed"
    return _name(s.requested_by) if is_known else "", words, reverse("scans:detail", args=[s.pk])


# --- where it lies ---


def _placed(sight: Sight) -> Iterator[Source]:
    moves = TagMove.objects.filter(image=sight.image, repository__in=list(sight.repositories))
    yield Source(Kind.SEEN, moves.select_related("repository", "by"), "at", _each(_tagged))
    places = ImageRepository.objects.filter(image=sight.image, repository__in=list(sight.repositories))
    yield Source(Kind.SEEN, places.select_related("repository"), "first_seen_at", _each(_lies))


def _tagged(move: TagMove) -> Told:
    return _name(move.by), f"{move.repository.name}:{move.name} pointed to it from here on", ""


def _lies(place: ImageRepository) -> Told:
    path = reverse("repositories:detail", args=[place.repository_id])
    return "", f"First seen in {place.repository.name}", path
