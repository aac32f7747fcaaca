"""``secguard vex``: the decisions in force, for other tools."""

from __future__ import annotations

from typing import Final

import httpx

from secguard.client.gate import digest_of
from secguard.client.rest import Deadline, Server

FORMATS: Final = ("openvex", "cyclonedx", "csaf")


def document(server: Server, deadline: Deadline, image: str, **asked: str) -> httpx.Response:
    """The VEX document about an image, a repository's images, an application's, or all that the token may see.

    ``asked`` is as the API takes it: ``format``, ``repository``, ``application``, ``signed``, ``key``.
    """
    path = f"/api/v1/images/{digest_of(server, image, deadline)}/vex/" if image else "/api/v1/vex/"
    return server.file(path, deadline, **asked)
