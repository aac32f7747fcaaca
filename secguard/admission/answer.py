"""May this start: the rules of modes, grace and exceptions from the rule, and the words of the answer. Pure.

Everything that is known of the images comes in, the instant too; the same question over the same knowledge is the same
answer, word for word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from secguard.admission.review import Review, Subject
from secguard.errors import Invalid
from secguard.images.reference import Reference, is_digest, parse
from secguard.workloads.podspec import ASKS, Ask


class Mode(StrEnum):
    """What a refusal does in a cluster or namespace."""

    ENFORCE = "enforce"
    WARN = "warn"
    OBSERVE = "observe"


class Outcome(StrEnum):
    """What came of one image. ``would-deny`` and ``warned``: refused, where the mode lets it start all the same."""

    ALLOWED = "allowed"
    WARNED = "warned"
    GRACE = "grace"
    BROKEN_GLASS = "broken-glass"
    WOULD_DENY = "would-deny"
    DENIED = "denied"


WORST: Final = tuple(Outcome)
KEPT: Final = frozenset(Outcome) - {Outcome.ALLOWED}
"""Outcomes that are kept each time; of what is simply allowed the first is."""


class Effect(StrEnum):
    BLOCK = "block"
    WARN = "warn"
    OFF = "off"


DEFAULT_EFFECTS: Final[Mapping[str, Effect]] = {
    "privileged": Effect.WARN,
    "host-pid": Effect.WARN,
    "host-ipc": Effect.WARN,
    "host-network": Effect.WARN,
    "capability": Effect.WARN,
    "container-socket": Effect.WARN,
    "host-path": Effect.WARN,
    "data-volume": Effect.OFF,
    "root": Effect.OFF,
    "no-limits": Effect.OFF,
}
"""What a cluster does about what pods ask for, until somebody says otherwise: tell of what reaches the node."""

MAX_MESSAGE: Final = 6000
MAX_WARNING: Final = 250
"""Past 256 characters API servers cut warnings (kubernetes/api admission/v1, ``warnings``)."""
MAX_WARNINGS: Final = 12
MAX_IMAGES_TOLD: Final = 5
MAX_REASONS_TOLD: Final = 4
MAX_UPGRADES_TOLD: Final = 3
GRACED: Final = frozenset({"vulnerability", "misconfiguration", "hygiene"})
"""Kinds of findings that what runs already may wait with. Malware and secrets are not among them."""


class Asked(NamedTuple):
    """What a cluster asks of every image, as ``Rules`` says it."""

    requires_digest: bool
    environment: str
    signers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """One cluster's settings."""

    mode: Mode = Mode.ENFORCE
    namespaces: Mapping[str, str] = field(default_factory=dict)
    """Namespace, or the beginning of one and ``*``, to mode."""
    effects: Mapping[str, str] = field(default_factory=dict)
    """Of asks, where they differ from ``DEFAULT_EFFECTS``."""
    requires_digest: bool = True
    environment: str = ""
    """What runs here was promoted to it; empty: that is not asked."""
    signers: tuple[str, ...] = ()
    """Keys, ours or trusted ones: what runs here was signed by one of them. None: that is not asked."""

    @property
    def asked(self) -> Asked:
        return Asked(self.requires_digest, self.environment, self.signers)

    def mode_in(self, namespace: str) -> Mode:
        """The mode of a namespace: its own, else that of the longest beginning that is named, else the cluster's."""
        if namespace in self.namespaces:
            return Mode(self.namespaces[namespace])
        fitting = [n for n in self.namespaces if n.endswith("*") and namespace.startswith(n[:-1])]
        return Mode(self.namespaces[max(fitting, key=len)]) if fitting else self.mode

    def effect_of(self, ask: Ask) -> Effect:
        return Effect(self.effects.get(ask.kind, DEFAULT_EFFECTS[ask.kind]))


def check_namespaces(namespaces: Any) -> dict[str, str]:
    """Modes by namespace as they are kept; raises ``Invalid`` with the place."""
    if not isinstance(namespaces, Mapping) or len(namespaces) > 1000:
        raise Invalid(
            'Expected an object of at most 1000 namespaces, for example {"team-*": "warn"}.', where="namespaces"
        )
    for name, mode in namespaces.items():
        stem = name.removesuffix("*") if isinstance(name, str) else "?"
        if not all(c.isascii() and (c.islower() or c.isdigit() or c == "-") for c in stem) or len(stem) > 63:
            raise Invalid(
                f"{str(name)[:80]!r} is no namespace; expected its name, or a beginning and *.", where="namespaces"
            )
        if mode not in set(Mode):
            raise Invalid(
                f"{str(mode)[:80]!r} is no mode; expected one of {', '.join(Mode)}.", where=f"namespaces.{name}"
            )
    return dict(namespaces)


