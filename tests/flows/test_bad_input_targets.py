"""Where webhooks and trackers may lead: never inside the network, however the address is written."""

from __future__ import annotations

from typing import Any

import pytest

from secguard.channels.adapters import posting
from secguard.channels.models import Channel
from secguard.errors import Invalid, NotAllowed, Unavailable
from secguard.outbound.addresses import permitted
from secguard.trackers.adapters.client import Client
from secguard.trackers.models import Tracker

pytestmark = [pytest.mark.django_db, pytest.mark.enable_socket]
LITERALS = (
    "https://127.0.0.1/x", "https://127.1/x", "https://0/x", "https://0.0.0.0/x", "https://2130706433/x",
    "https://0x7f000001/x", "https://017700000001/x", "https://0177.0.0.1/x", "https://0x7f.0.0.1/x",
    "https://10.0.0.1:8443/x", "https://0x0a000001/x", "https://167772161/x", "https://169.254.169.254/latest/meta-data/",
    "https://0xa9fea9fe/latest/", "https://2852039166/", "https://[::1]/x", "https://[::]/x",
    "https://[::ffff:10.0.0.1]/x", "https://[::ffff:7f00:1]/x", "https://[fd00:ec2::254]/x", "https://[fe80::1]/x",
    "https://[64:ff9b::a9fe:a9fe]/x", "https://[::127.0.0.1]/x", "https://localhost/x", "https://LOCALHOST./x",
    "https://127.0.0.1./x",
)  # fmt: skip
OTHER = (
    "http://8.8.8.8/x", "ftp://8.8.8.8/x", "file:///etc/passwd", "gopher://8.8.8.8:6379/_INFO", "data:text/plain,x",
    "javascript:alert(1)", "//8.8.8.8/x", "8.8.8.8/x", "https://8.8.8.8@127.0.0.1/x", "https://user:pw@8.8.8.8/x",
    "https://127.0.0.1#@8.8.8.8/", "https://8.8.8.8#@127.0.0.1/", "https://8.8.8.8\\@127.0.0.1/",
    "https://8.8.8.8:99999/", "https://8.8.8.8:-1/", "https://8.8.8.8:x/", "https://8.8.8.8/\r\nHost: inside",
    "https://\u2488\u2488\u2488\u2488/x", "https://\uff11\uff12\uff17.0.0.1/x", "https://8.8.8.8/\u202e",
    "https://8.8.8.8 /x", "https://[8.8.8.8]/x", "https://[::1]evil.example/x", "https://.../x",
    "https://010.8.8.8/x", "https://8.8.8.08/x", "https:///x", "",
)  # fmt: skip


@pytest.mark.parametrize("url", [*LITERALS, *OTHER])
def test_no_channel_and_no_tracker_leads_inside(url: str, administrator: Any, row_counts: Any) -> None:
    before = row_counts()
    channel = {"name": "evil", "url": url, "format": "secguard"}
    tracker = {"name": "evil", "kind": "github", "base_url": url, "project": "a/b", "token": "t" * 20}
    for path, sent in (("/api/v1/channels/", channel), ("/api/v1/trackers/", tracker)):
        answer = administrator.api.post(path, sent)
        assert answer.status_code in (400, 422), (path, url, answer.status_code)
        assert answer.json()["detail"]
    page = administrator.client.post("/settings/channels/new/", channel)
    assert page.status_code == 422
    assert not Channel.objects.exists()
    assert not Tracker.objects.exists()
    assert row_counts() == before


@pytest.mark.parametrize("url", LITERALS)
def test_what_was_saved_by_other_ways_is_not_posted_to_either(url: str) -> None:
    """A row that a restore or an older version brought: checked again at the very connection."""
    with pytest.raises((Invalid, Unavailable, NotAllowed)):
        posting.post(url, b"{}", {}, [])
    with pytest.raises((Invalid, Unavailable, NotAllowed)), Client(url, {}, []) as client:
        client.ask("GET", "/repos")


def test_of_a_name_with_addresses_on_both_sides_only_the_outer_is_connected_to() -> None:
    to = posting.check("https://both.example/x", [], resolver=lambda host, port: ["10.0.0.7", "8.8.8.8"])
    assert permitted(["10.0.0.7", "8.8.8.8", "::ffff:10.0.0.1"], to) == ["8.8.8.8"]


def test_a_name_that_answers_something_else_each_time_is_asked_once_for_each_connection() -> None:
    answers = iter([["8.8.8.8"], ["127.0.0.1"], ["169.254.169.254"]])
    asked: list[str] = []

    def moving(host: str, port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    posting.check("https://moving.example/x", [], resolver=moving)
    with pytest.raises(NotAllowed, match="no address that may be connected to"):
        posting.post("https://moving.example/x", b"{}", {}, [], resolver=moving)
    with (
        pytest.raises(Unavailable, match="no address that may be connected to"),
        Client("https://moving.example", {}, [], resolver=moving) as client,
    ):
        client.ask("GET", "/repos")
    assert asked == ["moving.example"] * 3
