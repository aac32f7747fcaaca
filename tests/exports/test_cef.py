from __future__ import annotations

import re
from itertools import zip_longest

from hypothesis import given

from secguard.events.record import Kind
from secguard.exports import cef
from secguard.exports.item import clean
from secguard.findings.severity import Severity
from tests.exports.telling import ITEMS, NASTY, item


def parse(text: str) -> tuple[list[str], dict[str, str]]:
    """An independent reader of CEF: character by character, as the format's description says."""
    fields, current, at = [], "", 0
    while len(fields) < 7:
        character = text[at]
        if character == "\\":
            assert text[at + 1] in "\\|", "only these are escaped in the header"
            current, at = current + text[at + 1], at + 2
            continue
        if character == "|":
            fields.append(current)
            current = ""
        else:
            current += character
        at += 1
    return fields, parse_extension(text[at:])


def parse_extension(text: str) -> dict[str, str]:
    starts = list(re.finditer(r"(?:^| )([A-Za-z0-9]+)(?<!\\)=", text))
    found = {}
    for start, following in zip_longest(starts, starts[1:]):
        raw = text[start.end() : following.start() if following else len(text)]
        assert start.group(1) not in found, "a key stands there once"
        found[start.group(1)] = unescape(raw)
    return found


def unescape(raw: str) -> str:
    made, at = "", 0
    while at < len(raw):
        if raw[at] == "\\":
            made += {"\\": "\\", "=": "=", "n": "\n", "r": "\r"}[raw[at + 1]]
            at += 2
        else:
            assert raw[at] != "=", "an equals sign in a value is escaped"
            made += raw[at]
            at += 1
    return made


def cleaned(text: str) -> str:
    """What is left of a value: line ends stay, other control characters are spaces."""
    return "".join(c if c in "\r\n" else clean(c) for c in text)


@given(NASTY)
def test_a_header_field_round_trips(text: str) -> None:
    fields, _ = parse("|".join(["CEF:0", *[cef.header_text(text)] * 6]) + "|")
    assert fields[1:] == [clean(text)] * 6


@given(NASTY, NASTY)
def test_extension_values_round_trip(first: str, second: str) -> None:
    text = f"msg={cef.extension_text(first)} cs1={cef.extension_text(second)}"
    assert parse_extension(text) == {"msg": cleaned(first).strip(" "), "cs1": cleaned(second).strip(" ")}


@given(ITEMS)
def test_whatever_is_told_a_message_can_be_read_and_is_bounded(told) -> None:
    text = cef.message(told, version="1.2|3")
    assert len(text.encode()) <= cef.MAX_BYTES
    assert "\n" not in text
    assert "\0" not in text
    (form, vendor, product, version, _, name, severity), extension = parse(text)
    assert (form, vendor, product, version) == ("CEF:0", "SecGuard", "SecGuard", "1.2|3")
    assert 0 <= int(severity) <= 10
    assert name == (clean(told.line.title) or told.line.kind)
    assert extension["externalId"] == str(told.id)
    assert extension["cat"] == told.line.kind
    assert all(re.fullmatch("[A-Za-z0-9]+", key) for key in extension)
    assert all(f"cs{n}" in extension for n in range(1, 7) if f"cs{n}Label" in extension)


def test_a_network_event() -> None:
    connection = {
        "source_ip": "10.0.0.1", "source_port": 40_000, "destination_ip": "203.0.113.9", "destination_port": 443,
        "protocol": "tcp",
    }  # fmt: skip
    told = item(
        id=12, kind=Kind.NETWORK, severity=4, title="To a=b|c", cluster="blue", workload="api", team="shop",
        detail={"connection": connection, "process": {"exe": "/usr/bin/curl", "user": "app"}},
    )  # fmt: skip
    assert cef.message(told, version="9") == (
        "CEF:0|SecGuard|SecGuard|9|network|To a=b\\|c|8|externalId=12 start=1795869015123 rt=1795869016123 cat=network "
        "cnt=1 deviceProcessName=falco cs1Label=cluster cs1=blue cs3Label=workload cs3=api cs5Label=team cs5=shop "
        "suser=app sproc=/usr/bin/curl src=10.0.0.1 spt=40000 dst=203.0.113.9 dpt=443 proto=tcp msg=To a\\=b|c"
    )


def test_severities_keep_their_order() -> None:
    told = [cef.SEVERITY[severity] for severity in Severity]
    assert told == sorted(told)
    assert len(set(told)) == len(told)
    assert (told[0], told[-1]) == (0, 10)
