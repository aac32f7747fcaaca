"""Post a batch to a webhook, signed as channels sign theirs."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Sequence
from datetime import datetime

from secguard.channels import signing
from secguard.channels.adapters import posting
from secguard.outbound import connections
from secguard.outbound.connections import Resolver

CONTENT_TYPE = "application/x-ndjson"


def post(
    url: str,
    lines: Sequence[str],
    *,
    secret: str,
    at: datetime,
    named_hosts: Sequence[str],
    context: ssl.SSLContext | None = None,
    resolver: Resolver = connections.resolve,
) -> None:
    """Post one message a line; returns once the receiver answered with success.

    The same lines have the same ``webhook-id`` whenever they are posted. Raises ``Unavailable``, ``Invalid`` or
    ``NotAllowed`` as ``channels.adapters.posting.post`` does.
    """
    body = "".join(f"{line}\n" for line in lines).encode()
    name = f"exp_{hashlib.sha256(body).hexdigest()[:32]}"
    headers = signing.headers([secret], name, at, body) | {"Content-Type": CONTENT_TYPE}
    posting.post(url, body, headers, named_hosts, resolver=resolver, context=context)
