"""Files of advisories taken in: asked for, read in a job batch by batch, and what became of each written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from secguard import bulk
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.advisories import kev
from secguard.advisories.adapters.opening import UNREADABLE, Budget, Document, documents
from secguard.advisories.feeds import OPEN_IMPORTS, FeedKind, ImportStatus
from secguard.advisories.models import EcosystemData, Feed, Import
from secguard.advisories.reading import Fault, Item, Scores, Statement, items
from secguard.advisories.services.ahead import reading_ahead
from secguard.advisories.services.facts import store_catalogue, store_scores
from secguard.advisories.services.storing import BATCH, store
from secguard.audit import services as audit
from secguard.audit.actions import Action
from secguard.errors import Invalid, Unavailable
from secguard.jobs import services as jobs
from secguard.jobs.lifecycle import Queue
from secguard.jobs.registry import Run

IMPORT = "advisories.import"
SMALL = 16 * 2**20
"""Bytes: such a file is imported by the interactive queue, whatever feed is being read meanwhile."""
HEAVIEST = 200_000
"""Texts in one batch: bounds its memory whatever the entries are."""
REASONS = 10
KEPT_IMPORTS = 200

Said = Callable[[str, int, int], None]


def folder() -> Path:
    """Where files wait for their import: shared by everything that serves or works (SECGUARD_DATA_DIR)."""
    path: Path = settings.DATA_DIR / "imports"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def file_of(import_id: int) -> Path:
    return folder() / f"{import_id}.feed"


@transaction.atomic
def request_import(received: Path, name: str, *, actor: Any, feed: Feed | None = None) -> Import:
    """Have the file at ``received`` (in ``folder()``) imported; it is moved and, once read, deleted.

    Raises ``NotAllowed`` for whoever may not edit feeds, ``Invalid`` for an empty file.
    """
    require(actor, Permission.FEED_EDIT)
    size = received.stat().st_size
    if not size:
        raise Invalid(
            "The file is empty; expected a zip, tar, JSON, JSON Lines or CSV of advisories.", code="feed-empty"
        )
    row = Import.objects.create(name=name[:500], requested_by=actor, feed=feed)
    audit.record(
        Action.ADVISORY_IMPORT,
        actor=actor,
        subject_type="import",
        subject_id=row.pk,
        subject=row.name,
        details={"bytes": size},
    )
    received.rename(file_of(row.pk))
    queue = Queue.INTERACTIVE if size <= SMALL and feed is None else Queue.SCHEDULED
    job = jobs.enqueue(IMPORT, {"import": row.pk}, key=str(row.pk), queue=queue)
    row.job_id = job.pk
    row.save(update_fields=["job_id"])
    _forget_old()
    return row


def _forget_old() -> None:
    kept = Import.objects.order_by("-id").values_list("id", flat=True)[KEPT_IMPORTS:][:1]
    for oldest in kept:
        Import.objects.filter(id__lte=oldest).exclude(status__in=OPEN_IMPORTS).delete()


def work(run: Run) -> dict[str, Any]:
    """The job: read the import's file. Safe to run twice: what was taken in already writes nothing again."""
    row = Import.objects.select_related("feed").get(pk=run.args["import"])
    if row.status not in OPEN_IMPORTS:
        return {}
    path = file_of(row.pk)
    if not path.exists():
        raise Unavailable(
            f"The file of {row.name} is not on this host: web and workers must share SECGUARD_DATA_DIR.",
            code="file-elsewhere",
            retry_after=30,
        )
    Import.objects.filter(pk=row.pk).update(status=ImportStatus.RUNNING)
    taken = take_in(path, row.name, run.progress)
    finish(row, taken)
    path.unlink(missing_ok=True)
    return dict(taken.counts)


def failed(args: Any, code: str, words: str) -> None:
    """The job was given up: say so where people look."""
    row = Import.objects.select_for_update().get(pk=args["import"])
    row.status, row.error, row.finished_at = ImportStatus.FAILED, words, timezone.now()
    row.save(update_fields=["status", "error", "finished_at"])
    if row.feed_id is not None:
        Feed.objects.filter(pk=row.feed_id).update(error=words)
    file_of(row.pk).unlink(missing_ok=True)


