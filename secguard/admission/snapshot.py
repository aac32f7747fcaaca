"""What a cluster's agent needs to answer while the server is away: everything known at one instant, as bytes. Pure.

The document, as JSON; an agent takes it only in a DSSE envelope that a key it was given has signed::

    {"version": 1, "cluster": {"id", "name", "holder"}, "made_at", "site", "rules": {…}, "paths": {…},
     "preferred": [hosts], "tags": {repository: {tag: digest}},
     "entries": {digest: {"known": {…}, "places": {repository: {…}}, "valid_until", "restart_until", "runs_in": […]}},
     "images": {"known", "held"}}

``rules`` and ``known`` are the fields of ``Rules`` and ``Knowledge``, whatever those are; ``places`` has what differs
where the image is named by that repository. A field that an agent does not know would be a rule that it does not keep,
so such a snapshot is refused: the agent is older than the server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from secguard.admission.answer import Knowledge, Rules
from secguard.errors import Invalid, TooLarge
from secguard.images.reference import Reference, is_digest, try_parse

VERSION: Final = 1
PAYLOAD_TYPE: Final = "application/vnd.secguard.admission-snapshot+json"
MAX_IMAGES: Final = 20_000
"""Images that a snapshot holds; the indexes that name them come on top."""
MAX_BYTES: Final = 32 * 2**20
"""Of the entries; tags may take a quarter more. In an envelope's base64 that stays below ``dsse.MAX_BYTES``."""
MAX_PLACES: Final = 50
"""Repositories of one image that are told apart."""
MAX_AGE: Final = timedelta(days=7)
"""No agent answers from an older one, whatever it was told."""
MAX_SKEW: Final = timedelta(minutes=5)
"""How far ahead of the agent's clock the server's may be."""
PENDING: Final = "It was not judged any more before SecGuard went away: what its last verdict rested on had changed."
RETURN: Final = "Try again once SecGuard answers again; whoever runs it knows how long that takes."


def holder_of(token_hash: str) -> str:
    """Tells whoever has a cluster's token that a snapshot is its own, and nobody anything of the token or its hash."""
    return hashlib.sha256(f"{PAYLOAD_TYPE}\0{token_hash}".encode()).hexdigest() if token_hash else ""


@dataclass(frozen=True, slots=True)
class Head:
    """Whose snapshot it is, and what holds for every image."""

    cluster_id: int
    cluster: str
    holder: str
    """Whose it is (``holder_of``): an agent takes only what is made for the token that it has."""
    made_at: datetime
    site: str
    """This SecGuard's address, for links."""
    rules: Rules = field(default_factory=Rules)
    paths: Mapping[str, Sequence[str]] = field(default_factory=dict)
    preferred: tuple[str, ...] = ()
    """Registries' hosts that images may run from."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One digest, an image's or an index's. ``known`` is as a repository that nobody knows names it."""

    known: Knowledge | None
    """``None``: its verdict was called off, and no other was given."""
    places: Mapping[str, Knowledge] = field(default_factory=dict)
    valid_until: datetime | None = None
    restart_until: datetime | None = None
    """Until when what runs may restart although the verdict has ended; ``None``: nothing known ends it."""
    runs_in: frozenset[str] = frozenset()
    """Namespaces of this cluster in which it ran."""


# --- what answers read of a verdict ---


def condensed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict document with what ``answer`` reads of it: of a reason's findings the first deadline by kind."""
    kept = {name: value for name, value in document.items() if not isinstance(value, (dict, list, tuple))}
    return kept | {"reasons": [_reason(reason) for reason in document["reasons"]]}


def _reason(reason: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: reason[name] for name in ("rule", "effect", "message", "until") if reason.get(name)}
    findings = _deadlines(reason["findings"])
    kept["findings"] = findings
    if reason.get("findings_total", 0) > len(reason["findings"]):
        kept["findings_total"] = len(findings) + 1  # some are not listed: what holds of all cannot be told
    if remedy := _remedy(reason.get("remedy") or {}):
        kept["remedy"] = remedy
    return kept


