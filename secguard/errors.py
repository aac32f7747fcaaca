"""The product's refusals, and nothing else.

Services and pure rules raise these; ``web.problems`` turns each into an RFC 9457 problem or a page.

    SecGuardError
    +-- NotFound     404  there is no such thing, or this person may not know of it
    +-- NotAllowed   403  the person is known and may not do this
    +-- Conflict     409  the thing is in another state than the request needs
    +-- Invalid      422  what was sent cannot be taken; says where and what was expected
    |   +-- TooLarge 413  what was sent passes a bound; says which
    +-- Unavailable  503  cannot be answered now; says when to try again
"""

from __future__ import annotations


class SecGuardError(Exception):
    """A refusal that a person can read: ``detail`` says what was found, what was expected and what to do."""

    status = 500
    title = "Internal error"

    def __init__(self, detail: str, *, code: str = "", where: str = "", **extra: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).__name__.lower()
        self.where = where
        self.extra = extra


class NotFound(SecGuardError):
    status = 404
    title = "Not found"


class NotAllowed(SecGuardError):
    status = 403
    title = "Not allowed"


class Conflict(SecGuardError):
    """The state found is named in ``detail``."""

    status = 409
    title = "Conflict"


class Invalid(SecGuardError):
    """``where`` is the place of the fault: a JSON path, a line and column, or a field's name."""

    status = 422
    title = "Invalid input"


class TooLarge(Invalid):
    status = 413
    title = "Too large"


class Unavailable(SecGuardError):
    status = 503
    title = "Unavailable"

    def __init__(self, detail: str, *, retry_after: int = 5, code: str = "", where: str = "", **extra: object) -> None:
        super().__init__(detail, code=code, where=where, **extra)
        self.retry_after = retry_after
