"""What SecGuard observes itself: the observers that apps register (``controls_observing`` asks them).

An observer says whether what a control promises is so at this moment, as far as SecGuard sees it. It is asked without
any lock; what it says is kept as evidence like everybody else's, and a control it cannot tell of goes stale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from secguard.accounts.models import Application, User
from secguard.decisions.controls import EvidenceKind, Says
from secguard.errors import Invalid


@dataclass(frozen=True, slots=True)
class Observed:
    """What an observer saw, in words that stay the same while nothing changes."""

    says: Says
    note: str


@dataclass(frozen=True, slots=True)
class Observer:
    """``check(watch, application, actor)`` returns what is to be watched as it is kept, or raises ``Invalid``;
    ``look(watch, application, now)`` says what is so, ``None`` where it cannot tell."""

    name: str
    about: str
    """What it watches, for whoever proposes a control."""
    example: Mapping[str, Any]
    check: Callable[[Mapping[str, Any], Application | None, User], dict[str, Any]]
    look: Callable[[Mapping[str, Any], Application | None, datetime], Observed | None]


OBSERVERS: list[Observer] = []
"""Apps above add theirs in ``AppConfig.ready``."""
MAX_WATCH: Final = 20


def checked_watch(
    kept_alive_by: EvidenceKind, watch: Mapping[str, Any], application: Application | None, actor: User
) -> dict[str, Any]:
    """What a control has SecGuard observe, as it is kept: ``{"observer": name, …}``; empty for the other kinds."""
    if kept_alive_by is not EvidenceKind.OBSERVATION:
        if watch:
            raise Invalid("Only a control that SecGuard observes has something to watch.", where="watch")
        return {}
    if not isinstance(watch, Mapping) or not 1 <= len(watch) <= MAX_WATCH:
        raise Invalid(_expected(), where="watch")
    observer = observer_of(watch.get("observer"))
    if observer is None:
        raise Invalid(f"{str(watch.get('observer'))[:40]!r} observes nothing here. {_expected()}", where="watch")
    kept = observer.check({k: v for k, v in watch.items() if k != "observer"}, application, actor)
    return {"observer": observer.name, **kept}


def _expected() -> str:
    known = "; ".join(f"{o.name} ({o.about}): {dict(o.example)}" for o in OBSERVERS)
    return f"Expected is an object that names an observer and what it watches. Known are: {known or 'none'}."


def observer_of(name: Any) -> Observer | None:
    return next((o for o in OBSERVERS if o.name == name), None)
