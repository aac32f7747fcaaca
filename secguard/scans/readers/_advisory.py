"""Names of flaws as advisory databases write them, found inside the ids that tools make of them."""

from __future__ import annotations

import re

_PATTERN = (
    r"CVE-\d{4}-\d{4,19}"
    r"|GHSA(?:-[23456789cfghjmpqrvwx]{4}){3}"
    r"|SNYK-[A-Z0-9]+-[A-Z0-9_.]+(?:-[A-Z0-9_]+)*-\d+"
    r"|(?:GO|GMS|PYSEC|RUSTSEC|BDSA|MAL|GSD|HSEC|OSV|ROOT|UBUNTU-CVE|DEBIAN-CVE|ALPINE-CVE)-\d{4}-\d+(?:-\d+)?"
    r"|(?:DSA|DLA|USN)-\d+-\d+|DTSA-\d+-\d+|TEMP-\d+-[0-9A-F]+"
    r"|(?:RH[SBE]A|ALSA|RLSA|ELSA|CESA)-\d{4}[:-]\d+"
    r"|ALAS(?:2\d*|KERNEL|LIVEPATCH)?[A-Z0-9.-]*-\d{4}-\d+"
    r"|(?:openSUSE|SUSE)-SU-\d{4}:\d+-\d+"
    r"|npm:[a-z0-9@/._-]+:\d{8}"
    r"|sonatype-\d{4}-\d+|CNVD-\d{4}-\d+|CGA(?:-[23456789cfghjmpqrvwx]{4}){3}|XRAY-\d+"
)
_ID = re.compile(rf"(?<![A-Za-z0-9])(?:{_PATTERN})", re.I)
_CVE = re.compile(r"(?<![A-Za-z0-9-])CVE-\d{4}-\d{4,19}(?!\d)", re.I)


def advisory_id(text: str) -> str:
    """The first advisory's id in a rule's id, as written there, or ``""``.

    Tools decorate: ``[MEDIUM] CVE-2019-1549`` (Trivy's old template), ``CVE-2019-1549-libssl1.1`` (Grype),
    ``BDSA-2020-1001 (CVE-2020-11022)`` (Black Duck).
    """
    found = _ID.search(text)
    return found.group() if found else ""


def cves_in(text: str) -> tuple[str, ...]:
    """Every CVE id in ``text``, in order, once each."""
    return tuple(dict.fromkeys(m.upper() for m in _CVE.findall(text)))
