"""The common answer, from what a process remembers: images named by digest, all judged, and nothing against them.

Whatever else there is (a tag, an index, a verdict that blocks or holds no longer) is answered the whole way, which
takes nine statements. What is remembered:

- an evaluation's document, which never changes;
- which evaluation holds for a digest, and which registries are preferred, for ``STALE_SECONDS``. What is asked about is
  read again before that ends, all of it in one statement: so a changed decision counts within three seconds in every
  process, and an answer waits for no statement. A verdict's own end counts at its instant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from threading import Lock, Thread
from time import monotonic, sleep
from typing import Any, Generic, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.utils import timezone

from secguard.admission import queries
from secguard.admission.answer import Knowledge
from secguard.admission.models import ClusterGate
from secguard.admission.review import Review
from secguard.admission.snapshot import condensed
from secguard.errors import Invalid
from secguard.images.models import Image, Registry
from secguard.images.reference import Reference, is_digest, parse
from secguard.policies.facts import Gate
from secguard.policies.models import Evaluation, Policy, Verdict

MAX_PASSING = 10_000
"""Evaluations that a process remembers, a kilobyte or two each."""
STALE_SECONDS = 3.0
"""How long the evaluation that holds for a digest is remembered; 0: not at all."""
ASKED_SECONDS = 60.0
"""How long after it was last asked for it is read again and again."""
MAX_FRESH = 5_000
BATCH = 500
Judged = tuple[int, int]
NEVER: tuple[float, Judged] = (float("-inf"), (0, 0))
_K = TypeVar("_K")
_V = TypeVar("_V")


class Remembered(Generic[_K, _V]):
    """The last ``most`` values that were read, for all threads of a process; the oldest makes room."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._values: dict[_K, _V] = {}

    def get(self, keys: Iterable[_K]) -> dict[_K, _V]:
        """Those of them that are remembered."""
        values = self._values  # read without the lock: a dict's own operations are whole
        return {key: value for key in keys if (value := values.get(key)) is not None}

    def has(self, keys: Iterable[_K]) -> bool:
        """Whether each of them is."""
        return all(map(self._values.__contains__, keys))

    def put(self, values: Mapping[_K, _V]) -> None:
        with self._lock:
            self._values.update(values)
            while len(self._values) > self._most:
                del self._values[next(iter(self._values))]

    def clear(self) -> None:
        with self._lock:
            self._values.clear()


class Fresh:
    """What was read lately: digest to (image, evaluation), and the preferred hosts. A thread of its own reads again
    what was asked for since, until nobody asks any more."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._read: dict[str, tuple[float, Judged]] = {}
        self._asked: dict[str, float] = {}
        self._reader: Thread | None = None

    def get(self, digests: Collection[str], hosts: Collection[str]) -> dict[str, Judged] | None:
        """All of them, or nothing: a host is ``(0, 0)``."""
        now, read = monotonic(), self._read
        ends = now - STALE_SECONDS
        found = {}
        for name in (*digests, *hosts):
            read_at, found[name] = read.get(name, NEVER)
            if read_at < ends:
                return None
        self._asked.update(dict.fromkeys(found, now))
        return found

    def put(self, judged: Mapping[str, Judged], read_at: float) -> None:
        if not STALE_SECONDS:
            return
        with self._lock:
            if len(self._read) > MAX_FRESH:
                self._read.clear()
                self._asked.clear()
            self._read.update({name: (read_at, found) for name, found in judged.items()})
            self._asked.update(dict.fromkeys(judged, read_at))
            if self._reader is None:
                self._reader = Thread(target=self._keep_fresh, name="fresh-verdicts", daemon=True)
                self._reader.start()

    def _keep_fresh(self) -> None:
        try:
            while self._again():
                sleep(STALE_SECONDS / 2)
        finally:
            with self._lock:
                self._reader = None  # the next question starts another
            connection.close()

    def _again(self) -> bool:
        """Reads again what was asked for lately; False where that is nothing, and the thread ends."""
        began = monotonic()
        with self._lock:
            self._asked = {name: at for name, at in list(self._asked.items()) if at > began - ASKED_SECONDS}
            if not self._asked:
                self._read.clear()
                return False
            names = list(self._asked)
        try:
            judged = _read_again(names)
        except DatabaseError:
            connection.close()
            judged = {}
        with self._lock:
            for name in names:
                self._read.pop(name, None)
            self._read.update({name: (began, found) for name, found in judged.items()})
        return True

    def clear(self) -> None:
        with self._lock:
            self._read.clear()
            self._asked.clear()


class RememberedGates:
    """Clusters by their tokens' hashes, for a second: each of their questions would else begin with the same one."""

    SECONDS = 1.0
    MOST = 1000

    def __init__(self) -> None:
        self._gates: dict[str, tuple[float, ClusterGate]] = {}

    def get(self, token_hash: str) -> ClusterGate | None:
        ends_at, gate = self._gates.get(token_hash, (0.0, None))
        return gate if monotonic() < ends_at else None

    def put(self, token_hash: str, gate: ClusterGate) -> None:
        if len(self._gates) >= self.MOST:
            self._gates.clear()
        self._gates[token_hash] = (monotonic() + self.SECONDS, gate)

    def clear(self) -> None:
        """In this process, at once; the others notice within the second."""
        self._gates.clear()


GATES = RememberedGates()
FRESH = Fresh()
Passing = tuple[Knowledge | None, datetime]
PASSING: Remembered[int, Passing] = Remembered(MAX_PASSING)
"""By evaluation: what is known of its image, with what ``answer`` reads of the verdict document, and until when that
may hold; nothing for one that blocks."""


