"""Repositories: the list, and one's images, tags, growth, and what workers look for in it by themselves."""

from __future__ import annotations

from typing import Any

import django_filters
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.dashboards import queries
from secguard.dashboards.forms import WatchForm
from secguard.dashboards.views.images import VERDICTS
from secguard.images.models import Repository, Tag
from secguard.planning.measured import MeasuredFilter
from secguard.scans.models import Watch
from secguard.scans.services import watching
from secguard.web import htmx
from secguard.web.charts import Chart, Series
from secguard.web.filters import ChipFilter, YesNoFilter
from secguard.web.listing import Column, Listing
from secguard.web.wording import short_digest, split_host

MB = 10**6


def watch_words(watch: Watch | None) -> str:
    """``every 24 hours, tags v*``; empty where workers look for nothing by themselves."""
    if watch is None:
        return ""
    hours = f"every {watch.every_hours} hours" if watch.every_hours and watch.every_hours > 1 else "every hour"
    parts = [hours if watch.every_hours else "", f"tags {watch.tags}" if watch.tags else ""]
    return ", ".join(part for part in parts if part)


def watch_of(repository: Repository) -> Watch | None:
    """The repository's watch, where it has one; it comes with ``queries.repository_rows``."""
    found: Watch | None = getattr(repository, "watch", None)
    return found


class RepositoryFilter(MeasuredFilter):
    verdict = django_filters.ChoiceFilter(label="May be promoted", choices=VERDICTS, method="by_verdict")
    watched = YesNoFilter(label="Watched", method="by_watch")
    application = ChipFilter(label="Application", field_name="application__slug")
    team = ChipFilter(label="Team", field_name="application__team__slug")

    class Meta:
        model = Repository
        fields: list[str] = []

    def by_verdict(self, rows: QuerySet[Repository], name: str, value: str) -> QuerySet[Repository]:
        judged: Any = rows  # annotated by ``queries.repository_rows``
        found: QuerySet[Repository] = judged.filter(verdict_word=None if value == "unknown" else value)
        return found

    def by_watch(self, rows: QuerySet[Repository], name: str, value: bool) -> QuerySet[Repository]:
        return rows.filter(watch__isnull=not value)


class RepositoryListing(Listing):
    name, noun, noun_plural = "repositories", "repository", "repositories"
    caption = "Repositories that you may see"
    default_sort = "name"
    search_fields = ("name__icontains",)
    search_hint = "Registry or path"
    filterset = RepositoryFilter
    columns = (
        Column("name", "Repository", sort="name"),
        Column("verdict", "May be promoted", value="verdict_word", css="fit-verdict"),
        Column("open", "Open findings", value=lambda r: r.newest_image.open_findings if r.newest_image else 0,
               css="fit-counts"),
        Column("images", "Images", value="images", numeric=True, css="fit-number"),
        Column("application", "Application", value="application.name", css="fit-word"),
        Column("watch", "Scanned by itself", value=lambda r: watch_words(watch_of(r)), css="fit-verdict"),
        Column("scanned", "Scanned", value="newest_image.last_scanned_at", css="fit-date wide-only"),
    )  # fmt: skip

    def prepare(self, rows: list[Any]) -> None:
        for repository in rows:
            repository.watch_words = watch_words(watch_of(repository))


@require_safe
@login_required
def repository_list(request: HttpRequest) -> HttpResponseBase:
    listing = RepositoryListing(request, queries.repository_rows(person_of(request)))
    return listing.respond("repositories/list.html", "repositories/_list.html", {"begin_url": reverse("begin")})


