"""The verdict as a comment on a merge or pull request (GitHub Flavored Markdown, sections 4.10 and 6)."""

from __future__ import annotations

from collections.abc import Iterator

from secguard.client.formats.cleaning import line, markdown
from secguard.client.verdict import Reason, Verdict

HEADLINES = {"pass": "✅ Pass", "warn": "⚠️ Pass, with warnings", "block": "⛔ Blocked"}
MOST_FINDINGS = 50
MOST_WAYS = 30
# A comment on GitHub holds 65,536 characters; there is room left for what a pipeline puts around it.
LONGEST = 60_000


def render(verdict: Verdict) -> str:
    text = "\n".join(_lines(verdict)) + "\n"
    if len(text) <= LONGEST:
        return text
    return text[: text.rindex("\n", 0, LONGEST)] + "\n\n**Shortened**; all of it: `--format json`\n"


def _lines(verdict: Verdict) -> Iterator[str]:
    yield f"## {HEADLINES.get(verdict.verdict, 'No answer')}: {markdown(verdict.image)}"
    yield ""
    yield f"Stage **{markdown(verdict.stage)}**, policy **{markdown(verdict.policy)}**{_data(verdict)}"
    for reason in sorted(verdict.reasons, key=lambda reason: reason.effect != "block"):
        yield from _reason(reason)


def _data(verdict: Verdict) -> str:
    return f", vulnerability data of {markdown(verdict.data_updated_at)}" if verdict.data_updated_at else ""


def _reason(reason: Reason) -> Iterator[str]:
    yield ""
    yield f"### {'Blocks' if reason.effect == 'block' else 'Warns'}: {markdown(reason.rule)}"
    yield ""
    yield markdown(reason.message)
    if reason.findings:
        yield ""
        yield "| severity | finding | where | fixed in |"
        yield "|---|---|---|---|"
        for found in reason.findings[:MOST_FINDINGS]:
            cells = (found.severity, found.title, found.component or found.location, found.fix)
            yield "| " + " | ".join(markdown(cell) for cell in cells) + " |"
        if len(reason.findings) > MOST_FINDINGS:
            yield ""
            yield f"and {len(reason.findings) - MOST_FINDINGS} more"
    yield from _ways(reason)


def _ways(reason: Reason) -> Iterator[str]:
    ways = [markdown(str(upgrade)) for upgrade in reason.upgrades[:MOST_WAYS]]
    if len(reason.upgrades) > MOST_WAYS:
        ways.append(f"and {len(reason.upgrades) - MOST_WAYS} more upgrades")
    if reason.advice:
        ways.append(markdown(reason.advice))
    if reason.exception_url:
        # Built by the client or the server, from ids: an address without the characters that would end the link.
        target = line(reason.exception_url, 2000).replace("<", "%3C").replace(">", "%3E").replace(" ", "%20")
        ways.append(f"[ask for an exception](<{target}>)")
    if ways:
        yield ""
        yield "**How to get past it**"
        yield ""
        yield from (f"- {way}" for way in ways)
