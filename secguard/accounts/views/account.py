"""What is one's own: the profile and the tokens."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache

from secguard.accounts import queries, services
from secguard.accounts.authentication import person_of
from secguard.accounts.forms import ProfileForm, TokenForm
from secguard.accounts.models import ApiToken
from secguard.errors import NotFound


@login_required
def profile(request: HttpRequest) -> HttpResponse:
    user = person_of(request)
    form = ProfileForm(request.POST or None, initial={"display_name": user.display_name, "email": user.email})
    if request.method == "POST" and form.works(lambda entered: services.edit_user(user.pk, actor=user, **entered)):
        messages.success(request, "Saved.")
        return redirect("accounts:profile")
    context = {
        "form": form,
        "memberships": user.memberships.select_related("team"),
        "tokens": queries.with_state(user.tokens.select_related("team"), timezone.now()),
    }
    return render(request, "accounts/profile.html", context, status=422 if form.errors else 200)


@never_cache
@login_required
def token_new(request: HttpRequest) -> HttpResponse:
    """The answer to the POST shows the value; nothing keeps it, so there is no page to come back to."""
    user = person_of(request)
    form = TokenForm(request.POST or None, owner=user)
    made = (
        form.run(lambda entered: services.create_token(user.pk, actor=user, **entered))
        if request.method == "POST"
        else None
    )
    if made is None:
        return render(request, "accounts/token_new.html", {"form": form}, status=422 if form.errors else 200)
    token, raw = made
    context = {"token": token, "raw": raw, "applications": queries.limit_of(token)}
    return render(request, "accounts/token_made.html", context, status=201)


@never_cache
@login_required
def token_rotate(request: HttpRequest, pk: int) -> HttpResponse:
    token = _token(request, pk)
    if request.method == "POST":
        made, raw = services.rotate_token(pk, actor=person_of(request))
        context = {"token": made, "raw": raw, "old": token, "applications": queries.limit_of(made)}
        return render(request, "accounts/token_made.html", context, status=201)
    context = {
        "title": f"Rotate token {token.name}?",
        "text": f"The token {token.prefix}… ends at once; whatever carries it stops working until it has the new one.",
        "button": "Rotate it",
        "back": reverse("accounts:profile"),
    }
    return render(request, "accounts/confirm.html", context)


@login_required
def token_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    token = _token(request, pk)
    user = person_of(request)
    back = reverse("accounts:profile") if token.user_id == user.pk else reverse("settings:tokens")
    if request.method == "POST":
        services.revoke_token(pk, actor=user)
        messages.success(request, f"The token {token.name} is revoked.")
        return redirect(back)
    context = {
        "title": f"Revoke token {token.name}?",
        "text": f"Whatever carries {token.prefix}… stops working at once. This cannot be undone.",
        "button": "Revoke it",
        "back": back,
    }
    return render(request, "accounts/confirm.html", context)


def _token(request: HttpRequest, pk: int) -> ApiToken:
    token = ApiToken.objects.visible_to(person_of(request)).select_related("user", "team").filter(pk=pk).first()
    if token is None:
        raise NotFound("There is no such token that you may see.")
    return token
