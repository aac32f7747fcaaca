"""What the readers of bills of materials share: which image an OCI package URL names, and a tool's name."""

from __future__ import annotations

import re
from functools import lru_cache

from packageurl import PackageURL

from secguard.scans.report import Subject

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAME_VERSION = re.compile(r"(?P<name>.+?)[-@ ]v?(?P<version>\d[\w.+-]*|\[not provided\]|dev)")
IMAGE_TYPES = ("oci", "docker")


def is_image_purl(purl: str) -> bool:
    return purl.startswith(("pkg:oci/", "pkg:docker/"))


def digest_of(text: str) -> str:
    """The first ``sha256:…`` of full length in ``text``, or ``""``."""
    found = _DIGEST.search(text)
    return found.group() if found else ""


def image_subject(purl: str, reference: str = "") -> Subject:
    """The image that ``pkg:oci/name@sha256:…?repository_url=…&tag=…&arch=…`` names (PURL-TYPES, "oci" and "docker").

    ``reference``: what the document itself calls it, which counts before what is made from the purl.
    """
    try:
        p = PackageURL.from_string(purl)
    except ValueError:
        return Subject(reference=reference)
    qualifiers = p.qualifiers if isinstance(p.qualifiers, dict) else {}
    path = qualifiers.get("repository_url") or "/".join(n for n in (p.namespace, p.name) if n)
    digest, tag = digest_of(p.version or ""), qualifiers.get("tag", "")
    if p.type == "docker" and not digest:
        tag = tag or p.version or ""
    return Subject(
        reference=reference or (f"{path}:{tag}" if tag else path),
        digest=digest,
        architecture=qualifiers.get("arch", ""),
        platform_os=qualifiers.get("os", ""),
    )


def tagged(name: str, version: str) -> str:
    """``name:version`` where ``version`` may be a tag and ``name`` has none yet; else ``name``."""
    has_tag = ":" in name.rpartition("/")[2]
    return name if not version or has_tag or ":" in version or "@" in name else f"{name}:{version}"


@lru_cache(maxsize=256)
def tool_word(name: str) -> str:
    """A tool's name as one lower-case word: ``Dependency Track`` to ``dependency-track``."""
    return re.sub(r"[\s/]+", "-", name.strip().lower().removeprefix("@"))


def split_tool(text: str) -> tuple[str, str]:
    """``syft-1.4.1`` to name and version (SPDX 2.3 section 6.8, ``Tool: name-version``)."""
    found = _NAME_VERSION.fullmatch(text.strip())
    return (tool_word(found["name"]), found["version"]) if found else (tool_word(text), "")
