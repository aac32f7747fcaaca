"""The policy's page: what gates now, its versions, and the next one."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import NotFound
from secguard.policies import services
from secguard.policies.forms import PolicyForm
from secguard.policies.language import PolicyError
from secguard.policies.models import PolicyVersion
from secguard.web import htmx


@require_safe
@login_required
def detail(request: HttpRequest) -> HttpResponse:
    version = services.active_version()
    return render(request, "policies/detail.html", _context(version))


@require_safe
@login_required
def version_detail(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "policies/detail.html", _context(_version(pk)))


def _version(pk: int) -> PolicyVersion:
    version = PolicyVersion.objects.select_related("policy", "author").filter(pk=pk).first()
    if version is None:
        raise NotFound(f"There is no policy version {pk}.")
    return version


def _context(version: PolicyVersion) -> dict[str, Any]:
    active = services.active_version()
    return {
        "version": version,
        "active": active,
        "rules": services.rules_of(version.sha256, version.source),
        "versions": PolicyVersion.objects.select_related("policy", "author").order_by("-id")[:50],
    }


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def edit(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    require(user, Permission.POLICY_EDIT)
    active = services.active_version()
    form = PolicyForm(request.POST or None, initial={"source": active.source})
    problems: list[Any] = []
    if request.method == "POST" and form.is_valid():
        words = form.cleaned_data
        try:
            version = services.create_version(
                active.policy.name, words["source"], comment=words["comment"], actor=user, activate=words["activate"]
            )
        except PolicyError as error:
            problems = error.problems
        else:
            messages.success(request, f"Version {version.number} is saved{' and gates' if words['activate'] else ''}.")
            return htmx.redirect(request, reverse("policies:version", args=[version.pk]))
    context = {"form": form, "problems": problems, "active": active}
    return render(request, "policies/edit.html", context, status=422 if problems or form.errors else 200)


@require_POST
@login_required
def activate(request: HttpRequest, pk: int) -> HttpResponse:
    user: Any = request.user
    version = services.activate_version(pk, actor=user)
    messages.success(request, f"{version.policy.name} version {version.number} gates from now on.")
    return htmx.redirect(request, reverse("policies:detail"))
