from __future__ import annotations

import httpx
import pytest

from secguard.client import gate as gates
from secguard.client.rest import CouldNotTell, NoSuchThing
from secguard.client.verdict import Exit

DIGEST = "sha256:" + "ab" * 32
IMAGE = "registry.example.org/team/app:1.0"
PATH = f"/api/v1/images/{DIGEST}/verdict/"
FINDINGS = f"/api/v1/images/{DIGEST}/findings/"


def quiet(_text, _done, _total):
    pass


@pytest.fixture
def known(script):
    """An image that the server knows, and what it says about it."""
    from_conftest = {
        "image": IMAGE,
        "stage": "build",
        "verdict": "block",
        "reasons": [{"rule": "r", "effect": "block", "message": "m", "findings": [7], "remedy": {}}],
        "policy": {"name": "default", "version": 1},
    }
    script.on("GET", "/api/v1/images/", {"results": [{"digest": DIGEST}], "next": None})
    script.on("GET", PATH, from_conftest)
    row = {"id": 7, "name": "CVE-2022-3602", "severity": "critical", "purl": "pkg:deb/openssl@3"}
    script.on("GET", FINDINGS, {"results": [row], "next": None})
    return from_conftest


@pytest.mark.parametrize("said", ["pass", "warn", "block", "maybe", ""])
def test_the_exit_code_is_the_verdict_and_nothing_else_passes(server, known, deadline, said):
    known["verdict"] = said
    expected = {"pass": Exit.PASSED, "warn": Exit.PASSED, "block": Exit.BLOCKED}.get(said, Exit.COULD_NOT_TELL)
    assert gates.gate(server, IMAGE, deadline(), quiet).exit == expected


def test_findings_named_by_id_are_shown_in_words(server, known, deadline):
    (reason,) = gates.gate(server, IMAGE, deadline(), quiet).reasons
    (finding,) = reason.findings
    assert (finding.title, finding.severity, finding.component) == ("CVE-2022-3602", "critical", "pkg:deb/openssl@3")


def test_without_the_findings_the_verdict_is_the_same(server, script, known, deadline):
    script.on("GET", FINDINGS, httpx.Response(403, json={"detail": "no"}))
    verdict = gates.gate(server, IMAGE, deadline(), quiet)
    assert verdict.exit == Exit.BLOCKED
    assert verdict.reasons[0].findings[0].title == "finding 7"


def test_an_image_is_called_as_it_was_asked_for(server, script, known, deadline):
    known["reference"] = "another.example/name:2"
    assert gates.gate(server, IMAGE, deadline(), quiet).image == IMAGE
    assert gates.gate(server, DIGEST, deadline(), quiet).image == "another.example/name:2"


@pytest.mark.parametrize("image", [DIGEST, f"registry.example.org/team/app@{DIGEST}"])
def test_a_digest_is_the_identity_and_is_not_looked_up(server, script, known, deadline, image):
    gates.gate(server, image, deadline(), quiet, stage="promote")
    assert script.requests[0].url.path == PATH
    assert script.requests[0].url.params["stage"] == "promote"


def test_an_unknown_image_says_how_to_scan_it(server, script, deadline):
    script.on("GET", "/api/v1/images/", {"results": [], "next": None})
    with pytest.raises(NoSuchThing, match=r"knows no image 'x:1'.*\nScan|knows no image 'x:1'.*--report FILE"):
        gates.gate(server, "x:1", deadline(), quiet)


def test_a_report_is_posted_as_it_is_and_waited_for(server, script, known, deadline):
    seen = []
    running = {"id": 5, "status": "running", "progress": {"text": "Reading", "done": 3, "total": 9}, "verdict": None}
    script.on("POST", "/api/v1/reports/", httpx.Response(202, json={"id": 5, "status": "queued", "digest": None}))
    finished = {"id": 5, "status": "finished", "digest": DIGEST, "verdict": {"verdict": "block"}}
    script.on("GET", "/api/v1/scans/5/", running, finished)
    report = gates.Report(b'{"a": 1}', "r.json")
    verdict = gates.gate(server, IMAGE, deadline(), lambda *shown: seen.append(shown), report=report, scanner="trivy")
    posted = script.requests[0]
    assert posted.content == b'{"a": 1}'
    assert dict(posted.url.params) == {"image": IMAGE, "scanner": "trivy", "wait": "20"}
    assert posted.headers["Idempotency-Key"] == report.idempotency_key(IMAGE)
    assert ("Reading", 3, 9) in seen
    assert verdict.exit == Exit.BLOCKED


def test_the_same_report_about_another_image_is_another_request():
    report = gates.Report(b"x", "r")
    assert report.idempotency_key("a") == gates.Report(b"x", "other name").idempotency_key("a")
    assert report.idempotency_key("a") != report.idempotency_key("b")


@pytest.mark.parametrize("problem", [{"detail": "Line 3 ends early.", "code": "x"}, "Line 3 ends early."])
def test_a_failed_scan_is_no_verdict(server, script, deadline, problem):
    script.on("POST", "/api/v1/reports/", {"id": 5, "status": "failed", "problem": problem})
    with pytest.raises(CouldNotTell, match=r"The scan 5 failed: Line 3 ends early\."):
        gates.gate(server, IMAGE, deadline(), quiet, report=gates.Report(b"x", "r"))


def test_a_scan_that_takes_too_long_is_no_verdict(server, script, deadline):
    script.on("POST", "/api/v1/reports/", {"id": 5, "status": "queued"})
    script.on("GET", "/api/v1/scans/5/", {"id": 5, "status": "running"})
    with pytest.raises(CouldNotTell, match=r"still running after 9 s.*--wait"):
        gates.gate(server, IMAGE, deadline(9), quiet, report=gates.Report(b"x", "r"))


def test_a_report_that_cannot_be_read_is_refused_before_it_is_sent(tmp_path):
    with pytest.raises(CouldNotTell, match="cannot be read: No such file"):
        gates.Report.load(str(tmp_path / "none.json"))
    (tmp_path / "empty.json").write_text(" \n")
    with pytest.raises(CouldNotTell, match="did the scanner fail"):
        gates.Report.load(str(tmp_path / "empty.json"))


@pytest.mark.parametrize("image", ["", " "])
def test_no_name_means_no_image_at_all(server, script, known, deadline, image):
    with pytest.raises(CouldNotTell, match="No image is named"):
        gates.gate(server, image, deadline(), quiet)
    assert script.requests == []
