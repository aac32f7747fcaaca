"""The passport of an image: one document for who checks it later, as bytes that are the same for the same content.

Signed it is the payload of a DSSE envelope, so any implementation of DSSE with the public key can verify it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

FORMAT: Final = "secguard-passport/1"
PAYLOAD_TYPE: Final = "application/vnd.secguard.passport+json"
UNSIGNED: Final = "This passport is not signed: no key signs here. Nobody can tell later whether it was changed."
MAX_ROWS: Final = 500
"""Of each list; what was left out is named in ``left_out``."""


def canonical(document: Mapping[str, Any]) -> bytes:
    """UTF-8 JSON with sorted names and no spaces; equal documents give equal bytes."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def instant(at: datetime | None) -> str | None:
    """RFC 3339 in UTC, whatever zone ``at`` is told in."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at is not None else None


def bounded(sections: Mapping[str, Sequence[Any]]) -> tuple[dict[str, list[Any]], list[str]]:
    """Each list up to ``MAX_ROWS`` rows, and the names of those that had more."""
    kept = {name: list(rows[:MAX_ROWS]) for name, rows in sections.items()}
    return kept, sorted(name for name, rows in sections.items() if len(rows) > MAX_ROWS)


def signed_by(name: str | None, fingerprint: str | None) -> dict[str, str | None]:
    """What the document says of its own signature: which key was to make it, or that none was there."""
    return {"key": name, "fingerprint": fingerprint, "note": "" if name else UNSIGNED}


def summary_of_answers(rows: Iterable[tuple[str, int, datetime, datetime]]) -> dict[str, Any]:
    """Of (outcome, answers, first, last): how often clusters were answered what, from when to when."""
    found = list(rows)
    return {
        "by_outcome": {outcome: n for outcome, n, _, _ in sorted(found)},
        "first_at": instant(min((first for _, _, first, _ in found), default=None)),
        "last_at": instant(max((last for _, _, _, last in found), default=None)),
    }