def _deadlines(findings: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    due: dict[str, list[Any]] = {}
    for finding in findings:
        due.setdefault(str(finding["kind"]), []).append(finding.get("due_at"))
    return [{"kind": kind, "due_at": None if None in several else min(several)} for kind, several in due.items()]


def _remedy(remedy: Mapping[str, Any]) -> dict[str, Any]:
    upgrades = [{n: u[n] for n in ("name", "from", "to")} for u in remedy.get("upgrades", ()) if u.get("to")]
    url = (remedy.get("exception") or {}).get("url")
    found = {"upgrades": upgrades, "text": remedy.get("text"), "exception": {"url": url} if url else None}
    return {name: value for name, value in found.items() if value}


# --- writing ---


class _Cluster(Struct, forbid_unknown_fields=True):
    id: int
    name: str
    holder: str


class _Images(Struct, forbid_unknown_fields=True):
    known: int
    held: int


class _Entry(Struct, forbid_unknown_fields=True, omit_defaults=True):
    known: dict[str, Any] | None = None
    places: dict[str, dict[str, Any]] = {}
    valid_until: datetime | None = None
    restart_until: datetime | None = None
    runs_in: tuple[str, ...] = ()


class _Document(Struct, forbid_unknown_fields=True):
    version: int
    cluster: _Cluster
    made_at: datetime
    site: str
    rules: dict[str, Any]
    paths: dict[str, list[str]]
    preferred: list[str]
    tags: dict[str, dict[str, str]]
    entries: dict[str, Raw]
    images: _Images


_NOT_OF_A_PLACE: Final = frozenset({"break_glass", "runs_here"})
"""A break-glass needs the server, which uses it up; where an image ran is told by namespace."""
_DEFAULTS: Final = Knowledge()
_encode: Final = msgspec.json.encode


class Writer:
    """Writes a snapshot part by part, so that no more than its bytes are held: tags first, then entries."""

    def __init__(self, head: Head, *, most: int = MAX_BYTES) -> None:
        self._most = most
        self._hosts = frozenset(head.preferred)
        self._held = 0
        about = {
            "version": VERSION,
            "cluster": _Cluster(head.cluster_id, head.cluster, head.holder),
            "made_at": head.made_at.astimezone(UTC),
            "site": head.site,
            "rules": {f.name: getattr(head.rules, f.name) for f in fields(head.rules)},
            "paths": head.paths,
            "preferred": head.preferred,
        }
        self._out = bytearray(_encode(about)[:-1] + b',"entries":{')
        self._tags: dict[str, dict[str, str]] = {}

    def entry(self, digest: str, entry: Entry, *, is_image: bool = True) -> bool:
        """Adds a digest; False where there is no room for it."""
        raw = b"%s:%s," % (_encode(digest), _encode(_wire(entry, self._hosts)))
        if len(self._out) + len(raw) > self._most:
            return False
        self._out += raw
        self._held += is_image
        return True

    def finish(self, tags: Iterable[tuple[str, str, str]], known: int) -> bytearray:
        """The document's bytes; ``tags`` are (repository, tag, digest) in the order of repositories, ``known`` the
        images that there are."""
        if self._out.endswith(b","):
            del self._out[-1]
        self._out += b'},"tags":{'
        self._add_tags(tags)
        self._out += b'},"images":%s}' % _encode(_Images(known, self._held))
        return self._out

    def _add_tags(self, tags: Iterable[tuple[str, str, str]]) -> None:
        is_first = True
        for repository, named in _by_repository(tags):
            raw = b"%s:%s" % (_encode(repository), _encode(named))
            if len(self._out) + len(raw) > self._most + self._most // 4:
                return  # a tag that is not held is one that nobody knows
            self._out += raw if is_first else b"," + raw
            is_first = False


def _by_repository(tags: Iterable[tuple[str, str, str]]) -> Iterator[tuple[str, dict[str, str]]]:
    at = ""
    named: dict[str, str] = {}
    for repository, tag, digest in tags:
        if repository != at and named:
            yield at, named
            named = {}
        at = repository
        named[tag] = digest
    if named:
        yield at, named


def _wire(entry: Entry, hosts: frozenset[str]) -> _Entry:
    if entry.known is None:
        return _Entry()
    known = _fields(entry.known)
    places = {}
    for repository, there in entry.places.items():
        other = _differences(there, replace(entry.known, is_preferred=there.is_preferred))
        if "document" in other:
            other["document"] = there.document and condensed(there.document)
        if other:
            places[repository] = other
    return _Entry(known, places, entry.valid_until, entry.restart_until, tuple(sorted(entry.runs_in)))


def _fields(known: Knowledge) -> dict[str, Any]:
    """Its fields that say something; the verdict condensed. Which registries are preferred stands in the head."""
    found = {name: value for name, value in _differences(known, _DEFAULTS).items() if name != "is_preferred"}
    if known.document is not None:
        found["document"] = condensed(known.document)
    return found


def _differences(known: Knowledge, other: Knowledge) -> dict[str, Any]:
    names = (f.name for f in fields(known) if f.name not in _NOT_OF_A_PLACE)
    return {name: getattr(known, name) for name in names if getattr(known, name) != getattr(other, name)}


# --- reading ---

_reader: Final = msgspec.json.Decoder(_Document)
_entry_reader: Final = msgspec.json.Decoder(_Entry)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot read. Entries stay bytes until they are asked for."""

    head: Head
    tags: Mapping[str, Mapping[str, str]]
    entries: Mapping[str, Raw]
    known: int
    held: int

    def knowledge(self, image: str, namespace: str, now: datetime, ends_at: datetime) -> Knowledge:
        """What ``Knowledge`` the server would have had of an image as it is written, as far as it can be told without
        it at ``now``; ``ends_at`` is when the snapshot itself counts no more."""
        reference = try_parse(image)
        if reference is None:
            return Knowledge()
        digest = reference.digest or self.tags.get(reference.repository, {}).get(reference.tag or "latest", "")
        preferred = reference.host in self.head.preferred
        raw = self.entries.get(digest)
        if raw is None:
            return self._absent(digest, preferred)
        entry = _entry_reader.decode(raw)
        if entry.known is None:
            return self._untold(digest, preferred, PENDING)
        known = replace(_known(entry, reference), is_preferred=preferred, runs_here=namespace in entry.runs_in)
        return replace(known, document=_at(known.document, entry, now, ends_at))

    def _absent(self, digest: str, preferred: bool) -> Knowledge:
        if self.held < self.known:
            why = f"The snapshot has {self.held:,} of the {self.known:,} images that SecGuard knows, and this is none."
            return self._untold(digest, preferred, why)
        return Knowledge(digest=digest, is_preferred=preferred)

    def _untold(self, digest: str, preferred: bool, why: str) -> Knowledge:
        """Blocked, for that one reason: whether it has what the cluster asks for besides cannot be told either."""
        asked = self.head.rules
        return Knowledge(
            digest=digest,
            is_preferred=preferred,
            document=blocked(why, RETURN),
            promoted_to=(asked.environment,),
            signed_by=asked.signers,
        )


def blocked(message: str, remedy: str, *, until: datetime | None = None) -> dict[str, Any]:
    """A verdict that lets nothing start, in words; with ``until`` what runs already may restart until then."""
    findings = [{"kind": "hygiene", "due_at": until.isoformat()}] if until else []
    reason = {"rule": "snapshot", "effect": "block", "message": message, "findings": findings}
    return {"verdict": "block", "reasons": [reason | {"remedy": {"text": remedy}}]}


def _at(document: Mapping[str, Any] | None, entry: _Entry, now: datetime, ends_at: datetime) -> Any:
    """The verdict as it counts at ``now``: past its end one that let something pass counts for nothing."""
    if document is None or document["verdict"] == "block" or entry.valid_until is None or now < entry.valid_until:
        return document
    until = min(entry.restart_until or ends_at, ends_at)
    why = (
        f"Its verdict held until {entry.valid_until:%Y-%m-%d %H:%M} UTC; what it is since then only SecGuard can tell."
    )
    return blocked(why, RETURN, until=until)


def _known(entry: _Entry, reference: Reference) -> Knowledge:
    told = (entry.known or {}) | entry.places.get(reference.repository, {})
    return msgspec.convert(told, Knowledge)


def decode(raw: bytes) -> Snapshot:
    """Reads what ``Writer`` wrote. Raises ``Invalid`` (``TooLarge``) for everything else, and for what a newer SecGuard
    wrote; every entry is looked at."""
    most = MAX_BYTES + MAX_BYTES // 2
    if len(raw) > most:
        raise TooLarge(f"The snapshot has {len(raw):,} bytes; at most {most:,} are read.", code="snapshot-too-large")
    try:
        found = _reader.decode(raw)
        _check_version(found.version)
        _check_fields(found.rules, Rules, "rules")
        for digest, entry in found.entries.items():
            _check_entry(digest, entry)
        head = Head(
            found.cluster.id,
            found.cluster.name,
            found.cluster.holder,
            _aware(found.made_at, "made_at"),
            found.site,
            msgspec.convert(found.rules, Rules),
            found.paths,
            tuple(found.preferred),
        )
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise _bad(f"it is no document of version {VERSION}: {str(error)[:200]}") from None
    return Snapshot(head, found.tags, found.entries, found.images.known, found.images.held)


def _check_entry(digest: str, raw: Raw) -> None:
    entry = _entry_reader.decode(raw)
    if not is_digest(digest):
        raise _bad(f"{digest[:80]!r} is no digest")
    for told in (*([entry.known] if entry.known else []), *entry.places.values()):
        _check_fields(told, Knowledge, digest)
    if entry.known is not None:
        known = msgspec.convert(entry.known, Knowledge)
        if known.document is not None and entry.valid_until is None:
            raise _bad(f"the verdict on {digest} has no end")
    for name in ("valid_until", "restart_until"):
        if (moment := getattr(entry, name)) is not None:
            _aware(moment, f"{digest}.{name}")


def _check_version(version: int) -> None:
    if version != VERSION:
        raise _bad(
            f"it is of version {version}, and this agent reads version {VERSION}: bring it to the server's release"
        )


def _check_fields(told: Mapping[str, Any], of: type[Knowledge] | type[Rules], where: str) -> None:
    unknown = told.keys() - {f.name for f in fields(of)}
    if unknown:
        names = ", ".join(sorted(name[:40] for name in unknown)[:5])
        raise _bad(f"at {where} it tells {names}, which this agent does not know: bring it to the server's release")


def _aware(moment: datetime, where: str) -> datetime:
    if moment.tzinfo is None:
        raise _bad(f"{where} is a time without its zone")
    return moment


def _bad(why: str) -> Invalid:
    return Invalid(f"The snapshot cannot be used: {why}.", code="bad-snapshot")
