"""Feeds fetched: only what changed, only from where it is said, and every failure in words."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest
from django.utils import timezone

from secguard.advisories import queries, services
from secguard.advisories.adapters import feeds as fetcher
from secguard.advisories.feeds import DEFAULTS, next_due
from secguard.advisories.models import Advisory, Feed
from secguard.errors import Invalid, NotAllowed, NotFound, TooLarge, Unavailable
from secguard.jobs.models import Job

URL = "https://mirror.example/all.jsonl"
AFFECTED = [{"package": {"ecosystem": "PyPI", "name": "a"}, "versions": ["1"]}]
ENTRY = json.dumps({"id": "GHSA-a", "affected": AFFECTED, "modified": "2024-01-01T00:00:00Z"}).encode()


def answers(answer):
    return httpx.MockTransport(answer)


def fetch(tmp_path, answer, **more):
    into = tmp_path / "feed"
    found = fetcher.fetch(URL, into, max_bytes=1000, transport=answers(answer), **more)
    return found, into.read_bytes() if into.exists() else None


def test_a_feed_is_written_and_what_tells_its_next_change_is_kept(tmp_path):
    told = []
    found, raw = fetch(
        tmp_path,
        lambda request: httpx.Response(
            200,
            stream=httpx.ByteStream(ENTRY),
            headers={"ETag": '"1"', "Last-Modified": "then", "Content-Length": str(len(ENTRY))},
        ),
        progress=lambda *seen: told.append(seen),
    )
    assert (found, raw) == (fetcher.Fetched(False, '"1"', "then"), ENTRY)
    assert told[-1] == (len(ENTRY), len(ENTRY))


def test_what_did_not_change_is_not_fetched(tmp_path):
    def answer(request):
        assert request.headers["If-None-Match"] == '"1"'
        assert request.headers["If-Modified-Since"] == "then"
        return httpx.Response(304)

    assert fetch(tmp_path, answer, etag='"1"', last_modified="then") == (fetcher.Fetched(True, '"1"', "then"), None)


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (
            lambda r: httpx.Response(302, headers={"Location": "http://169.254.169.254/"}),
            Unavailable,
            "no redirect is followed",
        ),
        (lambda r: httpx.Response(404), Unavailable, "answers 404 Not Found"),
        (lambda r: httpx.Response(200, content=b"x" * 2000), TooLarge, "1,000 bytes"),
        (lambda r: httpx.Response(200, stream=httpx.ByteStream(b"x" * 2000)), TooLarge, "1,000 bytes"),
        (
            lambda r: httpx.Response(200, stream=httpx.ByteStream(b"x"), headers={"Content-Length": "9"}),
            Unavailable,
            "broke off after 1 of 9",
        ),
    ],
)
def test_other_answers_are_refused_in_words(tmp_path, answer, error, says):
    with pytest.raises(error, match=says):
        fetch(tmp_path, answer)


def test_a_host_that_is_not_there_is_named(tmp_path):
    def answer(request):
        raise httpx.ConnectError("refused")

    with pytest.raises(Unavailable, match=r"mirror\.example could not be asked"):
        fetch(tmp_path, answer)


@pytest.mark.parametrize(
    "url",
    [
        "http://mirror.example/a.zip",
        "file:///etc/passwd",
        "https://user:password@mirror.example/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[fe80::1]/a",
        "https://0.0.0.0/a",
        "https://[::ffff:169.254.169.254]/a",
        "https://224.0.0.1/a",
        "https:///a",
        "https://mirror.example:port/a",
        "nonsense",
    ],
)
def test_addresses_that_no_feed_may_have(url):
    with pytest.raises(Invalid):
        fetcher.require_address(url)


@pytest.mark.parametrize("url", [URL, "http://127.0.0.1:9000/a.zip", "http://localhost/a", "https://10.0.0.7/a.zip"])
def test_addresses_that_a_feed_may_have(url):
    fetcher.require_address(url)


def test_a_failing_feed_is_asked_later_each_time_and_never_later_than_usual():
    now = timezone.now()
    waits = [next_due("osv", now, failures) - now for failures in range(9)]
    assert waits[0] == timedelta(hours=6)
    assert waits[1:5] == [timedelta(minutes=m) for m in (15, 30, 60, 120)]
    assert max(waits) == timedelta(hours=6)


# --- with the database ---


@pytest.fixture
def feed(db):
    return Feed.objects.create(name="mirror", title="Mirror", kind="osv", url=URL)


@pytest.fixture
def served(monkeypatch):
    """``served(answer)``: what every feed's host answers from now on; returns the requests that came."""
    requests = []

    def serve(answer):
        def note(request):
            requests.append(request)
            return answer(request)

        real = fetcher.fetch
        monkeypatch.setattr(fetcher, "fetch", lambda *a, **k: real(*a, **{**k, "transport": answers(note)}))
        return requests

    return serve


