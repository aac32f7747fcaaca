"""How often something secret may be tried: counted in the database, so that every process counts the same."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Q

from secguard.accounts.models import SignInAttempts
from secguard.errors import Unavailable

WINDOW = timedelta(minutes=15)
_RACES = 20
"""How often ``spend`` looks again where others spend at the same moment."""

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
    taken = _counted(key, now)
    if taken is not None and taken.attempts > allowed:
        raise _too_many(f"too many {what} from here", taken.since + WINDOW - now)


def check(key: str, allowed: int, now: datetime, *, what: str = "wrong passwords") -> None:
    """``take`` of what was counted already."""
    taken = SignInAttempts.objects.filter(key=key).first()
    if taken is not None and taken.attempts > allowed:
        raise _too_many(f"too many {what} from here", taken.since + WINDOW - now)


def count(key: str, now: datetime) -> int:
    """Count one try and say how many were made since the window began. Refuses nothing."""
    taken = _counted(key, now)
    return taken.attempts if taken is not None else 1


def _counted(key: str, now: datetime) -> SignInAttempts | None:
    row = SignInAttempts.objects.filter(key=key)
    fresh = row.filter(since__gt=now - WINDOW)
    if not fresh.update(attempts=F("attempts") + 1):
        SignInAttempts.objects.filter(since__lte=now - WINDOW).delete()
        _, is_new = SignInAttempts.objects.get_or_create(key=key, defaults={"attempts": 1, "since": now})
        if not is_new:
            row.update(attempts=F("attempts") + 1)
    return row.first()


def _too_many(words: str, wait: timedelta, hint: str = "") -> Unavailable:
    seconds = max(1, int(wait.total_seconds()))
    minutes = -(-seconds // 60)
    return Unavailable(
        f"{words}; try again in {minutes} minute{'s' * (minutes != 1)}{hint}",
        retry_after=seconds,
        code="too-many-attempts",
    )


@dataclass(frozen=True)
class Pace:
    """``at_once`` tries whenever they come, and then one ``every`` so long: it slows, and never shuts for good.

    In any span of time there are at most ``at_once`` and one more for each ``every`` of it, wherever it begins.
    """

    at_once: int
    every: timedelta

    def most(self, span: timedelta) -> int:
        return self.at_once + span // self.every


def spend(key: str, pace: Pace, now: datetime, *, what: str, hint: str = "") -> None:
    """Take one try at ``pace``; raises ``Unavailable`` where it comes too early, and then takes none.

    The row's ``since`` lies ahead: it is when all tries were paid back (a leaky bucket, ITU-T I.371's GCRA).
    """
    for _ in range(_RACES):
        row, _ = SignInAttempts.objects.get_or_create(key=key, defaults={"since": now})
        paid = max(row.since, now)
        early = paid - now - pace.every * (pace.at_once - 1)
        if early > timedelta(0):
            raise _too_many(f"too many {what}", early, hint)
        # Only from where it stood: of two at once the second looks again.
        if SignInAttempts.objects.filter(pk=row.pk, since=row.since).update(since=paid + pace.every):
            return
    raise _too_many(f"too many {what} at once", timedelta(minutes=1), hint)


def unspend(key: str, pace: Pace) -> None:
    """Take one of ``spend`` back: a right try says nothing of others' wrong ones, and costs nothing."""
    SignInAttempts.objects.filter(key=key).update(since=F("since") - pace.every)


def forget(key: str) -> None:
    """The one who tried knew the secret: what was counted before was a slip."""
    SignInAttempts.objects.filter(key=key).delete()


def give_back(key: str) -> None:
    """Take one try back, where many share the key: a success of one says nothing of the others."""
    SignInAttempts.objects.filter(Q(key=key) & Q(attempts__gt=0)).update(attempts=F("attempts") - 1)
