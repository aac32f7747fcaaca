"""What scanners' own files say to ignore: ``.trivyignore``, ``.trivyignore.yaml``, ``.grype.yaml``. Pure.

They claim nothing of the product, only that nobody wants to see it: each rule is a request to accept. A condition
that narrows a rule and cannot be checked here (a path, a namespace) makes it propose nothing, never more.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import Final

from yaml.nodes import SequenceNode

from secguard.decisions.vexin.document import MAX_TEXT, READ, Document, Product, Statement, Status, settled, unfit
from secguard.errors import Invalid
from secguard.yamlsource import Section, Source, parse, problem_list

MAX_BYTES: Final = 1024 * 1024
MAX_RULES: Final = 2_000
MAX_PURLS: Final = 200
_ID: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{1,19}[-_.:][A-Za-z0-9._:+-]{1,80}|[A-Za-z]{2,5}\d{3,4}")
"""Of a vulnerability, or of a check: ``AVD-DS-0002``, and ``DS002`` as it was called before."""
_VULNERABILITY: Final = re.compile(
    r"(CVE|GHSA|DSA|DLA|RHSA|RHBA|ALAS\w*|ELSA|USN|TEMP|GO|PYSEC|RUSTSEC|OSV|SNYK|VULN|NSWG|SUSE|openSUSE|OPENSUSE)-",
    re.IGNORECASE,
)
_EXPIRY: Final = re.compile(r"exp:(\d{4}-\d\d-\d\d)")


def is_yaml(text: str) -> bool:
    """Whether it is one of the two YAML forms: its keys stand at the start of lines."""
    return bool(re.search(r"^(vulnerabilities|misconfigurations|secrets|licenses|ignore)[ ]*:", text, re.MULTILINE))


def read_yaml(text: str, what: str) -> Document:
    """``.trivyignore.yaml`` or ``.grype.yaml``. Raises ``Invalid`` with line and column of each fault."""
    source = Source(text)
    top = parse(source, MAX_BYTES)
    if top is None:
        raise _faulty(source, what)
    section = Section(source, top, "the document")
    said: list[Statement] = []
    left: list[str] = []
    is_grype = section.node_of("ignore") is not None
    if is_grype:
        rules = [_grype(rule) for rule in section.take_sections("ignore", "rule", MAX_RULES)]
        said, skipped = [r for r in rules if r], rules.count(None)
        left += [f"rules that name no vulnerability, or are about VEX statements: {skipped}"] if skipped else []
    else:
        if section.node_of("vulnerabilities") is not None:
            said = [_trivy(r) for r in section.take_sections("vulnerabilities", "vulnerability", MAX_RULES)]
        for other in ("misconfigurations", "secrets", "licenses"):
            node = section.node_of(other)
            if isinstance(node, SequenceNode) and node.value:
                left.append(f"{other}: {len(node.value)}")
    if source.problems:
        raise _faulty(source, what)
    return _document("grype-ignore" if is_grype else "trivy-ignore", said, left, what)


def read_lines(text: str, what: str) -> Document:
    """``.trivyignore``: an id a line, with ``exp:YYYY-MM-DD``, and ``#`` before a comment, which is the reason.

    Raises ``Invalid`` with the line that is none.
    """
    said: list[Statement] = []
    others, comment = 0, ""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise unfit(what, f"it has more than {MAX_BYTES:,} bytes", "document-too-large")
    for number, line in enumerate(text.splitlines(), 1):
        rule, hash_, note = line.partition("#")
        words = rule.split()
        if not words:
            comment = note.strip() if hash_ else ""
            continue
        if not _ID.fullmatch(words[0]):
            found = f"line {number} starts with {words[0][:40]!r}, which is no id of a vulnerability or check"
            raise unfit(what, f"it is none of what is read: {found}. {READ}", "vex-unknown-format")
        until = _until(words[1:], number, what)
        if _VULNERABILITY.match(words[0]):
            reason = (note.strip() or comment)[:MAX_TEXT]
            said.append(Statement(vulnerability=words[0], status=Status.IGNORED, impact=reason, until=until))
        else:
            others += 1
        if len(said) > MAX_RULES:
            raise unfit(what, f"it has more than {MAX_RULES:,} rules", "document-too-large")
    return _document("trivy-ignore", said, [f"ids that name no vulnerability: {others}"] if others else [], what)


def _document(format_: str, said: list[Statement], left: list[str], what: str) -> Document:
    if not said:
        raise unfit(what, "it ignores no vulnerability", "vex-empty")
    return Document(format=format_, statements=settled(said, what), left_out=tuple(left))


def _until(words: list[str], line: int, what: str) -> datetime | None:
    until = None
    for word in words:
        found = _EXPIRY.fullmatch(word)
        if not found:
            raise unfit(
                what, f"line {line} has {word[:40]!r} after the id; expected exp:YYYY-MM-DD", "vex-unknown-format"
            )
        until = _end_of(found[1])
        if until is None:
            raise unfit(what, f"line {line} has the date {found[1]!r}, which is none", "bad-document")
    return until


def _end_of(day: str) -> datetime | None:
    """The rule counts until its day begins, as in the scanner (midnight, UTC)."""
    try:
        return datetime.combine(date.fromisoformat(day[:10]), time(), tzinfo=UTC)
    except ValueError:
        return None


def _trivy(rule: Section) -> Statement:
    name = rule.take_text("id", required=True, max_length=200)
    until = rule.take_text("expired_at", max_length=40)
    end = _end_of(until) if until else None
    if until and end is None:
        rule.fault("expired_at", f"{until[:40]!r} is no date; expected YYYY-MM-DD")
    purls, paths = rule.take_texts("purls", MAX_PURLS), rule.take_texts("paths", MAX_PURLS)
    reason = rule.take_text("statement", max_length=MAX_TEXT)
    rule.close()
    return Statement(
        vulnerability=name or "?",
        product=Product(purls=purls) if purls else None,
        status=Status.IGNORED,
        impact=reason,
        until=end,
        narrowed_by=f"the paths {', '.join(paths)[:300]}" if paths else "",
    )


def _grype(rule: Section) -> Statement | None:
    """``None`` for a rule without a vulnerability, and for one that says how VEX statements are used."""
    name = rule.take_text("vulnerability", max_length=200)
    reason = rule.take_text("reason", max_length=MAX_TEXT)
    rule.take_bool("include-aliases")
    conditions = [f"{k} {v}" for k in ("namespace", "fix-state", "match-type") if (v := rule.take_text(k))]
    about_vex = rule.take_text("vex-status") + rule.take_text("vex-justification")
    package = rule.take_section("package", "the package")
    product = None
    if package is not None:
        of, version = package.take_text("name", max_length=1_000), package.take_text("version", max_length=300)
        others = ("type", "language", "location", "upstream-name")
        conditions += [f"{k} {v}" for k in others if (v := package.take_text(k, max_length=1_000))]
        package.close()
        product = Product(name=of, versions=(version,) if version else ()) if of else None
        if of == "" and version:
            conditions.append(f"version {version}")
    rule.close()
    if not name or about_vex:
        return None
    return Statement(
        vulnerability=name,
        product=product,
        status=Status.IGNORED,
        impact=reason,
        narrowed_by=", ".join(conditions)[:300],
    )


def _faulty(source: Source, what: str) -> Invalid:
    first = source.problems[0]
    return Invalid(
        f"{what} cannot be used: {first}.",
        code="bad-document",
        where=f"line {first.line}",
        errors=problem_list(source.problems[:50]),
    )