class Taken:
    """What became of a file's entries."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.reasons: list[str] = []
        self.kinds: set[str] = set()
        self.ecosystems: set[str] = set()
        self.data_at: datetime | None = None

    def leave_out(self, place: str, reason: str) -> None:
        self.counts["left_out"] += 1
        if len(self.reasons) < REASONS:
            self.reasons.append(f"{place[:200]}: {reason[:300]}")

    def saw(self, at: datetime | None) -> None:
        if at is not None and (self.data_at is None or at > self.data_at):
            self.data_at = at


def take_in(path: Path, name: str, say: Said = lambda text, done, total: None) -> Taken:
    """Read the file at ``path`` and take in all that is sound in it, batch by batch.

    What is not is counted and the first reasons are kept. Raises ``Invalid`` where there is nothing to read at all, or
    the file as a whole cannot be opened; what was read before stays.
    """
    taken = Taken()
    with reading_ahead(_items(path, name)) as read:
        for batch in _batches(_noted(read, taken)):
            taken.counts.update(store(batch))
            say(f"{taken.counts['read']:,} entries read", taken.counts["read"], 0)
    if not taken.counts["read"]:
        reason = taken.reasons[0] if taken.reasons else "it holds no entry"
        raise Invalid(f"Nothing in {name[:200]} can be imported: {reason}", code="feed-unreadable")
    return taken


def _items(path: Path, name: str) -> Generator[Item, None, None]:
    """Every item of every document; a document that breaks off is a fault of its own."""
    budget = Budget(settings.MAX_FEED_UNPACKED_BYTES)
    for document in documents(path, name, budget):
        yield from _until_broken(document)


def _until_broken(document: Document) -> Iterator[Item]:
    try:
        yield from items(document.stream, document.name)
    except (*UNREADABLE, OSError) as fault:
        yield Fault(document.name, f"is broken and was read in part: {fault}")


def _batches(statements: Iterator[Statement]) -> Iterator[list[Statement]]:
    """At most ``BATCH`` in one, and fewer where they are heavy: an entry may name one package or twenty thousand."""
    batch: list[Statement] = []
    weight = 0
    for s in statements:
        batch.append(s)
        weight += sum(1 + len(a.versions) + sum(map(len, a.ranges)) for a in s.entry.affected)
        if len(batch) >= BATCH or weight >= HEAVIEST:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch


def _noted(read: Iterator[Item], taken: Taken) -> Iterator[Statement]:
    """The statements; everything else is taken in, or noted, on the way."""
    for part in read:
        if isinstance(part, Statement):
            taken.kinds.add(part.source.partition(":")[0])
            taken.saw(part.entry.modified)
            taken.ecosystems.update(a.ecosystem[:100] for a in part.entry.affected)
            yield part
        elif isinstance(part, Fault):
            taken.leave_out(*part)
        elif isinstance(part, Scores):
            taken.kinds.add(FeedKind.EPSS)
            taken.saw(part.at)
            taken.counts.update(store_scores(part.rows))
        else:
            _catalogue(part, taken)


def _catalogue(part: kev.Catalogue, taken: Taken) -> None:
    taken.kinds.add(FeedKind.KEV)
    taken.saw(part.released_at)
    taken.counts.update(store_catalogue(part))
    for reason in part.faults:
        taken.leave_out("KEV", reason)


@transaction.atomic
def finish(row: Import, taken: Taken) -> None:
    """Write down what became of an import, and of its feed."""
    now = timezone.now()
    row.status, row.finished_at, row.error = ImportStatus.FINISHED, now, ""
    row.counts, row.reasons, row.kinds = dict(taken.counts), taken.reasons, sorted(taken.kinds)
    row.data_at = taken.data_at
    row.save(update_fields=["status", "finished_at", "error", "counts", "reasons", "kinds", "data_at"])
    # A feed that tells no dates (Debian's tracker) is as it stands when it is fetched.
    _note_ecosystems(taken.ecosystems, taken.data_at or (now if row.feed_id is not None else None))
    if row.feed_id is not None:
        Feed.objects.filter(pk=row.feed_id).update(
            succeeded_at=now,
            data_at=taken.data_at,
            entries=taken.counts["read"],
            left_out=taken.counts["left_out"],
            failures=0,
            error="",
        )


def _note_ecosystems(ecosystems: set[str], at: datetime | None) -> None:
    """What was read had something on these, and is of that date."""
    if at is None:
        return
    known = dict(
        EcosystemData.objects.filter(ecosystem__in=bulk.among(sorted(ecosystems))).values_list("ecosystem", "data_at")
    )
    newer = [EcosystemData(ecosystem=e, data_at=at) for e in sorted(ecosystems) if e not in known or known[e] < at]
    EcosystemData.objects.bulk_create(
        newer, update_conflicts=True, unique_fields=["ecosystem"], update_fields=["data_at"]
    )
