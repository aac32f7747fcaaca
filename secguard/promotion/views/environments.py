"""Settings: the environments in their order. Everybody reads them; environment:edit changes them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import NotFound
from secguard.images.models import Registry
from secguard.promotion import services
from secguard.promotion.forms import EnvironmentForm, approvers_words
from secguard.promotion.models import Environment, Promotion
from secguard.signing.models import SigningKey
from secguard.web.listing import Column, Listing


class EnvironmentListing(Listing):
    name, noun = "environments", "environment"
    caption = "Environments in their order"
    columns = (
        Column("position", "Place", sort="position", css="fit-no"),
        Column("name", "Environment", sort="name", css="fit-word"),
        Column("registry", "Registry and paths", value=lambda e: f"{e.registry.host}/{e.path_prefix}".rstrip("/")),
        Column("gate", "Gate", css="fit-fix"),
        Column("key_name", "Key", css="fit-word"),
        Column("approvers", "Who approves", value=lambda e: approvers_words(e.approvers)),
        Column("is_automatic", "By itself", value=lambda e: "yes" if e.is_automatic else "no", css="fit-word"),
    )
    default_sort = "position"
    search_fields = ("name__icontains", "registry__host__icontains")
    search_hint = "Name or registry"

    def prepare(self, rows: list[Any]) -> None:
        for environment in rows:
            environment.who = approvers_words(environment.approvers)


def _reader(request: HttpRequest) -> tuple[User, bool]:
    """Who reads, and whether they may change environments too."""
    user = person_of(request)
    require(user, Permission.PROMOTION_READ, anywhere=True)
    return user, user.teams_with(Permission.ENVIRONMENT_EDIT) is None


@require_safe
@login_required
def environment_list(request: HttpRequest) -> HttpResponseBase:
    _, may_edit = _reader(request)
    listing = EnvironmentListing(request, Environment.objects.select_related("registry"))
    context = {
        "tab": "environments",
        "may_edit": may_edit,
        "has_registry": Registry.objects.filter(configured_at__isnull=False).exists(),
        "has_key": SigningKey.objects.signing_images().exists(),
    }
    return listing.respond("promotion/environments.html", "promotion/_environments.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def environment_new(request: HttpRequest) -> HttpResponse:
    actor = person_of(request)
    require(actor, Permission.ENVIRONMENT_EDIT)
    form = EnvironmentForm(request.POST or None)
    if request.method == "POST":
        made = form.run(lambda entered: services.add_environment(entered["name"], form.edit(), actor=actor))
        if made is not None:
            messages.success(request, f"{made.name} is an environment now.")
            return redirect("environments:list")
    return render(request, "promotion/environment.html", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def environment_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """An environment's settings; POST saves them. Who may not change them reads them."""
    actor, may_edit = _reader(request)
    if request.method == "POST":
        require(actor, Permission.ENVIRONMENT_EDIT)
    environment = _environment(pk)
    form = EnvironmentForm(request.POST or None, environment=environment) if may_edit else None
    if (
        request.method == "POST"
        and form
        and form.works(lambda _: services.edit_environment(pk, form.edit(), actor=actor))
    ):
        messages.success(request, "Saved. It counts for what is asked for from now on.")
        return redirect("environments:list")
    context = {
        "form": form,
        # What is shown stands on what is stored, also where what was entered cannot be.
        "environment": environment,
        "approvers": approvers_words(environment.approvers),
        "is_used": Promotion.objects.filter(environment=environment).exists(),
    }
    return render(request, "promotion/environment.html", context, status=422 if form and form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def environment_delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Take one away that nothing was ever asked for in; GET says what that does."""
    actor = person_of(request)
    require(actor, Permission.ENVIRONMENT_EDIT)
    environment = _environment(pk)
    if request.method == "POST":
        services.delete_environment(pk, actor=actor)
        messages.success(request, f"{environment.name} is no environment any more.")
        return redirect("environments:list")
    used = Promotion.objects.filter(environment=environment).exists()
    return render(request, "promotion/environment_delete.html", {"environment": environment, "is_used": used})


def _environment(pk: int) -> Environment:
    found = Environment.objects.select_related("registry").filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no environment {pk}.")
    return found
