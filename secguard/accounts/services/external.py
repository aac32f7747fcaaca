"""Signing in by a provider: who they are here, and the roles that their groups give, as they are at each sign-in."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from secguard.accounts import assertion
from secguard.accounts.adapters import issuers, saml
from secguard.accounts.assertion import BadAssertion
from secguard.accounts.models import ExternalIdentity, Membership, SeenResponse, Team, User
from secguard.accounts.providers import Grant, Provider
from secguard.accounts.roles import Role
from secguard.accounts.services import issuer_keys
from secguard.accounts.services.people import USERNAME, keep_an_administrator
from secguard.accounts.trust import value_of
from secguard.audit import services as audit
from secguard.audit.actions import Action
from secguard.errors import Conflict, NotAllowed, NotFound, Unavailable

MAX_GROUPS = 1_000
MAX_CODE = 4_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Told:
    """What a provider says about whoever signs in."""

    subject: str
    username: str
    display_name: str = ""
    email: str = ""
    groups: tuple[str, ...] = ()


def provider_named(name: str) -> Provider:
    """Raises ``NotFound`` for one that is not configured."""
    for provider in settings.SIGN_IN_PROVIDERS:
        if provider.name == name:
            found: Provider = provider
            return found
    raise NotFound("There is no such way to sign in.")


# --- OpenID Connect (authorization code with PKCE) ---


def begin_oidc(provider: Provider, callback: str) -> tuple[str, dict[str, str]]:
    """(where the browser goes; what is kept in the session until it comes back)."""
    kept = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
    challenge = base64.urlsafe_b64encode(hashlib.sha256(kept["verifier"].encode()).digest()).rstrip(b"=").decode()
    address = issuers.endpoint(issuers.fetch_configuration(provider.issuer), "authorization_endpoint", provider.issuer)
    query = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": callback,
        "scope": " ".join(provider.scopes),
        "state": kept["state"],
        "nonce": kept["nonce"],
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}", kept


def finish_oidc(provider: Provider, callback: str, kept: Mapping[str, str], answer: Mapping[str, str]) -> Told:
    """Who came back, by the code that the browser brought.

    Raises ``NotAllowed`` where it is not the answer to what was asked here, or the provider's token does not hold;
    ``Unavailable`` where the provider cannot be asked.
    """
    if not kept.get("state") or not constant_time_compare(kept["state"], answer.get("state", "")):
        raise _refused("the answer belongs to no sign-in that began in this browser. Begin again")
    if answer.get("error"):
        raise _refused(f"{provider.label} says {answer['error'][:60]!r}")
    if answer.get("iss") and answer["iss"] != provider.issuer:  # RFC 9207
        raise _refused("the answer comes from another provider")
    if not 1 <= len(answer.get("code", "")) <= MAX_CODE:
        raise _refused("the answer has no code. Begin again")
    form = {
        "grant_type": "authorization_code",
        "code": answer["code"],
        "redirect_uri": callback,
        "client_id": provider.client_id,
        "code_verifier": kept["verifier"],
    }
    document = issuers.fetch_configuration(provider.issuer)
    address = issuers.endpoint(document, "token_endpoint", provider.issuer)
    got = issuers.post_form(address, provider.issuer, form, auth=_auth(provider))
    raw = got.get("id_token")
    if not isinstance(raw, str):
        raise _refused(f"{provider.label} gave no ID token; does the client ask for openid?")
    return _told(provider, _claims(provider, raw, kept["nonce"]))


def _auth(provider: Provider) -> tuple[str, str] | None:
    if not provider.client_secret_file:
        return None
    try:
        secret = Path(provider.client_secret_file).read_text().strip()
        return quote_plus(provider.client_id), quote_plus(secret)  # RFC 6749, section 2.3.1
    except (OSError, UnicodeDecodeError) as error:
        log.error("client secret cannot be read", provider=provider.name, why=str(error))
        raise Unavailable(f"The secret for {provider.label} cannot be read on the server.", retry_after=60) from None


def _claims(provider: Provider, raw: str, nonce: str) -> dict[str, Any]:
    """The verified claims of an ID token (OpenID Connect Core, section 3.1.3.7)."""
    try:
        told = assertion.read(raw)
        if told.issuer != provider.issuer:
            raise BadAssertion("The token comes from another issuer.")
        claims = issuer_keys.verified(told, timezone.now())
    except BadAssertion as error:
        raise _refused(f"the token of {provider.label} does not hold. {error.detail}") from None
    audiences = value_of(claims, "aud")
    if provider.client_id not in audiences or (len(audiences) > 1 and claims.get("azp") != provider.client_id):
        raise _refused(f"the token of {provider.label} is for somebody else")
    if not isinstance(claims.get("nonce"), str) or not constant_time_compare(claims["nonce"], nonce):
        raise _refused(f"the token of {provider.label} belongs to another sign-in")
    return claims


def _told(provider: Provider, claims: Mapping[str, Any]) -> Told:
    def first(name: str, most: int) -> str:
        return next(iter(value_of(claims, name)), "")[:most]

    subject = first("sub", 300)
    if not subject:
        raise _refused(f"the token of {provider.label} does not say who you are (sub)")
    groups = value_of(claims, provider.groups_claim)[:MAX_GROUPS]
    return Told(
        subject,
        first(provider.username, 150),
        first(provider.display_name, 200),
        first(provider.email, 254),
        tuple(groups),
    )


# --- SAML ---


def told_by_saml(provider: Provider, answer: saml.Answer) -> Told:
    """What a signed assertion says of a person. ``NotAllowed`` for one that was used before."""
    now = timezone.now()
    SeenResponse.objects.filter(ends_at__lt=now - timedelta(hours=1)).delete()
    digest = hashlib.sha256(f"{provider.issuer}\n{answer.assertion_id}".encode()).hexdigest()
    _, is_new = SeenResponse.objects.get_or_create(digest=digest, defaults={"ends_at": answer.ends_at})
    if not is_new:
        raise _refused("the provider's answer was used before. Begin again")

    def first(name: str, most: int) -> str:
        return next(iter(answer.attributes.get(name, [])), "")[:most]

    if not 1 <= len(answer.subject) <= 300:
        raise _refused(f"{provider.label} does not say who you are (NameID)")
    return Told(
        answer.subject,
        first(provider.username, 150) or answer.subject[:150],
        first(provider.display_name, 200),
        first(provider.email, 254),
        tuple(answer.attributes.get(provider.groups_claim, [])[:MAX_GROUPS]),
    )


# --- who they are here ---


def sign_in_told(provider: Provider, told: Told) -> User:
    """Whoever the provider says, with the roles that its groups give now: new ones given, former ones taken back.

    Somebody new gets an account if a group of theirs gives a role. An account that is here already under the same name
    is theirs only where ``links_by_name`` says that the provider's names are ours. Raises ``NotAllowed`` for somebody
    whom no group gives a role or who is deactivated, ``Conflict`` for a name that is taken.
    """
    grants = provider.grants_of(told.groups)
    with transaction.atomic():
        identity = ExternalIdentity.objects.filter(provider=provider.name, subject=told.subject).first()
        user = _known(identity) if identity is not None else _new(provider, told, grants)
        ExternalIdentity.objects.filter(provider=provider.name, subject=told.subject).update(
            last_used_at=timezone.now()
        )
        changed = _apply(provider, user, grants)
        has_any = Membership.objects.filter(user=user).exists()
        _record(Action.SIGN_IN_EXTERNAL, user, provider, subject=told.subject, is_let_in=has_any, **changed)
    if not has_any:  # after the transaction: what the groups no longer give is gone all the same
        raise _no_role(provider)
    return user


def _no_role(provider: Provider) -> NotAllowed:
    return NotAllowed(
        f"{provider.label} knows you, but none of your groups there has a role here. An administrator maps groups to "
        "roles."
    )


def _known(identity: ExternalIdentity) -> User:
    user = User.objects.select_for_update().get(pk=identity.user_id)
    if not user.is_active:
        raise NotAllowed("Your account here is deactivated. An administrator can let you back in.")
    return user


def _new(provider: Provider, told: Told, grants: Iterable[Grant]) -> User:
    if not grants:
        raise _no_role(provider)
    username = _username(told)
    user = User.objects.select_for_update().filter(username__iexact=username).first()
    # What stands in for a name (the part before an address' @) is nobody's name: it makes an account, and links none.
    if user is not None and not (provider.links_by_name and username == told.username):
        raise Conflict(
            f"There is an account {username!r} here already, and nobody has said that it is yours. Sign in to it with "
            "its password, or ask an administrator.",
            code="name-taken",
        )
    if user is not None and (user.is_service or not user.is_active):
        raise NotAllowed("The account of that name here is deactivated or a service's.")
    if user is None:
        user = User(username=username, display_name=told.display_name, email=_email(told.email))
        user.set_unusable_password()
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError:
            raise Conflict(f"The name {username!r} was taken a moment ago; sign in again.") from None
        _record(Action.USER_CREATE, user, provider, subject=told.subject)
    ExternalIdentity.objects.create(user=user, provider=provider.name, subject=told.subject)
    return user


def _username(told: Told) -> str:
    for candidate in (told.username, told.email.partition("@")[0], told.subject):
        if USERNAME.fullmatch(candidate) and candidate.lower() != audit.SYSTEM:
            return candidate
    raise NotAllowed(
        "The provider gives no name that can be used here: expected ASCII letters, digits and . _ @ + -. An "
        "administrator sets which claim holds it."
    )


def _email(address: str) -> str:
    return address if re.fullmatch(r"[^@\s<>\"]+@[^@\s<>\"]+", address) else ""


def _apply(provider: Provider, user: User, grants: Iterable[Grant]) -> dict[str, Any]:
    """Memberships that this provider gives, as its groups say now; what people gave by hand is left alone."""
    teams = {team.slug: team for team in Team.objects.filter(slug__in=[g.team for g in grants if g.team])}
    wanted: dict[tuple[str, int | None], Grant] = {}
    for grant in grants:
        if grant.team and grant.team not in teams:
            log.warning("a group is mapped to a team that is not there", provider=provider.name, team=grant.team)
            continue
        wanted[grant.role.value, teams[grant.team].pk if grant.team else None] = grant
    held = {(m.role, m.team_id): m for m in Membership.objects.filter(user=user)}
    gone = [m for place, m in held.items() if m.provider == provider.name and place not in wanted]
    new = [place for place in wanted if place not in held]
    if any(m.role == Role.ADMINISTRATOR and m.team_id is None for m in gone):
        keep_an_administrator(user)
    Membership.objects.filter(pk__in=[m.pk for m in gone]).delete()
    Membership.objects.bulk_create(
        Membership(user=user, role=role, team_id=team, provider=provider.name) for role, team in new
    )
    user.__dict__.pop("_grants", None)
    slugs = {team.pk: slug for slug, team in teams.items()}
    for action, places in (
        (Action.MEMBERSHIP_REVOKE, [(m.role, m.team_id) for m in gone]),
        (Action.MEMBERSHIP_GRANT, new),
    ):
        for role, team in places:
            _record(action, user, provider, team_id=team, role=role, team=slugs.get(team or 0, ""))
    return {"given": [r for r, _ in new], "taken": [m.role for m in gone]}


def _record(action: Action, user: User, provider: Provider, team_id: int | None = None, **details: object) -> None:
    audit.record(
        action,
        actor=user if action is Action.SIGN_IN_EXTERNAL else None,
        subject_type="user",
        subject_id=user.pk,
        subject=user.username,
        team_id=team_id,
        details={"provider": provider.name, **details},
    )


def _refused(why: str) -> NotAllowed:
    return NotAllowed(f"You are not signed in: {why}.", code="external-refused")
