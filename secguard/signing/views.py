"""Settings: the keys that sign, whose signatures count besides, and the public keys for everybody; and what lies beside
an image, with the way to have it signed."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import NotFound
from secguard.images.models import Image
from secguard.images.queries import find_image
from secguard.signing import queries
from secguard.signing.forms import AskForm, EndForm, NewKeyForm, RetireForm, RotateForm, TrustForm
from secguard.signing.keylife import KeyStatus
from secguard.signing.models import SigningKey, TrustedKey
from secguard.signing.services import (
    ask,
    create_key,
    retire_key,
    revoke_key,
    rotate_key,
    trust_key,
    withdraw_trust,
)
from secguard.web import htmx
from secguard.web.listing import Column, Listing


class SigningKeyListing(Listing):
    name, noun, noun_plural = "signing-keys", "key", "keys"
    caption = "Keys that sign, and those that did"
    columns = (
        Column("name", "Key", sort="name"),
        Column("status", "State", value="current_status"),
        Column("provider", "Kept in", sort="provider"),
        Column("fingerprint", "Fingerprint"),
        Column("counts_until", "Counts until", sort="counts_until"),
        Column("created_at", "Since", sort="created_at", first="-"),
    )
    default_sort = "-created_at"
    search_fields = ("name__icontains", "fingerprint__startswith")
    search_hint = "Search by name or fingerprint"


class TrustedKeyListing(Listing):
    name, noun, noun_plural = "trusted-keys", "key", "keys"
    caption = "Other people's keys whose signatures count"
    columns = (
        Column("name", "Whose", sort="name"),
        Column("repositories", "In", sort="repositories"),
        Column("status", "State", value="current_status"),
        Column("fingerprint", "Fingerprint"),
        Column("valid_until", "Until", sort="valid_until"),
        Column("created_at", "Since", sort="created_at", first="-"),
    )
    default_sort = "name"
    search_fields = ("name__icontains", "repositories__icontains", "fingerprint__startswith")
    search_hint = "Name, repository or fingerprint"


def _reader(request: HttpRequest) -> tuple[User, bool]:
    """Who reads, and whether they may change keys too."""
    user = person_of(request)
    require(user, Permission.SIGNING_KEY_READ, anywhere=True)
    return user, user.teams_with(Permission.SIGNING_KEY_MANAGE) is None


@require_safe
@login_required
def keys(request: HttpRequest) -> HttpResponseBase:
    _, may_manage = _reader(request)
    context = {"tab": "keys", "may_manage": may_manage}
    return SigningKeyListing(request, SigningKey.objects.all()).respond(
        "signing/keys.html", "signing/_keys.html", context
    )


@sensitive_post_parameters("private_key", "password")
@login_required
def key_new(request: HttpRequest) -> HttpResponse:
    actor = person_of(request)
    require(actor, Permission.SIGNING_KEY_MANAGE)
    form = NewKeyForm(_posted(request))
    if request.method == "POST":
        made = form.run(lambda entered: create_key(entered["name"], form.new_key(), actor=actor))
        if made is not None:
            messages.success(request, f"The key {made.name} signs now.")
            return redirect("keys:detail", pk=made.pk)
    return render(request, "signing/key_new.html", {"form": form}, status=422 if form.errors else 200)


@require_safe
@login_required
def key_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A key's public part, and what was done with it."""
    _, may_manage = _reader(request)
    key = _key(pk)
    context = {
        "key": key,
        "status": key.current_status,
        "url": request.build_absolute_uri(reverse("public-key", args=[key.name])),
        "successor": SigningKey.objects.filter(name=key.name, status=KeyStatus.ACTIVE).exclude(pk=pk).first(),
        "may_manage": may_manage,
    }
    return render(request, "signing/key.html", context)


@sensitive_post_parameters("private_key", "password")
@login_required
def key_rotate(request: HttpRequest, pk: int) -> HttpResponse:
    actor = person_of(request)
    require(actor, Permission.SIGNING_KEY_MANAGE)
    key, form = _key(pk), RotateForm(_posted(request))
    if request.method == "POST":
        made = form.run(lambda e: rotate_key(pk, form.new_key(), overlap_days=e["overlap_days"], actor=actor))
        if made is not None:
            messages.success(request, f"A new key of {made.name} signs now.")
            return redirect("keys:detail", pk=made.pk)
    return render(request, "signing/key_rotate.html", {"form": form, "key": key}, status=422 if form.errors else 200)


@login_required
def key_retire(request: HttpRequest, pk: int) -> HttpResponse:
    actor = person_of(request)
    require(actor, Permission.SIGNING_KEY_MANAGE)
    key, form = _key(pk), RetireForm(_posted(request))
    if request.method == "POST" and form.works(lambda e: retire_key(pk, e["reason"], actor=actor)):
        messages.success(request, "The key is retired.")
        return redirect("keys:detail", pk=pk)
    context = {
        "form": form,
        "title": f"Retire the key {key.name}",
        "text": "What it signed counts no more, from this moment on. To change keys without a gap, rotate it instead.",
        "button": "Retire it",
        "back": reverse("keys:detail", args=[pk]),
    }
    return render(request, "signing/end.html", context, status=422 if form.errors else 200)


