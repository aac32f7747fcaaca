"""The landscape: the whole estate by where it runs, with how each application stands at each stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import django_filters
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.views.decorators.http import require_safe

from secguard.accounts.authentication import person_of
from secguard.admission.answer import Outcome
from secguard.dashboards.models import ApplicationLandscape
from secguard.dashboards.queries.drift import Drift
from secguard.dashboards.stages import RANK, WORDS, Stage, State
from secguard.web.filters import ChipFilter, YesNoFilter
from secguard.web.listing import Column, Listing

TILES: Final = 24
"""Applications of one place that the picture shows one by one, what is worst first; the table has all of them."""
STATES = [(state.value, words.capitalize()) for state, words in WORDS.items()]
PLACES: Final = (
    ("laptop", "On laptops"),
    ("datacenter", "In data centres"),
    ("cloud", "In clouds"),
    ("nowhere", "Not running"),
)
_ON: Final = {
    "laptop": Q(laptop__gt=0),
    "datacenter": Q(datacenter__gt=0),
    "cloud": Q(cloud__gt=0),
    "nowhere": Q(workloads=0),
}
STAGE_PAGES: Final = {
    Stage.BUILD: ("images:list", {"current": "true"}),
    Stage.JUDGE: ("risks:work", {}),
    Stage.REGISTER: ("images:list", {"current": "true"}),
    Stage.ADMIT: ("admissions:list", {}),
    Stage.RUN: ("workloads:list", {}),
    Stage.TALK: ("network:edges", {}),
    Stage.LEARN: ("events:list", {}),
}
"""The list behind each stage, narrowed to the application."""
COUNT_PAGES: Final = {
    "overdue": ("risks:work", {"deadline": "overdue"}),
    "due_soon": ("risks:work", {"deadline": "soon"}),
    "blocked": ("images:list", {"current": "true", "verdict": "block"}),
    "unjudged": ("images:list", {"current": "true", "verdict": "unknown"}),
    "broken_glass": ("admissions:list", {"outcome": Outcome.BROKEN_GLASS.value, "days": "7"}),
    "refused": ("admissions:list", {"outcome": Outcome.DENIED.value, "days": "7"}),
    "would_not_start": ("workloads:list", {"may": "block"}),
    "not_promoted": ("workloads:list", {"drift": Drift.NOT_PROMOTED.value}),
    "unknown": ("workloads:list", {"drift": Drift.UNKNOWN.value}),
    "not_scanned": ("workloads:list", {"drift": Drift.NOT_SCANNED.value}),
    "severe_incidents": ("incidents:all", {"severe": "high"}),
    "incidents": ("incidents:all", {}),
    "odd_edges": ("network:edges", {"state": "anomalous"}),
    "new_edges": ("network:edges", {"state": "new"}),
}
"""The rows themselves, of a count that made a stage what it is; of any other the stage's own list."""


class Light(NamedTuple):
    """One stage of one application, as the picture and the table show it."""

    stage: str
    letter: str
    state: str
    words: str
    why: str
    url: str


def lights_of(row: Any) -> list[Light]:
    return [
        Light(
            stage.value,
            stage.value[0].upper(),
            row.state_of(stage).value,
            WORDS[row.state_of(stage)],
            str(row.words.get(stage.value, "")),
            stage_url(stage, row.application.slug, row.behind.get(stage.value, "")),
        )
        for stage in Stage
    ]


def stage_url(stage: Stage, slug: str, behind: str) -> str:
    """The list that the mark of ``stage`` leads to; ``behind``: the count that made it what it is."""
    if stage is Stage.PLAN:
        return reverse("planning:checklist", args=[slug])
    name, words = COUNT_PAGES.get(behind, STAGE_PAGES[stage])
    asked = "&".join(f"{key}={value}" for key, value in {"application": slug, **words}.items())
    return f"{_path(name)}?{asked}"


@cache
def _path(name: str) -> str:
    """The pictures of a large estate ask for a thousand of some ten."""
    return reverse(name)


