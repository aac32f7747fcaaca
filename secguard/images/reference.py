"""Image references: ``[host[:port]/]path[:tag][@digest]``.

Grammar: distribution's reference package; OCI distribution-spec, "Pulling manifests".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from secguard.errors import Invalid

DEFAULT_HOST = "docker.io"
_OFFICIAL = "library/"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::\d{{1,5}})?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_FILES = (".tar", ".tar.gz", ".tgz", ".json")
MAX_LENGTH = 511
MAX_HOST = 255


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference; ``tag`` and ``digest`` may be empty, never both lost: no tag is invented."""

    host: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """``host/path``: how a repository is called everywhere in the product."""
        return f"{self.host}/{self.path}"

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def is_digest(text: str) -> bool:
    """True for ``sha256:<64 hex>`` or ``sha512:<128 hex>`` (OCI image-spec, descriptor, "Digests")."""
    return _DIGEST.fullmatch(text) is not None


def is_host(text: str) -> bool:
    """True for a registry's host as references name it: ``host``, ``host:port``, ``[::1]:port``."""
    return len(text) <= MAX_HOST and _HOST.fullmatch(text) is not None


@lru_cache(maxsize=8192)
def parse(text: str) -> Reference:
    """Read a reference as people and tools write it; ``alpine:3.18`` is ``docker.io/library/alpine:3.18``.

    Raises ``Invalid`` with what was found and the form that was expected.
    """
    rest, _, digest = text.strip().partition("@")
    if digest and not is_digest(digest):
        raise _refused(text, f"its digest {digest[:80]!r} is not sha256:<64 hex digits>")
    host, path = _split_host(rest)
    path, _, tag = path.partition(":")
    if host == DEFAULT_HOST and "/" not in path:
        path = _OFFICIAL + path
    if tag and not _TAG.fullmatch(tag):
        raise _refused(text, f"its tag {tag[:40]!r} has other than letters, digits, '_', '.', '-'")
    if not _HOST.fullmatch(host) or not _PATH.fullmatch(path):
        raise _refused(text, "its repository is not lower-case path parts of letters, digits, '.', '_', '-'")
    if len(host) + len(path) >= MAX_LENGTH:
        raise _refused(text, f"it is longer than {MAX_LENGTH} characters")
    return Reference(host.lower(), path, tag, digest)


def try_parse(text: str) -> Reference | None:
    """The reference, or ``None`` where ``text`` is something else (a path, a file name, a digest alone)."""
    if (
        not text
        or is_digest(text)
        or text.endswith((".tar", ".tar.gz", ".tgz", ".json"))
        or text.startswith(("/", "."))
    ):
        return None
    try:
        return parse(text)
    except Invalid:
        return None


def _split_host(rest: str) -> tuple[str, str]:
    first, slash, path = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first.startswith("[")):
        host = DEFAULT_HOST if first in ("index.docker.io", "registry-1.docker.io") else first
        return host, path
    return DEFAULT_HOST, rest


def _refused(text: str, why: str) -> Invalid:
    return Invalid(
        f"{text[:200]!r} is not an image reference: {why}. Expected registry/repository:tag or "
        "registry/repository@sha256:<64 hex digits>.",
        code="bad-reference",
        where="image",
    )
