"""The page that loads or removes the sample and shows how far it is."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import Invalid
from secguard.jobs.lifecycle import OPEN
from secguard.sample import services
from secguard.sample.queries import Standing, latest_job, standing
from secguard.web import htmx

ACTS = {"load": services.ask_to_load, "remove": services.ask_to_remove}


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def sample(request: HttpRequest) -> HttpResponse:
    """GET: what is here, and how far a job is. POST ``act=load|remove``: ask for it."""
    user: Any = request.user
    require(user, Permission.SAMPLE_LOAD)
    if request.method == "POST":
        act = request.POST.get("act", "")
        if act not in ACTS:
            raise Invalid(f"{act[:40]!r} is nothing to do with the sample; expected is load or remove.", where="act")
        ACTS[act](actor=user)
        return htmx.redirect(request, reverse("sample"))
    job = latest_job()
    context = {"job": job, "is_open": bool(job and job.status in OPEN), "is_loaded": standing() is not Standing.ABSENT}
    return htmx.render(request, "sample/page.html", "sample/_sample.html", context)
