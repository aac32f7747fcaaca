"""What registries' webhooks tell: every push of an image is scanned."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.crypto import constant_time_compare

from secguard.errors import NotAllowed
from secguard.images.models import Registry
from secguard.scans import pushes
from secguard.scans.models import Scan
from secguard.scans.services.asking import ScanRequest, ask

PREFIXES = ("bearer ", "token ")


@dataclass(frozen=True, slots=True)
class Heard:
    scans: tuple[Scan, ...]
    ignored: int


def registry_of(token: str) -> Registry:
    """The registry whose webhook token this is; raises ``NotAllowed`` where it is none's."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    found = Registry.objects.filter(webhook_token_hash=digest).first() if token else None
    if found is None or not constant_time_compare(found.webhook_token_hash, digest):
        raise NotAllowed(
            "The webhook's token is none that is known here. A registry's page under Settings makes one; webhooks "
            "send it as Authorization: Bearer sgw_….",
            code="webhook-token",
        )
    return found


def hear(raw: bytes, headers: Mapping[str, str], *, registry: Registry) -> Heard:
    """Ask for a scan of everything that was pushed; in ``registry``, whatever host the message names.

    Raises ``Invalid`` for a body that is none of the known forms.
    """
    delivery = pushes.read(raw, headers)
    scans = []
    for push in delivery.pushes:
        name = f"{registry.host}/{push.path}" + (f":{push.tag}" if push.tag else "")
        name += f"@{push.digest}" if push.digest else ""
        scans.append(ask(ScanRequest(image=name, trigger="webhook"), actor=None)[0])
    return Heard(tuple(scans), delivery.ignored)
