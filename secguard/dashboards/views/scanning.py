"""Have a worker look at an image, see how far it is, call it off, ask again; and the list of every scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import django_filters
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.dashboards.forms import ArchiveForm, ScanForm
from secguard.errors import NotFound
from secguard.images.models import Image, ImageRepository, Repository
from secguard.jobs.models import Job
from secguard.scans.lifecycle import LOST_STATUSES, OPEN_STATUSES, ScanOrigin, ScanStatus
from secguard.scans.models import Scan
from secguard.scans.queries import shown_references
from secguard.scans.services import archives, ask, ask_again, cancel
from secguard.scans.services.asking import check_request
from secguard.scans.stages import way_of
from secguard.scans.waysout import REGISTRY, way_out
from secguard.web import htmx
from secguard.web.filters import ChipFilter
from secguard.web.listing import Column, Listing

TRIGGERS = {
    "api": "over REST",
    "page": "on this site",
    "upload": "by upload",
    "webhook": "when its registry told of a push",
    "schedule": "by the clock",
    "watch": "when a watched tag moved",
}


def _form_page(request: HttpRequest, actor: User, **forms: Any) -> HttpResponse:
    """The two ways to ask; the form that came back with errors in place of the empty one."""
    given = {"image": request.GET.get("image", "")[:700]}
    context = {
        "form": forms.get("form") or ScanForm(None, actor=actor, initial=given),
        "upload": forms.get("upload") or ArchiveForm(None, actor=actor),
    }
    fragment = "scans/_upload.html" if "upload" in forms else "scans/_reference.html"
    return htmx.render(request, "scans/new.html", fragment, context, status=422 if forms else 200)


@login_required
def scan_new(request: HttpRequest) -> HttpResponse:
    """Two forms: a reference, which POST asks for, or an archive (``scan_upload``). Both lead to the scan's page."""
    actor = person_of(request)
    require(actor, Permission.SCAN_REQUEST, anywhere=True)
    if request.method != "POST":
        return _form_page(request, actor)
    form = ScanForm(request.POST, actor=actor)
    made = form.run(lambda entered: ask(form.request("page"), actor=actor))
    return htmx.redirect(request, f"/scans/{made[0].pk}/") if made else _form_page(request, actor, form=form)


# An archive may be as large as MAX_ARCHIVE_BYTES: nobody's body is read before it is known that they may send one, so
# the protection against forgery, which reads it, comes last.
@csrf_exempt
@require_POST
@login_required
def scan_upload(request: HttpRequest) -> HttpResponse:
    """Take an archive and have it looked at."""
    require(person_of(request), Permission.SCAN_REQUEST, anywhere=True)
    response: HttpResponse = _upload(request)
    return response


@csrf_protect
def _upload(request: HttpRequest) -> HttpResponse:
    actor = person_of(request)
    form = ArchiveForm(request.POST, request.FILES, actor=actor)
    made = form.run(lambda entered: _ask_for_archive(form, actor))
    return htmx.redirect(request, f"/scans/{made[0].pk}/") if made else _form_page(request, actor, upload=form)


def _ask_for_archive(form: ArchiveForm, actor: User) -> tuple[Scan, bool]:
    check_request(form.request("upload"), actor=actor)
    kept = archives.receive(form.cleaned_data["archive"].chunks())
    return ask(form.request("upload", archive=kept), actor=actor)


@require_safe
@login_required
def scan_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A scan, and while it is open how far it is: the page asks again each second."""
    user = person_of(request)
    rows = Scan.objects.visible_to(user).select_related("image", "requested_by", "same_as", "index", "parent")
    scan = rows.filter(pk=pk).first()
    if scan is None:
        raise NotFound(f"There is no scan {pk} that you may see.")
    children = list(scan.children.select_related("image", "same_as").order_by("pk")) if scan.index_id else []
    reference = shown_references(user, [scan])[scan.pk]
    jobs = _jobs([scan, *children])
    is_ours = scan.origin == ScanOrigin.WORKER and user.can(Permission.SCAN_REQUEST)
    context = {
        "scan": scan,
        "reference": reference,
        # Whoever may not read the name may not read who gave it either.
        "asked_by": scan.requested_by if reference == scan.reference else None,
        "asked_how": TRIGGERS.get(scan.trigger, "") if scan.origin == ScanOrigin.WORKER else "",
        "job": jobs.get(scan.pk),
        "way": _way(jobs.get(scan.pk)),
        "is_open": scan.status in OPEN_STATUSES,
        "platforms": [(child, _way(jobs.get(child.pk))) for child in children],
        "ended": sum(child.status not in OPEN_STATUSES for child in children),
        **_problem(scan),
        "may_cancel": is_ours and scan.status in OPEN_STATUSES,
        "may_retry": is_ours and scan.status in LOST_STATUSES and scan.parent_id is None,
        "may_repeat": is_ours and scan.status == ScanStatus.FINISHED and scan.parent_id is None and not scan.archive,
    }
    return htmx.render(request, "scans/detail.html", "scans/_scan.html", context)


def _jobs(scans: Sequence[Scan]) -> dict[int, Job]:
    """{scan: the job that is at work for it}: another scan's, where that looks at the same digest. One query."""
    wanted = {scan.pk: (scan.same_as or scan).job_id for scan in scans}
    found = Job.objects.in_bulk([pk for pk in wanted.values() if pk])
    return {scan: found[job] for scan, job in wanted.items() if job in found}


