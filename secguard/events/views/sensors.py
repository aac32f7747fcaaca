"""Settings: who may send events and flows, and what came of it."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.events import queries
from secguard.events.forms import SensorForm
from secguard.events.models import Sensor
from secguard.events.services import sensors, setaside
from secguard.web.listing import Column, Listing

SHOWN: Final = 20


def sends(sensor: Any) -> str:
    """What it may send, in words."""
    told = [word for word, may in (("events", sensor.takes_events), ("flows", sensor.takes_flows)) if may]
    return " and ".join(told)


def state_of(sensor: Any) -> tuple[str, str]:
    """(word, tone)."""
    if not sensor.is_active:
        return "off", ""
    if sensor.aside:
        return "set aside", "bad"
    return ("heard", "good") if sensor.heard_at else ("never heard", "warn")


class SensorListing(Listing):
    name, noun = "sensors", "sensor"
    caption = "Sensors that send events and flows"
    columns = (
        Column("name", "Sensor", sort="name"),
        Column("cluster", "Cluster", sort=("cluster", "name")),
        Column("sends", "Sends", value=sends),
        Column("state", "State", value=lambda s: state_of(s)[0]),
        Column("heard_at", "Last heard", sort="heard_at", first="-"),
        Column("taken", "Taken", sort="taken", first="-", numeric=True),
        Column("refused", "Refused", sort="refused", first="-", numeric=True),
        Column("waiting", "Waiting", sort="waiting", first="-", numeric=True, nullable=False),
        Column("aside", "Batches set aside", hidden=True),
        Column("last_refusal", "Last refusal", hidden=True),
    )
    default_sort = "name"
    search_fields = ("name__icontains", "cluster__icontains")
    search_hint = "Search by name or cluster"

    def prepare(self, rows: list[Any]) -> None:
        for row in rows:
            row.sends, (row.state, row.tone) = sends(row), state_of(row)


@require_safe
@login_required
def sensor_list(request: HttpRequest) -> HttpResponseBase:
    listing = SensorListing(request, queries.sensors(person_of(request)))
    return listing.respond("events/sensors.html", "events/_sensors.html", {"tab": "sensors"})


@never_cache
@login_required
def sensor_new(request: HttpRequest) -> HttpResponse:
    """A new sensor; its token is shown with the answer and never again."""
    actor = person_of(request)
    require(actor, Permission.SENSOR_EDIT)
    form = SensorForm(request.POST or None)
    if request.method == "POST":
        made = form.run(lambda _: sensors.create(form.edit(), actor=actor))
        if made is not None:
            return _token_page(request, *made)
    return render(request, "events/sensor_new.html", {"form": form}, status=422 if form.errors else 200)


@login_required
def sensor_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A sensor's settings and what came of what it sent; POST saves the settings."""
    actor = person_of(request)
    sensor = queries.find_sensor(actor, pk)
    form = SensorForm(request.POST or None, sensor=sensor)
    if request.method == "POST" and form.works(lambda _: sensors.edit(pk, form.edit(), actor=actor)):
        messages.success(request, "Saved. It counts from the next request on.")
        return redirect("sensors:detail", pk=pk)
    word, tone = state_of(sensor)
    context = {
        "form": form,
        "sensor": sensor,
        "state": word,
        "tone": tone,
        "sends": sends(sensor),
        "aside": list(queries.set_aside(sensor)[:SHOWN]),
        "hooks": _hooks(request, sensor),
    }
    return render(request, "events/sensor.html", context, status=422 if form.errors else 200)


def _hooks(request: HttpRequest, sensor: Sensor) -> list[tuple[str, str]]:
    """(what, where to): the addresses that it sends to."""
    paths = (("events", "/hooks/falco/", sensor.takes_events), ("flows", "/hooks/flows/", sensor.takes_flows))
    return [(what, request.build_absolute_uri(path)) for what, path, may in paths if may]


@never_cache
@require_POST
@login_required
def sensor_token(request: HttpRequest, pk: int) -> HttpResponse:
    """A new token, shown this once."""
    return _token_page(request, *sensors.renew_token(pk, actor=person_of(request)))


@require_POST
@login_required
def sensor_drop(request: HttpRequest, pk: int) -> HttpResponse:
    """Let go of what was set aside."""
    dropped = setaside.drop(pk, actor=person_of(request))
    messages.success(request, f"{dropped:,} documents that could not be worked on are gone.")
    return redirect("sensors:detail", pk=pk)


@require_POST
@login_required
def sensor_retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Have what was set aside worked on again."""
    retried = setaside.retry(pk, actor=person_of(request))
    messages.success(request, f"{retried:,} documents are worked on again. What fails again is set aside again.")
    return redirect("sensors:detail", pk=pk)


def _token_page(request: HttpRequest, sensor: Sensor, token: str) -> HttpResponse:
    context = {"sensor": sensor, "token": token, "hooks": _hooks(request, sensor)}
    return render(request, "events/sensor_token.html", context, status=201)
