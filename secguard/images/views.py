"""Settings: the registries that workers pull from."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import NotFound
from secguard.images.forms import RegistryForm
from secguard.images.models import Registry
from secguard.images.services import add_registry, edit_registry, renew_webhook_token
from secguard.web.listing import Column, Listing


def _transport(registry: Registry) -> str:
    """How workers speak to it; to one that only a report named, not at all."""
    if registry.configured_at is None:
        return "not set up"
    return "plain HTTP" if registry.uses_plain_http else "HTTPS"


class RegistryListing(Listing):
    name, noun, noun_plural = "registries", "registry", "registries"
    caption = "Registries known here"
    columns = (
        Column("host", "Registry", sort="host"),
        Column("transport", "Workers", value=_transport),
        Column("username", "As", value=lambda r: r.username or "anonymous"),
        Column("webhook", "Webhooks", value=lambda r: "token set" if r.webhook_token_hash else "none"),
        Column("is_preferred", "Preferred", sort="is_preferred", first="-"),
        Column("created_at", "Since", sort="created_at", first="-"),
    )
    default_sort = "host"
    search_fields = ("host__icontains",)
    search_hint = "Search by host"


@require_safe
@login_required
def registries(request: HttpRequest) -> HttpResponseBase:
    user = person_of(request)
    require(user, Permission.REGISTRY_EDIT, anywhere=True)
    context = {"tab": "registries", "may_edit": user.teams_with(Permission.REGISTRY_EDIT) is None}
    listing = RegistryListing(request, Registry.objects.all())
    return listing.respond("images/registries.html", "images/_registries.html", context)


@login_required
def registry_new(request: HttpRequest) -> HttpResponse:
    actor = person_of(request)
    require(actor, Permission.REGISTRY_EDIT)
    form = RegistryForm(request.POST or None, host=request.GET.get("host", "")[:255])
    if request.method == "POST":
        made = form.run(lambda entered: add_registry(entered["host"], form.edit(), actor=actor))
        if made is not None:
            messages.success(request, f"{made.host} is known now.")
            return redirect("registries:detail", pk=made.pk)
    return render(request, "images/registry.html", {"form": form}, status=422 if form.errors else 200)


@login_required
def registry_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A registry's settings; POST saves them."""
    actor = person_of(request)
    require(actor, Permission.REGISTRY_EDIT)
    registry = _registry(pk)
    form = RegistryForm(request.POST or None, registry=registry)
    if request.method == "POST" and form.works(lambda _: edit_registry(pk, form.edit(), actor=actor)):
        messages.success(request, "Saved.")
        return redirect("registries:detail", pk=pk)
    context = {"form": form, "registry": registry}
    return render(request, "images/registry.html", context, status=422 if form.errors else 200)


@never_cache
@require_POST
@login_required
def webhook_token(request: HttpRequest, pk: int) -> HttpResponse:
    """A new token for the registry's webhooks, shown this once."""
    registry, token = renew_webhook_token(pk, actor=person_of(request))
    context = {"registry": registry, "token": token, "url": request.build_absolute_uri("/hooks/registry/")}
    return render(request, "images/webhook_token.html", context, status=201)


def _registry(pk: int) -> Registry:
    found = Registry.objects.filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no registry {pk}.")
    return found
