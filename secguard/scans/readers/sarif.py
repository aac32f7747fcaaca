"""SARIF 2.1.0 (OASIS) of any tool: Docker Scout, Snyk, Trivy, Grype, Checkov, hadolint, Dockle, gitleaks, Semgrep …

SARIF says *where a rule fired*, not what kind of thing the rule finds and not which package is affected. The first is
decided in ``_sarif_tool``, the second in ``_sarif_package``. Results of kind ``pass``, ``notApplicable``,
``informational``, ``open`` and ``review`` (3.27.9) and those that are only in the baseline (3.27.24 ``absent``) are no
findings.
"""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import unquote

from msgspec import Struct, field

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind, secret_fingerprint
from secguard.findings.severity import Severity, from_score, from_word
from secguard.scans.document import Document
from secguard.scans.readers._advisory import advisory_id, cves_in
from secguard.scans.readers._bounds import require_bounded, require_few
from secguard.scans.readers._checks import check_kind, distinct_checks, joined_warning
from secguard.scans.readers._packages import package_url
from secguard.scans.readers._sarif_log import (
    Log,
    Properties,
    Result,
    Rule,
    RuleBook,
    Run,
    level_of,
    message_text,
    place_of,
    rule_id,
    suppression_of,
    text_of,
    texts_of,
)
from secguard.scans.readers._sarif_package import Labels, SarifPackage, fixes_of, image_named, packages_of
from secguard.scans.readers._sarif_tool import ResultKind, covered_by, kind_of, scanner_of, subject_kind
from secguard.scans.readers._times import instant
from secguard.scans.report import ReportedCheck, ReportedSecret, ReportedVulnerability, ScanReport, Subject

VERSION = "2.1.0"
_SNYK_IMAGE = re.compile(r"(.+)@sha256[_:]([0-9a-f]{64})")
_TAG_SEVERITIES = frozenset({"CRITICAL", "HIGH", "MEDIUM", "LOW", "NEGLIGIBLE", "UNKNOWN"})


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of whatever the log's one tool found, or ``None`` where the document is no SARIF log.

    Raises ``Invalid``: another SARIF version, no run, or runs of several tools (each replaces only what it said
    itself, so each is posted by itself).
    """
    if not document.has("runs") or not (document.has("version") or "sarif" in document.text("$schema")):
        return None
    if not document.text("version").startswith("2.1.0"):
        raise Invalid(
            f"The report is SARIF {document.text('version') or 'of no version'}; SARIF 2.1.0 is read. Let the tool "
            "write that version.",
            code="sarif-version",
            where="$.version",
        )
    require_few(document, findings=b'"ruleId"')
    log = document.decode(Log)
    scanner = _one_tool(log)
    found = _Found(scanner=scanner)
    for run in log.runs:
        _read_run(run, found)
    return _report(log, found)


class _Found(Struct):
    """What the runs gave so far."""

    scanner: str
    vulnerabilities: dict[tuple[str, str], ReportedVulnerability] = field(default_factory=dict)
    secrets: dict[str, ReportedSecret] = field(default_factory=dict)
    checks: list[ReportedCheck] = field(default_factory=list)
    image: str = ""
    suppressed: int = 0
    without_package: int = 0
    without_rule: int = 0


class _Facts(Struct):
    """What the results of one rule share, worked out once."""

    id: str
    """The rule's id as the tool writes it."""
    rule: Rule | None
    kind: ResultKind
    labels: Labels
    aliases: tuple[str, ...]
    severities: dict[tuple[str, str | None], Severity] = field(default_factory=dict)
    """By the result's own word and level, where it has no properties of its own."""


def _one_tool(log: Log) -> str:
    tools = {scanner_of(run.tool.driver.name or ""): run.tool.driver.name or "" for run in log.runs}
    if not log.runs:
        raise Invalid("The SARIF log has no run, so no tool says anything in it.", code="no-runs", where="$.runs")
    if len(tools) > 1:
        raise Invalid(
            f"The SARIF log has runs of {len(tools)} tools: {', '.join(sorted(tools.values()))}. Post one report for "
            "each tool.",
            code="several-tools",
            where="$.runs",
        )
    name = next(iter(tools))
    if not name:
        raise Invalid(
            "The SARIF log does not say which tool wrote it.", code="no-tool", where="$.runs[0].tool.driver.name"
        )
    return name


def _report(log: Log, found: _Found) -> ScanReport:
    driver = log.runs[0].tool.driver
    checks, joined = distinct_checks(found.checks)
    subject = _subject(log.runs[0], found)
    seen = {c.kind for c in checks}
    seen |= {FindingKind.VULNERABILITY} if found.vulnerabilities else set()
    seen |= {FindingKind.SECRET} if found.secrets else set()
    return ScanReport(
        format="sarif",
        format_version=VERSION,
        scanner=found.scanner,
        scanner_version=driver.semantic_version or driver.version or "",
        subject=subject,
        covers=covered_by(found.scanner, seen, bool(subject.reference)),
        vulnerabilities=list(found.vulnerabilities.values()),
        secrets=list(found.secrets.values()),
        checks=checks,
        complete=all(_is_complete(run) for run in log.runs),
        generated_at=_ended(log),
        warnings=(*_warnings(log, found), *joined_warning(joined)),
    )