@login_required
def key_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    actor = person_of(request)
    require(actor, Permission.SIGNING_KEY_MANAGE)
    key, form = _key(pk), EndForm(_posted(request))
    if request.method == "POST" and form.works(lambda e: revoke_key(pk, e["reason"], actor=actor)):
        messages.success(request, "The key is revoked.")
        return redirect("keys:detail", pk=pk)
    context = {
        "form": form,
        "title": f"Revoke the key {key.name}",
        "text": "Nothing that it ever signed counts, at once and for good: for a key that somebody else may have. "
        "There is no way back.",
        "button": "Revoke it",
        "back": reverse("keys:detail", args=[pk]),
    }
    return render(request, "signing/end.html", context, status=422 if form.errors else 200)


@require_safe
@login_required
def trusted(request: HttpRequest) -> HttpResponseBase:
    _, may_manage = _reader(request)
    context = {"tab": "trusted-keys", "may_manage": may_manage}
    listing = TrustedKeyListing(request, TrustedKey.objects.all())
    return listing.respond("signing/trusted.html", "signing/_trusted.html", context)


@login_required
def trusted_new(request: HttpRequest) -> HttpResponse:
    actor = person_of(request)
    require(actor, Permission.SIGNING_KEY_MANAGE)
    form = TrustForm(_posted(request))
    if request.method == "POST":
        made = form.run(lambda _: trust_key(form.trust(), actor=actor))
        if made is not None:
            messages.success(request, f"What {made.name} signs counts now in {made.repositories}.")
            return redirect("trusted-keys:detail", pk=made.pk)
    return render(request, "signing/trusted_new.html", {"form": form}, status=422 if form.errors else 200)


@require_safe
@login_required
def trusted_detail(request: HttpRequest, pk: int) -> HttpResponse:
    _, may_manage = _reader(request)
    return render(request, "signing/trusted_key.html", {"key": _trusted(pk), "may_manage": may_manage})


@login_required
def trusted_withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    actor = person_of(request)
    require(actor, Permission.SIGNING_KEY_MANAGE)
    key, form = _trusted(pk), EndForm(_posted(request))
    if request.method == "POST" and form.works(lambda e: withdraw_trust(pk, e["reason"], actor=actor)):
        messages.success(request, "The trust is withdrawn.")
        return redirect("trusted-keys:detail", pk=pk)
    context = {
        "form": form,
        "title": f"Withdraw the trust in {key.name}",
        "text": f"What this key signed counts no more in {key.repositories}.",
        "button": "Withdraw it",
        "back": reverse("trusted-keys:detail", args=[pk]),
    }
    return render(request, "signing/end.html", context, status=422 if form.errors else 200)


def beside(image: Image, user: User) -> dict[str, Any]:
    """For ``signing/_of_image.html``: the places where the image lies, what was seen there, and the keys that sign."""
    places = queries.beside(image, user)
    return {
        "signature_places": places,
        "signing_keys": queries.signing_names() if any(place.may_ask for place in places) else [],
    }


@login_required
def image_signatures(request: HttpRequest, digest: str) -> HttpResponse:
    """What lies beside an image; POST has a worker sign it, or look again. HTMX asks for one place while that lasts."""
    user = person_of(request)
    image = find_image(user, digest)
    context = {"image": image, **beside(image, user)}
    form = AskForm(_posted(request), keys=context["signing_keys"])
    if request.method == "POST":
        if form.run(lambda _: ask(image, form.asked(), actor=user)) is not None:
            messages.success(request, "A worker is on it; what it finds is shown here.")
            return htmx.redirect(request, f"{reverse('images:detail', args=[image.digest])}#signatures")
        return render(request, "signing/of_image.html", {**context, "form": form}, status=422)
    if not htmx.wants_fragment(request):
        return render(request, "signing/of_image.html", context)
    shown = [place for place in context["signature_places"] if str(place.repository.pk) == request.GET.get("place")]
    if not shown:
        raise NotFound("The image does not lie in that repository, or you may not see it there.")
    return render(request, "signing/_place.html", {**context, "place": shown[0]})


@require_safe
def public_key(request: HttpRequest, name: str) -> HttpResponse:
    """The public keys of a line, the one that signs first, or the one of a fingerprint; for everybody, as PEM."""
    answer = HttpResponse(queries.served_pem(name, timezone.now()), content_type="application/x-pem-file")
    # Short: a revoked key must not live on in a cache.
    answer["Cache-Control"] = "public, max-age=60"
    return answer


def _posted(request: HttpRequest) -> QueryDict | None:
    """What was posted, were it nothing at all: a form without a required field can be sent empty."""
    return request.POST if request.method == "POST" else None


def _key(pk: int) -> SigningKey:
    found = SigningKey.objects.select_related("created_by").filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no signing key {pk}.")
    return found


def _trusted(pk: int) -> TrustedKey:
    found = TrustedKey.objects.select_related("created_by").filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no trusted key {pk}.")
    return found
