"""Have a worker look at an image, call a look off, and see how far it is."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.dashboards.forms import ScanForm
from secguard.errors import NotFound
from secguard.jobs.models import Job
from secguard.scans.lifecycle import LOST_STATUSES, OPEN_STATUSES, ScanOrigin
from secguard.scans.models import Scan
from secguard.scans.queries import shown_references
from secguard.scans.services import ScanRequest, ask, cancel
from secguard.web import htmx


@login_required
def scan_new(request: HttpRequest) -> HttpResponse:
    """A form for the image; POST asks for the look and leads to its page."""
    actor = person_of(request)
    require(actor, Permission.SCAN_REQUEST, anywhere=True)
    form = ScanForm(request.POST or None, actor=actor, initial={"image": request.GET.get("image", "")[:700]})
    if request.method == "POST":
        made = form.run(lambda entered: ask(_request(entered), actor=actor))
        if made is not None:
            return redirect("scans:detail", pk=made[0].pk)
    return render(request, "scans/new.html", {"form": form}, status=422 if form.errors else 200)


def _request(entered: dict[str, Any]) -> ScanRequest:
    application = entered["application"]
    return ScanRequest(entered["image"], "page", application.slug if application else "")


@require_safe
@login_required
def scan_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A scan, and while it is open how far it is: the page asks again each second."""
    user = person_of(request)
    scan = Scan.objects.visible_to(user).select_related("image", "requested_by", "same_as").filter(pk=pk).first()
    if scan is None:
        raise NotFound(f"There is no scan {pk} that you may see.")
    at_work = scan.same_as or scan
    platforms = list(scan.children.select_related("image").order_by("pk")) if scan.index_id else []
    is_ours = scan.origin == ScanOrigin.WORKER and user.can(Permission.SCAN_REQUEST)
    context = {
        "scan": scan,
        "reference": shown_references(user, [scan])[scan.pk],
        "job": Job.objects.filter(pk=at_work.job_id).first() if at_work.job_id else None,
        "is_open": scan.status in OPEN_STATUSES,
        "platforms": platforms,
        "may_cancel": is_ours and scan.status in OPEN_STATUSES,
        "may_retry": is_ours and scan.status in LOST_STATUSES and not scan.archive,
    }
    return htmx.render(request, "scans/detail.html", "scans/_scan.html", context)


@require_POST
@login_required
def scan_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    cancel(pk, actor=person_of(request))
    messages.success(request, "The scan is called off. Nothing was closed or changed.")
    return redirect("scans:detail", pk=pk)
