"""How often something secret may be tried: counted in the database, so that every process counts the same."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from datetime import datetime, timedelta

from django.db.models import F, Q

from secguard.accounts.models import SignInAttempts
from secguard.errors import Unavailable

WINDOW = timedelta(minutes=15)

_WITH_PORT = re.compile(r"\[(?P<six>[^\]]+)\](?::\d+)?|(?P<four>[\d.]+):\d+")


def origin(address: str) -> str:
    """What counts as one address: of IPv6 the /64 that one host is given whole (RFC 4291, section 2.5.4), and no port,
    which some proxies add and every connection changes."""
    found = _WITH_PORT.fullmatch(address.strip())
    bare = (found["six"] or found["four"]) if found else address.strip()
    try:
        ip = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))


def key_of(username: str, address: str) -> str:
    """Of the name as the database compares it: in capitals, where a dotless i is an I as well."""
    return hashlib.sha256(f"{origin(address)}\n{username.upper()}".encode()).hexdigest()


def take(key: str, allowed: int, now: datetime, *, what: str = "wrong passwords") -> None:
    """Count one try. Raises ``Unavailable`` where more than ``allowed`` were made since the window began."""
    row = SignInAttempts.objects.filter(key=key)
    fresh = row.filter(since__gt=now - WINDOW)
    if not fresh.update(attempts=F("attempts") + 1):
        SignInAttempts.objects.filter(since__lte=now - WINDOW).delete()
        _, is_new = SignInAttempts.objects.get_or_create(key=key, defaults={"attempts": 1, "since": now})
        if not is_new:
            row.update(attempts=F("attempts") + 1)
    taken = row.first()
    if taken is not None and taken.attempts > allowed:
        wait = max(1, int((taken.since + WINDOW - now).total_seconds()))
        raise Unavailable(
            f"too many {what} from here; try again in {-(-wait // 60)} minutes",
            retry_after=wait,
            code="too-many-attempts",
        )


def forget(key: str) -> None:
    """The one who tried knew the secret: what was counted before was a slip."""
    SignInAttempts.objects.filter(key=key).delete()


def give_back(key: str) -> None:
    """Take one try back, where many share the key: a success of one says nothing of the others."""
    SignInAttempts.objects.filter(Q(key=key) & Q(attempts__gt=0)).update(attempts=F("attempts") - 1)
