"""VEX documents of others: taken in as proposals that people decide on, and the authors whose documents may propose."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.decisions import justifications
from secguard.decisions.lifecycle import DecisionKind
from secguard.decisions.models import Decision, VexAuthor, VexDocument, VexProposal
from secguard.decisions.queries import Scope, find_scope_by_key, places_in
from secguard.decisions.queries import vexin as queries
from secguard.decisions.scope import ScopeKind
from secguard.decisions.services import requesting
from secguard.decisions.services.vexsigning import Opened, signatures
from secguard.decisions.vexin import IGNORE_FORMATS, Document, Statement, authors, read
from secguard.decisions.vexin.matching import Ask, Stand, Told, disputes, match
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound, SecGuardError, TooLarge
from secguard.images.models import Image

MAX_TOLD: Final = 50
"""Reasons that are kept of a document's statements that asked for nothing."""
AHEAD: Final = timedelta(hours=1)
"""How far another's clock may run ahead of ours."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """One decision that the document asks for: the decision, whichever it is, or why it was refused.

    ``outcome``: "requested" (now), "open" (asked for already), "decided" (holds, or this document was rejected) or
    "refused".
    """

    statement: int
    risk: int
    scope: Scope
    outcome: str
    decision: Decision | None = None
    refusal: SecGuardError | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a document."""

    stored: VexDocument
    document: Document
    proposed: list[Proposed]
    told: list[Told]


def take_in(
    raw: bytes,
    *,
    actor: User,
    image: Image | None = None,
    within: Scope | None = None,
    signature: bytes = b"",
    expires_at: datetime | None = None,
    now: datetime | None = None,
) -> Taken:
    """Read a document, keep it, and ask, as ``actor``, for the decisions that it proposes. All or nothing.

    ``image``: the one that it was posted to; without one it is about all that its products match among what ``actor``
    may ask for; ``within``: a repository or application outside of which nothing is asked for. It may come in a DSSE
    envelope, or with a ``signature`` (DER) beside it: of an author whose key is known only what that key signed counts.
    Each decision ends with its statement, at ``expires_at``, or as late as the risk appetite allows, whichever is
    first. Nothing is decided here: each request goes through approval, by somebody else.

    Raises what ``vexin.read`` raises; ``NotAllowed`` without vex:import, for an author who is not trusted (code
    "vex-author"), or where the author's key did not sign it (code "vex-signature"); ``Conflict`` where a later edition
    was posted (code "vex-older"); ``TooLarge`` for more than ``MAX_BULK`` decisions at once; ``Invalid`` for an end
    that has passed, and for a document of a later day than today (code "vex-future").
    """
    at = now or timezone.now()
    require(actor, Permission.VEX_IMPORT, anywhere=True)
    if expires_at is not None and expires_at <= at:
        raise Invalid("The end has passed; enter a later one, or none.", where="expires_at")
    opened = signatures().opened(raw, signature)
    document = read(opened.payload)
    _made_by_now(document, at)
    applications, signed_by = _trusted_in(document, opened)
    if (later := queries.newer_than(document, actor)) is not None:
        raise Conflict(
            f"A later edition of this document was posted already: VEX document {later.pk} of {later.made_at:%Y-%m-%d} "
            f"(version {later.version or 'unknown'}). Post the latest edition.",
            code="vex-older",
            document=later.pk,
        )
    with transaction.atomic():
        stands = queries.stands_of(document, actor, image, applications)
        asks, told = match(document.statements, stands, image=image.pk if image else None)
        asks, ended = _still_valid(asks, document.statements, at)
        asks, outside = _inside(asks, within)
        against = _against(document, stands, image, actor, at)
        if len(asks) > requesting.MAX_BULK:
            raise TooLarge(
                f"The document asks for {len(asks):,} decisions; at most {requesting.MAX_BULK} are taken at once. Post "
                "it to one image after another, or split it.",
                code="vex-too-many",
            )
        stored = _store(raw, document, actor, at, signed_by)
        proposed = _propose(asks, document, stored, actor, expires_at, at)
        told = sorted([*told, *ended, *outside, *(one for one, _ in against)], key=lambda t: t.statement)
        _note(stored, document, proposed, told)
        record(
            Action.VEX_IMPORT,
            actor=actor,
            subject_type="vex-document",
            subject_id=stored.pk,
            subject=f"{document.format} {document.id or stored.sha256[:12]}"[:300],
            details={
                "sha256": stored.sha256,
                "author": document.author,
                "signed_by": signed_by,
                "image": image.digest if image else "",
                "requested": [p.decision.pk for p in proposed if p.decision and p.outcome == "requested"],
                "against": sorted({decision for _, decision in against})[:MAX_TOLD],
            },
        )
    return Taken(stored, document, proposed, told)


