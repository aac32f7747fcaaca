"""What every hook of sensors has in common: whose token it is, and the body, unpacked within its bound."""

from __future__ import annotations

import zlib
from typing import Final

from django.http import HttpRequest

from secguard.errors import Invalid, NotAllowed, TooLarge
from secguard.events.models import Sensor
from secguard.events.services import sensors

_GZIP: Final = 16 + zlib.MAX_WBITS
"""Only gzip's own header is taken (zlib manual, inflateInit2)."""
_CHUNK: Final = 1 << 20


def sensor_of(request: HttpRequest, *, sends: str) -> Sensor:
    """The sensor that asks. ``sends``: ``events`` or ``flows``; raises ``NotAllowed`` where it may not send those."""
    sensor = sensors.sensor_of(request.headers.get("Authorization", ""))
    if not getattr(sensor, f"takes_{sends}"):
        raise NotAllowed(
            f"The sensor {sensor.name} may not send {sends}. Somebody with sensor:edit lets it under Sensors.",
            code="sensor-channel",
        )
    return sensor


def body_of(request: HttpRequest, most: int, *, what: str) -> bytes:
    """The body, unpacked where ``Content-Encoding: gzip`` says so.

    Raises ``TooLarge`` past ``most`` bytes, packed or unpacked (before it is unpacked further), and ``Invalid`` for
    what is no gzip, for a stream cut short, and for another encoding.
    """
    # Not ``request.body``: that holds what is sent here to the bound of a form.
    raw, encoding = request.read(most + 1), request.headers.get("Content-Encoding", "").strip().lower()
    if encoding in ("gzip", "x-gzip"):  # RFC 9110, 8.4.1.3
        raw = _unpacked(raw, most, what)
    elif encoding not in ("", "identity"):
        raise Invalid(
            f"Content-Encoding is {encoding[:40]!r}; expected gzip, or none.", code="encoding", where="Content-Encoding"
        )
    if len(raw) > most:
        raise _too_large(what, most)
    return raw


def _unpacked(raw: bytes, most: int, what: str) -> bytes:
    found, rest = bytearray(), raw
    while rest:  # a file of gzip may have several members (RFC 1952, 2.2)
        one = zlib.decompressobj(_GZIP)
        try:
            while not one.eof and rest:
                found += one.decompress(rest, _CHUNK)
                rest = one.unconsumed_tail
                if len(found) > most:
                    raise _too_large(what, most)
        except zlib.error as error:
            raise Invalid(
                f"{what} are said to be gzip and cannot be unpacked ({error}); expected one whole gzip stream.",
                code="gzip",
                where="body",
            ) from error
        if not one.eof:
            raise Invalid(f"{what} end in the middle of their gzip stream; send them whole.", code="gzip", where="body")
        rest = one.unused_data
    return bytes(found)


def _too_large(what: str, most: int) -> TooLarge:
    return TooLarge(
        f"{what} are more than {most:,} bytes unpacked; send fewer at once.", code="too-large", where="body"
    )
