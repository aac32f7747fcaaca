"""Labels, and what selects by them, where not everything is known. Pure.

Kubernetes, "Labels and Selectors": equality and sets; an empty selector selects everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple

from secguard.errors import Invalid

Labels = Mapping[str, str | None]
"""Key to value; ``None`` where the pods of one workload differ in it."""

MAX_REQUIREMENTS: Final = 64
MAX_VALUES: Final = 256


class Truth(IntEnum):
    """Ordered, so that *and* is ``min`` and *or* is ``max``."""

    NO = 0
    MAYBE = 1
    YES = 2


def inverted(truth: Truth) -> Truth:
    return Truth(2 - truth)


class Requirement(NamedTuple):
    key: str
    operator: str
    """``In``, ``NotIn``, ``Exists`` or ``DoesNotExist``."""
    values: tuple[str, ...] = ()

    def holds(self, labels: Labels) -> Truth:
        """``NotIn`` holds also where the key is missing, as Kubernetes reads it."""
        has = Truth.YES if self.key in labels else _absent(self.key)
        if self.operator == "Exists":
            return has
        if self.operator == "DoesNotExist":
            return inverted(has)
        value = labels.get(self.key)
        if has is Truth.YES:
            inside = Truth.MAYBE if value is None else Truth.YES if value in self.values else Truth.NO
        else:
            inside = has
        return inside if self.operator == "In" else inverted(inside)


VOLATILE: Final = (
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/job-name",
)
"""Labels that change with every version or pod; sources of flows leave most of them out."""


def _absent(key: str) -> Truth:
    return Truth.MAYBE if key in VOLATILE else Truth.NO


class Selector(NamedTuple):
    """All of its requirements hold; none: everything is selected."""

    requirements: tuple[Requirement, ...] = ()

    def selects(self, labels: Labels | None) -> Truth:
        """``labels``: ``None`` where they are not known."""
        if not self.requirements:
            return Truth.YES
        if labels is None:
            return Truth.MAYBE
        return min(r.holds(labels) for r in self.requirements)

    def keys(self) -> frozenset[str]:
        return frozenset(r.key for r in self.requirements)


EVERYTHING: Final = Selector()

_OPERATORS: Final = ("In", "NotIn", "Exists", "DoesNotExist")
_PART: Final = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY: Final = re.compile(rf"(?:[a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_PART}")
_VALUE: Final = re.compile(rf"(?:{_PART})?")
_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")


def is_label(key: str, value: str) -> bool:
    """As the Kubernetes API takes one ("Labels and Selectors", syntax and character set)."""
    return bool(_KEY.fullmatch(key) and _VALUE.fullmatch(value))


def is_namespace(name: str) -> bool:
    """RFC 1123 label."""
    return bool(_NAMESPACE.fullmatch(name))


def parsed(labels: Iterable[str]) -> dict[str, str]:
    """``app=shop`` as a source tells them, to a mapping; what is no label of Kubernetes' is left out."""
    found: dict[str, str] = {}
    for label in labels:
        key, _, value = label.partition("=")
        if is_label(key, value):
            found.setdefault(key, value)
    return found


def merged(one: Labels, other: Labels) -> dict[str, str | None]:
    """What holds for the pods of both: a key in which they differ has ``None``."""
    return {k: one[k] if k in one and k in other and one[k] == other[k] else None for k in sorted({*one, *other})}


def matching(labels: Mapping[str, str]) -> Selector:
    """The selector that ``matchLabels`` is."""
    return Selector(tuple(Requirement(k, "In", (v,)) for k, v in sorted(labels.items())))


def read(told: Any, where: str) -> Selector:
    """A ``LabelSelector``. Raises ``Invalid`` with the place of what is none."""
    if not isinstance(told, dict):
        raise Invalid(f"The selector at {where} is no object.", code="wrong-shape", where=where)
    unknown = sorted(set(told) - {"matchLabels", "matchExpressions"})
    if unknown:
        raise Invalid(
            f"The selector at {where} has {unknown[0]!r}; matchLabels and matchExpressions are known.",
            code="unknown-name",
            where=where,
        )
    labels, expressions = told.get("matchLabels") or {}, told.get("matchExpressions") or []
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        raise Invalid(f"{where}.matchLabels holds what is no text.", code="wrong-shape", where=f"{where}.matchLabels")
    if not isinstance(expressions, list) or len(labels) + len(expressions) > MAX_REQUIREMENTS:
        raise Invalid(
            f"{where}.matchExpressions is no list of at most {MAX_REQUIREMENTS}.",
            code="wrong-shape",
            where=f"{where}.matchExpressions",
        )
    found = [Requirement(_bare(k), "In", (v,)) for k, v in sorted(labels.items())]
    found += [_expression(e, f"{where}.matchExpressions[{i}]") for i, e in enumerate(expressions)]
    return Selector(tuple(found))


def _expression(told: Any, where: str) -> Requirement:
    key, operator, values = (told.get(n) for n in ("key", "operator", "values")) if isinstance(told, dict) else 3 * (0,)
    values = values or []
    if (
        not isinstance(key, str)
        or operator not in _OPERATORS
        or not isinstance(values, list)
        or len(values) > MAX_VALUES
        or not all(isinstance(v, str) for v in values)
        or bool(values) != (operator in ("In", "NotIn"))
    ):
        raise Invalid(
            f"The expression at {where} is none; expected a key, one of {', '.join(_OPERATORS)}, and values for the "
            "first two.",
            code="wrong-shape",
            where=where,
        )
    return Requirement(_bare(key), operator, tuple(values))


def _bare(key: str) -> str:
    """Cilium's keys name their source: ``k8s:app``, ``any:app``."""
    return key.removeprefix("k8s:").removeprefix("any:")
