"""Edges, as a person may see them: an end of another team's is not named."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import django_filters
from django import forms
from django.db.models import BooleanField, Case, Count, Q, QuerySet, Sum, Value, When
from django.db.models.expressions import Combinable
from django.utils import timezone

from secguard.accounts.models import User, owner_filter
from secguard.network.edges import Sort
from secguard.network.models import VERDICTS, Edge, Loss, SegmentRule
from secguard.web.filters import ChipFilter, YesNoFilter

HIDDEN: Final = "another team's workload"
SIDES: Final = ("source", "destination")
OUTSIDE: Final = [s.value for s in (Sort.NAME, Sort.NETWORK, Sort.MACHINE)]


def shown(user: User, side: str) -> Combinable:
    """Whether an end is named to this person: it is theirs, or belongs to nobody's workloads."""
    if user.sees_everything:
        return Value(True, output_field=BooleanField())
    mine = owner_filter(user, f"{side}__workload__application") | ~Q(**{f"{side}__sort": Sort.WORKLOAD.value})
    return Case(When(mine, then=Value(True)), default=Value(False), output_field=BooleanField())


def edges(user: User) -> QuerySet[Edge]:
    """Those that the person may see; ``source_shown`` and ``destination_shown`` say which ends are named."""
    rows = Edge.objects.visible_to(user).annotate(**{f"{side}_shown": shown(user, side) for side in SIDES})
    return rows.select_related("source__workload__application", "destination__workload__application", "rule")


def about(**wanted: Any) -> Q:
    """Edges of which a named end has these values."""
    found = Q()
    for side in SIDES:
        found |= Q(**{f"{side}_shown": True}, **{f"{side}__{name}": value for name, value in wanted.items()})
    return found


def name_of(edge: Any, side: str) -> str:
    """An end's name, as the person may know it; needs ``edges``."""
    return str(getattr(edge, side)) if getattr(edge, f"{side}_shown") else HIDDEN


def place_of(edge: Any, side: str) -> str:
    end = getattr(edge, side)
    if not getattr(edge, f"{side}_shown"):
        return ""
    words = {"name": "outside", "network": "outside", "machine": "machine", "identity": "the cluster's own"}
    return " · ".join(filter(None, (end.cluster, words.get(end.sort, end.kind))))


STATES: Final = [
    ("new", "New"), ("anomalous", "Anomalous"), ("denied", "Denied"), ("allowed", "Allowed"), ("unknown", "Not known"),
]  # fmt: skip
_VERDICT_OF: Final = {"denied": "denied", "allowed": "forwarded", "unknown": "unknown"}


def in_state(state: str, now: datetime) -> Q:
    if state == "new":
        return Q(new_until__gt=now)
    if state == "anomalous":
        return ~Q(anomaly="")
    return Q(verdict=_VERDICT_OF[state])


STANDINGS: Final = [
    ("breaking", "Breaks a rule"), ("allowed", "A rule allows it"), ("denied", "A rule denies it"),
    ("not-allowed", "No rule allows it"), ("no-rule", "No rule"), ("not-known", "Not known"),
]  # fmt: skip
"""What edges are narrowed by; the first is what was let through although the rules say no."""
STANDING_WORDS: Final = {
    "allowed": ("allowed", "good"), "denied": ("denied", "bad"), "not-allowed": ("no rule allows it", "bad"),
    "no-rule": ("no rule", "muted"), "not-known": ("not known", "muted"), "": ("not judged yet", "muted"),
}  # fmt: skip
"""(word, tone)."""


def standing_is(word: str, now: datetime) -> Q:
    if word == "breaking":
        return Q(broke_at__isnull=False)
    return Q(standing=word) & ~Q(rule__ends_at__lte=now)


def standing_of(edge: Edge, now: datetime) -> str:
    """What the rules say of it; empty where nobody has looked since the rule that said so ended (DESIGN rule 5)."""
    has_ended = edge.rule is not None and edge.rule.ends_at is not None and edge.rule.ends_at <= now
    return "" if has_ended else edge.standing


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


