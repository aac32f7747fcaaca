"""What a token is limited to within its team: some applications, repositories whose names fit a pattern, or both."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from secguard import patterns
from secguard.errors import Invalid

MAX_REPOSITORIES = 20


@dataclass(frozen=True)
class Limit:
    """Where both are said, both hold. ``is_void``: the owner no longer holds the token's role, so nothing is inside."""

    team: int
    applications: frozenset[int] | None = None
    """Ids; None: all of the team's."""
    repositories: tuple[str, ...] | None = None
    """Patterns (``secguard.patterns``); None: whatever the repositories are called."""
    is_void: bool = False

    @property
    def words(self) -> str:
        parts = (self.applications, "applications"), (self.repositories, "repositories")
        return f"some of its team's {' and '.join(word for part, word in parts if part is not None)}"

    def has_application(self, application_id: int, team_id: int) -> bool:
        is_named = self.applications is None or application_id in self.applications
        return not self.is_void and is_named and team_id == self.team

    def has_name(self, repository: str) -> bool:
        """Whether a repository may be called so; whose it is, is asked apart from that."""
        if self.is_void:
            return False
        return self.repositories is None or any(patterns.matches(p, repository) for p in self.repositories)

    @property
    def name_regex(self) -> str:
        """For the database: the names that ``has_name`` holds for."""
        return _name_regex(self.repositories or ())

    @property
    def reference_regex(self) -> str:
        """For the database: references (name, tag, digest) to what ``has_name`` holds for."""
        return _reference_regex(self.repositories or ())


def check_repositories(given: Iterable[str]) -> list[str] | None:
    """The patterns, each once; None where there are none. Raises ``Invalid`` for one that is none, or means all."""
    found = list(dict.fromkeys(text.strip() for text in given if text.strip()))
    if not found:
        return None
    if len(found) > MAX_REPOSITORIES:
        raise Invalid(
            f"A token is limited by at most {MAX_REPOSITORIES} patterns, not {len(found)}.", where="repositories"
        )
    for pattern in map(patterns.check, found):
        if "**" in pattern.partition("/")[0]:
            raise Invalid(
                f"The pattern {pattern[:80]!r} leaves the registry open. Write it out, as in registry.example/shop/*; "
                "for all repositories give no pattern.",
                code="bad-pattern",
                where="repositories",
            )
    return found


# Both are read by PostgreSQL as by Python: names hold nothing that the two escape differently.


@lru_cache(maxsize=256)
def _name_regex(repositories: tuple[str, ...]) -> str:
    return rf"\A(?:{'|'.join(_regex(p, '[^/]*', '.*') for p in repositories)})\Z"


@lru_cache(maxsize=256)
def _reference_regex(repositories: tuple[str, ...]) -> str:
    """A colon may stand in the registry (its port) and nowhere else in a name: a tag is no part of it."""
    alternatives = []
    for pattern in repositories:
        host, _, path = pattern.partition("/")
        alternatives.append(f"{_regex(host, '[^/@]*', '[^/@]*')}/{_regex(path, '[^/:@]*', '[^:@]*')}")
    return rf"\A(?:{'|'.join(alternatives)})(?::[^/@]*)?(?:@.*)?\Z"


def _regex(pattern: str, one: str, any_: str) -> str:
    parts = re.split(r"(\*\*|\*)", pattern)
    return "".join({"**": any_, "*": one}.get(part) or re.escape(part) for part in parts)