def check_effects(effects: Any) -> dict[str, str]:
    """Effects of what pods ask for as they are kept; raises ``Invalid`` with the place."""
    if not isinstance(effects, Mapping) or any(a not in ASKS or e not in set(Effect) for a, e in effects.items()):
        raise Invalid(
            f"Expected an object of {', '.join(ASKS)}, each with one of {', '.join(Effect)}.", where="effects"
        )
    return dict(effects)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known here of one image as it was written; the defaults: nothing."""

    digest: str = ""
    """What the reference names: an image's digest or an index's."""
    image_digest: str = ""
    """The manifest that was judged; with an index the platform whose verdict is the worst."""
    image_id: int | None = None
    evaluation_id: int | None = None
    document: Mapping[str, Any] | None = None
    """The verdict document (DESIGN section 5) of the gate ``admit``."""
    is_preferred: bool = True
    """Whether its registry is one that images may run from."""
    runs_here: bool = False
    """Whether it ran in this namespace before this review."""
    ended: tuple[str, ...] = ()
    """Decisions that let it pass and ended, in words."""
    break_glass: int | None = None
    """A granted one that is not used yet."""
    promoted_to: tuple[str, ...] = ()
    """Environments to which the digest was promoted, by statements that count now."""
    signed_by: tuple[str, ...] = ()
    """Whose signatures that count now lie beside it, where the reference says that it lies."""
    is_remembered: bool = False
    """Whether the process keeps it anyhow, with no more of the document than is read here: then so may what is said of
    it. What anybody asks about, and whole documents, would fill the memory."""

    def __hash__(self) -> int:
        return hash(self.digest)  # a document has no hash


NOTHING: Final = Knowledge()
_ANY: Final = Reference("", "")


class Judged(NamedTuple):
    """One image's answer. ``blocks`` and ``ways`` are sentences."""

    image: str
    known: Knowledge
    outcome: Outcome
    blocks: tuple[str, ...] = ()
    ways: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    until: datetime | None = None
    """The end of its grace."""

    @property
    def reason(self) -> str:
        return " ".join((*self.blocks, *self.notes))


@dataclass(frozen=True, slots=True)
class Answer:
    subject: Subject
    mode: Mode
    allowed: bool
    outcome: Outcome
    images: tuple[Judged, ...]
    asks: Judged | None = None
    """What the pod asks for, where that is told or refused; its ``image`` is empty."""
    message: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[Judged, ...]:
        return (*self.images, self.asks) if self.asks else self.images

    @property
    def used(self) -> tuple[int, ...]:
        """The broken glass that this answer stands on. Only what starts containers uses it up."""
        return tuple(
            j.known.break_glass
            for j in self.images
            if j.outcome is Outcome.BROKEN_GLASS and j.known.break_glass is not None
        )


def answer(review: Review, known: Mapping[str, Knowledge], rules: Rules, now: datetime, site: str) -> Answer:
    """The answer to ``review``; ``known`` is by the image as written, ``site`` the address of this SecGuard."""
    mode, asked = rules.mode_in(review.subject.namespace), rules.asked
    images = []
    for image in dict.fromkeys(use.image for use in review.images):
        about = known.get(image, NOTHING)
        passed = _passed(image, about, asked) if about.is_remembered else None
        images.append(passed or _judge(image, about, image in review.standing, rules, mode, now))
    asks = _judge_asks(review, rules, mode)
    parts = (*images, asks) if asks else images
    outcome = max({j.outcome for j in parts}, key=WORST.index, default=Outcome.ALLOWED)
    made = Answer(review.subject, mode, outcome is not Outcome.DENIED, outcome, tuple(images), asks)
    if mode is Mode.OBSERVE:
        return made
    message = _message(made, site) if not made.allowed else ""
    return Answer(made.subject, mode, made.allowed, outcome, made.images, asks, message, _warnings(parts, made.allowed))


# --- one image ---


