"""The passport on paper: all that the JSON says, tied to it, and no text that could be read as another."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import zlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.history import pdf
from secguard.signing import services as signing
from secguard.web import paper

IMAGE = {"digest": "sha256:" + "cd" * 32, "os": "debian 12", "size_bytes": None}
BASE: dict[str, Any] = {
    "format": "secguard-passport/1",
    "issued_at": "2026-11-28T02:00:00Z",
    "signed_by": {"key": "production", "fingerprint": "sha256:" + "ab" * 32, "note": ""},
    "image": IMAGE,
    "verdicts": [{"stage": "build", "holds": True, "verdict": "pass", "reasons": []}],
    "decisions": [],
}


def made(signatures: tuple[str, ...] = ("MEUC",), **changed: Any) -> bytes:
    document = BASE | changed
    payload = json.dumps(document, sort_keys=True).encode()
    return pdf.document(document, payload, b'{"payload":"x"}', signatures)


def test_the_same_content_makes_the_same_bytes() -> None:
    assert made() == made()
    assert made() != made(issued_at="2026-11-28T03:00:00Z")
    assert made().startswith(b"%PDF-")


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=3_000), st.lists(st.text(max_size=60), max_size=5))
def test_no_text_breaks_it(reason: str, tags: list[str]) -> None:
    """Markup, controls, surrogates, long words, scripts without a glyph."""
    decisions = [{"id": 1, "kind": "accept", "risk": "CVE-2026-1", "reason": reason, "votes": [{"comment": reason}]}]
    document = BASE | {"decisions": decisions, "tags": tags}
    made_of = pdf.document(document, b"{}", b"{}", [])
    assert made_of.rstrip().endswith(b"%%EOF")


def test_a_text_of_many_pages_goes_on() -> None:
    decisions = [{"id": 1, "kind": "accept", "risk": "CVE-2026-1", "reason": "x" * 40_000 + "\n" * 300}]
    raw = made(decisions=decisions)
    assert raw.count(b"/Type /Page\n") + raw.count(b"/Type /Page ") >= 5


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("Größe, Привет, Ελλάδα", "Größe, Привет, Ελλάδα"),
        ("中文", "⟨U+4E2D⟩⟨U+6587⟩"),
        ("שלום", "⟨U+05E9⟩⟨U+05DC⟩⟨U+05D5⟩⟨U+05DD⟩"),
        ("a\u202eb\u200bc\x07", "a⟨U+202E⟩b⟨U+200B⟩c⟨U+0007⟩"),
        ("one\ntwo", "one\ntwo"),
    ],
)
def test_what_cannot_be_printed_is_written_as_its_code_point(text: str, printed: str) -> None:
    assert paper.shown(text) == printed


def test_every_value_has_a_place() -> None:
    nested = {"a": 1, "b": [{"c": True}, {"c": None}], "d": ["x", "y"], "e": {"f": "z"}}
    assert list(pdf.leaves(nested)) == [("a", "1"), ("b c", "yes"), ("b c", "–"), ("d", "x"), ("d", "y"), ("e f", "z")]
    shown = "\n".join(text for _, text in pdf._pairs(nested))
    for _, value in pdf.leaves(nested):
        assert value in shown


def attached(raw: bytes) -> list[bytes]:
    """The streams of the file: text of pages, fonts, and the attachment."""
    found = []
    for body in re.findall(rb"stream\r?\n(.*?)endstream", raw, re.S):
        found.append(body)
        with contextlib.suppress(ValueError, zlib.error):
            found.append(zlib.decompress(base64.a85decode(body.strip().removesuffix(b"~>"))))
    return found


@pytest.mark.django_db
def test_it_is_fetched_with_the_signed_document_inside(clock: Any, post: Any, accept: Any, developer: Any) -> None:
    image = post()
    accept(clock(minutes=5) + timedelta(hours=3))
    key = signing.create_key("production", signing.NewKey(), actor=None)
    path = f"/api/v1/images/{image}/passport/"
    for answer in (developer.api.get(f"{path}?format=pdf"), developer.api.get(path, HTTP_ACCEPT="application/pdf")):
        assert answer.status_code == 200
        assert answer["Content-Type"] == "application/pdf"
        assert answer["Content-Disposition"].endswith('.passport.pdf"')
        (envelope,) = (json.loads(s) for s in attached(answer.content) if s.lstrip().startswith(b'{"payload"'))
        passport = json.loads(base64.b64decode(envelope["payload"]))
        assert passport["image"]["digest"] == image
        assert passport["signed_by"]["fingerprint"] == key.fingerprint
        assert len(hashlib.sha256(base64.b64decode(envelope["payload"])).hexdigest()) == 64
    assert developer.api.get(path)["Content-Type"] == "application/vnd.dsse.envelope.v1+json"
    assert developer.api.get(f"{path}?format=docx").status_code == 400
    page = developer.client.get(f"/images/{image}/history/").content.decode()
    assert "passport/?format=pdf" in page


@pytest.mark.django_db
def test_a_stranger_gets_none(clock: Any, post: Any, stranger: Any) -> None:
    assert stranger.api.get(f"/api/v1/images/{post()}/passport/?format=pdf").status_code == 404


@pytest.mark.django_db
def test_the_timeline_is_counted(clock: Any, post: Any, developer: Any) -> None:
    image = post()
    clock(minutes=1)
    page = developer.client.get(f"/images/{image}/history/").content.decode()
    told = developer.api.get(f"/api/v1/images/{image}/history/?limit=200").json()["results"]
    shown = re.search(r"What happened.*?\((\d+)\)", page)
    assert shown is not None
    assert int(shown[1]) == len(told)
