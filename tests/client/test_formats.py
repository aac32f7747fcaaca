"""Each format of a verdict: what it says, and that nothing in a report becomes markup in it."""

from __future__ import annotations

import json
import unicodedata
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.client import verdict as verdicts
from secguard.client.formats import FORMATS, sarif

BASE = {
    "image": "sha256:" + "ab" * 32,
    "reference": "registry.example.org/team/app:1.0",
    "stage": "build",
    "verdict": "block",
    "valid_until": "2026-11-25T00:00:00Z",
    "data_updated_at": "2026-11-23T00:00:00Z",
    "policy": {"name": "default", "version": 3},
    "counts": {"open": {"critical": 1, "high": 2}},
    "reasons": [
        {"rule": "old-scan", "effect": "warn", "message": "The scan is 8 days old", "findings": [], "remedy": {}},
        {
            "rule": "known-exploited",
            "effect": "block",
            "message": "Known to be exploited",
            "findings": [
                {
                    "id": 7,
                    "name": "CVE-2022-3602",
                    "severity": "critical",
                    "purl": "pkg:deb/openssl@3.0.1",
                    "fixed_versions": ["3.0.7"],
                }
            ],
            "remedy": {
                "upgrades": [{"package": "openssl", "from": "3.0.1", "to": "3.0.7", "fixes": ["CVE-2022-3602"]}],
                "exception": {"risks": [41, 42]},
                "text": "Rebuild on the newest base image.",
            },
        },
    ],
}
HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\x1b\x00\x07\x9b\u202e\u2066<>|`[]()*_\\&;'\"\n\r\t"),
    ),
    max_size=30,
)


def read(document=BASE, server="https://sec.example.org"):
    return verdicts.read(document, server)


def hostile(text):
    finding = {"id": 1, "name": text, "severity": text, "purl": text, "fixed_versions": [text], "path": text}
    remedy = {"upgrades": [{"package": text, "from": text, "to": text, "fixes": [text]}], "text": text}
    reason = {"rule": text, "effect": "block", "message": text, "findings": [finding], "remedy": remedy}
    return read({"image": text, "stage": text, "verdict": "block", "reasons": [reason], "policy": {"name": text}})


def test_the_table_says_what_blocks_first_and_how_to_get_past_it():
    assert FORMATS["table"](read()) == (
        "BLOCKED: registry.example.org/team/app:1.0 at stage build\n"
        "Policy default version 3; 1 critical, 2 high\n"
        "\n"
        "BLOCKS  known-exploited: Known to be exploited\n"
        "  critical  CVE-2022-3602  pkg:deb/openssl@3.0.1  fixed in 3.0.7\n"
        "  How to get past it:\n"
        "    - upgrade openssl from 3.0.1 to 3.0.7 (fixes CVE-2022-3602)\n"
        "    - Rebuild on the newest base image.\n"
        "    - ask for an exception: https://sec.example.org/decisions/new/?risk=41&risk=42&image=sha256%3A"
        + "ab"
        * 32
        + "\n"
        "\n"
        "WARNS  old-scan: The scan is 8 days old\n"
        "\n"
        "Valid until 2026-11-25T00:00:00Z; vulnerability data of 2026-11-23T00:00:00Z\n"
    )


def test_many_findings_are_cut_with_their_number():
    reason = {**BASE["reasons"][1], "findings": [{"id": n, "title": f"F{n}"} for n in range(30)]}
    text = FORMATS["table"](read({**BASE, "reasons": [reason]}))
    assert "F19" in text
    assert "F20" not in text
    assert "and 10 more" in text


def test_json_is_the_servers_own_document():
    assert json.loads(FORMATS["json"](read())) == BASE


def test_markdown_shows_a_table_and_a_link():
    text = FORMATS["markdown"](read())
    assert "## ⛔ Blocked: registry.example.org/team/app:1.0" in text
    assert "[ask for an exception](<https://sec.example.org/decisions/new/?risk=41&risk=42&image=sha256%3A" in text
    assert text.index("Blocks:") < text.index("Warns:")


def test_junit_counts_what_it_holds():
    suite = ET.fromstring(FORMATS["junit"](read())).find("testsuite")
    cases = suite.findall("testcase")
    assert (suite.get("tests"), suite.get("failures")) == (str(len(cases)), str(len(suite.findall(".//failure"))))
    (failure,) = suite.findall(".//failure")
    assert failure.get("message") == "Known to be exploited"
    assert "upgrade openssl from 3.0.1 to 3.0.7" in failure.text


def check_sarif(document):
    """The requirements of the specification on what is written here, by section."""
    assert (document["version"], document["$schema"]) == ("2.1.0", sarif.SCHEMA)  # 3.13.2, 3.13.3
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]  # 3.19.23
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]  # 3.27.6
        assert result["message"]["text"]  # 3.27.11
        assert result["level"] in {"none", "note", "warning", "error"}  # 3.27.10
        (location,) = result["locations"]
        uri = location["physicalLocation"]["artifactLocation"]["uri"]
        assert uri.isascii()
        assert " " not in uri
    return run


def test_sarif_has_a_result_for_each_finding_and_each_rule_without_one():
    run = check_sarif(json.loads(FORMATS["sarif"](read())))
    assert [(result["ruleId"], result["level"]) for result in run["results"]] == [
        ("old-scan", "warning"),
        ("known-exploited", "error"),
    ]
    assert run["results"][1]["properties"] == {"severity": "critical"}
    properties = [rule["properties"] for rule in run["tool"]["driver"]["rules"]]
    assert properties == [{"tags": ["security"]}, {"tags": ["security"], "security-severity": "9.5"}]
    prints = {result["partialFingerprints"]["secguard/v1"] for result in run["results"]}
    assert len(prints) == 2


def test_a_registrys_port_makes_no_scheme_of_a_sarif_address():
    document = json.loads(FORMATS["sarif"](read({**BASE, "reference": "localhost:5000/team/app:1.0"})))
    uri = check_sarif(document)["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "localhost%3A5000/team/app:1.0"
    assert not urlsplit(uri).scheme


def test_a_comment_is_never_longer_than_one_may_be():
    finding = {"id": 1, "name": "CVE-2026-1" * 9, "severity": "high", "purl": "pkg:deb/debian/openssl@3" * 9}
    upgrade = {"package": "openssl", "from": "1", "to": "2", "fixes": ["CVE-2026-1"]}
    reason = {**BASE["reasons"][1], "findings": [finding] * 80, "remedy": {"upgrades": [upgrade] * 40}}
    text = FORMATS["markdown"](read({**BASE, "reasons": [{**reason, "rule": f"r{n}"} for n in range(9)]}))
    assert len(text) < 65_536
    assert text.endswith("**Shortened**; all of it: `--format json`\n")
    assert "and 10 more upgrades" in text
    assert FORMATS["markdown"](read()).count("Shortened") == 0


@given(HOSTILE)
def test_no_control_character_reaches_a_terminal(text):
    shown = FORMATS["table"](hostile(text)).replace("\n", "")
    assert not [char for char in shown if unicodedata.category(char) == "Cc" or char in "\u202e\u2066\u2028"]


@given(HOSTILE.filter(bool))
def test_hostile_text_makes_no_line_of_its_own(text):
    assert FORMATS["table"](hostile(text)).count("\n") == FORMATS["table"](hostile("x")).count("\n")
    assert FORMATS["markdown"](hostile(text)).count("\n") == FORMATS["markdown"](hostile("x")).count("\n")


@given(HOSTILE)
def test_any_text_makes_valid_xml_and_json(text):
    ET.fromstring(FORMATS["junit"](hostile(text)))
    json.loads(FORMATS["json"](hostile(text)))
    document = json.loads(FORMATS["sarif"](hostile(text)))
    if text:
        check_sarif(document)


@pytest.mark.parametrize(
    "text", ["<script>", "[x](http://evil.example)", "@everyone", "![x](y)", "a | b", "`x`", "#12", "www.evil.example"]
)
def test_markup_in_a_report_is_text_in_a_comment(text):
    shown = FORMATS["markdown"](hostile(text))
    assert text not in shown


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_verdict_without_anything_is_shown_all_the_same(name):
    assert FORMATS[name](read({}))