class LineageListing(Listing):
    """The images of one repository, as they arrived."""

    name, noun = "lineage", "image"
    caption = "Images of this repository"
    default_sort = "-seen"
    search_hint = "Tag or digest"
    columns = (
        Column("tags", "Image", value=lambda p: ", ".join(p.tags) or p.image.digest),
        Column("verdict", "May be promoted", value="verdict_word", css="fit-verdict"),
        Column("severity", "Open findings", sort=("image__worst_severity", "image__open_findings"), first="-",
               value="image.open_findings", css="fit-counts"),
        Column("size", "Size", sort="image__size_bytes", first="-", value="image.size_bytes", numeric=True,
               css="fit-number"),
        Column("seen", "First seen", sort="first_seen_at", first="-", value="first_seen_at", css="fit-date"),
        Column("digest", "Digest", value="image.digest", hidden=True),
        Column("architecture", "Architecture", value="image.architecture", hidden=True),
    )  # fmt: skip

    def __init__(self, request: HttpRequest, repository: Repository) -> None:
        super().__init__(request, queries.places_in(repository))
        self.repository = repository

    def prepare(self, rows: list[Any]) -> None:
        tags = queries.tags_on(self.repository, [place.image_id for place in rows])
        for place in rows:
            place.tags = tags.get(place.image_id, [])

    def search(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        tagged = Tag.objects.filter(repository=self.repository, image=OuterRef("image_id"), name__icontains=text)
        digest = Q(image__digest__startswith=text) | Q(image__digest__startswith=f"sha256:{text}")
        return queryset.filter(Exists(tagged) | digest)


@require_safe
@login_required
def repository_detail(request: HttpRequest, pk: int) -> HttpResponseBase:
    return _page(request, pk)


@require_POST
@login_required
def repository_watch(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Save what workers look for by themselves; both fields empty end the watch."""
    actor = person_of(request)
    queries.find_repository(actor, pk)
    form = WatchForm(request.POST)
    saved = form.run(lambda _: (watching.watch(pk, form.edit(), actor=actor),))
    if saved is None:
        return _page(request, pk, form)
    said = watch_words(saved[0])
    messages.success(request, f"Workers look here by themselves: {said}." if said else "Workers look here when asked.")
    return redirect("repositories:detail", pk=pk)


def _page(request: HttpRequest, pk: int, form: WatchForm | None = None) -> HttpResponseBase:
    user = person_of(request)
    repository = queries.find_repository(user, pk)
    listing = LineageListing(request, repository)
    if htmx.wants_fragment(request) or request.GET.get("format") == "csv":
        return listing.respond("repositories/detail.html", "repositories/_lineage.html")
    host, path = split_host(repository.name)
    watch = watch_of(repository)
    team = repository.application.team_id if repository.application else None
    context = {
        "repository": repository,
        "host": host,
        "path": path,
        "watch": watch,
        "watch_words": watch_words(watch),
        "form": form or WatchForm(watch=watch),
        "may_watch": user.can(Permission.SCAN_REQUEST, team),
        "tags": queries.latest_tags(repository),
        "chart": growth_chart(repository),
        **_newest(repository, user),
    }
    response = listing.respond("repositories/detail.html", "repositories/_lineage.html", context)
    response.status_code = 422 if form is not None else 200
    return response


def _newest(repository: Repository, user: User) -> dict[str, Any]:
    """The newest image, and what building it on the newest of its base would change."""
    image = repository.newest_image
    if image is None:
        return {"image": None}
    tags = queries.tags_on(repository, [image.pk])[image.pk]
    return {"image": image, "newest_tag": tags[0] if tags else "", **queries.base_of(image, user)}


def growth_chart(repository: Repository) -> Chart | None:
    """The sizes of the latest versions as registries keep them; None where there are not two to compare."""
    versions = queries.growth(repository)
    if len(versions) < 2:
        return None
    tags = queries.tags_on(repository, [v.image_id for v in versions])
    return Chart(
        name="growth",
        title="Size to pull, in MB",
        kind="line",
        labels=[tags[v.image_id][0] if tags[v.image_id] else short_digest(v.image__digest) for v in versions],
        series=[Series("Size", [round(v.image__size_bytes / MB, 1) for v in versions], "accent")],
        urls=[reverse("images:detail", args=[v.image__digest]) for v in versions],
        unit=" MB",
        height="sm",
        label_heading="Version",
    )


class MoveFilter(django_filters.FilterSet):
    tag = ChipFilter(label="Tag", field_name="name")

    class Meta:
        model = Tag
        fields: list[str] = []


class MoveListing(Listing):
    name, noun = "tag-moves", "move"
    caption = "What the tags of this repository pointed to"
    default_sort = "-at"
    search_fields = ("name__icontains", "image__digest__icontains")
    search_hint = "Tag or digest"
    filterset = MoveFilter
    columns = (
        Column("name", "Tag", sort="name"),
        Column("image", "Points to", value="image.digest"),
        Column("open", "Open findings", value="image.open_findings", css="fit-counts"),
        Column("by", "By", value="by.username", css="fit-word"),
        Column("at", "Since", sort="at", first="-", css="fit-date"),
    )


@require_safe
@login_required
def repository_tags(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The history of its tags: never changed, never deleted."""
    repository = queries.find_repository(person_of(request), pk)
    listing = MoveListing(request, queries.moves_of(repository))
    return listing.respond("repositories/tags.html", "repositories/_tags.html", {"repository": repository})
