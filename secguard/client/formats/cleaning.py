"""Text from a report is hostile: what each kind of output must never let through. Pure."""

from __future__ import annotations

import re
import unicodedata

# C0 and C1 controls (ECMA-48: what moves a cursor or sets a title), and the bidirectional controls that make a line
# read otherwise than it is (Unicode Standard Annex 9).
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# What XML 1.0 (section 2.2, Char) does not allow at all.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()!|~$&])")
TRIGGER = re.compile(r"(?<!\w)[@#!]|:(?=//)|(?<=www)\.")


def line(text: str, longest: int = 500) -> str:
    """One line for a terminal: no control characters, bounded in length."""
    clean = CONTROL.sub(" ", unicodedata.normalize("NFC", text))
    clean = clean.encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def markdown(text: str) -> str:
    """One line in which nothing is markup, a link, a mention, a reference or the end of a table's cell.

    A backslash keeps GitHub and GitLab neither from mentioning ``@name`` nor from linking ``#12`` or an address: they
    look for those in the finished text. A space without width after the sign does.
    """
    escaped = MARKDOWN.sub(r"\\\1", line(text))
    return TRIGGER.sub("\\g<0>\u200b", escaped)


def xml(text: str) -> str:
    """Text that an XML document may hold; escaping is left to the serialiser."""
    return NOT_XML.sub("\ufffd", text)
