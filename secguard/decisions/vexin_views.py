"""The pages about VEX documents of others: bringing one, what came in, and whose documents count."""

from __future__ import annotations

import zlib
from typing import Any, Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.decisions.models import Decision, VexAuthor, VexDocument
from secguard.decisions.services import vexin as services
from secguard.decisions.services.vexsigning import signatures
from secguard.decisions.vexin import Document, read
from secguard.decisions.vexin_api import taken_document
from secguard.decisions.vexin_forms import AuthorForm, BringForm, WithdrawForm, packed
from secguard.errors import NotAllowed, NotFound, SecGuardError
from secguard.web import htmx
from secguard.web.listing import Column, Listing

SHOWN: Final = 200
"""Rows of a preview, and statements of a document, on one page."""
_OF_THE_DOCUMENT: Final = frozenset({"vex-author", "vex-signature"})


class VexListing(Listing):
    name, noun, noun_plural = "vex", "document", "documents"
    caption = "VEX documents that came in, newest first"
    columns = (
        Column("name", "Document", value="name"),
        Column("author", "Author", sort="author", value="author"),
        Column("outcome", "What became of it", value=lambda d: str(d.outcomes)),
        Column("statements", "Statements", sort="statements", css="fit-word"),
        Column("by", "Brought by", sort="posted_by__username", value="posted_by.username", css="fit-word"),
        Column("posted_at", "When", sort="posted_at", first="-", css="fit-date"),
    )
    default_sort = "-posted_at"
    search_fields = ("author__icontains", "namespace__icontains", "name__icontains", "posted_by__username__istartswith")
    search_hint = "Author, document, person"


def _may(user: User, permission: Permission) -> bool:
    teams = user.teams_with(permission)
    return teams is None or bool(teams)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def vex(request: HttpRequest) -> HttpResponseBase:
    """What came in, and a form to bring a document: it is looked at first, and sent with a second step."""
    user = person_of(request)
    if request.method == "POST":
        require(user, Permission.VEX_IMPORT, anywhere=True)
        return _bring(request, user, BringForm(request.POST, request.FILES))
    initial = {"about": request.GET.get("about", "")[:20], "name": request.GET.get("name", "")[:600]}
    return _list(request, user, BringForm(initial=initial))


def _list(request: HttpRequest, user: User, form: BringForm, status: int = 200) -> HttpResponseBase:
    rows = VexDocument.objects.visible_to(user).select_related("posted_by").defer("body")
    context = {"form": form if _may(user, Permission.VEX_IMPORT) else None}
    if status != 200:
        return render(request, "decisions/vex.html", {**context, "listing": VexListing(request, rows)}, status=status)
    return VexListing(request, rows).respond("decisions/vex.html", "decisions/_vex.html", context)


def _bring(request: HttpRequest, user: User, form: BringForm) -> HttpResponseBase:
    is_sent = "send" in request.POST
    try:
        taken = _taken(form, user, is_sent=is_sent) if form.is_valid() else None
    except NotAllowed as error:
        if error.code not in _OF_THE_DOCUMENT:
            raise
        form.add_error(None, error.detail)
        taken = None
    except SecGuardError as error:
        form.add_error("name" if isinstance(error, NotFound) else None, error.detail)
        taken = None
    if taken is None:
        return render(request, "decisions/vex_new.html", {"form": form}, status=422)
    if not is_sent:
        return _preview(request, form, taken)
    asked = sum(1 for one in taken.proposed if one.outcome == "requested")
    said = f"{asked} decisions are asked for" if asked != 1 else "One decision is asked for"
    messages.success(request, f"The document is kept. {said}.")
    return htmx.redirect(request, reverse("decisions:vex-document", args=[taken.stored.pk]))


def _taken(form: BringForm, user: User, *, is_sent: bool) -> services.Taken:
    image, within = form.place(user)
    act = services.take_in if is_sent else services.preview
    data = form.cleaned_data
    return act(data["raw"], actor=user, image=image, within=within, signature=data["signature"], expires_at=form.end)