def _judge(image: str, known: Knowledge, standing: bool, rules: Rules, mode: Mode, now: datetime) -> Judged:
    asked = rules.asked
    blocks, ways = _against(image, known, asked)
    if not blocks:
        return _clear(image, known)
    if standing:
        note = "It stood there before this change, which is let through."
        return Judged(image, known, Outcome.WARNED, blocks, ways, (note,))
    until = _grace(known, asked, now)
    if until is not None:
        note = f"It runs here already and may restart and scale until {_moment(until)}."
        return Judged(image, known, Outcome.GRACE, blocks, ways, (note,), until)
    if known.break_glass is not None and mode is Mode.ENFORCE:
        note = f"Let through by break-glass {known.break_glass}."
        return Judged(image, known, Outcome.BROKEN_GLASS, blocks, ways, (note,))
    return Judged(image, known, Outcome.DENIED if mode is Mode.ENFORCE else Outcome.WOULD_DENY, blocks, ways)


@lru_cache(maxsize=10_000)
def _passed(image: str, known: Knowledge, asked: Asked) -> Judged | None:
    """Its answer where nothing stands against it, at whatever instant: the same for each of its replicas."""
    return None if any(_against(image, known, asked)) else _clear(image, known)


def _clear(image: str, known: Knowledge) -> Judged:
    warned = _warned(known.document)
    return Judged(image, known, Outcome.WARNED if warned else Outcome.ALLOWED, notes=warned)


