"""The kinds of news: the list that upper apps add theirs to (DESIGN section 4).

Pure: an app calls ``register`` once for each, in its ``AppConfig.ready``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from secguard.errors import NotFound
from secguard.notifications.rhythm import ByMail, Choice


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of news.

    ``heading`` stands above its lines; ``lead`` begins the sentence that names one of them in a subject; kinds with
    equally pressing news come in ``order``. ``url`` is where all of them are, a path on this site. ``at_once``: minutes
    count, so a message with it waits for nobody's hour or day, only for their quiet hours. ``is_urgent``: those who are
    told answer for it, so the page tells them whatever they choose. ``shared`` is the heading where many read it (a
    team's chat), for one that speaks to one person; what is ``is_personal`` goes to nobody else at all.
    """

    name: str
    heading: str
    lead: str
    order: int
    url: str = ""
    at_once: bool = False
    is_urgent: bool = False
    shared: str = ""
    is_personal: bool = False

    @property
    def default(self) -> Choice:
        """How people are told of it who have chosen nothing."""
        return Choice(ByMail.AT_ONCE if self.at_once else ByMail.DIGEST)


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Adds a kind; ``ValueError`` where another one has its name."""
    if _kinds.setdefault(kind.name, kind) != kind:
        raise ValueError(f"The kind of news {kind.name!r} is registered already; choose another name.")


def kind(name: str) -> Kind:
    """The kind of that name; ``NotFound`` naming the known ones."""
    try:
        return _kinds[name]
    except KeyError:
        known = ", ".join(sorted(_kinds)) or "none"
        raise NotFound(f"There is no kind of news {name!r}; known: {known}.", code="notice-kind") from None


def kind_or_plain(name: str) -> Kind:
    """The kind of that name; for one that no app registers any more, one that only repeats its name."""
    return _kinds.get(name) or Kind(name, name.replace("-", " ").capitalize(), "", order=1_000)


def kinds() -> Iterator[Kind]:
    yield from sorted(_kinds.values(), key=lambda k: k.order)