def preview(raw: bytes, *, actor: User, **asked: Any) -> Taken:
    """What ``take_in`` would do, by the very same rules: it is done, and undone. Errors as there."""
    with transaction.atomic():
        taken = take_in(raw, actor=actor, **asked)
        transaction.set_rollback(True)
    return taken


def _made_by_now(document: Document, now: datetime) -> None:
    """No edition may shut out, by its date alone, all that come after it."""
    late = max((at for at in (document.at, *(one.at for one in document.statements)) if at is not None), default=now)
    if late > now + AHEAD:
        raise Invalid(
            f"The VEX document says that it is of {late:%Y-%m-%d %H:%M} UTC, and it is {now:%Y-%m-%d %H:%M}. Ask its "
            "author for one with the right date.",
            code="vex-future",
            where="timestamp",
        )


def _against(
    document: Document, stands: Sequence[Stand], image: Image | None, actor: User, now: datetime
) -> list[tuple[Told, int]]:
    """What the document calls affected, or looks into, and a decision says is not: told, for people to look at."""
    pairs = list(disputes(document.statements, stands, image=image.pk if image else None))
    decided = queries.said_otherwise({stand for _, stand in pairs}, actor, now)
    found = {(number, decided[stand]) for number, stand in pairs if stand in decided}
    return [
        (
            Told(
                statement=number,
                why=f"{document.statements[number].status.value}, and decision {decision} says not affected: look at "
                "it again, and revoke or reject it where the document is right",
            ),
            decision,
        )
        for number, decision in sorted(found)
    ]


def _trusted_in(document: Document, opened: Opened) -> tuple[frozenset[int] | None, str]:
    """The applications in which the author is trusted, ``None`` for everywhere and for whoever brings an own list; and
    the fingerprint of the author's key that signed it, if one is known."""
    if document.format in IGNORE_FORMATS:
        return None, ""
    trusting = queries.trusting(document)
    if keyed := [a for a in trusting if a.public_key]:
        trusting = [a for a in keyed if opened.is_by(a.public_key)]
        if not trusting:
            raise NotAllowed(
                f"The document says that it is by {authors.identity(document)[:200]!r}, whose key is known here, and "
                f"that key ({keyed[0].fingerprint[:19]}…) did not sign it. Post it as the author signed it, in its "
                "DSSE envelope or with the signature beside it.",
                code="vex-signature",
                where="signature",
            )
    if not trusting:
        who = authors.identity(document)
        named = f"The author {who[:200]!r} is" if who else "The document names no author, so nobody is"
        raise NotAllowed(
            f"{named} trusted here, so nothing was asked for. Whoever may manage signing keys adds an author under "
            "'VEX authors' (POST /api/v1/vex-authors/), for everything or for one application.",
            code="vex-author",
            where="author",
        )
    applications = {a.application_id for a in trusting}
    where = None if None in applications else frozenset(a for a in applications if a is not None)
    return where, trusting[0].fingerprint


