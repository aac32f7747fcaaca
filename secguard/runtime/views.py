"""Baselines on pages: all of them by state, and one image's, the difference to the version before it first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.forms import UseCaseForm
from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.approvals.quorum import Choice
from secguard.errors import NotFound
from secguard.runtime import queries
from secguard.runtime.baseline import Status
from secguard.runtime.baseline_items import ItemKind
from secguard.runtime.baseline_rates import in_bytes, range_of
from secguard.runtime.forms import ReasonForm, VoteForm
from secguard.runtime.models import Baseline, BaselineDeviation, BaselineItem, Origin
from secguard.runtime.services import baselines
from secguard.web import htmx
from secguard.web.listing import Column, Listing

KINDS: Final = {
    ItemKind.PROCESS: "Processes",
    ItemKind.FILE: "Files",
    ItemKind.CONNECTION: "Connections",
    ItemKind.SYSCALL: "System calls",
}
SHOWN: Final = 100
"""Of each kind on the page; the others through the API, and in the exports."""
TONES: Final = {"learning": "muted", "proposed": "warn", "asked": "info", "locked": "good"}


class BaselineListing(Listing):
    name, noun = "baselines", "baseline"
    caption = "Images of which sensors told, and what is known of what is normal for them"
    columns = (
        Column("image", "Image", value=lambda row: queries.called(row.image)),
        Column("status", "State", sort=("status", "-last_at")),
        Column("items", "Known", value=lambda row: sum(row.counts.values()), numeric=True),
        Column("outside", "Outside of it", sort="outside", first="-", numeric=True),
        Column("last", "Last seen", sort="last_at", first="-", value="last_at"),
        Column("digest", "Digest", value="image.digest", hidden=True),
    )
    default_sort = "-last"
    filterset = queries.BaselineFilter
    search_fields = ("image__digest__startswith", "image__places__repository__name__icontains")
    search_hint = "Repository or digest"

    def prepare(self, rows: list[Any]) -> None:
        now = timezone.now()
        for row in rows:
            row.called, row.known = queries.called(row.image), sum(row.counts.values())
            row.state = queries.state_of(row, now)
            row.tone = TONES[row.state["status"]]


@require_safe
@login_required
def baseline_list(request: HttpRequest) -> HttpResponseBase:
    user = person_of(request)
    listing = BaselineListing(request, queries.listed(user))
    waiting = queries.waiting(user) if not listing.is_narrowed else []
    for change in waiting:
        change.called = queries.called(change.baseline.image)  # type: ignore[attr-defined]
    return listing.respond("runtime/baselines.html", "runtime/_baselines.html", {"waiting": waiting})


# --- one image's ---


@require_safe
@login_required
def baseline_detail(request: HttpRequest, digest: str) -> HttpResponse:
    return _page(request, digest)


def _page(request: HttpRequest, digest: str, fault: dict[str, Any] | None = None) -> HttpResponse:
    user, now = person_of(request), timezone.now()
    try:
        row = queries.baseline_of(digest, user)
    except NotFound as error:
        if error.code != "no-baseline":
            raise
        return render(request, "runtime/no_baseline.html", {"digest": digest})
    state = queries.state_of(row, now)
    changes = queries.change_documents(list(queries.changes(user).filter(baseline=row)[:10]), user)
    context = {
        "baseline": row,
        "called": queries.called(row.image),
        "version": queries.version_of(row.image),
        "state": state,
        "tone": TONES[state["status"]],
        "difference": _difference(row, user),
        "groups": _groups(row, user),
        "outside": _outside(row, user),
        "changes": changes,
        "waiting": [c for c in changes if c["status"] == "waiting"],
        "may": _may(row, user, state["status"]),
        "fault": fault,
    }
    return render(request, "runtime/baseline.html", context, status=422 if fault else 200)


def _difference(row: Baseline, user: User) -> dict[str, Any]:
    found = queries.compared(row, queries.version_before(row, user), user)
    if found["before"]:
        found["version"] = queries.version_of(found["before"].image)
    return found


def _groups(row: Baseline, user: User) -> list[dict[str, Any]]:
    groups = []
    for kind, label in KINDS.items():
        rows = BaselineItem.objects.filter(baseline=row, kind=kind.value).seen_by(user)
        # What was an alert, and what is new here, is what a reviewer looks at first.
        found = list(rows.order_by("-severity", "-count", "name", "how", "port")[: SHOWN + 1])
        for one in found:
            one.words = str(one.item)  # type: ignore[attr-defined]
            one.usual = _usual(one)  # type: ignore[attr-defined]
            one.is_carried = one.origin == Origin.CARRIED and not one.count  # type: ignore[attr-defined]
        groups.append(
            {"kind": kind.value, "label": label, "rows": found[:SHOWN], "more": len(found) > SHOWN,
             "varied": kind.value in row.varied, "count": row.counts.get(kind.value, 0)}
        )  # fmt: skip
    return groups


def _usual(one: BaselineItem) -> str:
    if one.volumes and (grows := range_of(one.volumes.values())):
        return f"{in_bytes(grows.least)} to {in_bytes(grows.most)} an hour"
    found = range_of(one.hours.values())
    return f"{found.least:,} to {found.most:,} times an hour" if found else ""


def _outside(row: Baseline, user: User) -> list[BaselineDeviation]:
    found = list(row.deviations.seen_by(user)[:SHOWN])
    for one in found:
        one.key = str(one.pk)  # type: ignore[attr-defined]
    return found


def _may(row: Baseline, user: User, status: str) -> dict[str, bool]:
    asks = baselines.may(user, Permission.DECISION_REQUEST, row)
    revokes = row.status == Status.LOCKED and baselines.may(user, Permission.DECISION_REVOKE, row, everywhere=True)
    return {
        "ask": asks and status == Status.PROPOSED,
        "expect": asks and row.status != Status.ASKED,
        "withdraw": asks,
        "reopen": revokes or (asks and row.status == Status.PROPOSED),
    }


@require_POST
@login_required
def ask(request: HttpRequest, digest: str) -> HttpResponse:
    """Ask that it is locked."""
    user, row = person_of(request), queries.baseline_of(digest, person_of(request))
    return _done(
        request, digest, "ask", ReasonForm(request.POST),
        lambda entered: baselines.ask(row.pk, entered["reason"], actor=user),
        "Asked for. It is locked once a security reviewer has approved it.",
    )  # fmt: skip


@require_POST
@login_required
def reopen(request: HttpRequest, digest: str) -> HttpResponse:
    """Learn it anew."""
    user, row = person_of(request), queries.baseline_of(digest, person_of(request))
    return _done(
        request, digest, "reopen", ReasonForm(request.POST),
        lambda entered: baselines.reopen(row.pk, entered["reason"], actor=user),
        "It learns anew, from now on. What was normal stays so.",
    )  # fmt: skip


@require_POST
@login_required
def expect(request: HttpRequest, pk: int) -> HttpResponse:
    """What was seen outside of it is expected."""
    user = person_of(request)
    rows = BaselineDeviation.objects.seen_by(user).filter(baseline__in=Baseline.objects.visible_to(user))
    row = rows.filter(pk=pk).select_related("baseline__image").first()
    if row is None:
        raise NotFound(f"There is nothing {pk} outside of a baseline that you may see.")
    is_locked = row.baseline.status == Status.LOCKED
    words = "Asked for. It joins once a security reviewer has approved it." if is_locked else "It is normal now."

    def act(entered: dict[str, Any]) -> bool:
        baselines.expect_deviation(pk, entered["reason"], actor=user)
        return True

    return _done(request, row.baseline.image.digest, f"expect-{pk}", ReasonForm(request.POST), act, words)


@require_POST
@login_required
def vote(request: HttpRequest, pk: int) -> HttpResponse:
    """Approve or reject what was asked for."""
    user, form, digest = person_of(request), VoteForm(request.POST), _digest_of(request, pk)

    def act(entered: dict[str, Any]) -> object:
        return baselines.vote(pk, Choice(entered["choice"]), comment=entered["comment"], actor=user)

    words = "Approved." if form["choice"].value() == Choice.APPROVE else "Rejected."
    return _done(request, digest, f"vote-{pk}", form, act, words)


@require_POST
@login_required
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    """Take back what waits."""
    digest = _digest_of(request, pk)
    baselines.withdraw(pk, actor=person_of(request))
    messages.success(request, "Taken back.")
    return htmx.redirect(request, reverse("baselines:detail", args=[digest]))


def _digest_of(request: HttpRequest, pk: int) -> str:
    row = queries.changes(person_of(request)).filter(pk=pk).first()
    if row is None:
        raise NotFound(f"Nothing {pk} was asked of a baseline that you may see.")
    return row.baseline.image.digest


def _done(
    request: HttpRequest, digest: str, what: str, form: UseCaseForm, act: Callable[[dict[str, Any]], object], words: str
) -> HttpResponse:
    """Back to the page, or the page with what is wrong beside the field."""
    if not form.works(act):
        return _page(request, digest, {"what": what, "form": form})
    messages.success(request, words)
    return htmx.redirect(request, reverse("baselines:detail", args=[digest]))
