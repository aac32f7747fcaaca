"""What the pages of segments and rules ask for. The rules are in the services."""

from __future__ import annotations

from typing import Any, Final

from django import forms

from secguard.accounts.forms import TeamChoice, UseCaseForm
from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.approvals.quorum import Choice
from secguard.approvals.services import MAX_COMMENT
from secguard.errors import Invalid
from secguard.network.models import Edge, Peer, Segment
from secguard.network.segmentation import Effect, Member, Stance
from secguard.network.services.ruling import MAX_TEXT, RuleEdit
from secguard.network.services.segments import SegmentEdit

STANCES: Final = [
    (Stance.OBSERVE.value, "Watch: what no rule names is only shown"),
    (Stance.CLOSED.value, "Closed: what no rule allows breaks it"),
]
EFFECTS: Final = [(Effect.ALLOW.value, "May"), (Effect.DENY.value, "May not")]
_WORDS: Final = {"production": {"yes": True, "no": False}, "exposed": {"yes": True, "no": False}}


def written(members: list[Any]) -> str:
    """Members as a person writes them, one a line: ``application=shop production=yes``."""
    lines = []
    for told in members:
        said = []
        for name in (name for name in Member.__struct_fields__ if name in told):
            value = told[name]
            word = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
            said.append("outside" if name == "outside" else f"{name}={word}")
        lines.append(" ".join(said))
    return "\n".join(lines)


def read(text: str) -> list[dict[str, Any]]:
    """The members of what was written. Raises ``Invalid``, with the line."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            found.append(dict(_said(word, number) for word in line.replace(",", " ").split()))
    return found


def _said(word: str, number: int) -> tuple[str, Any]:
    if word == "outside":
        return "outside", True
    name, _, value = word.partition("=")
    if name not in Member.__struct_fields__ or name == "outside" or not value:
        raise Invalid(
            f"Line {number}: {word[:60]!r} is not understood. Expected application=, cluster=, namespace=, "
            "production=yes, exposed=no, impact=high or outside.",
            where="members",
        )
    if name in _WORDS and value not in _WORDS[name]:
        raise Invalid(f"Line {number}: {name} is yes or no.", where="members")
    return name, _WORDS.get(name, {}).get(value, value)


class SegmentForm(UseCaseForm):
    name = forms.CharField(max_length=100)
    description = forms.CharField(max_length=4_000, required=False, widget=forms.Textarea(attrs={"rows": 2}))
    members = forms.CharField(
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="One a line, any of them is enough: application=shop, namespace=pay-*, cluster=prod-eu "
        "production=yes, impact=high, or outside. Several on one line all have to hold.",
    )
    stance = forms.ChoiceField(choices=STANCES, label="What no rule names", widget=forms.RadioSelect)

    def __init__(self, user: User, data: Any = None, *, segment: Segment | None = None) -> None:
        super().__init__(data, initial=_initial(segment))
        if segment is None:
            team = TeamChoice(user, Permission.WORKLOAD_EDIT, or_organisation=True, label="Whose")
            self.fields = {"name": self.fields.pop("name"), "team": team, **self.fields}

    def edit(self) -> SegmentEdit:
        """What was entered; the form is valid. Raises ``Invalid``."""
        told = self.cleaned_data
        return SegmentEdit(told["name"], read(told["members"]), told["description"], Stance(told["stance"]))


def _initial(segment: Segment | None) -> dict[str, Any]:
    if segment is None:
        return {"stance": Stance.OBSERVE.value}
    return {
        "name": segment.name,
        "description": segment.description,
        "members": written(segment.members),
        "stance": segment.stance,
    }


class RuleForm(UseCaseForm):
    effect = forms.ChoiceField(choices=EFFECTS, label="They", widget=forms.RadioSelect)
    source = forms.ChoiceField(label="From")
    destination = forms.ChoiceField(label="To", help_text="Who is spoken to approves it.")
    ports = forms.CharField(
        max_length=2_000, required=False, help_text="tcp/443, udp/53, tcp/8000-8100. Left empty: every port."
    )
    reason = forms.CharField(label="Why", max_length=MAX_TEXT, widget=forms.Textarea(attrs={"rows": 2}))
    ends_at = forms.DateTimeField(
        required=False,
        label="Until",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="Left empty: until somebody ends it.",
    )

    def __init__(self, user: User, data: Any = None, *, edge: Edge | None = None, given: Any = None) -> None:
        ends = {side: _end_of(user, edge, side) if edge else "" for side in ("source", "destination")}
        super().__init__(data, initial={"effect": Effect.ALLOW.value, **_given(edge, ends, given or {})})
        choices = _choices(user)
        for side, end in ends.items():
            other = [(end, "Another team's application, at that end of the edge")] if end.startswith("edge:") else []
            self.fields[side].choices = [("", "Choose"), *other, *choices]  # type: ignore[attr-defined]

    def edit(self) -> RuleEdit:
        """What was entered; the form is valid."""
        told = self.cleaned_data
        return RuleEdit(
            told["source"], told["destination"], told["ports"], Effect(told["effect"]), told["reason"], told["ends_at"]
        )


def _end_of(user: User, edge: Edge, side: str) -> str:
    """What a rule can name that end by: its application (that of another team by the edge), else a segment it is in."""
    peer: Peer = getattr(edge, side)
    application = peer.workload.application if peer.workload else None
    if application is None:
        segment = Segment.objects.visible_to(user).live().filter(peers=peer).first()
        return f"segment:{segment.pk}" if segment else ""
    is_seen = Application.objects.visible_to(user).filter(pk=application.pk).exists()
    return f"application:{application.slug}" if is_seen else f"edge:{edge.pk}"


def _given(edge: Edge | None, ends: dict[str, str], given: Any) -> dict[str, Any]:
    found = {name: given[name] for name in ("source", "destination", "ports", "effect") if given.get(name)}
    if edge is None:
        return found
    port = f"{edge.protocol}/{edge.port}" if edge.port and edge.protocol else edge.protocol
    return {**ends, "ports": port, **found}


def _choices(user: User) -> list[Any]:
    segments = Segment.objects.visible_to(user).live().select_related("team")
    applications = Application.objects.visible_to(user).order_by("name")
    return [
        ("Segments", [(f"segment:{s.pk}", f"{s.name} ({s.team})" if s.team else s.name) for s in segments]),
        ("Applications", [(f"application:{a.slug}", a.name) for a in applications[:1_000]]),
    ]


class DecisionForm(UseCaseForm):
    """Approve, reject, withdraw or end a rule."""

    act = forms.ChoiceField(choices=[(w, w) for w in (*Choice, "withdraw", "end")])
    comment = forms.CharField(label="Comment", max_length=MAX_COMMENT, required=False)
