"""Calling a digest back, and lifting that; the page says what it touches before it is done."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from secguard.accounts.authentication import person_of
from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import Invalid
from secguard.images.models import Image, Repository
from secguard.promotion import queries
from secguard.promotion.forms import RecallForm
from secguard.promotion.lifecycle import OPEN
from secguard.promotion.models import Environment
from secguard.signing.services import Reach, lift_recall, reach_of, recall

ACTS = {
    "recall": (recall, "It is called back: no gate lets it pass from now on."),
    "lift": (lift_recall, "The recall is lifted. The gates judge it again; it has to be promoted anew."),
}


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def image_recall(request: HttpRequest, digest: str) -> HttpResponse:
    """Of an image or an index. POST says which of the two it means (``act``), whatever happened since the page was
    read: what somebody else has called back meanwhile is not lifted by calling it back."""
    user = person_of(request)
    reach = reach_of(digest, actor=user)
    for team in reach.teams:
        require(user, Permission.IMAGE_RECALL, team_id=team)
    form = RecallForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and (told := _done(request, form, digest, user)):
        messages.success(request, told)
        return redirect("images:detail", digest=_page(digest, reach))
    context = {"digest": digest, "form": form, "page": _page(digest, reach), **_context(digest, reach, user)}
    return render(request, "promotion/recall.html", context, status=422 if form.errors else 200)


def _done(request: HttpRequest, form: RecallForm, digest: str, user: User) -> str:
    """What was done, in words; empty where the form says why nothing was."""
    act = request.POST.get("act", "")
    if act not in ACTS:
        raise Invalid(f"{act[:40]!r} is nothing to do here; expected recall or lift.", where="act")
    call, told = ACTS[act]
    return told if form.works(lambda entered: call(digest, entered["reason"], actor=user)) else ""


def _page(digest: str, reach: Reach) -> str:
    """The image whose page speaks of the digest: itself, or the first platform of the index."""
    images = Image.objects.filter(pk__in=reach.image_ids)
    return images.filter(digest=digest).values_list("digest", flat=True).first() or images.order_by("pk")[0].digest


def _context(digest: str, reach: Reach, user: User) -> dict[str, Any]:
    """What calling it back touches; or, where that was done, how it stands."""
    back, beside = queries.called_back(digest, user), Repository.objects.visible_to(user)
    places = list(beside.filter(places__image__in=reach.image_ids).distinct().order_by("name")[:20])
    if back is not None:
        return {"back": back, "runs": back.runs, "places": places}
    stands = queries.environments_of(reach.digests, timezone.now())
    stated = beside.filter(attestations__digest__in=reach.digests, attestations__withdrawn_at=None)
    signed = beside.filter(
        signatures__digest__in=reach.digests, signatures__signing_key__isnull=False, signatures__gone_at=None
    )
    return {
        "back": None,
        "places": places,
        "runs": queries.runs(digest, user),
        "stands": [(e, stands[e.name]) for e in Environment.objects.all() if e.name in stands],
        "open": list(queries.promotions(user).filter(status__in=OPEN, digest__in=reach.digests)),
        "signed_in": sorted(set(stated.values_list("name", flat=True)) | set(signed.values_list("name", flat=True))),
        "platforms": len(reach.digests) - 1,
    }
