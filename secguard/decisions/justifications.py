"""Why something is not affected, in the five words of OpenVEX and CSAF (CISA, "VEX status justifications"). Pure.

CycloneDX 1.6 has words of its own, which cut the matter otherwise; what is written for it names ours beside them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from secguard.decisions.lifecycle import DecisionKind
from secguard.errors import Invalid


class Justification(StrEnum):
    COMPONENT_NOT_PRESENT = "component_not_present"
    CODE_NOT_PRESENT = "vulnerable_code_not_present"
    CODE_NOT_EXECUTED = "vulnerable_code_not_in_execute_path"
    NOT_CONTROLLED = "vulnerable_code_cannot_be_controlled_by_adversary"
    MITIGATED_INLINE = "inline_mitigations_already_exist"

    @property
    def words(self) -> str:
        """As a person says it."""
        return _WORDS[self]


_J = Justification
_WORDS: Final = {
    _J.COMPONENT_NOT_PRESENT: "The component is not in it",
    _J.CODE_NOT_PRESENT: "The component is in it without the vulnerable code",
    _J.CODE_NOT_EXECUTED: "The vulnerable code is never run",
    _J.NOT_CONTROLLED: "The vulnerable code runs, but no attacker can control what it gets",
    _J.MITIGATED_INLINE: "What is built in already keeps it from being exploited",
}
TO_CYCLONEDX: Final = {
    _J.COMPONENT_NOT_PRESENT: "requires_dependency",
    _J.CODE_NOT_PRESENT: "code_not_present",
    _J.CODE_NOT_EXECUTED: "code_not_reachable",
    _J.NOT_CONTROLLED: "requires_environment",
    _J.MITIGATED_INLINE: "protected_by_mitigating_control",
}
"""The nearest of CycloneDX's: "requires a dependency that is not present", "a certain environment that is not"."""
_FROM_CYCLONEDX: Final = {
    "code_not_present": _J.CODE_NOT_PRESENT,
    "code_not_reachable": _J.CODE_NOT_EXECUTED,
    "requires_dependency": _J.COMPONENT_NOT_PRESENT,
    "requires_configuration": _J.NOT_CONTROLLED,
    "requires_environment": _J.NOT_CONTROLLED,
    "protected_by_compiler": _J.MITIGATED_INLINE,
    "protected_at_runtime": _J.MITIGATED_INLINE,
    "protected_by_mitigating_control": _J.MITIGATED_INLINE,
}
"""Not ``protected_at_perimeter``: what stands before the product is in nobody's image."""


def understood(word: str) -> Justification | None:
    """The justification that a document's word means, of whatever format; ``None`` where it is none of the five."""
    text = word.strip().lower()
    return Justification(text) if text in set(Justification) else _FROM_CYCLONEDX.get(text)


def checked(word: str, kind: DecisionKind) -> str:
    """The word as it is kept, "" for none. Raises ``Invalid`` for an unknown one, and beside any other kind."""
    if not word:
        return ""
    if word not in set(Justification):
        known = ", ".join(Justification)
        raise Invalid(
            f"{word[:60]!r} is no justification; expected one of {known}, or none.",
            code="justification",
            where="justification",
        )
    if kind is not DecisionKind.NOT_AFFECTED:
        raise Invalid(
            f"A justification says why something is not affected; the kind asked for is {kind.value}. Leave it out, "
            "or ask for not_affected.",
            code="justification",
            where="justification",
        )
    return word
