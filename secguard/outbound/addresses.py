"""Which addresses we may be sent to (no I/O: the resolver's answers come as arguments).

A server stands inside a network that its users do not. So whoever names a host never reaches by it an address that no
service has: link-local (where clouds keep their machines' credentials), multicast, unspecified and reserved ones.
Loopback and private addresses are for hosts that are named in full by who may do that.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from secguard.errors import NotAllowed

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


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


def is_named_by(named_hosts: Sequence[str], host: str, port: int) -> bool:
    """Whether the operator named that host: ``host`` alone (any port) or ``host:port``."""
    for name in named_hosts:
        parts = urlsplit(f"//{name.lower()}")
        if parts.hostname == host and parts.port in (None, port):
            return True
    return False


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
            f"The host {to.host!r} has no address that may be connected to: {'; '.join(reasons[:3]) or 'none at all'}.",
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
