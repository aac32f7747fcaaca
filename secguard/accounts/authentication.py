"""Who sends an API request: the bearer of a token."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from secguard.accounts import credentials
from secguard.accounts.models import ApiToken, User
from secguard.errors import NotAllowed

KEYWORD = "Bearer"
REFUSED = (
    "this token is not valid: it may be mistyped, revoked or past its end, or its owner deactivated. "
    "Make a new one under Settings, Tokens, and send it as 'Authorization: Bearer sgt_…'"
)
"""One answer for every reason: which of them holds is nobody's business who does not hold a valid token."""

OPEN_TO_LIMITED = frozenset(
    f"api:{name}"
    for name in (
        *("me", "token-list", "token-detail", "token-rotate", "application-list", "application-detail"),
        *("report", "scan-list", "scan-detail", "scan-cancel"),
        *("image-list", "image-detail", "image-findings", "image-components", "image-sbom", "image-verdict"),
        *("repository-list", "repository-detail", "finding-list", "finding-detail"),
        *("risk-list", "risk-detail", "exposure-list", "exposure-detail", "decision-list", "decision-detail"),
        *("promotion-list", "promotion-detail", "promotion-retry", "promotion-withdraw"),
        *("environment-list", "environment-detail"),
    )
)
"""Where a token that is limited may go: what tells applications and repositories apart, each by a test. All else is
closed to it, so that a new address is no way around the limit."""

OPEN_TO_APPLICATIONS = frozenset({"api:workload-list", "api:workload-detail"})
"""Where it may go too if it is limited by applications alone: what lies in no repository."""

OPEN_TO_READ = frozenset({"api:vex", "api:image-vex", "api:image-passport"})
"""Where it may read what is its own, and write nothing."""

USE_NOTED_EVERY = timedelta(minutes=1)


class TokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer sgt_…`` (RFC 6750 section 2.1).

    The token is looked up by its hash (why that is enough: ``accounts.credentials``), and narrows what its owner may do
    through ``user.token``. Another scheme is left to the other authentication classes.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        words = get_authorization_header(request).split()
        if not words or words[0].lower() != KEYWORD.lower().encode():
            return None
        raw = words[1].decode("latin-1") if len(words) == 2 else ""
        token = bearer(raw)
        if token is None:
            raise AuthenticationFailed(REFUSED, code="invalid-token")
        _check_open(request, token)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return f'{KEYWORD} realm="SecGuard"'


def person_of(request: HttpRequest | Request | None) -> User:
    """Who sent the request; ``NotAllowed`` for nobody. For views that let nobody pass whom they do not know."""
    user = request.user if request is not None else None
    if not isinstance(user, User):
        raise NotAllowed("Sign in first.")
    return user


def client_address(request: HttpRequest | Request) -> str:
    """Where the request came from. Behind our own proxy it is what that one appended; else nobody's word counts."""
    forwarded = request.headers.get("X-Forwarded-For", "") if settings.BEHIND_PROXY else ""
    return forwarded.rpartition(",")[2].strip()[:45] or str(request.META.get("REMOTE_ADDR", ""))


def bearer(raw: str) -> ApiToken | None:
    """The usable token with this raw value; its user carries it as ``user.token``. Notes its use, at most once a
    minute."""
    if not credentials.is_token(raw):
        return None
    now = timezone.now()
    found = ApiToken.objects.usable(now).filter(digest=credentials.digest(raw))
    token = found.select_related("user", "team").first()
    if token is None:
        return None
    token.user.token = token
    if token.last_used_at is None or token.last_used_at <= now - USE_NOTED_EVERY:
        _note_use(token)
    return token


def _check_open(request: Request, token: ApiToken) -> None:
    if not token.is_limited:
        return
    match = request.resolver_match
    if match is None or not _is_open(match.view_name, request.method or "", token):
        raise NotAllowed(
            f"The token {token.prefix}… is limited to {token.limit(is_void=False).words}, and what is done at this "
            "address is not. Use a token of the whole team here.",
            code="token-limited",
        )


def _is_open(name: str, method: str, token: ApiToken) -> bool:
    if name in OPEN_TO_READ:
        return method in ("GET", "HEAD")
    return name in OPEN_TO_LIMITED or (token.repositories is None and name in OPEN_TO_APPLICATIONS)


def _note_use(token: ApiToken) -> None:
    now = timezone.now()
    due = Q(last_used_at=None) | Q(last_used_at__lte=now - USE_NOTED_EVERY)
    try:
        with transaction.atomic():
            ApiToken.objects.filter(due, pk=token.pk).update(last_used_at=now)
    except OperationalError:
        # The database takes no writes for now. A request that only reads need not fail for this note.
        return


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document describes it."""

    target_class = "secguard.accounts.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "sgt_ and 43 characters",
            "description": "An API token, made under Settings, Tokens or by `secguard token create`.",
        }