def _way(job: Job | None) -> Any:
    return way_of(job.progress_text, job.progress_done, job.progress_total) if job else way_of("", 0, 0)


def _problem(scan: Scan) -> dict[str, Any]:
    code = str((scan.problem or {}).get("code", ""))
    return {"way_out": way_out(code), "is_registrys": code in REGISTRY}


@require_POST
@login_required
def scan_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    cancel(pk, actor=person_of(request))
    return redirect("scans:detail", pk=pk)


@require_POST
@login_required
def scan_again(request: HttpRequest, pk: int) -> HttpResponse:
    scan, is_new = ask_again(pk, actor=person_of(request))
    if not is_new:
        messages.info(request, "The same is being scanned already: this is that scan.")
    return redirect("scans:detail", pk=scan.pk)


class ScanFilter(django_filters.FilterSet):
    status = django_filters.ChoiceFilter(label="Status", choices=[(s.value, s.value.capitalize()) for s in ScanStatus])
    origin = django_filters.ChoiceFilter(
        label="By", choices=[("worker", "Our workers"), ("report", "Posted reports")], empty_label="Anybody"
    )
    scanner = django_filters.CharFilter(label="Scanner", method="by_scanner", max_length=50)
    repository = ChipFilter(label="Repository", method="in_repository")

    class Meta:
        model = Scan
        fields: list[str] = []

    def by_scanner(self, rows: QuerySet[Scan], name: str, value: str) -> QuerySet[Scan]:
        return rows.filter(scanner=value.strip().lower())

    def in_repository(self, rows: QuerySet[Scan], name: str, value: str) -> QuerySet[Scan]:
        """With the scans of its indexes, which are no one image's."""
        named = Repository.objects.visible_to(person_of(self.request)).filter(name=value)
        if not named.exists():
            return rows.none()
        here = Q(image__in=Image.objects.filter(places__repository__in=named))
        indexes = Q(named__startswith=f"{value}:") | Q(named__startswith=f"{value}@")
        return rows.filter(here | Q(image=None) & indexes)


class ScanListing(Listing):
    name = "scans"
    noun = "scan"
    caption = "Scans of images that you may see"
    default_sort = "-scan"
    search_hint = "Repository or digest"
    filterset = ScanFilter
    columns = (
        Column("scan", "Scan", sort="id", first="-", value="id", css="fit-fix"),
        Column("image", "Image", value=lambda s: s.shown),
        Column("status", "Status", css="fit-word"),
        Column("scanner", "Scanner", value=lambda s: f"{s.scanner} {s.scanner_version}".strip(), css="fit-word"),
        Column("found", "Found", value=lambda s: s.counts.get("found", ""), numeric=True, css="fit-number"),
        Column("asked", "Asked", value=lambda s: TRIGGERS.get(s.trigger, "report"), css="fit-word wide-only"),
        Column("when", "When", value="created_at", css="fit-date"),
        Column("platform", "Platform", hidden=True),
        Column("problem", "Problem", value=lambda s: (s.problem or {}).get("detail", ""), hidden=True),
        Column("digest", "Digest", value=lambda s: s.image.digest if s.image else "", hidden=True),
    )

    def prepare(self, rows: list[Any]) -> None:
        shown = shown_references(person_of(self.request), rows)
        for scan in rows:
            scan.shown, scan.asked_how = shown[scan.pk], TRIGGERS.get(scan.trigger, "report")

    def search(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        """Only by names that may be read: a digest may lie in another team's repository too."""
        user = person_of(self.request)
        mine = Repository.objects.visible_to(user).filter(name__icontains=text)
        places = ImageRepository.objects.filter(image=OuterRef("image_id"), repository__in=mine)
        found = Q(Exists(places)) | Q(image=None, reference__icontains=text) | Q(image__digest__startswith=text)
        return queryset.filter(found | Q(image__digest__startswith=f"sha256:{text}"))


@require_safe
@login_required
def scan_list(request: HttpRequest) -> HttpResponseBase:
    """Without the platforms of an index, which its own scan's page lists."""
    rows = Scan.objects.visible_to(person_of(request)).filter(parent=None).select_related("image", "index")
    return ScanListing(request, rows).respond("scans/list.html", "scans/_list.html")