class LandscapeFilter(django_filters.FilterSet):
    where = django_filters.ChoiceFilter(label="Where", choices=PLACES, method="by_place")
    shape = django_filters.ChoiceFilter(
        label="Shape", choices=[("single", "One workload"), ("group", "A group")], method="by_shape"
    )
    volumes = YesNoFilter(label="Holds data", method="by_volumes")
    stage = django_filters.ChoiceFilter(
        label="Stage", choices=[(s.value, s.value.capitalize()) for s in Stage], method="by_state"
    )
    state = django_filters.ChoiceFilter(label="State", choices=STATES, method="by_state")
    team = ChipFilter(label="Team", field_name="application__team__slug")
    application = ChipFilter(label="Application", field_name="application__slug")

    class Meta:
        model = ApplicationLandscape
        fields: list[str] = []

    def by_place(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(_ON[value])

    def by_shape(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(workloads=1) if value == "single" else rows.filter(workloads__gt=1)

    def by_volumes(self, rows: QuerySet[Any], name: str, value: bool) -> QuerySet[Any]:
        return rows.filter(with_volumes__gt=0) if value else rows.filter(with_volumes=0)

    def by_state(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Stage and state are one question: a stage alone asks for what is not good there, a state alone for any stage.
        Asking twice narrows no further."""
        asked = self.form.cleaned_data
        stages = [asked["stage"]] if asked["stage"] else [stage.value for stage in Stage]
        wanted = [asked["state"]] if asked["state"] else [State.BAD.value, State.ATTENTION.value]
        found = Q()
        for stage in stages:
            found |= Q(**{f"{stage}__in": wanted})
        return rows.filter(found)


def _column(stage: Stage) -> Column:
    return Column(stage.value, stage.value.capitalize(), value=lambda row: WORDS[row.state_of(stage)], css="fit-stage")


class LandscapeListing(Listing):
    name, noun = "landscape", "application"
    caption = "Applications that you may see, where they run, and how they stand at each stage"
    default_sort = "worst"
    search_fields = ("application__name__icontains", "application__team__name__icontains")
    search_hint = "Application or team"
    filterset = LandscapeFilter
    columns = (
        Column("worst", "Application", sort=("rank", "application__name"), value="application.name"),
        Column("where", "Where", value=lambda row: ", ".join(where_of(row)), css="fit-word"),
        Column("workloads", "Workloads", sort="workloads", first="-", numeric=True, css="fit-number"),
        *(_column(stage) for stage in Stage),
        Column("with_volumes", "Hold data", hidden=True),
        Column("images", "Newest images", hidden=True),
        Column("incidents", "Open incidents", hidden=True),
        Column("team", "Team", value="application.team.name", hidden=True),
        Column("why", "Why", value=lambda row: "; ".join(f"{k}: {v}" for k, v in row.words.items()), hidden=True),
    )

    def prepare(self, rows: list[Any]) -> None:
        for row in rows:
            row.lights, row.places = lights_of(row), where_of(row)


def where_of(row: ApplicationLandscape) -> list[str]:
    kinds = (("laptop", "laptop"), ("datacenter", "data centre"), ("cloud", "cloud"))
    return [words for kind, words in kinds if getattr(row, kind)] or ["nowhere"]


class Place(NamedTuple):
    """One part of the picture."""

    key: str
    title: str
    tiles: Sequence[Any]
    total: int
    states: list[tuple[str, str, int]]
    """(state, in words, applications whose worst state it is)."""
    url: str

    @property
    def more(self) -> int:
        return self.total - len(self.tiles)


def picture_of(rows: QuerySet[ApplicationLandscape]) -> list[Place]:
    """The places with their applications, what is worst first. Two queries a place."""
    found = []
    for key, title in PLACES:
        here = rows.filter(_ON[key])
        tiles: list[Any] = list(here.order_by("rank", "application__name")[:TILES])
        for tile in tiles:
            tile.lights = lights_of(tile)
        counts = Counter(dict(here.order_by().values_list("rank").annotate(n=Count("pk"))))
        states = [(state.value, WORDS[state], counts[rank]) for state, rank in RANK.items() if counts[rank]]
        url = f"{reverse('landscape:home')}?where={key}"
        found.append(Place(key, title, tiles, sum(counts.values()), states, url))
    return found


@require_safe
@login_required
def landscape(request: HttpRequest) -> HttpResponseBase:
    """The picture, as the filters narrow it, and the table that says the same."""
    rows = ApplicationLandscape.objects.visible_to(person_of(request)).select_related("application__team")
    listing = LandscapeListing(request, rows)
    context = {"picture": picture_of(listing.queryset), "states": STATES, "oldest": rows.order_by("counted_at").first()}
    return listing.respond("homes/landscape.html", "homes/_landscape.html", context)