def _preview(request: HttpRequest, form: BringForm, taken: services.Taken) -> HttpResponse:
    told = taken_document(taken, is_preview=True)
    carried = packed(form.cleaned_data["raw"])
    context = {
        "form": form,
        "told": told,
        "rows": told["results"][:SHOWN],
        "counts": {word: sum(1 for r in told["results"] if r["outcome"] == word) for word in WORDS},
        "carried": carried,
        "sent": {name: form.data.get(name, "") for name in ("about", "name", "until", "signature")},
        "file_name": getattr(form.cleaned_data["file"], "name", ""),
    }
    return render(request, "decisions/vex_preview.html", context)


WORDS: Final = ("requested", "open", "decided", "refused")


@login_required
@require_safe
def vex_document(request: HttpRequest, pk: int) -> HttpResponse:
    """One document: whose it is, what became of it, and of each statement the decision that it asked for."""
    user = person_of(request)
    found = VexDocument.objects.visible_to(user).select_related("posted_by").filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no VEX document {pk}.")
    document = _read(found)
    decisions = Decision.objects.visible_to(user).filter(vex_proposal__document=found)
    asked = list(decisions.select_related("risk__vulnerability", "vex_proposal").order_by("pk")[:SHOWN])
    said = document.statements if document else ()
    context = {
        "document": found,
        "asked": [(d, said[n] if (n := d.vex_proposal.statement) < len(said) else None) for d in asked],
        "statements": list(said[:SHOWN]),
        "more": max(len(said) - SHOWN, 0),
        "is_read": document is not None,
        "now": timezone.now(),
    }
    return render(request, "decisions/vex_document.html", context)


def _read(found: VexDocument) -> Document | None:
    """What it says; ``None`` where this version no longer reads what an earlier one took in."""
    try:
        return read(signatures().opened(zlib.decompress(bytes(found.body)), b"").payload)
    except (SecGuardError, zlib.error):
        return None


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def vex_authors(request: HttpRequest) -> HttpResponse:
    """Whose documents may ask for decisions, and where; whoever manages signing keys adds one."""
    user = person_of(request)
    require(user, Permission.SIGNING_KEY_READ, anywhere=True)
    form = AuthorForm(request.POST or None, user=user)
    if request.method == "POST":
        require(user, Permission.SIGNING_KEY_MANAGE)
        made = form.run(lambda entered: services.trust_author(**entered, actor=user))
        if made is not None:
            messages.success(request, f"Documents by {made.pattern} may ask for decisions now.")
            return htmx.redirect(request, reverse("decisions:vex-authors"))
    rows = VexAuthor.objects.select_related("application", "created_by")
    if not user.sees_everything:
        mine = Application.objects.visible_to(user)
        rows = rows.filter(application=None) | rows.filter(application__in=mine)
    context = {
        "authors": rows.order_by("withdrawn_at", "pattern", "pk")[:500],
        "form": form if user.teams_with(Permission.SIGNING_KEY_MANAGE) is None else None,
    }
    return render(request, "decisions/vex_authors.html", context, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def vex_author_withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    user = person_of(request)
    require(user, Permission.SIGNING_KEY_MANAGE)
    author: Any = VexAuthor.objects.filter(pk=pk).first()
    if author is None:
        raise NotFound(f"There is no VEX author {pk}.")
    form = WithdrawForm(request.POST or None)
    if request.method == "POST" and form.works(lambda e: services.withdraw_author(pk, e["reason"], actor=user)):
        messages.success(request, f"Documents by {author.pattern} ask for nothing more.")
        return htmx.redirect(request, reverse("decisions:vex-authors"))
    context = {"form": form, "author": author}
    return render(request, "decisions/vex_author.html", context, status=422 if form.errors else 200)
