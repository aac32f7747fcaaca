from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from secguard.exports import syslog
from secguard.exports.item import clean
from tests.exports.telling import ITEMS, NASTY, item

# RFC 5424 section 6, written as one expression over bytes.
MESSAGE = re.compile(
    rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) "
    rb"([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) "
    rb"(\[(?:[^\\\]]|\\.)*\])(?: (.*))?",
    re.DOTALL,
)
PARAM = re.compile(r' ([!#-<>-\\^-~]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"')


def parse(message: bytes) -> tuple[int, str, dict[str, str], str]:
    """Priority, host, parameters and body, as an independent reader of RFC 5424 sees them."""
    found = MESSAGE.fullmatch(message)
    assert found, message[:300]
    priority, _, host, _, _, _, data, body = found.groups()
    inside = data.decode()[1:-1]
    name = inside.split(" ", 1)[0]
    assert name == syslog.SD_ID
    params, at = {}, len(name)
    while at < len(inside):
        param = PARAM.match(inside, at)
        assert param, inside[at:]
        params[param[1]] = re.sub(r'\\(["\\\]])', r"\1", param[2])
        at = param.end()
    if body.startswith(syslog.BOM):
        return int(priority), host.decode(), params, body[3:].decode()
    assert body.isascii(), "more than ASCII begins with a byte order mark"
    return int(priority), host.decode(), params, body.decode("ascii")


def frames(stream: bytes) -> list[bytes]:
    """What a receiver that counts octets finds (RFC 6587 section 3.4.1)."""
    found = []
    while stream:
        length, _, stream = stream.partition(b" ")
        assert re.fullmatch(rb"[1-9][0-9]*", length)
        found.append(stream[: int(length)])
        assert len(found[-1]) == int(length)
        stream = stream[int(length) :]
    return found


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8))
def test_counted_octets_frame_any_bytes(messages: list[bytes]) -> None:
    assert frames(b"".join(map(syslog.framed, messages))) == messages


@given(ITEMS, NASTY, NASTY)
def test_whatever_is_told_a_message_is_whole_and_bounded(told, body: str, host: str) -> None:
    message = syslog.message(told, body, host=host)
    assert len(message) <= syslog.MAX_BYTES
    priority, _, params, text = parse(message)
    assert 13 * 8 <= priority <= 13 * 8 + 7
    assert params["id"] == str(told.id)
    assert params["kind"] == told.line.kind
    assert text == clean(body)


@given(ITEMS, st.text(alphabet="aé😀", min_size=3_000, max_size=3_000))
def test_a_body_that_is_too_long_is_cut_between_characters(told, body: str) -> None:
    message = syslog.message(told, body * 4, host="h")
    assert syslog.MAX_BYTES - 3 <= len(message) <= syslog.MAX_BYTES
    assert (body * 4).startswith(parse(message)[3])


@given(NASTY)
def test_values_of_structured_data_round_trip(text: str) -> None:
    made = f"<110>1 2026-11-28T12:00:00.0Z h a - m {syslog.structured({'v': text})} x"
    params = parse(made.encode())[2]
    assert params == ({"v": clean(text)} if text and len(syslog.param_value(text).encode()) < 900 else params)


def test_a_quiet_message_byte_for_byte() -> None:
    told = item(id=3, severity=5, rule='a "b" [c] \\', team="shop")
    assert syslog.message(told, "hello", host="secguard.example.org") == (
        b"<106>1 2026-11-28T12:30:15.123456Z secguard.example.org secguard - process "
        b'[secguard@32473 id="3" kind="process" severity="critical" rule="a \\"b\\" [c\\] \\\\" team="shop"] hello'
    )


def test_more_than_ascii_begins_with_a_mark() -> None:
    assert syslog.message(item(), "é", host="h").endswith(b"] \xef\xbb\xbf\xc3\xa9")


def test_a_host_without_a_printable_name_is_nil() -> None:
    assert b" - secguard - " in syslog.message(item(), "x", host="é \n")
