"""What a policy may ask about: frozen, and the same bytes again for the same facts.

The caller gathers them (the image, its open findings with the one decision that applies to each, its scans); an
evaluation reads nothing else, so the stored bytes replay it at any later time (DESIGN rule 7). Times are aware UTC.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec
from msgspec import Struct

from secguard.errors import Invalid


class Gate(StrEnum):
    """A stage where a verdict is asked for."""

    BUILD = "build"
    PROMOTE = "promote"
    ADMIT = "admit"
    RUN = "run"


class DecisionFact(Struct, frozen=True, kw_only=True):
    """The decision that was chosen for a finding (``decisions.scope``); whether it still holds is asked again."""

    id: int
    kind: str
    """``fix``, ``mitigate``, ``accept`` or ``not_affected``."""
    scope: str = ""
    """For people: which scope it was approved for, ``repository shop/cart``."""
    starts_at: datetime | None = None
    expires_at: datetime | None = None


class DueFact(Struct, frozen=True, kw_only=True):
    """What gave a finding its deadline."""

    appetite: int
    """The version of the risk appetite; 0 of a draft."""
    row: str
    words: str
    """The row and what led to it."""


class FindingFact(Struct, frozen=True, kw_only=True):
    """One open finding. Fields that a kind does not have stay empty."""

    id: int
    risk: int
    kind: str
    severity: str = "unknown"
    """A word of ``findings.severity``."""
    vulnerability: str = ""
    aliases: tuple[str, ...] = ()
    purl: str = ""
    package: str = ""
    """The purl without version: what an upgrade is about."""
    name: str = ""
    version: str = ""
    fixed_versions: tuple[str, ...] = ()
    fix_available: bool = False
    known_exploited: bool = False
    epss: float | None = None
    cvss_score: float | None = None
    title: str = ""
    rule: str = ""
    """The rule, signature or check id of what is no vulnerability."""
    path: str = ""
    first_seen_at: datetime
    """First seen in the image's lineage, so that a rebuild does not begin its grace anew."""
    due_at: datetime | None = None
    due_by: DueFact | None = None
    """Missing where it was not kept yet, or is not known."""
    sources: tuple[str, ...] = ()
    """The scanners that report it."""
    decision: DecisionFact | None = None
    is_decided_in_part: bool = False
    """Some of the teams that have the image decided it for what is theirs, and others did not: it is not covered."""


class ScanFact(Struct, frozen=True, kw_only=True):
    """The latest finished scan of one scanner on the image."""

    id: int
    scanner: str
    finished_at: datetime
    complete: bool = True
    covers: tuple[str, ...] = ()
    """The kinds of findings it looked for. An SBOM covers none."""
    database_updated_at: datetime | None = None


class PlanningFact(Struct, frozen=True, kw_only=True):
    """How the checklists of the applications that own an image stand."""

    known: bool = True
    templates: tuple[str, ...] = ()
    open: int = 0
    """Requirements that are not known to be kept."""
    missing: tuple[str, ...] = ()
    """Their ids; empty where several teams own the image and share the verdict."""
    turns_at: datetime | None = None
    """The first instant at which the clock may change it, such as when an answer ends."""


class ImageFact(Struct, frozen=True, kw_only=True):
    digest: str
    reference: str = ""
    registry: str = ""
    repositories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    application: str = ""
    team: str = ""
    os: str = ""
    size_bytes: int | None = None
    created_at: datetime | None = None
    exposed: bool = False
    production: bool = False
    labels: dict[str, str] = {}
    recalled: str = ""
    """Why it was called back; empty where it was not."""
    planning: PlanningFact | None = None
    """None where an application that owns it has no checklist, or none owns it."""


class Facts(Struct, frozen=True, kw_only=True):
    """Everything an evaluation reads, besides the policy and the instant."""

    stage: Gate
    image: ImageFact
    findings: tuple[FindingFact, ...] = ()
    scans: tuple[ScanFact, ...] = ()


_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder(Facts)


def encode(facts: Facts) -> bytes:
    """``facts`` as JSON; equal facts give equal bytes."""
    return _ENCODER.encode(facts)


def shared(facts: Facts) -> Facts:
    """``facts`` without what differs between gates and between scans that find the same: see ``rejoined``."""
    return msgspec.structs.replace(facts, stage=Gate.BUILD, scans=())


def rejoined(raw: bytes, stage: str, scans: object) -> Facts:
    """The facts of one evaluation: the bytes of ``shared`` facts, its gate, and its scans as ``msgspec`` builtins.

    Raises ``Invalid`` as ``decode`` does.
    """
    try:
        read = msgspec.convert(scans, tuple[ScanFact, ...])
    except msgspec.MsgspecError as e:
        raise Invalid(f"The stored scans cannot be read: {e}.", code="facts", where="$.scans") from e
    return msgspec.structs.replace(decode(raw), stage=Gate(stage), scans=read)


def decode(raw: bytes) -> Facts:
    """What ``encode`` wrote; raises ``Invalid`` with the place where ``raw`` is something else."""
    try:
        return _DECODER.decode(raw)
    except msgspec.MsgspecError as e:
        raise Invalid(f"The stored facts cannot be read: {e}.", code="facts", where="$") from e