def _against(image: str, known: Knowledge, asked: Asked) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(what blocks it, the ways out), as sentences."""
    try:
        reference = parse(image)
    except Invalid as refused:
        return (refused.detail,), ("Write it as registry/repository@sha256:<64 hex digits>.",)
    blocks: list[str] = []
    ways: list[str] = []
    if not known.is_preferred:
        blocks.append(f"Its registry {reference.host} is none that images may run from here.")
        ways.append("Take it from a preferred registry, or have an operator make this one preferred.")
    if known.document is None:
        blocks.append("It is not known here: nobody has scanned it, so nobody can tell what is in it.")
        ways.append(f"Have it scanned (secguard scan {image}), or post a scanner's report (secguard report).")
        return tuple(blocks), tuple(ways)
    for unmet, way in _unmet(reference, known, asked):
        blocks.append(unmet)
        ways.append(way)
    if known.document["verdict"] == "block":
        for reason in _reasons(known.document, "block"):
            blocks.append(str(reason["message"]).rstrip(".") + ".")
            ways += _ways(reason)
        blocks += known.ended
    if asked.requires_digest and not blocks and not reference.digest:
        blocks.append("It is a tag: what a node pulls under it may be something else than what was judged.")
        ways.append(f"Name what was judged: {reference.repository}@{known.digest}, or let the mutating webhook pin it.")
    return (tuple(blocks), tuple(dict.fromkeys(ways))) if blocks else ((), ())


def _unmet(reference: Reference, known: Knowledge, asked: Asked) -> Iterable[tuple[str, str]]:
    """(what the cluster asks of every image and this one lacks, the way out)."""
    if asked.environment and asked.environment not in known.promoted_to:
        stands = f"; it stands in {', '.join(known.promoted_to)}" if known.promoted_to else ""
        yield (
            f"It was not promoted to {asked.environment}{stands}.",
            f"Promote it: secguard promote {reference.repository}@{known.digest} --to {asked.environment}",
        )
    if asked.signers and not set(asked.signers) & set(known.signed_by):
        found = f"; it is signed by {', '.join(known.signed_by)}" if known.signed_by else ""
        yield (
            f"Nobody whose signature counts here signed it in {reference.repository}{found}.",
            f"Have it signed by {' or '.join(asked.signers)}; what was signed elsewhere is seen after "
            f"secguard signatures {reference.repository}@{known.digest} --look",
        )


def _reasons(document: Mapping[str, Any], effect: str) -> list[Mapping[str, Any]]:
    return [r for r in document["reasons"] if r["effect"] == effect]


def _warned(document: Mapping[str, Any] | None) -> tuple[str, ...]:
    if document is None:
        return ()
    return tuple(str(r["message"]).rstrip(".") + "." for r in _reasons(document, "warn"))


def _ways(reason: Mapping[str, Any]) -> Iterable[str]:
    remedy = reason.get("remedy") or {}
    upgrades = [u for u in remedy.get("upgrades", ()) if u.get("to")]
    if upgrades:
        told = ", ".join(f"{u['name']} from {u['from']} to {u['to']}" for u in upgrades[:MAX_UPGRADES_TOLD])
        yield f"Upgrade {told}{_more(len(upgrades) - MAX_UPGRADES_TOLD)}."
    if text := remedy.get("text"):
        yield str(text)
    if url := (remedy.get("exception") or {}).get("url"):
        yield f"Ask for an exception: {url}"


def _grace(known: Knowledge, asked: Asked, now: datetime) -> datetime | None:
    """Until when what runs already may restart; ``None``: no longer, or it was never in it."""
    if not known.runs_here or known.document is None or not known.is_preferred:
        return None
    if any(_unmet(_ANY, known, asked)):
        return None
    return grace_of(known.document, now)


def grace_of(document: Mapping[str, Any], now: datetime) -> datetime | None:
    """Until when an image with this verdict may restart where it runs already (DESIGN rule 8); ``None``: it may not.

    The first of the deadlines of what blocks, all of which must be findings that have one.
    """
    deadlines = []
    for reason in _reasons(document, "block"):
        findings = reason["findings"]
        if not findings or reason.get("findings_total", len(findings)) > len(findings):
            return None
        for finding in findings:
            due = finding.get("due_at")
            if finding["kind"] not in GRACED or due is None:
                return None
            deadlines.append(datetime.fromisoformat(due) if isinstance(due, str) else due)
    first = min(deadlines, default=now)
    return first if first > now else None


# --- what the pod asks for ---


def _judge_asks(review: Review, rules: Rules, mode: Mode) -> Judged | None:
    told = [a for a in review.asks if rules.effect_of(a) is not Effect.OFF]
    if not told:
        return None
    blocking = [a for a in told if rules.effect_of(a) is Effect.BLOCK and a not in review.standing_asks]
    if not blocking:
        return Judged("", NOTHING, Outcome.WARNED, notes=tuple(_ask_words(a) for a in told))
    outcome = Outcome.DENIED if mode is Mode.ENFORCE else Outcome.WOULD_DENY
    way = "Take that out of the pod's description, or run it in a namespace that allows it."
    return Judged("", NOTHING, outcome, tuple(_ask_words(a) for a in blocking), (way,))


def _ask_words(ask: Ask) -> str:
    where = f"{ask.name} " if ask.name else "The pod "
    detail = f" ({ask.detail})" if ask.detail else ""
    return f"{where}{ASKS[ask.kind]}{detail}."


# --- words ---


def _message(made: Answer, site: str) -> str:
    """What a person reads in their terminal, behind the webhook's name."""
    about = made.subject
    name = "/".join(part for part in (about.namespace, about.name) if part)
    lines = [f"SecGuard refuses {about.kind or 'the pod'} {name}".rstrip() + ":"]
    denied = [j for j in made.parts if j.outcome is Outcome.DENIED]
    for judged in denied[:MAX_IMAGES_TOLD]:
        lines += _told(judged, site)
    if len(denied) > MAX_IMAGES_TOLD:
        lines.append(f"and {len(denied) - MAX_IMAGES_TOLD} more images.")
    text = "\n".join(lines)
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def _told(judged: Judged, site: str) -> Iterable[str]:
    yield f"{named(judged)}:" if judged.image else "What it asks for:"
    for block in judged.blocks[:MAX_REASONS_TOLD]:
        yield f"  - {block}"
    if len(judged.blocks) > MAX_REASONS_TOLD:
        yield f"  - and {len(judged.blocks) - MAX_REASONS_TOLD} more reasons"
    for way in judged.ways[:MAX_REASONS_TOLD]:
        yield f"  Way out: {way}"
    if judged.known.image_digest:
        yield f"  Details: {site.rstrip('/')}/images/{judged.known.image_digest}/"


def named(judged: Judged) -> str:
    """The image as it was written, and the digest that a tag means here."""
    image, digest = judged.image[:600], judged.known.digest
    return f"{image} ({digest})" if digest and is_digest(digest) and digest not in image else image


def _warnings(parts: Iterable[Judged], allowed: bool) -> tuple[str, ...]:
    """One line each, as ``kubectl`` shows them; of what is denied the message tells."""
    lines = []
    for judged in parts:
        if judged.outcome in (Outcome.ALLOWED, Outcome.DENIED):
            continue
        head = f"{judged.image}: " if judged.image else ""
        lines += [f"{head}{text}" for text in (*judged.notes, *judged.blocks)]
    told = [line if len(line) <= MAX_WARNING else line[: MAX_WARNING - 1] + "…" for line in dict.fromkeys(lines)]
    if len(told) > MAX_WARNINGS:
        told = [*told[: MAX_WARNINGS - 1], f"and {len(told) - MAX_WARNINGS + 1} more warnings"]
    return tuple(told)


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""