def _is_complete(run: Run) -> bool:
    # 3.14.23: without `results` the tool did not look; 3.20.14: it says itself that it failed.
    failed = any(i.successful is False for i in run.invocations or ())
    return run.results is not None and not failed and not (run.external and run.external.results)


def _ended(log: Log) -> datetime | None:
    ends = [instant(i.end_time) for run in log.runs for i in run.invocations or ()]
    return max((e for e in ends if e), default=None)


def _warnings(log: Log, found: _Found) -> list[str]:
    warnings = []
    if any(i.successful is False for run in log.runs for i in run.invocations or ()):
        warnings.append("The tool says that its run failed (executionSuccessful is false).")
    if any(run.results is None for run in log.runs):
        warnings.append("A run has no results at all: the tool did not look (SARIF 3.14.23).")
    if any(run.external and run.external.results for run in log.runs):
        warnings.append("A run keeps results in other files, which were not posted.")
    if found.without_package:
        warnings.append(f"{found.without_package} vulnerabilities name no package; the file's name stands for it.")
    if found.without_rule:
        warnings.append(f"{found.without_rule} results without a rule were left out.")
    if found.suppressed:
        warnings.append(f"{found.suppressed} results are suppressed in the tool; the policy decides, not the tool.")
    return warnings


def _subject(run: Run, found: _Found) -> Subject:
    kind = subject_kind(found.scanner, run)
    bag = run.properties
    if bag is None or not (text_of(bag.image_name) or text_of(bag.image_id)):
        return Subject(kind=kind, reference=found.image)
    return Subject(
        kind=kind,
        reference=text_of(bag.image_name) or next(iter(texts_of(bag.repository_tags)), ""),
        image_id=text_of(bag.image_id),
        repository_digests=texts_of(bag.repository_digests),
    )


def _read_run(run: Run, found: _Found) -> None:
    book = RuleBook(run.tool)
    facts: dict[tuple[str, int | None], _Facts] = {}
    for result in run.results or ():
        if (result.kind or "fail") != "fail" or result.baseline_state == "absent":
            continue
        key = (rule_id(result), result.rule_index)
        known = facts.get(key)
        if known is None:
            known = facts[key] = _facts(found.scanner, result, book.rule_of(result))
        if not known.id:
            found.without_rule += 1
            continue
        if suppression_of(result):
            found.suppressed += 1
        _READ[known.kind](result, known, run, found)
        require_bounded(len(found.vulnerabilities) + len(found.secrets) + len(found.checks))


def _facts(scanner: str, result: Result, rule: Rule | None) -> _Facts:
    id_ = rule_id(result) or (rule.id if rule else None) or ""
    bag = rule.properties if rule else None
    has_purl = bool(bag and (texts_of(bag.purls) or texts_of(bag.purl))) or any(
        (logical.full_name or "").startswith("pkg:")
        for location in result.locations or ()
        for logical in location.logical or ()
    )
    return _Facts(
        id=id_,
        rule=rule,
        kind=kind_of(scanner, id_, rule, has_purl),
        labels=Labels.of(message_text(rule.help) if rule else ""),
        aliases=_aliases(id_, rule),
    )


def _read_vulnerability(result: Result, facts: _Facts, run: Run, found: _Found) -> None:
    rule = facts.rule
    text = message_text(result.message, rule)
    own = Labels.of(text)
    packages = packages_of(result, rule, own, facts.labels)
    path, _ = place_of(result, run)
    if not packages:
        found.without_package += 1
        packages = [SarifPackage(purl=package_url("", path or run.tool.driver.name or "unknown", ""), name=path)]
    found.image = found.image or image_named(text) or _image_in(path)
    id_ = advisory_id(facts.id) or facts.id
    for package in packages:
        key = (id_, package.purl)
        if key not in found.vulnerabilities:
            found.vulnerabilities[key] = _vulnerability(id_, package, path, result, facts, own)


def _vulnerability(
    id_: str, package: SarifPackage, path: str, result: Result, facts: _Facts, own: Labels
) -> ReportedVulnerability:
    rule = facts.rule
    bag = (rule.properties if rule else None) or Properties()
    fixes = fixes_of(result, rule, own, facts.labels)
    name, version = (package.name, package.version) if package.name else _name_in(package.purl)
    return ReportedVulnerability(
        id=id_,
        purl=package.purl,
        name=name,
        version=version,
        aliases=facts.aliases,
        severity=_severity(result, facts, own),
        cvss_score=_score(bag),
        cvss_vector=text_of(bag.vector),
        fixed_versions=fixes,
        fix_state="fixed" if fixes else "",
        title=message_text(rule.short) if rule else "",
        description=(message_text(rule.full) or message_text(rule.help) if rule else "")
        or message_text(result.message, rule),
        references=(rule.help_uri,) if rule and rule.help_uri else (),
        path=package.path or path,
        suppressed=suppression_of(result),
    )


