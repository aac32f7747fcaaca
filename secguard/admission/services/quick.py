"""The common answer in one statement: images named by digest, all judged, and nothing against them.

Whatever else there is (a tag, an index, a verdict that blocks or holds no longer) is answered the whole way, which
takes nine. The statement is exact; what is remembered beside it can never change: an evaluation's document.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from threading import Lock
from time import monotonic
from typing import Any, Generic, TypeVar

from django.db import InterfaceError, OperationalError, connection

from secguard.admission import queries
from secguard.admission.answer import Knowledge
from secguard.admission.models import ClusterGate
from secguard.admission.review import Review
from secguard.admission.snapshot import condensed
from secguard.errors import Invalid
from secguard.images.models import Image, Registry
from secguard.images.reference import Reference, parse
from secguard.policies.facts import Gate
from secguard.policies.models import Evaluation, Policy, Verdict

MAX_DOCUMENTS = 10_000
"""Documents that a process remembers, condensed to a kilobyte or two."""
_K = TypeVar("_K")
_V = TypeVar("_V")


class Remembered(Generic[_K, _V]):
    """The last ``most`` values that were asked for, for all threads of a process."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._values: OrderedDict[_K, _V] = OrderedDict()

    def get(self, keys: Iterable[_K]) -> dict[_K, _V]:
        """Those of them that are remembered."""
        found = {}
        with self._lock:
            for key in keys:
                if key in self._values:
                    self._values.move_to_end(key)
                    found[key] = self._values[key]
        return found

    def put(self, values: Mapping[_K, _V]) -> None:
        with self._lock:
            self._values.update(values)
            while len(self._values) > self._most:
                self._values.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._values.clear()


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
DOCUMENTS: Remembered[int, Mapping[str, Any]] = Remembered(MAX_DOCUMENTS)
"""By evaluation: what ``answer`` reads of its verdict document."""


def known_of(review: Review, gate: ClusterGate, now: datetime) -> dict[str, Knowledge] | None:
    """As ``answering.known_of``, where nothing stands against any of the images; else ``None``."""
    references = {use.image: _reference(use.image) for use in review.images}
    digests = {r.digest for r in references.values() if r is not None}
    if not digests or None in references.values() or "" in digests:
        return None
    hosts = {r.host for r in references.values() if r is not None}
    database: Any = connection
    try:
        database.health_check_done = True  # a connection that broke is noticed here, and costs no question of its own
        judged, preferred = _judged(digests, hosts, now)
    except (InterfaceError, OperationalError):
        database.health_check_done = False
        return None
    if len(judged) < len(digests) or len(preferred) < len(hosts):
        return None
    documents = _documents({evaluation for _, evaluation in judged.values()})
    if any(document["verdict"] == "block" for document in documents.values()):
        return None
    known = {
        image: Knowledge(r.digest, r.digest, *judged[r.digest], documents[judged[r.digest][1]])
        for image, r in references.items()
        if r is not None
    }
    return _standing(known, references, gate, now)


def _standing(
    known: dict[str, Knowledge], references: Mapping[str, Reference | None], gate: ClusterGate, now: datetime
) -> dict[str, Knowledge] | None:
    """With what was stated and signed of them, where the cluster asks for it; ``None`` where one lacks it."""
    if not (gate.environment or gate.signers):
        return known
    digests = {k.digest for k in known.values()}
    promoted = queries.promoted_to(digests, now) if gate.environment else {}
    signed = queries.signed_by(digests, now) if gate.signers else {}
    found = {}
    for image, k in known.items():
        r = references[image]
        to, by = promoted.get(k.digest, ()), signed.get((r.repository if r else "", k.digest), ())
        if (gate.environment and gate.environment not in to) or (gate.signers and not set(gate.signers) & set(by)):
            return None
        found[image] = replace(k, promoted_to=to, signed_by=by)
    return found


def _reference(image: str) -> Reference | None:
    try:
        return parse(image)
    except Invalid:
        return None


def _judged(
    digests: Collection[str], hosts: Collection[str], now: datetime
) -> tuple[dict[str, tuple[int, int]], set[str]]:
    """(digest to image and evaluation, where a verdict holds at ``now``; the preferred of the hosts). One statement."""
    moment = connection.ops.adapt_datetimefield_value(now)
    judged: dict[str, tuple[int, int]] = {}
    preferred: set[str] = set()
    with connection.cursor() as cursor:
        cursor.execute(_statement(len(digests), len(hosts)), [moment, *digests, *hosts])
        for name, image, evaluation in cursor.fetchall():
            if image is None:
                preferred.add(name)
            elif evaluation is not None:
                judged[name] = (image, evaluation)
    return judged, preferred


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
        UNION ALL SELECT host, NULL, NULL FROM {Registry} WHERE is_preferred AND host IN ({hosts})
    """
    return statement.format(stage=Gate.ADMIT.value, **tables, **marks)


def _documents(evaluations: Collection[int]) -> dict[int, Mapping[str, Any]]:
    found = DOCUMENTS.get(evaluations)
    missing = set(evaluations) - found.keys()
    if missing:
        fetched = {e.pk: condensed(e.kept_document) for e in Evaluation.objects.filter(pk__in=missing)}
        DOCUMENTS.put(fetched)
        found |= fetched
    return found
