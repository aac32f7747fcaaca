"""The verdict as JUnit XML: one test case a rule that fired, and one for the verdict itself.

There is no official schema: this is what the Ant task writes, and what GitLab, Jenkins and GitHub's reporters read.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from secguard.client.formats.cleaning import xml
from secguard.client.verdict import Reason, Verdict


def render(verdict: Verdict) -> str:
    failures = str(len(verdict.blocking))
    cases = len(verdict.reasons) + 1
    root = ET.Element("testsuites", name="SecGuard", tests=str(cases), failures=failures)
    suite = ET.SubElement(
        root, "testsuite", name=xml(verdict.image), tests=str(cases), failures=failures, errors="0", skipped="0"
    )
    summary = ET.SubElement(suite, "testcase", classname="secguard", name=xml(f"verdict at stage {verdict.stage}"))
    ET.SubElement(summary, "system-out").text = xml(f"{verdict.verdict}; policy {verdict.policy}")
    for reason in verdict.reasons:
        _case(suite, reason)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _case(suite: ET.Element, reason: Reason) -> None:
    case = ET.SubElement(suite, "testcase", classname="secguard.policy", name=xml(reason.rule))
    lines = [f"{f.severity} {f.title} {f.component or f.location}".rstrip() for f in reason.findings]
    lines += [str(upgrade) for upgrade in reason.upgrades]
    lines += [text for text in (reason.advice, reason.exception_url) if text]
    body = xml("\n".join(lines))
    if reason.effect == "block":
        ET.SubElement(case, "failure", message=xml(reason.message), type="block").text = body
    else:
        ET.SubElement(case, "system-out").text = xml(f"warning: {reason.message}\n") + body
