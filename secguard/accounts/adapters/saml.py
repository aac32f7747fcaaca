"""SAML 2.0, as python3-saml speaks it: the request by redirect, the answer by POST with a signed assertion.

Only what the provider's certificate signed is read, by the library's own query; DTDs and entities are refused by it.
The library needs ``secguard[saml]`` installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from secguard.accounts.providers import Provider
from secguard.errors import NotAllowed, Unavailable

MAX_RESPONSE = 400_000
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
_CONFIRMED = "//*[local-name()='Assertion']//*[local-name()='SubjectConfirmationData']"


@dataclass(frozen=True)
class Ours:
    """Where we are: the server's address, and the paths under which the provider reaches us."""

    url: str
    metadata: str
    acs: str


@dataclass(frozen=True)
class Answer:
    """What a signed assertion says."""

    request_id: str
    assertion_id: str
    ends_at: datetime
    subject: str
    attributes: dict[str, list[str]]


def begin(provider: Provider, ours: Ours) -> tuple[str, str]:
    """(where the browser goes, the id of the request)."""
    auth = _auth(provider, ours, {})
    address = str(auth.login(return_to=ours.url))
    return address, str(auth.get_last_request_id())


def read(provider: Provider, ours: Ours, response: str, now: datetime) -> Answer:
    """The assertion of a response. Raises ``NotAllowed`` where anything of it does not hold."""
    if not 1 <= len(response) <= MAX_RESPONSE:
        raise _refused(f"the response has {len(response):,} characters; expected 1 to {MAX_RESPONSE:,}")
    library = _library()
    auth = _auth(provider, ours, {"SAMLResponse": response})
    try:
        found = library.OneLogin_Saml2_Response(auth.get_settings(), response)
        asked = found.get_in_response_to()
        if not asked or not found.is_valid(_request(ours, {"SAMLResponse": response}), asked):
            raise _refused(str(found.get_error() or "it answers no request"))
        # The response around an assertion need not be signed; what the assertion itself says must name the request.
        if {told.get("InResponseTo") for told in found.get_xml_document().xpath(_CONFIRMED)} != {asked}:
            raise _refused("its assertion answers no request of ours")
        ends = found.get_assertion_not_on_or_after() or (now + timedelta(hours=1)).timestamp()
        return Answer(
            request_id=str(asked),
            assertion_id=str(found.get_assertion_id()),
            ends_at=datetime.fromtimestamp(float(ends), UTC),
            subject=str(found.get_nameid()),
            attributes={str(name): [str(v) for v in values] for name, values in found.get_attributes().items()},
        )
    except NotAllowed:
        raise
    except Exception as error:
        raise _refused(f"it cannot be read ({type(error).__name__})") from error


def metadata(provider: Provider, ours: Ours) -> str:
    """What the provider's administrator enters there."""
    text = _auth(provider, ours, {}).get_settings().get_sp_metadata()
    return text.decode() if isinstance(text, bytes) else str(text)


def _auth(provider: Provider, ours: Ours, posted: dict[str, str]) -> Any:
    return _library().OneLogin_Saml2_Auth(_request(ours, posted), _settings(provider, ours))


def _request(ours: Ours, posted: dict[str, str]) -> dict[str, Any]:
    parts = urlsplit(ours.acs)
    return {
        "https": "on" if parts.scheme == "https" else "off",
        "http_host": parts.netloc,
        "script_name": parts.path,
        "get_data": {},
        "post_data": posted,
    }


def _settings(provider: Provider, ours: Ours) -> dict[str, Any]:
    return {
        "strict": True,
        "debug": False,
        "sp": {
            "entityId": ours.metadata,
            "assertionConsumerService": {"url": ours.acs, "binding": POST},
            "NameIDFormat": "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
        },
        "idp": {
            "entityId": provider.issuer,
            "singleSignOnService": {"url": provider.sso_url, "binding": REDIRECT},
            "x509cert": provider.certificate,
        },
        "security": {
            "wantAssertionsSigned": True,
            "wantNameId": True,
            "wantAttributeStatement": False,
            "rejectDeprecatedAlgorithm": True,
            "requestedAuthnContext": False,
            "allowRepeatAttributeName": True,
        },
    }


class _Library:
    """The two names of the library that are used."""

    OneLogin_Saml2_Auth: Any
    OneLogin_Saml2_Response: Any


def _library() -> _Library:
    try:
        from onelogin.saml2.auth import OneLogin_Saml2_Auth  # noqa: PLC0415 - an extra that few installations have
        from onelogin.saml2.response import OneLogin_Saml2_Response  # noqa: PLC0415
    except ImportError:
        raise Unavailable("SAML needs secguard[saml] installed on the server.", retry_after=3600) from None
    found = _Library()
    found.OneLogin_Saml2_Auth, found.OneLogin_Saml2_Response = OneLogin_Saml2_Auth, OneLogin_Saml2_Response
    return found


def _refused(why: str) -> NotAllowed:
    return NotAllowed(
        f"You are not signed in: the provider's answer does not hold: {why[:300]}.", code="external-refused"
    )
