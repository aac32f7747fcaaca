"""``secguard admission certificate``: an authority, and the certificate that the proxy in a cluster serves with.

API servers ask webhooks over TLS, at ``SERVICE.NAMESPACE.svc``, and believe the ``caBundle`` of the webhook's
configuration (Kubernetes, *Dynamic admission control*). Everything here is done on this machine; no server is asked.
"""

from __future__ import annotations

import base64
import os
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any, Self

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from secguard.client.rest import CouldNotTell

CA_DAYS = 3650
MAX_DAYS = 3650
MAX_BYTES = 65_536
SKEW = timedelta(minutes=5)
"""How far the clocks of a cluster may be behind."""
SHIPPED = "secguard-admission"
"""The namespace and the service in the shipped configurations."""
_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the proxy is reached inside the cluster."""

    namespace: str = SHIPPED
    service: str = SHIPPED

    def __post_init__(self) -> None:
        for what, name in (("namespace", self.namespace), ("service", self.service)):
            if not _LABEL.fullmatch(name):
                raise CouldNotTell(
                    f"{name[:80]!r} is no {what}; expected a small letter, then at most 62 of them, digits and hyphens."
                )

    @property
    def host(self) -> str:
        return f"{self.service}.{self.namespace}.svc"


@dataclass(frozen=True, slots=True)
class Authority:
    """What signs the proxy's certificates. Its certificate is what API servers believe."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, now: datetime) -> Self:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SecGuard admission CA")])
        made = (
            _builder(name, name, key.public_key(), now, now + timedelta(days=CA_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(made, key)

    @classmethod
    def load(cls, folder: Path, now: datetime) -> Self:
        """The authority that was kept in ``folder``; raises ``CouldNotTell`` where none is, or it has ended."""
        certificate = _certificate(folder / "ca.crt")
        key = _private_key(folder / "ca.key")
        if certificate.public_key() != key.public_key():
            raise CouldNotTell(f"{folder} holds a key that does not belong to its certificate.")
        if not _is_authority(certificate):
            raise CouldNotTell(f"{folder / 'ca.crt'} is no authority's certificate; expected what this command made.")
        if certificate.not_valid_after_utc <= now + SKEW:
            raise CouldNotTell(
                f"The authority in {folder} ended at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC. "
                "Leave --ca out: a new one is made."
            )
        return cls(certificate, key)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def serving(self, place: Place, days: int, now: datetime) -> Serving:
        """A new key and its certificate for ``place``; it ends with the authority at the latest."""
        if not 1 <= days <= MAX_DAYS:
            raise CouldNotTell(f"{days} days are too few or too many; expected 1 to {MAX_DAYS}.")
        key = ec.generate_private_key(ec.SECP256R1())
        end = min(now + timedelta(days=days), self.certificate.not_valid_after_utc)
        # A common name has room for 64 characters; nobody reads it where there is a subject alternative name.
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, place.service)])
        made = (
            _builder(name, self.certificate.subject, key.public_key(), now, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(place.host)]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        return Serving(made, key)

    def keep(self, folder: Path) -> None:
        """Write it to ``folder``, which must hold none yet."""
        if (folder / "ca.key").exists() or (folder / "ca.crt").exists():
            raise CouldNotTell(f"{folder} holds an authority already: go on with it by --ca {folder}, or use another.")
        write_private(folder / "ca.key", _private_pem(self.key))
        write_private(folder / "ca.crt", self.pem)


@dataclass(frozen=True, slots=True)
class Serving:
    """The proxy's own certificate and key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def secret(self, place: Place, authority: Authority) -> bytes:
        """The Secret (``kubernetes.io/tls``) that the proxy mounts, as YAML."""
        data = {
            "tls.crt": self.certificate.public_bytes(serialization.Encoding.PEM),
            "tls.key": _private_pem(self.key),
            "ca.crt": authority.pem,
        }
        document = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"{place.service}-tls", "namespace": place.namespace},
            "type": "kubernetes.io/tls",
            "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
        }
        return yaml.safe_dump(document, sort_keys=False).encode()


def configurations(place: Place, bundle: bytes) -> list[dict[str, Any]]:
    """Both webhook configurations, asking at ``place`` and believing ``bundle`` (PEM)."""
    text = resources.files("secguard.client").joinpath("webhooks.yaml").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = list(yaml.safe_load_all(text))
    for hook in (hook for document in found for hook in document["webhooks"]):
        hook["clientConfig"]["service"] |= {"name": place.service, "namespace": place.namespace}
        hook["clientConfig"]["caBundle"] = base64.b64encode(bundle).decode()
        for expression in hook["namespaceSelector"]["matchExpressions"]:
            expression["values"] = [place.namespace if v == SHIPPED else v for v in expression["values"]]
    return found


def still_believed(bundle: bytes, authority: Authority, now: datetime) -> bytes:
    """``authority`` first, then what ``bundle`` (PEM) held and has not ended: what serves meanwhile stays believed."""
    try:
        former = x509.load_pem_x509_certificates(bundle) if bundle.strip() else []
    except ValueError:
        former = []
    kept = [c for c in former if c.not_valid_after_utc > now and c != authority.certificate]
    return authority.pem + b"".join(c.public_bytes(serialization.Encoding.PEM) for c in kept[:3])


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads; a former one is replaced in one step."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as new:  # made with mode 0600
            new.write(content)
        os.replace(new.name, path)
    except OSError as error:
        raise CouldNotTell(f"{path} cannot be written: {error.strerror}.") from error


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError as error:
        raise CouldNotTell(f"{path} is no certificate in PEM; expected what this command made.") from error


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(_read(path), None)
    except TypeError as error:
        raise CouldNotTell(f"{path} has a password; expected a key without one, as this command made it.") from error
    except ValueError as error:
        raise CouldNotTell(f"{path} is no private key in PEM; expected what this command made.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CouldNotTell(f"{path} is no key on an elliptic curve; expected what this command made.")
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CouldNotTell(f"{path} cannot be read: {error.strerror}.") from error
    if len(raw) > MAX_BYTES:
        raise CouldNotTell(f"{path} has more than {MAX_BYTES:,} bytes: it is no key and no certificate.")
    return raw


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def now() -> datetime:
    """This instant, to the second: certificates know no fractions."""
    return datetime.now(UTC).replace(microsecond=0)
