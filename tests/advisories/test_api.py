"""Vulnerability data over REST and on its page."""

from __future__ import annotations

import gzip
import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from secguard.advisories import services
from secguard.advisories.models import Feed, Import

pytestmark = pytest.mark.django_db

ENTRY = {
    "id": "GHSA-a",
    "aliases": ["CVE-2024-0001"],
    "modified": "2024-01-01T00:00:00Z",
    "summary": "Bad",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "Foo.Bar"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}],
        }
    ],
}
RAW = json.dumps(ENTRY).encode()


def post(person, raw, name="feed.jsonl"):
    return person.api.post(f"/api/v1/advisories/import/?name={name}", data=raw, content_type="application/octet-stream")


def test_a_file_is_sent_taken_in_and_found_again(operator, viewer, run_jobs):
    sent = post(operator, gzip.compress(RAW))
    assert (sent.status_code, sent.json()["status"]) == (202, "queued")
    run_jobs()
    done = operator.api.get(f"/api/v1/imports/{sent.json()['id']}/").json()
    assert (done["status"], done["counts"]["added"], done["kinds"]) == ("finished", 1, ["osv"])
    for search in ("?search=GHSA-a", "?search=cve-2024-0001", "?ecosystem=pypi&package=foo_bar", ""):
        rows = viewer.api.get(f"/api/v1/advisories/{search}").json()["results"]
        assert [(r["name"], r["flaws"]) for r in rows] == [("GHSA-a", ["CVE-2024-0001"])]
    for search in ("?search=CVE-2024-0002", "?ecosystem=npm&package=foo-bar"):
        assert viewer.api.get(f"/api/v1/advisories/{search}").json()["results"] == []
    detail = viewer.api.get(f"/api/v1/advisories/{rows[0]['id']}/").json()
    assert detail["affected"] == [
        {
            "ecosystem": "PyPI",
            "name": "foo-bar",
            "ranges": [[["introduced", "0"], ["fixed", "2.0"]]],
            "versions": [],
            "severity": "",
        }
    ]


def test_a_file_may_be_as_large_as_feeds_are(operator, run_jobs):
    large = RAW + b" " * 5_000_000
    sent = post(operator, large)
    assert sent.status_code == 202, sent.content
    brought = operator.client.post("/feeds/upload/", {"file": SimpleUploadedFile("mine.jsonl", large)})
    assert brought.status_code == 302
    run_jobs()
    assert list(Import.objects.values_list("status", "counts__read")) == [("finished", 1)] * 2


def test_a_file_that_is_too_large_or_empty_is_refused_and_not_kept(operator, settings):
    settings.MAX_FEED_BYTES = 10
    assert post(operator, RAW).status_code == 413
    assert post(operator, b"").status_code == 422
    form = operator.api.post("/api/v1/advisories/import/", {"file": SimpleUploadedFile("a", RAW)}, format="multipart")
    assert (form.status_code, form.json()["code"]) == (422, "form-upload")
    assert not list(services.folder().iterdir())
    assert not Import.objects.exists()


def test_a_stranger_s_file_is_not_even_read(stranger, viewer):
    assert post(stranger, RAW).status_code == 403
    assert post(viewer, RAW).status_code == 403
    assert not list(services.folder().iterdir())


def test_feeds_are_listed_and_switched(operator, viewer):
    rows = viewer.api.get("/api/v1/feeds/?limit=100").json()["results"]
    kev = next(r for r in rows if r["name"] == "kev")
    answer = operator.api.patch(
        f"/api/v1/feeds/{kev['id']}/", {"is_enabled": True, "url": "https://m.example/kev.json"}
    )
    assert (answer.json()["is_enabled"], answer.json()["url"]) == (True, "https://m.example/kev.json")
    refused = operator.api.patch(f"/api/v1/feeds/{kev['id']}/", {"url": "http://m.example/kev.json"})
    assert refused.status_code == 422
    assert operator.api.post(f"/api/v1/feeds/{kev['id']}/fetch/").status_code == 202


def test_the_page_shows_how_feeds_stand_and_what_could_not_be_read(operator, viewer, run_jobs):
    feed = Feed.objects.create(
        name="mirror", title="Mirror", kind="osv", url="https://m.example/a", error="It broke off."
    )
    sent = operator.client.post(
        "/feeds/upload/", {"file": SimpleUploadedFile("mine.jsonl", RAW + b"\n{<b>")}, follow=True
    )
    assert "mine.jsonl is being imported" in sent.text
    run_jobs()
    page = operator.client.get("/feeds/").text
    for words in ("It broke off.", "mine.jsonl line 2", "Bring a file", "/fetch/"):
        assert words in page
    plain = viewer.client.get("/feeds/").text
    assert "Operators, security reviewers and administrators" in plain
    assert "Bring a file" not in plain
    assert "/fetch/" not in plain
    assert feed.title in plain


def test_the_page_saves_the_schedule_and_an_address(operator):
    operator.client.get("/feeds/")
    kev, epss = Feed.objects.get(name="kev"), Feed.objects.get(name="epss")
    operator.client.post("/feeds/schedule/", {"enabled": [kev.pk, epss.pk]})
    assert set(Feed.objects.filter(is_enabled=True)) == {kev, epss}
    operator.client.post("/feeds/schedule/", {"enabled": [epss.pk]})
    assert set(Feed.objects.filter(is_enabled=True)) == {epss}
    assert operator.client.post(f"/feeds/{kev.pk}/", {"url": "http://m.example/"}).status_code == 422
    assert operator.client.post(f"/feeds/{kev.pk}/", {"url": "https://m.example/"}).status_code == 302
    kev.refresh_from_db()
    assert kev.url == "https://m.example/"


def test_an_empty_upload_is_refused_on_the_page(operator):
    answer = operator.client.post("/feeds/upload/", {"file": SimpleUploadedFile("mine.jsonl", b"")})
    assert answer.status_code == 422
    assert "empty" in answer.text
