"""Which hosts a registry may send us to (no I/O). Which of their addresses, ``outbound.addresses`` says.

A worker stands inside a network that its users do not. So it connects only to hosts that the registry's configuration
names. Loopback and private addresses are for hosts that are named in full.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from secguard.errors import NotAllowed
from secguard.outbound.addresses import Destination

_DEFAULT_PORTS = {"https": 443, "http": 80}

PRESETS: dict[str, tuple[str, ...]] = {
    # The first is where the API is; all of them are public, and never taken at a private address.
    "docker.io": (
        "registry-1.docker.io",
        "auth.docker.io",
        "production.cloudflare.docker.com",
        "docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com",
    ),
    "ghcr.io": ("ghcr.io", "pkg-containers.githubusercontent.com"),
    "quay.io": ("quay.io", "cdn.quay.io", "cdn01.quay.io", "cdn02.quay.io", "cdn03.quay.io", "cdn04.quay.io"),
    "mcr.microsoft.com": ("mcr.microsoft.com", "*.data.mcr.microsoft.com"),
    "gcr.io": ("gcr.io", "storage.googleapis.com"),
}


@dataclass(frozen=True, slots=True)
class RegistryAccess:
    """How a registry is spoken to. ``host`` and ``allowed_hosts`` may have ports; ``*.example.org`` fits below it."""

    host: str
    uses_plain_http: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    ca_certificate: str = field(default="", repr=False)
    allowed_hosts: tuple[str, ...] = ()

    @property
    def scheme(self) -> str:
        return "http" if self.uses_plain_http else "https"

    @property
    def api(self) -> str:
        """The URL under which ``/v2/`` is."""
        return f"{self.scheme}://{PRESETS.get(self.host, (self.host,))[0]}"


def destination(url: str, access: RegistryAccess) -> Destination:
    """Where ``url`` leads. Raises ``NotAllowed`` where the registry's configuration does not name that."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise _refused(url, "that is no URL", access) from None
    schemes = ("https", "http") if access.uses_plain_http else ("https",)
    if parts.scheme not in schemes or not host:
        raise _refused(url, f"only {' and '.join(schemes)} may be spoken with this registry", access)
    if parts.username is not None or parts.password is not None:
        raise _refused(url, "it holds credentials of its own", access)
    port = port or _DEFAULT_PORTS[parts.scheme]
    named = _fits(host, port, (access.host, *access.allowed_hosts), parts.scheme)
    if not named and not _fits(host, port, PRESETS.get(access.host, ()), parts.scheme):
        shown = f"{host}:{port}" if port != _DEFAULT_PORTS[parts.scheme] else host
        raise _refused(
            url, f"that host is not named in its configuration; if it may, add {shown!r} to its allowed hosts", access
        )
    return Destination(parts.scheme, host, port, is_named=named == "in full")


def _fits(host: str, port: int, names: Iterable[str], scheme: str) -> str:
    """``in full``, ``below`` (by a ``*.``) or empty."""
    below = ""
    for name in names:
        try:
            parts = urlsplit(f"//{name.lower().removeprefix('*.')}")
            wanted = parts.hostname, parts.port or _DEFAULT_PORTS[scheme]
        except ValueError:
            continue
        if name.startswith("*."):
            if host.endswith(f".{wanted[0]}") and wanted[1] == port:
                below = "below"
        elif (host, port) == wanted:
            return "in full"
    return below


def _refused(url: str, why: str, access: RegistryAccess) -> NotAllowed:
    return NotAllowed(f"The registry {access.host} points to {url[:200]!r}: {why}.", code="destination-not-allowed")
