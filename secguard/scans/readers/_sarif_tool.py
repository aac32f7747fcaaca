"""What is known of the tools that write SARIF: their names here, and what each looks for."""

from __future__ import annotations

import re
from enum import Enum, auto

from secguard.findings.identity import FindingKind
from secguard.scans.readers._advisory import advisory_id
from secguard.scans.readers._sarif_log import Rule, Run, texts_of

_NAMES = {
    "snyk-container": "snyk",
    "snykcode": "snyk-code",
    "semgrep-oss": "semgrep",
    "semgrep-pro": "semgrep",
    "aqua-security-trivy": "trivy",
    "docker-scout-cli": "docker-scout",
    "osv-scanner-v2": "osv-scanner",
}
_VULNERABILITIES = frozenset({FindingKind.VULNERABILITY})
_SECRETS = frozenset({FindingKind.SECRET})
_CHECKS = frozenset({FindingKind.MISCONFIGURATION, FindingKind.HYGIENE})
_TOOLS = {
    _VULNERABILITIES: "grype docker-scout snyk osv-scanner dependency-check owasp-dependency-track govulncheck"
    " clair-v4",
    _SECRETS: "gitleaks trufflehog ggshield gitguardian detect-secrets",
    _CHECKS: "hadolint dockle checkov kics terrascan tfsec kube-linter kubescape",
}
_LOOKS_FOR = {tool: kinds for kinds, tools in _TOOLS.items() for tool in tools.split()}
_EVERYTHING = _VULNERABILITIES | _SECRETS | _CHECKS
_CONFIGURATION = frozenset({"hadolint", "checkov", "kics", "terrascan", "tfsec", "kube-linter", "kubescape"})
_IMAGE = frozenset({"trivy", "grype", "docker-scout", "snyk", "dockle", "clair-v4"})
_SECRET_RULE = re.compile(r"\bsecrets\.security\b")


class ResultKind(Enum):
    VULNERABILITY = auto()
    SECRET = auto()
    CHECK = auto()


def scanner_of(driver_name: str) -> str:
    """A driver's name as a scanner's: lower case, words joined by ``-``, editions of one tool as one."""
    name = re.sub(r"[^a-z0-9]+", "-", driver_name.lower()).strip("-")
    return _NAMES.get(name, name)


def covered_by(scanner: str, seen: set[FindingKind], about_image: bool) -> frozenset[FindingKind]:
    """The kinds that a run without such results withdraws.

    A tool that nobody here knows is taken at its word: what it no longer says is gone. Trivy has one name for four
    looks (``image``, ``fs``, ``config``, ``repo``) and its SARIF does not say which, except that only an image has an
    image's name.
    """
    if scanner == "trivy":
        return frozenset(seen) | (_VULNERABILITIES if about_image else frozenset())
    return _LOOKS_FOR.get(scanner, _EVERYTHING) | seen


def subject_kind(scanner: str, run: Run) -> str:
    """What a run looked at: an image, a configuration file, or (any other tool) a source repository."""
    if scanner in _CONFIGURATION:
        return "configuration"
    named = run.properties is not None and run.properties.image_name is not None
    return "image" if named or scanner in _IMAGE else "repository"


def kind_of(scanner: str, id_: str, rule: Rule | None, has_purl: bool) -> ResultKind:
    """Whether a result is a vulnerability, a secret, or (everything else) a failed check."""
    tags = {t.lower() for t in texts_of(rule.properties.tags)} if rule and rule.properties else set()
    by_rule = rule.name if rule else None
    if _LOOKS_FOR.get(scanner) is _SECRETS or by_rule == "Secret" or tags & {"secret", "secrets"}:
        return ResultKind.SECRET
    if _SECRET_RULE.search(id_):
        return ResultKind.SECRET
    if has_purl or "vulnerability" in tags or _LOOKS_FOR.get(scanner) is _VULNERABILITIES or advisory_id(id_):
        return ResultKind.VULNERABILITY
    return ResultKind.CHECK
