"""The verdict for a person at a terminal or in a pipeline's log: what blocks, and how to get past it."""

from __future__ import annotations

from collections.abc import Iterator

from secguard.client.formats.cleaning import line
from secguard.client.verdict import Finding, Reason, Verdict

HEADLINES = {"pass": "PASS", "warn": "PASS, with warnings", "block": "BLOCKED"}
MOST_FINDINGS = 20
SEVERITIES = ("critical", "high", "medium", "low", "negligible", "unknown")


def render(verdict: Verdict) -> str:
    return "\n".join(_lines(verdict)) + "\n"


def _lines(verdict: Verdict) -> Iterator[str]:
    headline = HEADLINES.get(verdict.verdict, f"NO ANSWER ({line(verdict.verdict)})")
    yield f"{headline}: {line(verdict.image)} at stage {line(verdict.stage)}"
    yield f"Policy {line(verdict.policy)}; {_counts(verdict)}"
    for reason in sorted(verdict.reasons, key=lambda reason: reason.effect != "block"):
        yield ""
        yield from reason_lines(reason)
    foot = [f"Valid until {line(verdict.valid_until)}"] if verdict.valid_until else []
    if verdict.data_updated_at:
        foot.append(f"vulnerability data of {line(verdict.data_updated_at)}")
    if foot:
        yield ""
        yield "; ".join(foot)


def _counts(verdict: Verdict) -> str:
    by_severity = verdict.counts.get("open") or {}
    shown = [f"{by_severity[name]} {name}" for name in SEVERITIES if by_severity.get(name)]
    text = ", ".join(shown) if shown else "no open findings"
    return f"{text}; {verdict.decisions} decision(s) apply" if verdict.decisions else text


def reason_lines(reason: Reason) -> Iterator[str]:
    """One reason: the rule, its findings, and how to get past it."""
    mark = "BLOCKS" if reason.effect == "block" else "WARNS"
    yield f"{mark}  {line(reason.rule)}: {line(reason.message)}"
    yield from _findings(reason.findings)
    ways = [f"- {line(str(upgrade))}" for upgrade in reason.upgrades]
    if reason.advice:
        ways.append(f"- {line(reason.advice)}")
    if reason.exception_url:
        ways.append(f"- ask for an exception: {line(reason.exception_url, 2000)}")
    if ways:
        yield "  How to get past it:"
        yield from (f"    {way}" for way in ways)


def _findings(findings: tuple[Finding, ...]) -> Iterator[str]:
    rows = [
        (line(f.severity, 12), line(f.title, 60), line(f.component or f.location, 100), line(f.fix, 60))
        for f in findings[:MOST_FINDINGS]
    ]
    if not rows:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for severity, title, place, fix in rows:
        text = f"  {severity:<{widths[0]}}  {title:<{widths[1]}}  {place:<{widths[2]}}"
        yield (f"{text}  fixed in {fix}" if fix else text).rstrip()
    if len(findings) > MOST_FINDINGS:
        yield f"  and {len(findings) - MOST_FINDINGS} more (all of them: --format json)"