def test_a_feed_is_fetched_taken_in_and_says_how_it_stands(feed, operator, served, run_jobs):
    served(lambda r: httpx.Response(200, stream=httpx.ByteStream(ENTRY + b"\n{"), headers={"ETag": '"1"'}))
    services.request_fetch(feed.pk, actor=operator)
    run_jobs()
    feed.refresh_from_db()
    assert (feed.entries, feed.left_out, feed.error, feed.etag) == (1, 1, "", '"1"')
    assert feed.data_at.isoformat() == "2024-01-01T00:00:00+00:00"
    assert feed.succeeded_at is not None
    assert feed.due_at > timezone.now()
    row = feed.imports.get()
    assert (row.status, row.requested_by, row.counts["added"]) == ("finished", operator, 1)
    assert Advisory.objects.count() == 1
    assert queries.data_as_of() == feed.data_at
    assert not list(services.folder().iterdir())


def test_a_feed_that_fails_says_why_and_keeps_what_it_had(feed, operator, served, run_jobs):
    served(lambda r: httpx.Response(503))
    services.request_fetch(feed.pk, actor=operator)
    run_jobs()
    feed.refresh_from_db()
    assert "answers 503" in feed.error
    assert (feed.failures, feed.succeeded_at) == (1, None)
    assert not list(services.folder().iterdir())


def test_an_unchanged_feed_is_up_to_date_without_an_import(feed, operator, served, run_jobs):
    served(lambda r: httpx.Response(304))
    services.request_fetch(feed.pk, actor=operator)
    run_jobs()
    feed.refresh_from_db()
    assert (feed.error, feed.imports.count()) == ("", 0)
    assert feed.succeeded_at is not None


def test_only_what_is_switched_on_and_due_is_fetched(feed, operator):
    services.enqueue_due(None)
    assert not Job.objects.exists()
    services.edit_feed(feed.pk, actor=operator, is_enabled=True)
    assert services.enqueue_due(None) == {"due": 1}
    assert Job.objects.get().args == {"feed": feed.pk, "by": None}
    Feed.objects.update(due_at=timezone.now() + timedelta(hours=1))
    assert services.enqueue_due(None) == {"due": 0}


def test_the_feeds_that_are_known_by_themselves_are_there_and_off(db):
    assert {f.name for f in queries.feeds()} == {d.name for d in DEFAULTS}
    assert not queries.feeds().filter(is_enabled=True).exists()
    Feed.objects.filter(name="kev").update(url="https://mirror.example/kev.json")
    assert queries.feeds().get(name="kev").url == "https://mirror.example/kev.json"
    for d in DEFAULTS:
        assert d.url.startswith("https://")


def test_who_may_not_and_what_may_not_be_are_refused(feed, operator, viewer):
    with pytest.raises(NotAllowed, match="feed:edit"):
        services.edit_feed(feed.pk, actor=viewer, is_enabled=True)
    with pytest.raises(NotAllowed):
        services.request_fetch(feed.pk, actor=viewer)
    with pytest.raises(Invalid, match="https"):
        services.edit_feed(feed.pk, actor=operator, url="http://mirror.example/a")
    with pytest.raises(NotFound):
        services.request_fetch(feed.pk + 1, actor=operator)


def test_another_address_forgets_what_was_known_of_the_old_one(feed, operator):
    Feed.objects.update(etag='"1"', last_modified="then")
    changed = services.edit_feed(feed.pk, actor=operator, url="https://other.example/a.zip")
    changed.refresh_from_db()
    assert (changed.url, changed.etag, changed.last_modified) == ("https://other.example/a.zip", "", "")
