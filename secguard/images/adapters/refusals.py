"""What it means that a registry does not do what it was asked to, in words (no I/O).

distribution-spec 1.1, "Error Codes", for the codes; what a full or read-only registry answers is in no specification:
docker-registry hands the system's error on with 500, Harbor says it with 403 and 412.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from secguard.errors import Invalid, NotAllowed, NotFound, SecGuardError, Unavailable
from secguard.images.adapters import challenge

FALTERS = "registry-falters"
FULL = "registry-full"
READ_ONLY = "registry-read-only"
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_NO_ROOM = re.compile(
    r"no space left|disk quota exceeded|\"Err\":\s*(?:28|122)\b|exceed the configured upper limit|quota.{0,40}exceeded",
    re.I,
)
_READ_ONLY = re.compile(r"read[ -]?only", re.I)
_FULL_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer with another status than was hoped for. ``who`` begins the sentence; ``raw`` is the answer's body."""

    who: str
    user: str
    method: str
    path: str
    status: int
    raw: bytes = b""
    retry_after: int = 1

    @property
    def error(self) -> SecGuardError:
        """The error to raise."""
        said = self._said
        if self.is_write and (self.status == 507 or _NO_ROOM.search(self.raw.decode("utf-8", "replace"))):
            return self._full(said)
        if self.status in _AGAIN:
            return Unavailable(
                f"{self.who} answers {self.status} to {self.path[:200]}{said}. It is asked again later.",
                retry_after=self.retry_after,
                code=FALTERS,
            )
        if self.status == 404:
            return NotFound(
                f"{self.who} has no {self.path[:200]}{said}. Check the name, and that it was pushed.", code="not-there"
            )
        if self.is_write and (self.status == 405 or _READ_ONLY.search(said)):
            return Invalid(
                f"{self.who} answers {self.status} to {self.path[:200]}{said}; it takes nothing now: it is read-only, "
                "for maintenance perhaps, or a cache of another registry. Push again when it is not.",
                code=READ_ONLY,
            )
        if self.status in (401, 403):
            return no_entry(self.who, self.user, self.status, is_write=self.is_write, said=said)
        return self._odd(said)

    @property
    def is_write(self) -> bool:
        return self.method not in ("GET", "HEAD")

    @property
    def _said(self) -> str:
        """What the registry says in words, shortened; empty if nothing."""
        try:
            words = challenge.problem(self.raw)
        except SecGuardError:
            return ""
        return f": {words}" if words else ""

    def _full(self, said: str) -> Unavailable:
        return Unavailable(
            f"{self.who} has no room left ({self.status}{said}). Free some of its disk, or raise its quota; then push "
            "again.",
            retry_after=_FULL_SECONDS,
            code=FULL,
        )

    def _odd(self, said: str) -> Invalid:
        expected = "expected 200. Is it a registry (OCI distribution API)?"
        if self.is_write:
            expected = "it does not take what was pushed. Is it read-only, or a cache of another registry?"
        return Invalid(
            f"{self.who} answers {self.status} to {self.path[:200]}{said}; {expected}",
            code="registry-answer",
        )


def no_entry(who: str, user: str, status: int, *, is_write: bool, said: str = "") -> NotAllowed:
    """Whoever asks may not do that there, or is not whom the password proves."""
    act, acting = ("write to", "writing") if is_write else ("read", "reading")
    whom = f"the user {user!r}" if user else f"anonymous {acting}"
    what = "Check the password" if user else "Enter a user and password"
    return NotAllowed(
        f"{who} refuses {whom} ({status}{said}). {what} in the registry's settings, that it may {act} this "
        "repository, and that the repository's name is right.",
        code="registry-refused",
    )
