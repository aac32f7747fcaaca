"""Settings: the clusters that ask, and how each is answered."""

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
from secguard.admission import services
from secguard.admission.forms import ClusterForm
from secguard.admission.models import ClusterGate
from secguard.errors import NotFound
from secguard.web.listing import Column, Listing


class ClusterListing(Listing):
    name, noun = "clusters", "cluster"
    caption = "Clusters that ask before anything starts"
    columns = (
        Column("name", "Cluster", sort="cluster__name", value="cluster.name"),
        Column("kind", "Kind", value="cluster.get_kind_display"),
        Column("mode", "Mode", sort="mode"),
        Column("namespaces", "Namespaces of another mode", value=lambda g: len(g.namespaces), numeric=True),
        Column("token", "Token", value=lambda g: "set" if g.token_hash else "none"),
        Column("heard_at", "Last asked", sort="heard_at", first="-"),
    )
    default_sort = "name"
    search_fields = ("cluster__name__icontains",)
    search_hint = "Search by name"


@require_safe
@login_required
def cluster_list(request: HttpRequest) -> HttpResponseBase:
    require(person_of(request), Permission.CLUSTER_EDIT)
    listing = ClusterListing(request, ClusterGate.objects.select_related("cluster"))
    return listing.respond("admission/clusters.html", "admission/_clusters.html", {"tab": "clusters"})


@login_required
def cluster_new(request: HttpRequest) -> HttpResponse:
    """Let a cluster ask; its token is made on its own page."""
    actor = person_of(request)
    require(actor, Permission.CLUSTER_EDIT)
    form = ClusterForm(request.POST or None)
    if request.method == "POST":
        made = form.run(lambda entered: services.add_gate(entered["name"], form.edit(), actor=actor))
        if made is not None:
            messages.success(request, f"{made.cluster.name} may ask as soon as it has a token.")
            return redirect("clusters:detail", pk=made.pk)
    return render(request, "admission/cluster.html", {"form": form}, status=422 if form.errors else 200)


@login_required
def cluster_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """How one cluster is answered; POST saves it."""
    actor = person_of(request)
    require(actor, Permission.CLUSTER_EDIT)
    gate = ClusterGate.objects.select_related("cluster").filter(pk=pk).first()
    if gate is None:
        raise NotFound(f"There is no cluster {pk}.")
    form = ClusterForm(request.POST or None, gate=gate)
    if request.method == "POST" and form.works(lambda _: services.edit_gate(pk, form.edit(), actor=actor)):
        messages.success(request, "Saved. It counts from the next question on.")
        return redirect("clusters:detail", pk=pk)
    context = {"form": form, "gate": gate}
    return render(request, "admission/cluster.html", context, status=422 if form.errors else 200)


@never_cache
@require_POST
@login_required
def cluster_token(request: HttpRequest, pk: int) -> HttpResponse:
    """A new token for the cluster's webhooks, shown this once."""
    gate, token = services.renew_token(pk, actor=person_of(request))
    context = {"gate": gate, "token": token, "url": request.build_absolute_uri("/admission/v1/validate")}
    return render(request, "admission/token.html", context, status=201)