def _inside(asks: list[Ask], within: Scope | None) -> tuple[list[Ask], list[Told]]:
    """Those that lie inside what the document was brought for; of the others it is told."""
    if within is None or within.id is None:
        return asks, []
    rows = set(places_in(within).values_list("image_id", "repository_id"))
    inside = {(ScopeKind.IMAGE, i) for i, _ in rows} | {(ScopeKind.REPOSITORY, r) for _, r in rows}
    kept = [a for a in asks if (a.scope, a.scope_id) in inside]
    why = f"what it is about lies outside of {within.kind.value} {within.label}"
    outside = {a.statement for a in asks if (a.scope, a.scope_id) not in inside}
    return kept, [Told(statement=number, why=why) for number in sorted(outside)]


def _note(stored: VexDocument, document: Document, proposed: Sequence[Proposed], told: Sequence[Told]) -> None:
    """Keep with the document what became of it: how many decisions by outcome, and why nothing was asked for."""
    stored.outcomes = {
        "decisions": dict(Counter(p.outcome for p in proposed)),
        "told": [{"why": why, "count": n} for why, n in Counter(t.why for t in told).most_common(MAX_TOLD)],
        "left_out": list(document.left_out)[:MAX_TOLD],
    }
    stored.save(update_fields=["outcomes"])


def _still_valid(asks: list[Ask], statements: Sequence[Statement], now: datetime) -> tuple[list[Ask], list[Told]]:
    ends = {a.statement: until for a in asks if (until := statements[a.statement].until) is not None and until <= now}
    told = [Told(statement=number, why=f"it ended on {until:%Y-%m-%d}") for number, until in ends.items()]
    return [a for a in asks if a.statement not in ends], told


def _store(raw: bytes, document: Document, actor: User, now: datetime, signed_by: str) -> VexDocument:
    """Once for each person, however often it is posted."""
    stored, _ = VexDocument.objects.get_or_create(
        sha256=hashlib.sha256(raw).hexdigest(),
        posted_by=actor,
        defaults={
            "body": zlib.compress(raw, 6),
            "size_bytes": len(raw),
            "format": document.format,
            "author": document.author,
            "namespace": document.namespace,
            "name": document.id,
            "version": document.version,
            "made_at": document.at,
            "statements": len(document.statements),
            "signed_by": signed_by,
            "posted_at": now,
        },
    )
    return stored


def _propose(
    asks: Sequence[Ask], document: Document, stored: VexDocument, actor: User, latest: datetime | None, now: datetime
) -> list[Proposed]:
    known = queries.same_asked(asks, stored.sha256, now)
    keys = {ask: f"{ask.scope.value}:{ask.scope_id}" for ask in asks}
    scopes = {key: find_scope_by_key(actor, key) for key in sorted(set(keys.values()))}
    wanted: list[tuple[Ask, requesting.Ask]] = []
    found: dict[Ask, Proposed] = {}
    for ask in asks:
        scope = scopes[keys[ask]]
        if (decision := known.get((ask.risk, ask.scope.value, ask.scope_id))) is not None:
            found[ask] = Proposed(ask.statement, ask.risk, scope, "decided", decision)
            continue
        one = document.statements[ask.statement]
        ends = _end(ask, scope, one, latest, now)
        reason = reason_of(one, document, stored.pk)
        because = justifications.understood(one.justification) if ask.kind is DecisionKind.NOT_AFFECTED else None
        asked = requesting.Ask(ask.risk, ask.kind.value, scope, reason, ends, justification=because or "")
        wanted.append((ask, asked))
    results = requesting.request_many([w for _, w in wanted], actor=actor, now=now) if wanted else []
    for (ask, request), result in zip(wanted, results, strict=True):
        found[ask] = _outcome(ask, request.scope, result)
    VexProposal.objects.bulk_create(
        VexProposal(document=stored, decision=p.decision, statement=p.statement)
        for p in found.values()
        if p.decision is not None and p.outcome == "requested"
    )
    return [found[ask] for ask in asks]


