"""Settings: the trackers; on a risk's page: its issues; and where the trackers' webhooks arrive."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import Conflict, Invalid, NotFound
from secguard.trackers import queries, services
from secguard.trackers.api import shown_once, team_of
from secguard.trackers.forms import TrackerForm
from secguard.trackers.models import Tracker
from secguard.web.listing import Column, Listing

SHOWN = 25
"""Acts on a tracker's page; the API has all of them."""


class TrackerListing(Listing):
    name, noun = "trackers", "tracker"
    caption = "Trackers that issues are opened in"
    columns = (
        Column("name", "Tracker", sort="name"),
        Column("team", "Whose findings", sort=("team__name", "name"), value=lambda t: t.team or "every team's"),
        Column("kind", "Kind", sort=("kind", "name")),
        Column("project", "Repository or project", sort=("project", "name")),
        Column("state", "State", value=lambda t: t.state()),
        Column("worked_at", "Last answered", sort="worked_at", first="-"),
    )
    default_sort = "name"
    search_fields = ("name__icontains", "project__icontains", "base_url__icontains")
    search_hint = "Search by name or project"


@require_safe
@login_required
def tracker_list(request: HttpRequest) -> HttpResponseBase:
    listing = TrackerListing(request, queries.trackers(person_of(request)))
    return listing.respond("trackers/list.html", "trackers/_list.html", {"tab": "trackers"})


@never_cache
@login_required
def tracker_new(request: HttpRequest) -> HttpResponse:
    """A new tracker; the secret of its webhook is shown with the answer and never again."""
    actor = person_of(request)
    require(actor, Permission.SETTINGS_EDIT, anywhere=True)
    form = TrackerForm(request.POST or None, user=actor)
    if request.method == "POST":
        made = form.run(
            lambda entered: services.add_tracker(
                form.edit(), kind=entered["kind"], project=entered["project"], team=entered["team"], actor=actor
            )
        )
        if made is not None:
            return _secret_page(request, *made)
    return render(request, "trackers/new.html", {"form": form}, status=422 if form.errors else 200)


@login_required
def tracker_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A tracker's settings and what it was told; POST saves the settings."""
    actor = person_of(request)
    tracker = queries.find(actor, pk)
    form = TrackerForm(request.POST or None, user=actor, tracker=tracker)
    if request.method == "POST" and form.works(lambda _: services.edit_tracker(pk, form.edit(), actor=actor)):
        messages.success(request, "Saved.")
        return redirect("trackers:detail", pk=pk)
    rows = list(queries.acts_of(tracker)[: SHOWN + 1])
    context = {
        "form": form,
        "tracker": tracker,
        "state": tracker.state(),
        "hook_url": queries.hook_url(tracker),
        "acts": rows[:SHOWN],
        "has_more": len(rows) > SHOWN,
        "linked": tracker.issues.filter(status="linked").count(),
    }
    return render(request, "trackers/detail.html", context, status=422 if form.errors else 200)


@require_POST
@login_required
def tracker_test(request: HttpRequest, pk: int) -> HttpResponse:
    services.ask_for_try(pk, actor=person_of(request))
    messages.success(request, "It is being asked; load the page again to see what was found.")
    return redirect("trackers:detail", pk=pk)


@never_cache
@require_POST
@login_required
def tracker_secret(request: HttpRequest, pk: int) -> HttpResponse:
    """A new secret for the webhook, shown this once."""
    return _secret_page(request, *services.renew_secret(pk, actor=person_of(request)))


@login_required
def tracker_remove(request: HttpRequest, pk: int) -> HttpResponse:
    """What removing it would do; POST removes it."""
    actor = person_of(request)
    tracker = queries.find(actor, pk)
    if request.method == "POST":
        services.remove_tracker(pk, actor=actor)
        messages.success(request, f"{tracker.name} is removed.")
        return redirect("trackers:list")
    linked = tracker.issues.filter(status="linked").count()
    return render(request, "trackers/remove.html", {"tracker": tracker, "linked": linked})


def _secret_page(request: HttpRequest, tracker: Tracker, secret: str) -> HttpResponse:
    context = {"tracker": tracker, **shown_once(tracker, secret)}
    return render(request, "trackers/secret.html", context, status=201)


@require_POST
@login_required
def issue_new(request: HttpRequest, pk: int) -> HttpResponse:
    """Open an issue for the risk, or link the one that is named; what is refused is said on the risk's page."""
    actor, entered = person_of(request), request.POST
    tracker = entered.get("tracker", "")
    existing = entered.get("existing", "").strip()[:600]
    try:
        if not (tracker.isascii() and tracker.isdigit() and len(tracker) < 19):
            raise Invalid("No tracker was chosen.", where="tracker")
        team = team_of(entered.get("team", "")[:100], actor)
        if existing:
            services.link_issue(pk, int(tracker), existing, team=team, actor=actor)
            messages.success(request, "It is being linked.")
        else:
            services.open_issue(pk, int(tracker), team=team, actor=actor)
            messages.success(request, "An issue is being opened.")
    except (Invalid, Conflict) as error:
        messages.error(request, error.detail)
    return _to_issues(pk)


@require_POST
@login_required
def issue_act(request: HttpRequest, pk: int, act: str) -> HttpResponse:
    """``retry`` or ``unlink``."""
    actor = person_of(request)
    acts: dict[str, Any] = {"retry": services.retry, "unlink": services.unlink}
    if act not in acts:
        raise NotFound(f"There is no act {act[:40]!r} on an issue; expected one of {', '.join(acts)}.")
    issue = acts[act](pk, actor=actor)
    said = "Its tracker is being asked." if act == "retry" else "It is no longer followed; it stays where it is."
    messages.success(request, said)
    return _to_issues(issue.risk_id)


def _to_issues(risk_id: int) -> HttpResponse:
    answer = redirect("risks:detail", pk=risk_id)
    answer["Location"] += "#issues"
    return answer


@csrf_exempt
@require_POST
def github_hook(request: HttpRequest, pk: int) -> JsonResponse:
    """``/hooks/github-issues/<id>/``: only what the tracker's secret signed is read."""
    headers = request.headers
    signed, event = headers.get("X-Hub-Signature-256", ""), headers.get("X-GitHub-Event", "")
    return JsonResponse(services.hear_github(pk, request.body, event=event, signed=signed), status=202)


@csrf_exempt
@require_POST
def jira_hook(request: HttpRequest, pk: int, word: str = "") -> JsonResponse:
    """``/hooks/jira-issues/<id>/[<secret word>/]``: signed by Jira Cloud; others send to the address with the word."""
    signed = request.headers.get("X-Hub-Signature", "")
    return JsonResponse(services.hear_jira(pk, request.body, signed=signed, word=word), status=202)
