"""Reports in and scans out over HTTP: what a pipeline sees."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from django.conf import settings

from secguard.findings.models import Finding, Observation, Risk
from secguard.images.models import Image
from secguard.scans.models import Report, Scan

pytestmark = pytest.mark.django_db

DIGEST = "sha256:" + "a1" * 32
OTHER = "sha256:" + "b2" * 32
IMAGE = "registry.example/shop/cart:1.0"


def report(*findings: dict[str, Any], digest: str = DIGEST, reference: str = IMAGE, **more: Any) -> dict[str, Any]:
    return {
        "schema": "secguard-report/v1",
        "scanner": {"name": "acme"},
        "image": {"reference": reference, "digest": digest},
        "complete": True,
        "covers": ["vulnerability"],
        "findings": list(findings),
        **more,
    }


def flaw(number: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "kind": "vulnerability",
        "id": f"CVE-2026-{number:04}",
        "package": {"purl": f"pkg:deb/debian/openssl@1.1.{number}"},
        "severity": "critical",
        "fixed_versions": ["9.9.9"],
        **more,
    }


def post(person: Any, body: Any, query: str = "", **headers: Any) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers.setdefault("content_type", "application/json")
    return person.api.post(f"/api/v1/reports/{query}", data=raw, **headers)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch, run_jobs: Any) -> None:
    """Waiting does the due jobs in this process."""
    from secguard.jobs import services

    monkeypatch.setattr(services, "wait_for", lambda job_id, seconds: run_jobs())


def test_it_answers_with_the_scan_and_then_with_the_verdict(developer: Any, application: Any, run_jobs: Any) -> None:
    answer = post(developer, report(flaw()))
    assert answer.status_code == 202
    assert answer.json()["status"] == "queued"
    assert answer["Location"] == answer.json()["url"]
    run_jobs()
    scan = developer.api.get(answer["Location"]).json()
    assert (scan["status"], scan["digest"], scan["scanner"]) == ("finished", DIGEST, "acme")
    assert scan["counts"]["found"] == 1
    assert scan["verdict"]["verdict"] == "block"
    [reason] = [r for r in scan["verdict"]["reasons"] if r["effect"] == "block"]
    assert reason["findings"][0]["name"] == "CVE-2026-0001"
    assert reason["remedy"]["upgrades"][0]["to"] == "9.9.9"
    assert reason["remedy"]["exception"]["url"].startswith(settings.PUBLIC_URL)


def test_waiting_gives_the_finished_scan(developer: Any, application: Any, waits: None) -> None:
    answer = post(developer, report(flaw()), "?wait=5")
    assert answer.status_code == 200
    assert answer.json()["verdict"]["stage"] == "build"


def test_the_same_bytes_are_one_scan_before_and_after(developer: Any, application: Any, run_jobs: Any) -> None:
    first = post(developer, report(flaw())).json()
    assert post(developer, report(flaw())).json()["id"] == first["id"]
    run_jobs()
    assert post(developer, report(flaw())).json()["id"] == first["id"]
    assert (Scan.objects.count(), Report.objects.count(), Observation.objects.count()) == (1, 1, 1)


def test_the_first_report_counts_again_after_another_took_its_place(
    developer: Any, application: Any, run_jobs: Any
) -> None:
    for body in (report(flaw(1)), report(flaw(2)), report(flaw(1))):
        post(developer, body)
        run_jobs()
    assert Scan.objects.count() == 3
    assert [f.risk.name for f in Finding.objects.open()] == ["CVE-2026-0001"]


def test_an_idempotency_key_gives_the_same_scan_and_refuses_another_body(developer: Any, application: Any) -> None:
    first = post(developer, report(flaw()), HTTP_IDEMPOTENCY_KEY="build-7")
    again = post(developer, report(flaw()), HTTP_IDEMPOTENCY_KEY="build-7")
    assert again.json()["id"] == first.json()["id"]
    other = post(developer, report(flaw(2)), HTTP_IDEMPOTENCY_KEY="build-7")
    assert other.status_code == 409
    assert other.json()["code"] == "idempotency-key-reused"


def test_a_key_of_somebody_else_is_not_met(
    developer: Any, stranger: Any, application: Any, other_application: Any
) -> None:
    first = post(developer, report(flaw()), HTTP_IDEMPOTENCY_KEY="build-7").json()
    theirs = post(
        stranger,
        report(flaw(), digest=OTHER, reference="registry.example/depot/app:1"),
        HTTP_IDEMPOTENCY_KEY="build-7",
    )
    assert theirs.status_code == 202
    assert theirs.json()["id"] != first["id"]


def test_gzip_is_taken(developer: Any, application: Any) -> None:
    body = gzip.compress(json.dumps(report(flaw())).encode())
    assert post(developer, body, HTTP_CONTENT_ENCODING="gzip").status_code == 202


def test_gzip_of_several_members_is_taken_whole(developer: Any, application: Any) -> None:
    raw = json.dumps(report(flaw())).encode()
    first = post(developer, raw)
    again = post(
        developer, gzip.compress(raw[:90], mtime=0) + gzip.compress(raw[90:], mtime=0), HTTP_CONTENT_ENCODING="x-gzip"
    )
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])


@pytest.mark.parametrize(
    ("body", "encoding", "code", "where", "words"),
    [
        (gzip.compress(b"{}" * 50, mtime=0)[:-9], "gzip", "not-gzip", "body", "was cut off"),
        (gzip.compress(b"{}", mtime=0) + b"more", "gzip", "not-gzip", "body", "not gzip"),
        (gzip.compress(b"", mtime=0) * 10_001, "gzip", "not-gzip", "body", "more than 10,000 members"),
        (b"{}", "gzip", "not-gzip", "body", "not gzip"),
        (b"", "gzip", "empty", "byte 0", "empty"),
        (b"{}", "br", "content-encoding", "Content-Encoding", "'br'; gzip or nothing"),
    ],
)
def test_a_body_that_cannot_be_unpacked_is_refused(developer: Any, body, encoding, code, where, words) -> None:
    answer = post(developer, body, HTTP_CONTENT_ENCODING=encoding)
    assert answer.status_code == 422
    assert (answer.json()["code"], answer.json()["where"]) == (code, where)
    assert words in answer.json()["detail"]
    assert not Report.objects.exists()


def test_markup_in_every_field_reaches_no_page_unescaped(developer: Any, application: Any, run_jobs: Any) -> None:
    mark = "<script>alert(1)</script>"
    body = report(
        flaw(title=mark, description=mark, path=mark, references=[mark]),
        {"kind": "misconfiguration", "id": mark, "target": mark, "title": mark, "remediation": mark, "severity": "low"},
        covers=["vulnerability", "misconfiguration"],
    )
    assert post(developer, body).status_code == 202
    run_jobs()
    pages = [f"/images/{DIGEST}/", "/images/", "/risks/", "/risks/open/", "/"]
    pages += [f"/risks/{pk}/" for pk in Risk.objects.values_list("pk", flat=True)]
    for page in pages:
        answer = developer.client.get(page)
        assert answer.status_code == 200, page
        assert mark not in answer.content.decode(), page
    assert b"&lt;script&gt;" in developer.client.get(pages[-1]).content


BAD = {
    "empty": (b"", "empty"),
    "blank": (b" \n ", "empty"),
    "text": (b"all fine", "not-json"),
    "xml": (b"<?xml version='1.0'?><bom/>", "not-json"),
    "truncated": (json.dumps(report(flaw())).encode()[:-40], "not-json"),
    "deep": (b'{"Results":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too-deep"),
    "utf-16": (json.dumps(report(flaw())).encode("utf-16"), "wrong-encoding"),
    "latin-1": ('{"name":"é"}'.encode("latin-1"), "wrong-encoding"),
    "unknown": (b'{"hello": "world"}', "unknown-format"),
    "empty list": (b"[]", "empty-list"),
    "number": (b"7", "empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_report_is_refused_in_words_and_leaves_nothing(developer: Any, application: Any, case: str) -> None:
    body, code = BAD[case]
    answer = post(developer, body, f"?image={IMAGE}")
    problem = answer.json()
    assert answer.status_code == 422, problem
    assert answer["Content-Type"] == "application/problem+json"
    assert problem["code"] == code
    assert problem["where"]
    assert len(problem["detail"]) > 20
    assert not Scan.objects.exists()
    assert not Report.objects.exists()
    assert not Image.objects.exists()


def test_a_wrong_type_inside_names_its_place(developer: Any, application: Any) -> None:
    body = report(flaw())
    body["findings"].append({"kind": "vulnerability", "id": 7, "package": [1]})
    answer = post(developer, body)
    assert answer.status_code == 422
    assert "findings[1]" in answer.json()["where"]


def test_about_no_image(developer: Any, application: Any) -> None:
    body = report(flaw())
    del body["image"]
    assert post(developer, body).json()["code"] == "no-image"
    assert post(developer, body, f"?image={IMAGE}").status_code == 202


def test_about_another_image_than_the_one_named(developer: Any, application: Any) -> None:
    by_name = post(developer, report(flaw()), "?image=registry.example/shop/other:1.0")
    assert (by_name.status_code, by_name.json()["code"]) == (422, "other-image")
    by_digest = post(developer, report(flaw()), f"?image=registry.example/shop/cart@{OTHER}")
    assert (by_digest.status_code, by_digest.json()["code"]) == (422, "other-image")
    renamed = post(developer, report(flaw()), "?image=registry.example/shop/other:1.0&renamed=true")
    assert renamed.status_code == 202


@pytest.mark.parametrize(
    "query", ["?image=Not%20An%20Image", "?image=a@sha256:12", "?wait=soon", "?wait=-1", "?wait=9999"]
)
def test_odd_parameters_are_refused(developer: Any, application: Any, query: str) -> None:
    assert post(developer, report(flaw()), query).status_code in (400, 422)


def test_too_large_is_refused_before_it_is_read(
    developer: Any, application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "MAX_REPORT_BYTES", 1000)
    plain = post(developer, report(*[flaw(n) for n in range(50)]))
    assert (plain.status_code, plain.json()["status"]) == (413, 413)
    bomb = post(developer, gzip.compress(b" " * 10_000_000, mtime=0), HTTP_CONTENT_ENCODING="gzip")
    assert bomb.status_code == 413
    assert not Report.objects.exists()


def test_a_million_entries_are_refused(developer: Any, application: Any) -> None:
    body = b'{"schema":"secguard-report/v1","scanner":{"name":"acme"},"findings":[' + b"{}," * 999_999 + b"{}]}"
    answer = post(developer, body, f"?image={IMAGE}")
    assert answer.status_code in (413, 422)
    assert not Report.objects.exists()


def test_a_form_upload_is_told_what_to_do_instead(developer: Any, application: Any) -> None:
    answer = developer.api.post("/api/v1/reports/", data={"file": "x"}, format="multipart")
    assert answer.status_code in (415, 422)
    assert "--data-binary" in answer.json()["detail"]


def test_a_clean_list_needs_the_tool_named(developer: Any, application: Any, waits: None) -> None:
    answer = post(developer, b"[]", f"?image={IMAGE}&scanner=hadolint&wait=5")
    assert answer.status_code == 200
    assert answer.json()["counts"]["found"] == 0


def test_nul_is_replaced(developer: Any, application: Any, run_jobs: Any) -> None:
    body = json.dumps(report(flaw(title="bad\x00title"))).encode()
    assert b"\\u0000" in body
    post(developer, body)
    run_jobs()
    assert Risk.objects.get().title == "bad\ufffdtitle"


def test_a_stranger_sees_no_scan_and_may_not_post_about_it(
    developer: Any, stranger: Any, application: Any, other_application: Any, run_jobs: Any
) -> None:
    scan = post(developer, report(flaw())).json()
    run_jobs()
    assert stranger.api.get(f"/api/v1/scans/{scan['id']}/").status_code == 404
    assert stranger.api.get("/api/v1/scans/").json()["results"] == []
    refused = post(stranger, report(flaw(2)))
    assert refused.status_code == 404
    assert Scan.objects.count() == 1


def test_another_team_cannot_make_findings_go_away(
    developer: Any, stranger: Any, application: Any, other_application: Any, run_jobs: Any
) -> None:
    """The digest lies in both teams' repositories; who speaks for one of them closes nothing of the other."""
    post(developer, report(flaw()))
    post(stranger, report(reference="registry.example/depot/mine:1"))
    run_jobs()
    assert Finding.objects.open().count() == 1


@pytest.mark.parametrize("who", ["viewer", "business_approver"])
def test_those_who_only_read_may_not_post(request: pytest.FixtureRequest, who: str, application: Any) -> None:
    assert post(request.getfixturevalue(who), report(flaw())).status_code == 403


def test_without_a_token(client: Any) -> None:
    answer = client.post("/api/v1/reports/", data=b"{}", content_type="application/json")
    assert answer.status_code == 401
    assert "Bearer" in answer["WWW-Authenticate"]


def test_a_new_repository_of_a_team_with_two_applications_needs_a_word(
    developer: Any, application: Any, team: Any, make_application: Any
) -> None:
    second = make_application("Basket", team)
    unsaid = post(developer, report(flaw()))
    assert (unsaid.status_code, unsaid.json()["code"]) == (422, "no-application")
    assert post(developer, report(flaw()), f"?application={second.slug}").status_code == 202


def test_an_application_of_another_team_is_unknown(developer: Any, other_application: Any, application: Any) -> None:
    assert post(developer, report(flaw()), f"?application={other_application.slug}").status_code == 404
