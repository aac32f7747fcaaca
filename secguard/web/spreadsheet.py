"""CSV that a spreadsheet program opens safely (OWASP, "CSV Injection"; RFC 4180 for the format). Pure."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

# A cell that begins with one of these is a formula to a spreadsheet program.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
BYTE_ORDER_MARK = "\ufeff"


def cell(value: Any) -> str:
    """A value as the text of one cell: numbers stay numbers, text that would be a formula gets a ``'`` before it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, list | tuple | set | frozenset):
        value = ", ".join(str(part) for part in value)
    text = str(value).replace("\x00", "")
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


class _Line:
    """The file that csv.writer wants: keeps the one line just written."""

    text = ""

    def write(self, text: str) -> None:
        self.text = text


def lines(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The file line by line; the first begins with a byte order mark, without which Excel reads UTF-8 as Latin-1."""
    line = _Line()
    writer = csv.writer(line)
    writer.writerow([cell(value) for value in header])
    yield BYTE_ORDER_MARK + line.text
    for row in rows:
        writer.writerow([cell(value) for value in row])
        yield line.text
