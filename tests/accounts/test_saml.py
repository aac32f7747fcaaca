"""SAML with assertions that are signed here: one that holds, and every way in which one does not."""

from __future__ import annotations

import base64
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings
from django.test import Client
from django.utils import timezone

from secguard.accounts.models import Membership, SeenResponse, Team, User
from secguard.accounts.providers import read

pytest.importorskip("onelogin.saml2", reason="SAML is an extra: secguard[saml]")
from onelogin.saml2.utils import OneLogin_Saml2_Utils as Tools

pytestmark = pytest.mark.django_db
IDP, SSO = "https://idp.example/metadata", "https://idp.example/sso"
ACS, AUDIENCE = "http://localhost:8000/sign-in/office/acs/", "http://localhost:8000/sign-in/office/metadata/"
SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
DIGEST = "http://www.w3.org/2001/04/xmlenc#sha256"


def pair() -> tuple[str, str]:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "idp.example")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode(), made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


KEY, CERTIFICATE = pair()
OTHER_KEY, OTHER_CERTIFICATE = pair()


@pytest.fixture(autouse=True)
def _office(monkeypatch: pytest.MonkeyPatch, team: Team, tmp_path: Path) -> None:
    indented = CERTIFICATE.replace("\n", "\n      ")
    text = f"""\
providers:
  - name: office
    label: The office
    kind: saml
    issuer: {IDP}
    sso_url: {SSO}
    certificate: |
      {indented}
    username: uid
    groups:
      payments: [{{role: developer, team: payments}}]
"""
    monkeypatch.setattr(settings, "SIGN_IN_PROVIDERS", read(text))
    monkeypatch.setattr(settings, "PUBLIC_URL", "http://localhost:8000")


def begin(client: Client, to: str = "/") -> str:
    """Go there; the id of the request."""
    answer = client.get("/sign-in/office/", {"next": to})
    assert answer["Location"].startswith(SSO)
    packed = parse_qs(urlsplit(answer["Location"]).query)["SAMLRequest"][0]
    request = zlib.decompress(base64.b64decode(packed), -15).decode()
    return request.partition(' ID="')[2].partition('"')[0]


def stamp(minutes: float) -> str:
    return (timezone.now() + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def assertion(request_id: str, **changes: Any) -> str:
    told: dict[str, Any] = {
        "issuer": IDP, "audience": AUDIENCE, "recipient": ACS, "begins": -1, "ends": 5,
        "name": "carol@idp", "id": "_a1", "groups": ["payments", "choir"], "answers": f'InResponseTo="{request_id}"',
    } | changes  # fmt: skip
    groups = "".join(f"<saml:AttributeValue>{group}</saml:AttributeValue>" for group in told["groups"])
    return f"""<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="{told["id"]}" Version="2.0"
 IssueInstant="{stamp(0)}"><saml:Issuer>{told["issuer"]}</saml:Issuer><saml:Subject><saml:NameID>{told["name"]}</saml:NameID>
<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData {told["answers"]}
 Recipient="{told["recipient"]}" NotOnOrAfter="{stamp(told["ends"])}"/></saml:SubjectConfirmation></saml:Subject>
<saml:Conditions NotBefore="{stamp(told["begins"])}" NotOnOrAfter="{stamp(told["ends"])}"><saml:AudienceRestriction>
<saml:Audience>{told["audience"]}</saml:Audience></saml:AudienceRestriction></saml:Conditions>
<saml:AuthnStatement AuthnInstant="{stamp(0)}" SessionIndex="1"><saml:AuthnContext><saml:AuthnContextClassRef>
urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>
<saml:AttributeStatement><saml:Attribute Name="uid"><saml:AttributeValue>carol</saml:AttributeValue></saml:Attribute>
<saml:Attribute Name="displayName"><saml:AttributeValue>Carol C.</saml:AttributeValue></saml:Attribute>
<saml:Attribute Name="groups">{groups}</saml:Attribute></saml:AttributeStatement></saml:Assertion>"""


def signed(xml: str, key: str = KEY, certificate: str = CERTIFICATE) -> str:
    raw = Tools.add_sign(xml, key, certificate, sign_algorithm=SHA256, digest_algorithm=DIGEST)
    return raw.decode() if isinstance(raw, bytes) else str(raw)


def response(request_id: str, inner: str, destination: str = ACS, status: str = "Success") -> str:
    return base64.b64encode(
        f"""<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"
 xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_r1" Version="2.0"
 IssueInstant="{stamp(0)}" Destination="{destination}" InResponseTo="{request_id}">
<saml:Issuer>{IDP}</saml:Issuer><samlp:Status><samlp:StatusCode
 Value="urn:oasis:names:tc:SAML:2.0:status:{status}"/></samlp:Status>{inner}</samlp:Response>""".encode()
    ).decode()


def post(raw: str) -> Any:
    """As another site has the browser post it: without our cookie."""
    return Client(enforce_csrf_checks=True).post("/sign-in/office/acs/", {"SAMLResponse": raw, "RelayState": "x"})


def is_in(client: Client) -> bool:
    return bool(client.get("/account/").status_code == 200)


def test_a_signed_assertion_signs_in_with_the_roles_of_the_groups() -> None:
    client = Client()
    asked = begin(client, "/settings/teams/")
    answer = post(response(asked, signed(assertion(asked))))
    assert answer.status_code == 303
    assert answer["Location"].startswith("/sign-in/office/callback/?ticket=")
    assert client.get(answer["Location"])["Location"] == "/settings/teams/"
    assert is_in(client)
    carol = User.objects.get()
    assert (carol.username, carol.display_name) == ("carol", "Carol C.")
    assert [(m.role, m.provider) for m in Membership.objects.all()] == [("developer", "office")]


def test_a_ticket_counts_once_and_in_the_browser_that_began() -> None:
    client, thief = Client(), Client()
    asked = begin(client)
    path = post(response(asked, signed(assertion(asked))))["Location"]
    begin(thief)
    thief.get(path)
    assert not is_in(thief)
    client.get(path)
    assert is_in(client)
    client.post("/sign-out/")
    begin(client)
    client.get(path)
    assert not is_in(client)


def test_an_assertion_counts_once() -> None:
    client = Client()
    asked = begin(client)
    raw = response(asked, signed(assertion(asked)))
    assert post(raw).status_code == 303
    assert post(raw)["Location"] == "/sign-in/"
    assert SeenResponse.objects.count() == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"audience": "https://another.example"},
        {"recipient": "https://another.example/acs/"},
        {"issuer": "https://another.example"},
        {"ends": -10},
        {"begins": 30, "ends": 40},
        {"answers": 'InResponseTo="_another"'},
        {"answers": ""},
        {"name": ""},
    ],
)
def test_an_assertion_that_says_something_else_is_refused(changes: dict[str, Any]) -> None:
    asked = begin(Client())
    assert post(response(asked, signed(assertion(asked, **changes))))["Location"] == "/sign-in/"
    assert not User.objects.exists()


