"""What the pages about clusters ask for. The rules are in ``admission.services``."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils import timezone

from secguard.accounts.forms import UseCaseForm
from secguard.admission.answer import DEFAULT_EFFECTS, Effect, Mode
from secguard.admission.breakglass import MAX_MINUTES
from secguard.admission.models import ClusterGate
from secguard.admission.services import GateEdit
from secguard.errors import Invalid
from secguard.signing.queries import signer_names
from secguard.signing.services import known_environments
from secguard.workloads.models import CLUSTER_KINDS
from secguard.workloads.podspec import ASKS

MODES = [
    (Mode.ENFORCE.value, "Enforce: what is refused does not start"),
    (Mode.WARN.value, "Warn: it starts, with the reasons at the terminal"),
    (Mode.OBSERVE.value, "Observe: it starts without a word, and is kept here"),
]
EFFECTS = [(Effect.BLOCK.value, "Refuse"), (Effect.WARN.value, "Warn"), (Effect.OFF.value, "Nothing")]
_LINES = {"rows": 4, "spellcheck": "false"}


class ClusterForm(UseCaseForm):
    """A cluster and how it is answered; one field for each thing that a pod may ask for (``ask-…``)."""

    name = forms.CharField(max_length=100, help_text="As workloads are reported of it.")
    kind = forms.ChoiceField(choices=CLUSTER_KINDS, initial="cloud")
    mode = forms.ChoiceField(choices=MODES, widget=forms.RadioSelect, initial=Mode.OBSERVE.value)
    namespaces = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs=_LINES),
        label="Modes of namespaces",
        help_text="One a line: a namespace, or a beginning and *, and its mode: team-* warn.",
    )
    requires_digest = forms.BooleanField(
        required=False,
        initial=True,
        label="Refuse tags that nothing has pinned",
        help_text="Under a tag a node may pull something else than what was judged. The mutating webhook pins tags.",
    )
    environment = forms.ChoiceField(
        required=False,
        label="Promoted to",
        help_text="What runs here was promoted to this environment, so that it was judged, approved and signed for it.",
    )
    signers = forms.MultipleChoiceField(
        required=False,
        label="Signed by",
        widget=forms.CheckboxSelectMultiple,
        help_text="One of these signed what runs here, beside the image in the repository that the pod names. None "
        "chosen: that is not asked.",
    )
    paths = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs=_LINES),
        label="Custom resources",
        help_text="One a line: group/Kind and the path of a pod spec or image: example.org/Batch spec.jobs[].spec.",
    )

    def __init__(self, data: Any = None, *, gate: ClusterGate | None = None) -> None:
        super().__init__(data, initial=_initial(gate) if gate else {})
        if gate is not None:
            del self.fields["name"]
        self.fields["environment"].choices = [("", "Not asked"), *((e, e) for e in known_environments())]  # type: ignore[attr-defined]
        self.fields["signers"].choices = [(n, n) for n in signer_names(timezone.now())]  # type: ignore[attr-defined]
        own = gate.effects if gate else {}
        for ask, effect in DEFAULT_EFFECTS.items():
            self.fields[f"ask-{ask}"] = forms.ChoiceField(
                choices=EFFECTS, initial=own.get(ask, effect.value), label=f"A pod that {ASKS[ask]}"
            )

    def edit(self) -> GateEdit:
        """What was entered; the form is valid. Raises ``Invalid`` for a line that is not two words."""
        entered = self.cleaned_data
        paths: dict[str, list[str]] = {}
        for kind, path in _pairs(entered["paths"], "paths"):
            paths.setdefault(kind, []).append(path)
        chosen = {ask: entered[f"ask-{ask}"] for ask in DEFAULT_EFFECTS}
        return GateEdit(
            kind=entered["kind"],
            mode=entered["mode"],
            namespaces=dict(_pairs(entered["namespaces"], "namespaces")),
            effects={ask: effect for ask, effect in chosen.items() if effect != DEFAULT_EFFECTS[ask]},
            paths=paths,
            requires_digest=entered["requires_digest"],
            environment=entered["environment"],
            signers=entered["signers"],
        )


def _initial(gate: ClusterGate) -> dict[str, Any]:
    return {
        "kind": gate.cluster.kind,
        "mode": gate.mode,
        "requires_digest": gate.requires_digest,
        "environment": gate.environment,
        "signers": gate.signers,
        "namespaces": "\n".join(f"{name} {mode}" for name, mode in gate.namespaces.items()),
        "paths": "\n".join(f"{kind} {path}" for kind, paths in gate.paths.items() for path in paths),
    }


def _pairs(text: str, where: str) -> list[tuple[str, str]]:
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if words and len(words) != 2:
            raise Invalid(f"Line {number} is {line[:80]!r}; expected two words.", where=where)
        if words:
            found.append((words[0], words[1]))
    return found


class GlassForm(UseCaseForm):
    """What is to start, where, for how long, and why it cannot wait."""

    cluster = forms.CharField(max_length=100)
    namespace = forms.CharField(max_length=63)
    digest = forms.CharField(max_length=135, help_text="sha256:… as the denial names it. The pod must name it too.")
    minutes = forms.IntegerField(min_value=1, max_value=MAX_MINUTES, initial=60)
    reason = forms.CharField(max_length=5000, widget=forms.Textarea(attrs={"rows": 4}), label="Why it cannot wait")


class ReviewForm(UseCaseForm):
    review = forms.CharField(max_length=5000, widget=forms.Textarea(attrs={"rows": 4}), label="What came of it")
