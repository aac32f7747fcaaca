"""What differs between two policies by meaning: what rules do, not blanks, comments or keys' order. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from secguard.policies.expressions import ExpressionError, canonical, parse
from secguard.policies.language import Policy, Rule


class Difference(NamedTuple):
    """One thing that differs: of a rule (``rule``), or of the policy itself where that is empty."""

    rule: str
    what: str
    """``added``, ``removed``, or the key that changed."""
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        subject = f"rule {self.rule}" if self.rule else "the policy"
        if self.what in ("added", "removed"):
            return f"{subject} {self.what}: {self.after or self.before}"
        return f"{subject}, {self.what}: {self.before or 'none'} → {self.after or 'none'}"


_PLAIN: Final = ("effect", "each", "message", "remedy", "description")


def differences(before: Policy, after: Policy) -> list[Difference]:
    """Everything that differs, in the order of ``before`` and then of what is new."""
    old, new = ({rule.id: rule for rule in policy.rules} for policy in (before, after))
    found = [
        Difference("", key, getattr(before, key), getattr(after, key))
        for key in ("name", "description")
        if getattr(before, key) != getattr(after, key)
    ]
    for id_, rule in old.items():
        found += _changed(rule, new[id_]) if id_ in new else [Difference(id_, "removed", before=_summary(rule))]
    found += [Difference(id_, "added", after=_summary(rule)) for id_, rule in new.items() if id_ not in old]
    kept = [[id_ for id_ in one if id_ in other] for one, other in ((old, new), (new, old))]
    if kept[0] != kept[1]:
        found.append(Difference("", "order of reasons", ", ".join(kept[0]), ", ".join(kept[1])))
    return found


def _changed(before: Rule, after: Rule) -> Iterator[Difference]:
    if _spelled(before.when) != _spelled(after.when):
        yield Difference(before.id, "when", _line(before.when), _line(after.when))
    if before.stages != after.stages:
        yield Difference(before.id, "stages", ", ".join(before.stages), ", ".join(after.stages))
    if before.grace_days != after.grace_days:
        yield Difference(before.id, "grace_days", str(before.grace_days), str(after.grace_days))
    for key in _PLAIN:
        one, other = str(getattr(before, key)), str(getattr(after, key))
        if one != other:
            yield Difference(before.id, key, _line(one), _line(other))


def _summary(rule: Rule) -> str:
    return f"{rule.effect.value}s at {', '.join(rule.stages)} when {_line(rule.when)}"


def _spelled(when: str) -> str:
    try:
        return canonical(parse(when))
    except ExpressionError:
        return when


def _line(text: str) -> str:
    return " ".join(text.split())