def test_what_is_not_signed_by_the_provider_is_refused() -> None:
    asked = begin(Client())
    right = signed(assertion(asked))
    forged = (
        assertion(asked),
        signed(assertion(asked), OTHER_KEY, OTHER_CERTIFICATE),
        right.replace("carol</saml:AttributeValue>", "admin</saml:AttributeValue>"),
        right.replace("carol@idp", "admin@idp"),
        assertion(asked, name="admin@idp", id="_evil") + right,
        right + assertion(asked, name="admin@idp", id="_evil"),
        right.replace("<saml:Subject>", f"<saml:Advice>{assertion(asked, id='_evil')}</saml:Advice><saml:Subject>"),
    )
    for inner in forged:
        assert post(response(asked, inner))["Location"] == "/sign-in/"
    assert not User.objects.exists()


def test_only_the_signed_assertion_says_which_request_it_answers() -> None:
    asked = begin(Client())
    unasked = signed(assertion(asked, answers=""))
    note = f'<saml:SubjectConfirmationData InResponseTo="{asked}"/>'
    raw = base64.b64decode(response(asked, unasked)).decode()
    beside = raw.replace("<samlp:Status>", f"<samlp:Extensions>{note}</samlp:Extensions><samlp:Status>")
    assert post(base64.b64encode(beside.encode()).decode())["Location"] == "/sign-in/"
    assert not SeenResponse.objects.exists()


def test_other_responses_are_refused() -> None:
    asked = begin(Client())
    inner = signed(assertion(asked))
    bomb = base64.b64encode(
        b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d SYSTEM "file:///etc/passwd">]><a>&d;&b;</a>'
    ).decode()
    for raw in (
        response(asked, inner, destination="https://another.example/"),
        response(asked, inner, status="Requester"),
        response("", inner),
        response(asked, ""),
        bomb,
        "no base64 at all",
        "",
        "A" * 500_000,
        base64.b64encode(b"<a" * 1_000).decode(),
    ):
        answer = post(raw)
        assert answer["Location"] == "/sign-in/"
    assert not User.objects.exists()


def test_the_metadata_name_us() -> None:
    page = Client().get("/sign-in/office/metadata/")
    assert page.status_code == 200
    assert AUDIENCE in page.content.decode()
    assert ACS in page.content.decode()
    assert 'WantAssertionsSigned="true"' in page.content.decode()
