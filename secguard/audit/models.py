"""The audit log: append-only, hash-chained (DESIGN rule 10)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC
from types import MappingProxyType
from typing import Any

from django.db import models

from secguard.audit.chain import COLUMNS, Entry
from secguard.audit.words import Kind, Wanted, wanted_column, wanted_words

COLUMN_OF = {
    Kind.ACTOR: "actor",
    Kind.ACTION: "action",
    Kind.TYPE: "subject_type",
    Kind.ID: "subject_id",
    Kind.TEAM: "team_id",
}
"""What may narrow the log by its value."""

INDEXED = ({Kind.ACTOR}, {Kind.ACTION}, {Kind.TEAM}, {Kind.TYPE, Kind.ID})
"""What an index has in the order of the log, if each is one value."""


@dataclass(frozen=True)
class Narrowing:
    """What a queryset of entries is narrowed to, for who looks it up among the words instead of in the rows."""

    columns: MappingProxyType[Kind, frozenset[Any]] = field(default_factory=lambda: MappingProxyType({}))
    subject: str = ""
    first: int = 1
    last: int | None = None

    @property
    def wanted(self) -> Wanted:
        columns = [wanted_column(kind, values) for kind, values in self.columns.items()]
        return sum(columns, wanted_words(self.subject, Kind.SUBJECT) if self.subject else ())

    @property
    def is_indexed(self) -> bool:
        """Whether an index gives the rows in their order: nothing else is then looked at for a page of them."""
        is_one = all(len(values) == 1 for values in self.columns.values())
        return not self.subject and (not self.columns or (is_one and set(self.columns) in INDEXED))


class AuditEntryQuerySet(models.QuerySet["AuditEntry"]):
    narrowing = Narrowing()

    def _clone(self) -> AuditEntryQuerySet:
        clone: AuditEntryQuerySet = super()._clone()  # type: ignore[misc]
        clone.narrowing = self.narrowing
        return clone

    def visible_to(self, user: Any) -> AuditEntryQuerySet:
        """All of it for who may read the log of the organisation, their teams' entries for who may in teams."""
        teams = user.teams_with("audit:read")
        return self if teams is None else self.having(Kind.TEAM, teams)

    def having(self, kind: Kind, values: Collection[Any]) -> AuditEntryQuerySet:
        """The entries with one of ``values`` in a column."""
        kept = frozenset(values) & self.narrowing.columns.get(kind, frozenset(values))
        found = self.filter(**{f"{COLUMN_OF[kind]}__in": sorted(kept)})
        found.narrowing = replace(self.narrowing, columns=MappingProxyType({**self.narrowing.columns, kind: kept}))
        return found

    def since(self, first: int) -> AuditEntryQuerySet:
        found = self.filter(sequence__gte=first)
        found.narrowing = replace(self.narrowing, first=max(first, self.narrowing.first))
        return found

    def until(self, last: int) -> AuditEntryQuerySet:
        found = self.filter(sequence__lte=last)
        before = self.narrowing.last
        found.narrowing = replace(self.narrowing, last=last if before is None else min(last, before))
        return found


class AuditEntry(models.Model):
    """One change of who may do or run what. ``sequence`` has no gaps; ``digest`` covers the entry and its predecessor.

    Actor and subject are kept as text beside their ids: the log outlives its rows. Triggers (migration 0002) refuse to
    change or delete an entry.
    """

    sequence = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    actor = models.CharField(max_length=150)
    actor_id = models.BigIntegerField(null=True)
    token = models.CharField(max_length=12, blank=True)
    action = models.CharField(max_length=64)
    subject_type = models.CharField(max_length=32)
    subject_id = models.CharField(max_length=80)
    subject = models.CharField(max_length=300)
    team_id = models.BigIntegerField(null=True)
    details = models.JSONField(default=dict)
    request_id = models.CharField(max_length=64, blank=True)
    previous_digest = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)

    objects = AuditEntryQuerySet.as_manager()

    class Meta:
        ordering = ["-sequence"]
        verbose_name_plural = "audit entries"
        indexes = [
            # One subject's history, newest first.
            models.Index(fields=["subject_type", "subject_id", "-sequence"], name="audit_subject"),
            # The log filtered by action or by actor, newest first.
            models.Index(fields=["action", "-sequence"], name="audit_action"),
            models.Index(fields=["actor", "-sequence"], name="audit_actor"),
            # A span of time becomes a span of sequence numbers: two look-ups here, whatever the number of rows.
            models.Index(fields=["at", "sequence"], name="audit_at"),
            # What a team's members see of the log.
            models.Index(fields=["team_id", "-sequence"], name="audit_team"),
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.action} {self.subject}"

    def as_entry(self) -> Entry:
        """What the chain is about, free of the database; the two have the same columns."""
        columns = {name: getattr(self, name) for name in COLUMNS}
        return Entry(**columns | {"at": self.at.astimezone(UTC)})


class AuditHead(models.Model):
    """The one row that writers lock to take the next place in the chain."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    sequence = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=64, default="")
    at = models.DateTimeField(null=True, help_text="Of the newest entry: the log's time never runs backwards.")

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="audithead_single")]

    def __str__(self) -> str:
        return f"head {self.sequence}"


class AuditSearch(models.Model):
    """The one row that says up to which entry the table of words reaches. Whoever takes entries in locks it.

    The words themselves stand in a table that migration 0005 makes, as each database has it, and are derived from the
    log: with ``covered`` set back to 0 the job makes them anew.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    covered = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="auditsearch_single")]

    def __str__(self) -> str:
        return f"words up to {self.covered}"


class AuditTree(models.Model):
    """The one row that says over how many entries the tree reaches. Whoever makes it grow locks it."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    size = models.BigIntegerField(default=0)
    origin = models.CharField(max_length=200, help_text="The log's name on its checkpoints, for ever the same.")

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="audittree_single")]

    def __str__(self) -> str:
        return f"tree of {self.size}"


class AuditTile(models.Model):
    """256 hashes of the tree (see ``tree``), fewer while it grows: of 10^7 entries, 40,000 rows and 330 MB."""

    level = models.PositiveSmallIntegerField()
    index = models.BigIntegerField()
    hashes = models.BinaryField()

    class Meta:
        # A proof reads its tiles by this, at most two of each level.
        constraints = [models.UniqueConstraint(fields=["level", "index"], name="audittile_place")]

    def __str__(self) -> str:
        return f"tile {self.level}/{self.index}"


class AuditCheckpoint(models.Model):
    """What was signed of the log at some moment: ``note`` is the signed text, the other columns are read out of it."""

    size = models.BigIntegerField()
    root = models.CharField(max_length=64, help_text="of the tree, in hexadecimal")
    fingerprint = models.CharField(max_length=71, help_text="of the key that signed it")
    note = models.TextField()
    made_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        indexes = [
            # The first checkpoint that holds an entry, and the one of a size.
            models.Index(fields=["size", "id"], name="auditcheckpoint_size"),
        ]

    def __str__(self) -> str:
        return f"checkpoint of {self.size}"
