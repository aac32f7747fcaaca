"""What makes a finding the same finding, whichever tool reports it (DESIGN rule 2).

``component purl`` is compared in canonical form: type, namespace, name and version with the epoch folded into the
version; qualifiers and subpath are attributes of where a package came from and differ between tools.
"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from functools import lru_cache
from urllib.parse import quote

from packageurl import PackageURL

from secguard.errors import Invalid
from secguard.images.purl import coordinates


class FindingKind(StrEnum):
    VULNERABILITY = "vulnerability"
    SECRET = "secret"  # noqa: S105
    MALWARE = "malware"
    MISCONFIGURATION = "misconfiguration"
    HYGIENE = "hygiene"


GENERIC = "generic"
"""The purl type of a package of which a tool told no more than name and version."""

_CVE = re.compile(r"CVE-(\d{4})-(\d{4,19})", re.I)
_EPOCH_TYPES = frozenset({"deb", "rpm", "alpm"})

_NAME = r"[a-z0-9][a-z0-9.-]*"
_PLAIN = re.compile(
    rf"(pkg:(?:deb|rpm|apk|npm|pypi|gem|golang|maven|cargo|nuget|generic)/(?:{_NAME}/)*{_NAME}@)"
    r"((?:[A-Za-z0-9._~-]|\+|%2B)+)(?:\?[a-z]+=[A-Za-z0-9._~:/%+-]+(?:&[a-z]+=[A-Za-z0-9._~:/%+-]+)*)?"
)
"""Purls of which only the qualifiers differ from the canonical form (and a plus sign, which is written %2B). Most are
like that; the general way takes thirty times as long, and a report has thousands."""

_ONE_NAME = {
    "alma": "almalinux",
    "amazon": "amzn",
    "cbl-mariner": "mariner",
    "opensuse-leap": "opensuse",
    "opensuse-tumbleweed": "opensuse",
    "oracle": "ol",
    "rhel": "redhat",
    "suse": "sles",
}
"""Distributions of which tools write two namespaces into ``rpm`` purls: Trivy its own word, Syft and Grype the ID of
os-release (except ``redhat``). One package is one component, whichever tool names it."""


@lru_cache(maxsize=65536)
def canonical_purl(purl: str) -> str:
    """The purl that identifies a component: no qualifiers, no subpath, epoch in the version.

    Raises ``Invalid`` where ``purl`` is not a package URL (purl-spec, PURL-SPECIFICATION).
    """
    plain = _PLAIN.fullmatch(purl)
    if plain and "epoch=" not in purl:
        return _with_one_name(plain[1] + plain[2].replace("+", "%2B"))
    return _with_one_name(_canonical(purl))


def _with_one_name(purl: str) -> str:
    if not purl.startswith("pkg:rpm/"):
        return purl
    namespace, slash, rest = purl[8:].partition("/")
    return f"pkg:rpm/{_ONE_NAME.get(namespace, namespace)}{slash}{rest}"


def _canonical(purl: str) -> str:
    try:
        p = PackageURL.from_string(purl)
    except ValueError as e:
        raise Invalid(f"{purl[:200]!r} is not a package URL: {e}", where="purl") from e
    version = p.version or ""
    epoch = (p.qualifiers or {}).get("epoch", "") if isinstance(p.qualifiers, dict) else ""
    if p.type in _EPOCH_TYPES and epoch not in ("", "0") and ":" not in version:
        version = f"{epoch}:{version}"
    if p.type in _EPOCH_TYPES and version.startswith("0:"):
        version = version[2:]
    written = _written(p.type, p.namespace or "", p.name or "", version)
    if written.endswith("/"):
        raise Invalid(f"{purl[:200]!r} is not a package URL: it has no name", where="purl")
    return written


_EDGES = re.compile(r"\A[\s/]+|[\s/]+\Z")


def _written(type_: str, namespace: str, name: str, version: str) -> str:
    """Every part percent-encoded with upper-case digits, but for the colon (PURL-SPECIFICATION, "Character encoding").

    Not the library's ``to_string``: it lowers a name after encoding it (``%3b``) and leaves a slash in a name as it is,
    so that what it writes is read as another purl. Blanks and slashes around a part are none of it.
    """
    spaces = "".join(f"{quote(s, safe=':')}/" for s in _EDGES.sub("", namespace).split("/") if s.strip())
    package = f"pkg:{type_}/{spaces}{quote(_EDGES.sub('', name), safe=':')}"
    return f"{package}@{quote(version, safe=':')}" if (version := version.strip()) else package


def package_of(purl: str) -> str:
    """The package: the purl without version, qualifiers and subpath."""
    return coordinates(canonical_purl(purl)).package


def make_purl(type_: str, name: str, version: str, namespace: str = "") -> str:
    """A canonical purl from what a tool says of a package when it gives no purl itself."""
    return canonical_purl(_written(type_, namespace, name, version))


def canonical_vulnerability_id(id_: str, aliases: tuple[str, ...] = ()) -> str:
    """The one id of a flaw among its names: the CVE where there is one, else the id itself.

    Several CVEs among the aliases (a vendor's advisory that bundles flaws) are not one flaw: the id is kept.
    """
    own = _CVE.fullmatch(id_.strip())
    if own:
        return id_.strip().upper()
    cves = sorted({a.strip().upper() for a in aliases if _CVE.fullmatch(a.strip())})
    return cves[0] if len(cves) == 1 else id_.strip()


def secret_fingerprint(rule: str, path: str, hint: str) -> str:
    """Tells two secrets of one rule in one file apart without holding either.

    ``hint`` is the tool's own fingerprint, else its *redacted* match, else the line number; never the secret's text
    (an unkeyed hash of a short secret can be guessed).
    """
    return hashlib.sha256("\0".join((rule, path, hint)).encode()).hexdigest()[:32]


def risk_key(kind: FindingKind, *parts: str) -> str:
    """The key of a risk: vulnerability: (canonical id, package); secret: (rule, path, fingerprint); malware:
    (signature, sha256); misconfiguration and hygiene: (check id, target)."""
    return hashlib.sha256("\0".join((kind.value, *parts)).encode()).hexdigest()