def _name_in(purl: str) -> tuple[str, str]:
    """Name and version for people, from a purl a tool gave without naming the package beside it."""
    path, _, version = purl.partition("?")[0].partition("#")[0].rpartition("@")
    return unquote((path or version).rpartition("/")[2]), unquote(version) if path else ""


def _image_in(path: str) -> str:
    """Snyk writes the image's name where the file's belongs, ``:`` as ``_``; sure only where a digest ends it."""
    found = _SNYK_IMAGE.fullmatch(path)
    return f"{found.group(1)}@sha256:{found.group(2)}" if found else ""


def _aliases(rule_id_: str, rule: Rule | None) -> tuple[str, ...]:
    """Only what stands where tools put the other names of the same flaw: the id, its tags, Snyk's ``(CVE-…)``."""
    places = [rule_id_]
    if rule and rule.properties:
        places += texts_of(rule.properties.tags)
    full = message_text(rule.full) if rule else ""
    if full.startswith("("):
        places.append(full.partition(")")[0])
    names = dict.fromkeys(cve for place in places for cve in cves_in(place))
    names.pop(advisory_id(rule_id_).upper(), None)
    return tuple(names)


def _score(bag: Properties) -> float | None:
    for value in (bag.scout_score, bag.score):
        try:
            score = float(text_of(value))
        except ValueError:
            continue
        if 0.0 < score <= 10.0:
            return score
    return None


def _severity(result: Result, facts: _Facts, own: Labels) -> Severity:
    word = own.get("Severity") or facts.labels.get("Severity") or ""
    if result.properties is not None:
        return _rated(result, facts.rule, word)
    key = (word, result.level)
    if key not in facts.severities:
        facts.severities[key] = _rated(result, facts.rule, word)
    return facts.severities[key]


def _rated(result: Result, rule: Rule | None, word: str) -> Severity:
    """The tool's word where it says one, else its number (``security-severity``), else the result's level."""
    bags = [b for b in (result.properties, rule.properties if rule else None) if b]
    words = [
        word,
        *(text_of(v) for b in bags for v in (b.scout_severity, b.severity, b.security_risk, b.issue_severity)),
    ]
    words += [t for b in bags for t in texts_of(b.tags) if t in _TAG_SEVERITIES]
    for severity in (from_word(w) for w in words if w):
        if severity:
            return severity
    for b in bags:
        if severity := _number_or_word(text_of(b.security_severity)):
            return severity
    if any(text_of(b.scout_severity) for b in bags):
        return Severity.UNKNOWN  # Docker Scout rated it "UNSPECIFIED"; its level is then made up
    return from_word(level_of(result, rule))


def _number_or_word(text: str) -> Severity:
    try:
        return from_score(float(text))
    except ValueError:
        return from_word(text)


def _read_secret(result: Result, facts: _Facts, run: Run, found: _Found) -> None:
    # Of the message only its severity: several tools quote the secret in it.
    path, line = place_of(result, run)
    fingerprint = secret_fingerprint(facts.id, path, _hint(result, line))
    rule = facts.rule
    found.secrets.setdefault(
        fingerprint,
        ReportedSecret(
            rule=facts.id,
            path=path,
            fingerprint=fingerprint,
            line=line,
            severity=_severity(result, facts, Labels.of(message_text(result.message, rule))),
            title=(message_text(rule.short) if rule else "") or facts.id,
        ),
    )


def _hint(result: Result, line: int) -> str:
    own = result.fingerprints
    if isinstance(own, dict):
        for name in sorted(own):
            if isinstance(own[name], str) and own[name]:
                return str(own[name])
    return str(line)


def _read_check(result: Result, facts: _Facts, run: Run, found: _Found) -> None:
    rule = facts.rule
    text = message_text(result.message, rule)
    target, line = place_of(result, run)
    found.checks.append(
        ReportedCheck(
            kind=check_kind(facts.id),
            check_id=facts.id,
            target=target,
            severity=_severity(result, facts, Labels.of(text)),
            title=(message_text(rule.short) if rule else "") or text or facts.id,
            description=text,
            remediation=message_text(rule.help) if rule else "",
            references=(rule.help_uri,) if rule and rule.help_uri else (),
            line=line,
        )
    )


_READ = {
    ResultKind.VULNERABILITY: _read_vulnerability,
    ResultKind.SECRET: _read_secret,
    ResultKind.CHECK: _read_check,
}