def _outcome(ask: Ask, scope: Scope, result: Decision | SecGuardError) -> Proposed:
    if isinstance(result, Decision):
        return Proposed(ask.statement, ask.risk, scope, "requested", result)
    if result.code == "decision-duplicate":
        open_one = Decision.objects.filter(pk=int(str(result.extra["decision"]))).first()
        return Proposed(ask.statement, ask.risk, scope, "open", open_one, result)
    return Proposed(ask.statement, ask.risk, scope, "refused", None, result)


def _end(ask: Ask, scope: Scope, one: Statement, latest: datetime | None, now: datetime) -> datetime:
    requirement = requesting.preview([ask.risk], scope, ask.kind.value)
    ends = [end for end in (one.until, latest) if end is not None]
    # Where the risk stands nowhere any more the request refuses itself, whatever its end.
    return min([*ends, requirement.latest_end(now)]) if requirement else min(ends, default=now)


def reason_of(one: Statement, document: Document, stored_id: int) -> str:
    """The statement in its own words, and where they are from."""
    who = document.author or document.namespace
    source = f"{who}'s VEX document" if who else "A scanner's ignore list"
    words = [f"{one.vulnerability}: {one.status.value.replace('_', ' ')}", one.justification.replace("_", " ")]
    head = ". ".join(word for word in words if word)
    text = "\n".join(t for t in (head + ".", one.impact, one.action) if t)
    edition = f", version {document.version}" if document.version else ""
    foot = f"({source} {document.id}{edition}; kept as VEX document {stored_id}.)".replace(" ;", ";").replace(" ,", ",")
    return f"{text[: requesting.MAX_REASON - 2_700]}\n{foot[:2_600]}"


@transaction.atomic
def trust_author(
    pattern: str, *, actor: User | None, application: Application | None = None, note: str = "", public_key: str = ""
) -> VexAuthor:
    """Let an author's documents ask for decisions, in one application or everywhere. Needs signing-key:manage.

    With a ``public_key`` (PEM) only those that it signed. Raises ``Invalid`` for a pattern that names nobody or a key
    that is none, ``Conflict`` where the author is trusted there already.
    """
    require(actor, Permission.SIGNING_KEY_MANAGE)
    text = authors.check(pattern)
    pem, fingerprint = signatures().public_key(public_key) if public_key.strip() else ("", "")
    try:
        with transaction.atomic():
            made = VexAuthor.objects.create(
                pattern=text,
                application=application,
                note=note.strip()[:300],
                public_key=pem,
                fingerprint=fingerprint,
                created_by=actor,
            )
    except IntegrityError:
        where = f"application {application.name}" if application else "everything"
        raise Conflict(f"{text!r} is trusted for {where} already.", code="trusted-already") from None
    _record(Action.VEX_AUTHOR_TRUST, made, actor)
    return made


@transaction.atomic
def withdraw_author(author_id: int, reason: str, *, actor: User | None) -> VexAuthor:
    """The author's documents ask for nothing more; what they asked for stays. Raises ``NotFound``, ``Conflict``."""
    require(actor, Permission.SIGNING_KEY_MANAGE)
    if not reason.strip():
        raise Invalid("Say why the trust is withdrawn.", where="reason")
    found = VexAuthor.objects.select_for_update().filter(pk=author_id).first()
    if found is None:
        raise NotFound(f"There is no VEX author {author_id}.")
    if found.withdrawn_at is not None:
        raise Conflict(f"The trust in {found.pattern!r} is withdrawn already.", code="trust-state")
    found.withdrawn_at, found.reason = timezone.now(), reason.strip()[:300]
    found.save(update_fields=["withdrawn_at", "reason"])
    _record(Action.VEX_AUTHOR_WITHDRAW, found, actor)
    return found


def _record(action: Action, author: VexAuthor, actor: User | None) -> None:
    record(
        action,
        actor=actor,
        subject_type="vex-author",
        subject_id=author.pk,
        subject=author.pattern,
        details={
            "application": author.application.slug if author.application else "",
            "reason": author.reason,
            "key": author.fingerprint,
        },
    )