def known_of(review: Review, gate: ClusterGate, now: datetime) -> dict[str, Knowledge] | None:
    """As ``answering.known_of``, where nothing stands against any of the images; else ``None``."""
    references: dict[str, Reference] = {}
    for use in review.images:
        reference = _reference(use.image)
        if reference is None or not reference.digest:
            return None
        references[use.image] = reference
    digests, hosts = {r.digest for r in references.values()}, {r.host for r in references.values()}
    judged = digests and (FRESH.get(digests, hosts) or _read(digests, hosts, now))
    if not judged or len(judged) < len(digests) + len(hosts):
        return None
    passing = _passing({judged[digest][1] for digest in digests})
    known = {}
    for image, r in references.items():
        found, until = passing[judged[r.digest][1]]
        if found is None or until <= now:
            return None
        known[image] = found
    return _standing(known, references, gate, now)


def _read(digests: Collection[str], hosts: Collection[str], now: datetime) -> dict[str, Judged] | None:
    """One statement; ``None`` where the database does not answer it."""
    began = monotonic()
    database: Any = connection
    try:
        database.health_check_done = True  # a connection that broke is noticed here, and costs no question of its own
        judged = _judged(list(digests), list(hosts), now)
    except (InterfaceError, OperationalError):
        database.health_check_done = False
        return None
    if len(judged) == len(digests) + len(hosts):
        FRESH.put(judged, began)
    return judged


def _read_again(names: Sequence[str]) -> dict[str, Judged]:
    """All of the names, digests and hosts, in statements of ``BATCH`` each."""
    found: dict[str, Judged] = {}
    now = timezone.now()
    digests = [name for name in names if is_digest(name)]
    hosts = [name for name in names if not is_digest(name)]
    for start in range(0, max(len(digests), 1), BATCH):
        batch = digests[start : start + BATCH]
        # Filled up, so that every statement has the same text.
        filled = batch + batch[:1] * (BATCH - len(batch)) if batch else ["-"] * BATCH
        found |= _judged(filled, (hosts or ["-"])[:BATCH], now)
    return found


def _standing(
    known: dict[str, Knowledge], references: Mapping[str, Reference], gate: ClusterGate, now: datetime
) -> dict[str, Knowledge] | None:
    """With what was stated and signed of them, where the cluster asks for it; ``None`` where one lacks it."""
    if not (gate.environment or gate.signers):
        return known
    digests = {k.digest for k in known.values()}
    promoted = queries.promoted_to(digests, now) if gate.environment else {}
    signed = queries.signed_by(digests, now) if gate.signers else {}
    found = {}
    for image, k in known.items():
        to, by = promoted.get(k.digest, ()), signed.get((references[image].repository, k.digest), ())
        if (gate.environment and gate.environment not in to) or (gate.signers and not set(gate.signers) & set(by)):
            return None
        found[image] = replace(k, promoted_to=to, signed_by=by)
    return found


def _reference(image: str) -> Reference | None:
    try:
        return parse(image)
    except Invalid:
        return None


def _judged(digests: Sequence[str], hosts: Sequence[str], now: datetime) -> dict[str, Judged]:
    """Digest to image and evaluation, where a verdict holds at ``now``; the preferred of the hosts. One statement."""
    moment = connection.ops.adapt_datetimefield_value(now)
    with connection.cursor() as cursor:
        cursor.execute(_statement(len(digests), len(hosts)), [moment, *digests, *hosts])
        rows = cursor.fetchall()
    return {name: (image, evaluation) for name, image, evaluation in rows if evaluation is not None}


@lru_cache(maxsize=256)
def _statement(digests: int, hosts: int) -> str:
    """As ``queries.stored_verdicts`` and ``queries.preferred_hosts`` ask it, ready made.

    The verdict is looked up for each image, by its index, whatever the planner takes the tables' sizes for.
    """
    models = (Evaluation, Image, Policy, Registry, Verdict)
    tables = {m.__name__: connection.ops.quote_name(m._meta.db_table) for m in models}
    marks = {"digests": ", ".join(["%s"] * digests), "hosts": ", ".join(["%s"] * hosts)}
    statement = """
        SELECT image.digest, image.id, (
            SELECT evaluation.id FROM {Verdict} AS verdict
            JOIN {Evaluation} AS evaluation ON evaluation.id = verdict.evaluation_id
            WHERE verdict.image_id = image.id AND verdict.stage = '{stage}' AND verdict.valid_until > %s
            AND evaluation.policy_version_id = (SELECT active_version_id FROM {Policy} WHERE is_gating)
        )
        FROM {Image} AS image WHERE image.digest IN ({digests})
        UNION ALL SELECT host, 0, 0 FROM {Registry} WHERE is_preferred AND host IN ({hosts})
    """
    return statement.format(stage=Gate.ADMIT.value, **tables, **marks)


def _passing(evaluations: Collection[int]) -> dict[int, Passing]:
    found = PASSING.get(evaluations)
    missing = set(evaluations) - found.keys()
    if missing:
        rows = Evaluation.objects.filter(pk__in=missing).select_related("image")
        fetched = {e.pk: (_known(e), e.valid_until) for e in rows}
        PASSING.put(fetched)
        found |= fetched
    return found


def _known(evaluation: Evaluation) -> Knowledge | None:
    if evaluation.verdict == "block":
        return None
    digest, document = evaluation.image.digest, condensed(evaluation.kept_document)
    return Knowledge(digest, digest, evaluation.image_id, evaluation.pk, document, is_remembered=True)
