"""Which hosts and which addresses a registry may send us to (no I/O: the resolver's answers come as arguments).

A worker stands inside a network that its users do not. So it connects only to hosts that the registry's configuration
names, and never to an address that no registry has: link-local (where clouds keep their machines' credentials),
multicast, unspecified and reserved ones. Loopback and private addresses are for hosts that are named in full.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from secguard.errors import NotAllowed

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
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


@dataclass(frozen=True, slots=True)
class Destination:
    """A host that may be connected to; ``is_named`` opens private addresses to it."""

    scheme: str
    host: str
    port: int
    is_named: bool

    @property
    def origin(self) -> tuple[str, str, int]:
        return (self.scheme, self.host, self.port)


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


def permitted(found: Iterable[str], to: Destination) -> list[str]:
    """Those of a host's addresses that may be connected to, in order. Raises ``NotAllowed`` where none may."""
    reasons: list[str] = []
    allowed = []
    for text in found:
        why = _why_not(_real(ipaddress.ip_address(text.partition("%")[0])), to.is_named)
        if why:
            reasons.append(f"{text} is {why}")
        else:
            allowed.append(text)
    if not allowed:
        raise NotAllowed(
            f"The host {to.host!r} has no address that a registry may have: {'; '.join(reasons[:3]) or 'none at all'}.",
            code="address-not-allowed",
        )
    return allowed


def _why_not(address: Address, is_named: bool) -> str:
    if address.is_link_local:
        return "link-local"
    if address.is_multicast:
        return "multicast"
    if address.is_unspecified or address in ipaddress.ip_network("0.0.0.0/8"):
        return "unspecified"
    if address.is_loopback:
        return "" if is_named else "loopback, and the host is not named in full"
    if address.is_reserved:
        return "reserved"
    if not address.is_global and not is_named:
        return "private, and the host is not named in full"
    return ""


def _real(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for (mapped, 6to4, NAT64), or the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return inner or address
    return address


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
