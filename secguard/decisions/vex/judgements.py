"""What is told of decisions, before it has a form: judgements, the images that they hold for, and the words.

Pure. ``fix``, ``mitigate`` and ``accept`` say that the image is affected and what is done about it; only
``not_affected`` says that it is not.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from secguard.decisions.lifecycle import DecisionKind
from secguard.images.purl import coordinates

_ACTIONS: Final = {
    DecisionKind.FIX: "It will be fixed by {until}.",
    DecisionKind.MITIGATE: "It is mitigated by a control outside of the image until {until}.",
    DecisionKind.ACCEPT: "The risk is accepted until {until}.",
}
_DOCKER_HUB: Final = "docker.io/"
"""Trivy and Grype write ``index.docker.io`` where people and references say ``docker.io``."""


@dataclass(frozen=True)
class Judgement:
    """One decision as far as others may know it. ``why`` and ``justification`` (of ``justifications``) are told of
    ``not_affected`` alone, and may be empty.

    ``purls`` are the packages that it is about; without any it is about the whole image.
    """

    decision: int
    kind: DecisionKind
    vulnerability: str
    aliases: Sequence[str]
    purls: Sequence[str]
    approved_at: datetime
    expires_at: datetime
    why: str = ""
    justification: str = ""

    @property
    def is_affected(self) -> bool:
        return self.kind is not DecisionKind.NOT_AFFECTED

    @cached_property
    def other_names(self) -> list[str]:
        return sorted(set(self.aliases) - {self.vulnerability})

    @cached_property
    def words(self) -> str:
        """What is done about it or why it is not affected, by which decision, and until when."""
        until = self.expires_at.astimezone(UTC).date().isoformat()
        if self.is_affected:
            return f"{_ACTIONS[self.kind].format(until=until)} (Decision {self.decision}.)"
        why = f"{self.why.strip()} " if self.why.strip() else ""
        return f"{why}(Decision {self.decision}, until {until}.)"


class Product(NamedTuple):
    """An image under the names by which tools know it: its purls, of which the first is the one for people."""

    digest: str
    purls: tuple[str, ...]


class Ruling(NamedTuple):
    """A judgement, and an image that it holds for."""

    product: Product
    judgement: Judgement


class Said(NamedTuple):
    """One decision and the images that it holds for, each with the packages that are meant in it."""

    judgement: Judgement
    places: list[tuple[Product, tuple[str, ...]]]


@dataclass(frozen=True)
class Told:
    """All that one document says. ``author`` is an IRI; ``at`` an aware instant, of a document that says nothing."""

    about: str
    author: str
    rulings: Sequence[Ruling]
    at: datetime

    @cached_property
    def said(self) -> list[Said]:
        """By vulnerability, then decision, whatever the order of ``rulings`` is."""
        places: dict[tuple[Any, ...], dict[Product, set[str]]] = defaultdict(lambda: defaultdict(set))
        first: dict[tuple[Any, ...], Judgement] = {}
        for product, one in self.rulings:
            why = "" if one.is_affected else one.why.strip()
            key = (one.vulnerability, one.decision, why)
            first.setdefault(key, replace(one, purls=(), why=why))
            places[key][product].update(one.purls)
        return [
            Said(first[key], [(product, tuple(sorted(purls))) for product, purls in sorted(places[key].items())])
            for key in sorted(places)
        ]

    @cached_property
    def sha256(self) -> str:
        """Of what is said: the same decisions on the same images have the same, whenever they are asked for."""
        content = [
            [
                [
                    one.decision,
                    one.kind.value,
                    one.vulnerability,
                    one.other_names,
                    one.words,
                    rfc3339(one.approved_at),
                    *([one.justification] if one.justification else []),
                ],
                places,
            ]
            for one, places in self.said
        ]
        return hashlib.sha256(msgspec.json.encode([self.about, self.author, content])).hexdigest()

    @cached_property
    def timestamp(self) -> str:
        """When the latest of the decisions was made, so that the same decisions make the same bytes."""
        return rfc3339(max((one.approved_at for one, _ in self.said), default=self.at))


def product(digest: str, repositories: Sequence[str], indexes: Sequence[tuple[str, str]] = ()) -> Product:
    """An image's names (PURL-TYPES, "oci"): the last part of the repository's name, the digest, ``repository_url``.

    ``indexes`` are (digest, architecture): an index is another name for it only beside the architecture that is meant,
    and only where no other image of the index has the same. Without a repository it is ``image``.
    """
    named = [n for name in sorted(set(repositories)) for n in _spellings(name.lower())] or [""]
    purls = [_purl(name, digest) for name in named]
    purls += [_purl(name, index, architecture) for index, architecture in sorted(set(indexes)) for name in named]
    return Product(digest, tuple(purls))


def _spellings(name: str) -> list[str]:
    return [name, f"index.{name}"] if name.startswith(_DOCKER_HUB) else [name]


def _purl(name: str, digest: str, architecture: str = "") -> str:
    qualifiers = {"arch": architecture, "repository_url": name}
    said = "&".join(f"{key}={quote(value, safe='/:.')}" for key, value in qualifiers.items() if value)
    last = quote(name.rpartition("/")[2] or "image")
    return f"pkg:oci/{last}@{quote(digest, safe='')}" + (f"?{said}" if said else "")


def package_name(purl: str) -> str:
    """``openssl 1.1.1n`` as people say it."""
    found = coordinates(purl.partition("?")[0].partition("#")[0])
    return f"{found.name} {found.version}".strip() or purl


def rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
