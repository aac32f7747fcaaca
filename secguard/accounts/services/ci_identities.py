"""Pipelines without secrets: whose tokens are trusted, and their exchange for a short-lived one of ours (RFC 8693)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.text import slugify

from secguard.accounts import assertion, trust
from secguard.accounts.assertion import Assertion, BadAssertion
from secguard.accounts.models import MAX_CI_MINUTES, ApiToken, Application, CiIdentity, ExchangedAssertion, Team, User
from secguard.accounts.roles import APPROVERS, Permission, Role
from secguard.accounts.services import attempts, issuer_keys
from secguard.accounts.services.people import create_user, role_named
from secguard.accounts.services.permission import require
from secguard.accounts.services.tokens import issue, limit_of, told_of
from secguard.audit import services as audit
from secguard.audit.actions import Action
from secguard.errors import Conflict, Invalid, NotFound, Unavailable

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name of RFC 8693
TOKEN_TYPES = ("urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token")
MINUTES = 15
REFUSALS_FROM_ADDRESS = 300
"""Tokens refused from one address in ``attempts.WINDOW``: a whole company's runners may stand behind one."""
KEPT_AFTER_END = timedelta(days=30)
_TOLD = (
    "sub",
    "repository",
    "project_path",
    "ref",
    "ref_protected",
    "environment",
    "job_workflow_ref",
    "run_id",
    "jti",
)
"""Claims that the log keeps beside those that were asked for, where a token has them."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class NewIdentity:
    """What an administrator enters."""

    name: str
    trust: trust.Trust
    role: str
    team: Team | None = None
    minutes: int = MINUTES
    keys: Any = None
    """A JWK Set, for an issuer that cannot be reached from here."""
    applications: Sequence[Application] = ()
    """Of one team; none: all of ``team``, or everything."""
    repositories: Sequence[str] = ()
    """Patterns of names (``secguard.patterns``); with applications too, both hold."""


@dataclass(frozen=True)
class Exchanged:
    token: ApiToken
    raw: str
    identity: CiIdentity


def create_ci_identity(new: NewIdentity, *, actor: User | None) -> CiIdentity:
    """Trust a pipeline. It gets a service of its own (``ci-NAME``) that holds ``role``, in ``team`` or everywhere.

    Raises ``NotAllowed`` without ci-identity:manage in the whole organisation, ``Invalid`` for a trust that is wider
    than anybody means and for a role that is a person's, ``Conflict`` for a name that is taken.
    """
    require(actor, Permission.CI_IDENTITY_MANAGE)
    name, role, checked = _name(new.name), _role(new.role), trust.check(new.trust)
    if not 1 <= new.minutes <= MAX_CI_MINUTES:
        raise Invalid(f"the token lives 1 to {MAX_CI_MINUTES} minutes, not {new.minutes}", where="minutes")
    keys = assertion.read_keys(new.keys, where="jwks") if new.keys else None
    narrowed = limit_of(new.applications, new.repositories, role, new.team)
    team = narrowed.team
    with transaction.atomic():
        service = create_user(
            f"ci-{slugify(name)}"[:150], role, actor=actor, team=team, display_name=name, is_service=True
        )
        try:
            with transaction.atomic():
                identity = CiIdentity.objects.create(
                    name=name,
                    kind=checked.kind.value,
                    issuer=checked.issuer,
                    audience=checked.audience,
                    claims=dict(checked.claims),
                    keys=keys,
                    user=service,
                    role=role.value,
                    team=team,
                    application_ids=narrowed.application_ids,
                    repositories=narrowed.repositories,
                    minutes=new.minutes,
                    created_by=actor,
                )
        except IntegrityError:
            raise Conflict(f"there is a CI identity {name!r} already", where="name") from None
        details = {
            "issuer": checked.issuer,
            "audience": checked.audience,
            "claims": dict(checked.claims),
            "role": role.value,
            "minutes": new.minutes,
            "keys": [key["kid"] for key in keys or []],
        } | told_of(new.applications, narrowed)
        _record(Action.CI_IDENTITY_CREATE, identity, actor, details)
    return identity


def _name(name: str) -> str:
    text = " ".join(name.split())
    if not 1 <= len(text) <= 100 or not slugify(text):
        raise Invalid(
            f"a CI identity's name has 1 to 100 characters and a letter or a digit, not {name[:40]!r}", where="name"
        )
    return text


def _role(name: str) -> Role:
    role = role_named(name)
    if role in APPROVERS or role is Role.ADMINISTRATOR:
        raise Invalid(
            f"a pipeline gets no token of {role.value}: approving and administering are a person's work", where="role"
        )
    return role


def withdraw_ci_identity(identity_id: int, *, actor: User | None) -> CiIdentity:
    """End the trust now, and every token that came of it. ``Conflict`` if it was withdrawn already."""
    require(actor, Permission.CI_IDENTITY_MANAGE)
    with transaction.atomic():
        identity = (
            CiIdentity.objects.select_for_update(of=("self",))
            .select_related("user", "team")
            .filter(pk=identity_id)
            .first()
        )
        if identity is None:
            raise NotFound(f"there is no CI identity {identity_id}")
        if identity.withdrawn_at is not None:
            raise Conflict(f"{identity.name} was withdrawn at {identity.withdrawn_at:%Y-%m-%d %H:%M} UTC")
        now = timezone.now()
        identity.withdrawn_at = now
        identity.save(update_fields=["withdrawn_at"])
        ended = ApiToken.objects.filter(user=identity.user, revoked_at=None, expires_at__gt=now).update(revoked_at=now)
        # Its name is free for the next one; what it did keeps the name that it had (the log holds names as text).
        identity.user.is_active, identity.user.username = False, f"{identity.user.username[:120]}.{identity.pk}"
        identity.user.save(update_fields=["is_active", "username"])
        if not CiIdentity.objects.trusted().filter(issuer=identity.issuer).exists():
            issuer_keys.forget(identity.issuer)
        _record(Action.CI_IDENTITY_WITHDRAW, identity, actor, {"tokens_revoked": ended})
    return identity


def exchange(raw: str, *, address: str, wanted: str = "") -> Exchanged:
    """A token of ours for the token ``raw`` that a trusted issuer signed; ``wanted`` names the identity where several
    fit.

    The same token may be exchanged again while it lives (a job that is tried again has the same one); how often is
    counted and stands in the log. Raises ``BadAssertion``, and ``Unavailable`` where the issuer's keys cannot be had
    or too many tokens from ``address`` were refused.
    """
    now = timezone.now()
    key = attempts.key_of("token exchange", address)
    attempts.take(key, REFUSALS_FROM_ADDRESS, now, what="refused tokens")
    told = assertion.read(raw)
    candidates = list(CiIdentity.objects.trusted().filter(issuer=told.issuer).select_related("user", "team"))
    if not candidates:
        raise BadAssertion(
            f"No CI identity trusts the issuer {told.issuer[:100]}. An administrator adds one under Settings, CI "
            "identities; the issuer there must be what stands in the token, to the letter.",
            code="issuer-not-trusted",
        )
    try:
        identity, claims = _fitting(told, candidates, wanted, now)
    except Unavailable:
        attempts.give_back(key)  # an issuer that is away is nobody's fault here
        raise
    made = _issue(told, identity, claims, now)
    attempts.give_back(key)
    return made


def _fitting(
    told: Assertion, candidates: Sequence[CiIdentity], wanted: str, now: datetime
) -> tuple[CiIdentity, dict[str, Any]]:
    """The identity that the token fits, and its verified claims."""
    verified: list[tuple[CiIdentity, dict[str, Any]]] = []
    failure: BadAssertion | None = None
    published: dict[str, Any] | None = None
    for identity in candidates:
        try:
            if identity.keys is not None:
                claims = assertion.verified(told, identity.keys, now)
            else:
                claims = published = published or issuer_keys.verified(told, now)
            verified.append((identity, claims))
        except BadAssertion as error:
            failure = error
    if not verified:
        raise failure or BadAssertion("The token's signature does not hold.", code="bad-signature")
    misfits = {identity.name: trust.misfit(identity.trust, claims) for identity, claims in verified}
    fitting = [(i, c) for i, c in verified if not misfits[i.name] and wanted in ("", i.name)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(sorted(identity.name for identity, _ in fitting))
        raise BadAssertion(
            f"Several CI identities fit this token: {names}. Name one of them as the scope (SECGUARD_IDENTITY).",
            code="several-identities",
            where="scope",
            error="invalid_scope",
        )
    # Which claim failed at which identity is for the administrator: to others it would say what to try next.
    log.info("token fits no CI identity", issuer=told.issuer, misfits=misfits, claims=_told(verified[0][1], {}))
    raise BadAssertion(
        "The token is genuine, but what it says fits no CI identity here: "
        + _words(verified[0][1])
        + ". An administrator compares that with Settings, CI identities; the server's log names the claim.",
        code="no-identity-fits",
    )


def _words(claims: dict[str, Any]) -> str:
    shown = {"aud": trust.value_of(claims, "aud"), **{name: trust.value_of(claims, name) for name in _TOLD[:-2]}}
    return ", ".join(f"{name} {values[0][:120]}" for name, values in shown.items() if values) or "nothing"


def _issue(told: Assertion, identity: CiIdentity, claims: dict[str, Any], now: datetime) -> Exchanged:
    with transaction.atomic():
        # Again and locked: it may have been withdrawn while its issuer was asked.
        found = CiIdentity.objects.trusted().select_for_update().filter(pk=identity.pk)
        if not found.update(exchanges=F("exchanges") + 1, last_used_at=now):
            raise BadAssertion("The CI identity was withdrawn.", code="no-identity-fits")
        uses = _counted(identity, assertion.once(told, claims), assertion.ends_at(claims), now)
        job = next(iter(trust.value_of(claims, "sub")), "") or identity.name
        token, raw = issue(
            identity.user,
            identity.name,
            Role(identity.role),
            ends=now + timedelta(minutes=identity.minutes),
            identity=identity,
            source=job[:300],
        )
        details = {
            "identity": identity.name,
            "issuer": told.issuer,
            "audience": identity.audience,
            "claims": _told(claims, identity.claims),
            "uses": uses,
            "role": identity.role,
            "expires_at": token.expires_at,
        }
        audit.record(
            Action.TOKEN_EXCHANGE,
            actor=identity.user,
            subject_type="token",
            subject_id=token.pk,
            subject=f"{token.prefix} {token.name}",
            team_id=identity.team_id,
            details=details,
        )
    return Exchanged(token, raw, identity)


def _counted(identity: CiIdentity, digest: str, ends: float, now: datetime) -> int:
    """How often this token has been exchanged, this time included. What has ended is forgotten."""
    ExchangedAssertion.objects.filter(ends_at__lt=now - assertion.LEEWAY).delete()
    seen, _ = ExchangedAssertion.objects.get_or_create(
        identity=identity, digest=digest, defaults={"ends_at": datetime.fromtimestamp(ends, UTC)}
    )
    ExchangedAssertion.objects.filter(pk=seen.pk).update(uses=F("uses") + 1)
    return seen.uses + 1


def _told(claims: dict[str, Any], asked: Any) -> dict[str, str]:
    names = [*asked, *(name for name in _TOLD if name not in asked)]
    return {name: ", ".join(values[:10])[:300] for name in names if (values := trust.value_of(claims, name))}


def prune_exchanged_tokens() -> int:
    """Delete tokens of jobs that ended long ago; the audit log keeps that they were made."""
    gone, _ = ApiToken.objects.filter(identity__isnull=False, expires_at__lt=timezone.now() - KEPT_AFTER_END).delete()
    return gone


def _record(action: Action, identity: CiIdentity, actor: User | None, details: dict[str, Any]) -> None:
    audit.record(
        action,
        actor=actor,
        subject_type="ci-identity",
        subject_id=identity.pk,
        subject=identity.name,
        team_id=identity.team_id,
        details=details,
    )
