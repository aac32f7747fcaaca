"""What each receiver gets: valid for it, whole, bounded, and never more than text where somebody else wrote it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.channels.formats import SLACK_WHOLE, TEAMS_BYTES, Format, Post, body_of, schema
from secguard.notifications.digest import Line
from tests.channels.conftest import FLAW, line

BASE = "https://secguard.example.org"
PUBLISHED = Path(__file__).parents[2] / "docs" / "notification.schema.json"


def post(*lines: Line, total: int = 0, **more: Any) -> Post:
    return Post("msg_1", FLAW, lines, total or len(lines), datetime(2026, 5, 4, 12, tzinfo=UTC), **more)


def written(format_: Format, sent: Post) -> Any:
    return json.loads(body_of(sent, format_, base_url=BASE))


def test_the_published_schema_is_the_one_that_holds() -> None:
    assert json.loads(PUBLISHED.read_text()) == schema()


def test_our_own_document_says_all_of_it() -> None:
    sent = post(line("7", severity="critical", known_exploited=True, is_running=True), total=4, team="Payments")
    document = written(Format.SECGUARD, sent)
    assert document == {
        "type": "test-flaw",
        "timestamp": "2026-05-04T12:00:00Z",
        "version": 1,
        "data": {
            "id": "msg_1",
            "heading": "New flaws",
            "subject": "New flaw: CVE-2026-7 (critical, known exploited), running in shop/api and 3 more",
            "team": "Payments",
            "url": f"{BASE}/risks/open/",
            "total": 4,
            "is_test": False,
            "lines": [
                {
                    "what": "CVE-2026-7",
                    "where": "shop/api",
                    "note": "",
                    "url": f"{BASE}/risks/7/",
                    "severity": "critical",
                    "known_exploited": True,
                    "is_running": True,
                    "is_production": False,
                }
            ],
        },
    }


def test_slack_shows_the_lines_and_how_many_more_there_are() -> None:
    message = written(Format.SLACK, post(line("7", note="fixed in 1.2"), total=3, team="Payments"))
    header, section, context = message["blocks"]
    assert header["text"] == {"type": "plain_text", "text": "New flaws (Payments)", "emoji": False}
    assert section["text"]["text"] == f"• <{BASE}/risks/7/|CVE-2026-7>, in shop/api\n    fixed in 1.2"
    assert context["elements"][0]["text"] == f"and 2 more. <{BASE}/risks/open/|Open in SecGuard>"
    assert message["text"] == "New flaw: CVE-2026-7, in shop/api and 2 more"


def test_teams_shows_the_same_as_an_adaptive_card() -> None:
    message = written(Format.TEAMS, post(line("7", note="fixed in 1.2"), total=3))
    (attachment,) = message["attachments"]
    assert (message["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    runs = [[run["text"] for run in block["inlines"]] for block in card["body"]]
    assert runs == [["New flaws"], ["CVE-2026-7", ", in shop/api", "\nfixed in 1.2"], ["and 2 more."]]
    assert card["body"][1]["inlines"][0]["selectAction"]["url"] == f"{BASE}/risks/7/"
    assert card["actions"][0]["url"] == f"{BASE}/risks/open/"


def test_nobody_is_called_by_what_a_tool_wrote() -> None:
    evil = Line(key="1", what="<!channel> <https://evil.example|here>", where="a&b <@U1>", url="//evil.example/")
    text = json.dumps(written(Format.SLACK, post(evil)))
    assert "<!channel>" not in text
    assert "<@U1>" not in text
    assert "<https://evil" not in text
    assert "&lt;!channel&gt;" in text
    assert "evil.example/" not in json.dumps(written(Format.TEAMS, post(evil)))
    assert written(Format.SECGUARD, post(evil))["data"]["lines"][0]["url"] == ""


TEXT = st.text(max_size=400)
LINES = st.builds(
    Line,
    key=st.just("1"),
    what=TEXT,
    where=TEXT,
    note=TEXT,
    url=st.one_of(TEXT, st.just("/risks/1/")),
    severity=st.text(max_size=20),
    is_running=st.booleans(),
)


@given(st.lists(LINES, min_size=1, max_size=40), st.integers(0, 10**6))
def test_whatever_is_told_every_receiver_takes_it(lines: list[Line], more: int) -> None:
    sent = post(*lines, total=len(lines) + more)
    jsonschema.validate(written(Format.SECGUARD, sent), schema())
    blocks = written(Format.SLACK, sent)["blocks"]
    sections = [block["text"]["text"] for block in blocks[1:-1]]
    assert len(blocks) <= 50
    assert len(blocks[0]["text"]["text"]) <= 150
    assert all(0 < len(text) <= 3_000 for text in sections)
    assert sum(map(len, sections)) <= SLACK_WHOLE
    assert len(body_of(sent, Format.TEAMS, base_url=BASE)) <= TEAMS_BYTES


@pytest.mark.parametrize("format_", list(Format))
def test_what_is_left_out_is_counted(format_: Format) -> None:
    lines = [line(str(n), note="x" * 300) for n in range(200)]
    sent = post(*lines, total=1_000)
    body = body_of(sent, format_, base_url=BASE).decode()
    shown = body.count("shop/api") - body.count("New flaw:")
    assert ("1000" in body) if format_ is Format.SECGUARD else (f"and {1_000 - shown:,} more" in body)
