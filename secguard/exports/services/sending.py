"""Hand one batch to a target's sink: what it is written as, and by which adapter it goes."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from django.conf import settings

from secguard.errors import Invalid
from secguard.exports import cef, ocsf, syslog
from secguard.exports.adapters import stream, webhook
from secguard.exports.item import Item, bounded, document
from secguard.exports.models import ExportTarget
from secguard.exports.targets import Format, Sink
from secguard.outbound import connections
from secguard.outbound.addresses import Destination, is_named_by
from secguard.sealing import seal, unseal

SEALED_FOR: Final = "export-target"


def send(target: ExportTarget, items: Sequence[Item], now: datetime) -> None:
    """Returns once the sink took all of ``items``. Raises a ``SecGuardError`` where it is not known to have."""
    if target.sink == Sink.WEBHOOK:
        webhook.post(
            opened(target.sealed_url),
            [written(item, Format(target.format)) for item in items],
            secret=opened(target.sealed_secret),
            at=now,
            named_hosts=settings.WEBHOOK_HOSTS,
            context=tls_context(target.ca_certificate) if target.ca_certificate else None,
        )
        return
    frames = (
        syslog.framed(syslog.message(item, written(item, Format(target.format)), host=settings.PUBLIC_HOST))
        for item in items
    )
    context = None
    if target.sink == Sink.SYSLOG_TLS:
        key = opened(target.sealed_client_key) if target.sealed_client_key else ""
        context = tls_context(target.ca_certificate, target.client_certificate, key)
    stream.send(frames, destination(target.host), context, needs_close_notify=target.needs_close_notify)


def written(item: Item, as_format: Format) -> str:
    """One message on one line."""
    match as_format:
        case Format.CEF:
            return cef.message(item, version=product_version())
        case Format.OCSF:
            return ocsf.message(item, version=product_version())
        case Format.JSON:
            return bounded(document(item), ocsf.MAX_BYTES, in_own_form="detail")
        case Format.TEXT:
            return item.line.title


def product_version() -> str:
    try:
        return version("secguard")
    except PackageNotFoundError:
        return "0"


def destination(host: str) -> Destination:
    """``host:port`` of a syslog receiver. Raises ``Invalid`` where it is neither."""
    name, _, port = host.strip().rpartition(":")
    name = name.strip("[]").rstrip(".").lower()
    if not (name and name.isascii() and name.isprintable() and " " not in name and "/" not in name and len(name) < 254):
        raise _bad_host(host)
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536):
        raise _bad_host(host)
    return Destination("syslog", name, int(port), is_named_by(settings.WEBHOOK_HOSTS, name, int(port)))


def _bad_host(host: str) -> Invalid:
    return Invalid(
        f"The address {host[:80]!r} is no host and port; expected one like siem.example.org:6514.",
        code="export-address",
        where="address",
    )


def tls_context(ca_certificate: str, client_certificate: str = "", client_key: str = "") -> ssl.SSLContext:
    """TLS 1.2 or newer, names checked. With a CA of the target's own, that one alone is trusted. Raises ``Invalid``."""
    if ca_certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(cadata=ca_certificate)
        except (ssl.SSLError, ValueError) as error:
            raise Invalid(
                f"The CA certificate cannot be read ({error}); expected PEM, -----BEGIN CERTIFICATE-----.",
                where="ca_certificate",
            ) from None
    elif client_certificate:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    else:
        context = connections.tls_context("")
    if client_certificate:
        _load_client(context, client_certificate, client_key)
    return context


def _load_client(context: ssl.SSLContext, certificate: str, key: str) -> None:
    # The library reads files alone. This one is the process's own (mode 0600) and gone at once.
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(f"{key}\n{certificate}\n")
        file.flush()
        try:
            context.load_cert_chain(file.name, password=b"")
        except (ssl.SSLError, ValueError, OSError):
            raise Invalid(
                "The client certificate and its key cannot be read or do not belong together; expected both in PEM, "
                "the key without a passphrase.",
                where="client_certificate",
            ) from None


def sealed(text: str) -> str:
    return seal(text, keys=[settings.SECRET_KEY], purpose=SEALED_FOR) if text else ""


def opened(text: str) -> str:
    return unseal(text, keys=[settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS], purpose=SEALED_FOR)