class EndFilter(django_filters.FilterSet):
    """What lists of edges and the map are narrowed by; each looks at ends that are named alone."""

    state = django_filters.ChoiceFilter(label="State", choices=STATES, method="by_state", empty_label="Any")
    outside = YesNoFilter(label="With outside", method="by_outside")

    class Meta:
        model = Edge
        fields: list[str] = []

    def by_state(self, rows: QuerySet[Edge], name: str, value: str) -> QuerySet[Edge]:
        return rows.filter(in_state(value, timezone.now()))

    def by_outside(self, rows: QuerySet[Edge], name: str, value: bool) -> QuerySet[Edge]:
        found = Q(source__sort__in=OUTSIDE) | Q(destination__sort__in=OUTSIDE)
        return rows.filter(found if value else ~found)

    def by_end(self, rows: QuerySet[Edge], name: str, value: str) -> QuerySet[Edge]:
        return rows.filter(about(**{name: value}))

    def by_application(self, rows: QuerySet[Edge], name: str, value: str) -> QuerySet[Edge]:
        return rows.filter(about(workload__application__slug=value))


class EdgeFilter(EndFilter):
    cluster = ChipFilter(label="Cluster", method="by_end")
    namespace = ChipFilter(label="Namespace", method="by_end")
    application = ChipFilter(label="Application", method="by_application")
    end = django_filters.NumberFilter(
        label="End (id)", method="by_id", min_value=1, max_value=2**63 - 1, widget=forms.HiddenInput
    )
    standing = django_filters.ChoiceFilter(
        label="By the rules", choices=STANDINGS, method="by_standing", empty_label="Any"
    )
    rule = ChipFilter(label="Rule", method="by_rule")
    edge = ChipFilter(label="Edge", method="by_number")
    source = ChipFilter(label="From", method="by_side")
    destination = ChipFilter(label="To", method="by_side")

    def by_id(self, rows: QuerySet[Edge], name: str, value: Any) -> QuerySet[Edge]:
        return rows.filter(about(pk=int(value)))

    def by_standing(self, rows: QuerySet[Edge], name: str, value: str) -> QuerySet[Edge]:
        return rows.filter(standing_is(value, timezone.now()))

    def by_rule(self, rows: QuerySet[Edge], name: str, value: str) -> QuerySet[Edge]:
        user: Any = self.request.user if self.request is not None else None
        found = SegmentRule.objects.visible_to(user).filter(pk=_number(value)).values("pk")
        return rows.filter(rule__in=found)

    def by_number(self, rows: QuerySet[Edge], name: str, value: str) -> QuerySet[Edge]:
        return rows.filter(pk=_number(value))

    def by_side(self, rows: QuerySet[Edge], name: str, value: str) -> QuerySet[Edge]:
        """``outside``, ``own``, ``others``, ``peer:12`` or ``cluster/namespace``, as the map's links say it;
        ``segment:12``, ``application:shop``, or ``segment:none``, as the matrix' links do."""
        return rows.filter(side_is(name, value))


def side_is(side: str, value: str) -> Q:
    """The edges of which one side belongs to a group of the map."""
    if value == "others":
        return Q(**{f"{side}_shown": False})
    named = Q(**{f"{side}_shown": True})
    if value == "outside":
        return named & Q(**{f"{side}__sort__in": OUTSIDE})
    kind, _, rest = value.partition(":")
    if kind == "peer" and _number(rest):
        return named & Q(**{f"{side}__pk": int(rest)})
    if kind == "segment":
        return named & Q(**{f"{side}__segments": None if rest == "none" else _number(rest)})
    if kind == "application":
        path = f"{side}__workload__application"
        return named & Q(**{path: None} if rest == "none" else {f"{path}__slug": rest})
    if kind == "own":
        return named & Q(**{f"{side}__sort": Sort.IDENTITY.value, f"{side}__cluster": rest})
    cluster, _, namespace = value.rpartition("/")
    return named & Q(
        **{f"{side}__sort": Sort.WORKLOAD.value, f"{side}__cluster": cluster, f"{side}__namespace": namespace}
    )


VERDICT_WORDS: Final = dict(VERDICTS)


def losses(user: User, now: datetime) -> list[dict[str, Any]]:
    """What sources say they lost in the last day, by cluster; told to who may see every cluster."""
    if not user.sees_everything:
        return []
    rows = Loss.objects.filter(ended_at__gt=now - timedelta(days=1)).order_by("cluster").values("cluster")
    found = rows.annotate(lost=Sum("count"), times=Count("pk"))
    return [{"cluster": one["cluster"], "count": one["lost"], "times": one["times"]} for one in found]
