"""``events.around.AROUND``: from an event to its image, what was decided of it, and whoever had a hand in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, Q
from django.urls import reverse

from secguard.accounts.models import User
from secguard.approvals.models import Vote
from secguard.dashboards.queries.standing import named
from secguard.decisions.models import Decision
from secguard.events.around import Line, Part
from secguard.events.models import Event
from secguard.findings.models import Finding
from secguard.findings.severity import Severity
from secguard.images.models import Image, Repository
from secguard.images.queries import with_places
from secguard.incidents.models import Incident
from secguard.policies.facts import Gate
from secguard.policies.models import Verdict
from secguard.promotion.models import Promotion
from secguard.promotion.queries import promotions
from secguard.workloads.models import Workload

MOST: Final = 10
"""Lines of one part."""
MOST_IMAGES: Final = 3
"""Of a workload, where the event names no digest."""
_WORDS: Final = {"pass": "may be promoted", "warn": "may be promoted, with warnings", "block": "may not be promoted"}


def around(event: Event, user: User, now: datetime) -> Iterator[Part]:
    """Twelve queries or so, whatever the number of rows; each row is one that ``user`` may see."""
    images = _images(event, user)
    incidents = _incidents(event, user)
    decisions = _decisions(images, user, now)
    moved = _promotions(images, user)
    yield Part("incidents", "Incidents", tuple(map(_incident, incidents)), "It belongs to no incident.")
    yield Part("image", "Its image", tuple(_image_lines(images, user)), "Which image it was is not known here.")
    yield Part(
        "decisions", "Decisions about it", tuple(_decision(row, now) for row in decisions),
        "Nothing that stands open in its image was decided, and nobody asks.",
    )  # fmt: skip
    people = tuple(_people(incidents, decisions, moved, images))
    yield Part("people", "Its people", people[: 2 * MOST], "Nobody has had a hand in it yet.")


# --- its image ---


def _images(event: Event, user: User) -> list[Any]:
    """The image that it names; else what its workload runs. Each with ``name``."""
    rows = Image.objects.visible_to(user)
    if event.digest:
        rows = rows.filter(digest=event.digest)
    elif event.workload_id:
        rows = rows.filter(workloads__in=Workload.objects.visible_to(user).filter(pk=event.workload_id))
    else:
        return []
    return named(with_places(rows.distinct().order_by("-pk"), user)[:MOST_IMAGES])


def _image_lines(images: Sequence[Any], user: User) -> Iterator[Line]:
    stored = Verdict.objects.filter(image__in=images, stage=Gate.PROMOTE).values_list("image_id", "verdict")
    words = dict(stored) if images else {}
    counts = _counts(images, user)
    for image in images:
        said = [_WORDS.get(words.get(image.pk, ""), "not judged"), counts.get(image.pk, "nothing stands open in it")]
        yield Line(image.name, reverse("images:detail", args=[image.digest]), "; ".join(said))


def _counts(images: Sequence[Image], user: User) -> dict[int, str]:
    """{image: "2 critical, 5 high"}."""
    if not images:
        return {}
    still = Finding.objects.open().visible_to(user).filter(image__in=images).order_by()
    found: dict[int, Counter[int]] = {}
    for image, severity, n in still.values_list("image_id", "severity").annotate(n=Count("pk", distinct=True)):
        found.setdefault(image, Counter())[severity] += n
    return {
        image: ", ".join(f"{n:,} {Severity(severity).label}" for severity, n in sorted(numbers.items(), reverse=True))
        for image, numbers in found.items()
    }


# --- decisions ---


def _decisions(images: Sequence[Image], user: User, now: datetime) -> list[Decision]:
    """Those that hold for what stands open in the images, or that somebody asks for; the newest first."""
    if not images:
        return []
    places = Repository.objects.visible_to(user).filter(places__image__in=images)
    covered = Q(image__in=images) | Q(repository__in=places) | Q(scope_kind="organisation")
    covered |= Q(application__in=places.exclude(application=None).values("application"), repository=None)
    risks = Finding.objects.open().visible_to(user).filter(image__in=images).values("risk")
    rows = Decision.objects.visible_to(user).filter(covered, risk__in=risks)
    held = rows.in_force(now) | rows.waiting().filter(expires_at__gt=now)
    return list(held.select_related("risk__vulnerability", "requested_by").distinct().order_by("-pk")[:MOST])


def _decision(row: Decision, now: datetime) -> Line:
    state = "waits for a yes" if row.status == "requested" else f"until {row.counts_until:%Y-%m-%d}"
    text = f"{row.kind.replace('_', ' ')} {row.risk.name}"
    return Line(text, reverse("decisions:detail", args=[row.pk]), f"{row.scope_label}; {state}")


# --- incidents ---


def _incidents(event: Event, user: User) -> list[Incident]:
    """Those that the event's story is part of."""
    rows = Incident.objects.visible_to(user)
    # By its workload there is an index; of what is tied to none, only what is open is looked at.
    rows = rows.filter(workload=event.workload_id) if event.workload_id else rows.live()
    found = rows.filter(stories__story=event.story).select_related("assigned_to", "decided_by")
    return list(found.order_by("-pk")[:MOST])


def _incident(row: Incident) -> Line:
    taken = f"taken by {row.assigned_to}" if row.assigned_to else "nobody has taken it"
    return Line(row.title, reverse("incidents:detail", args=[row.pk]), f"{row.status}; {taken}")


# --- people ---


def _promotions(images: Sequence[Image], user: User) -> list[Promotion]:
    if not images:
        return []
    rows = promotions(user).filter(Q(image__in=images) | Q(digest__in=[image.digest for image in images]))
    return list(rows.order_by("-pk")[:MOST])


def _people(
    incidents: Sequence[Incident], decisions: Sequence[Decision], moved: Sequence[Promotion], images: Sequence[Any]
) -> Iterator[Line]:
    """Whose it is, and who did what."""
    yield from _owners(images)
    for incident in incidents:
        url = reverse("incidents:detail", args=[incident.pk])
        if incident.assigned_to:
            yield Line(str(incident.assigned_to), url, f"has taken incident {incident.pk}")
        if incident.decided_by:
            yield Line(str(incident.decided_by), url, f"decided incident {incident.pk}: {incident.decision}")
    voters = _voters([*(d.approval_id for d in decisions), *(p.approval_id for p in moved if p.approval_id)])
    for decision in decisions:
        url, what = reverse("decisions:detail", args=[decision.pk]), f"decision {decision.pk}"
        yield Line(str(decision.requested_by), url, f"asked for {what}")
        yield from (Line(str(v.voter), url, f"{_DID[v.choice]} {what}") for v in voters.get(decision.approval_id, ()))
    for promotion in moved:
        url, what = reverse("promotions:detail", args=[promotion.pk]), f"its promotion to {promotion.environment.name}"
        yield Line(str(promotion.requested_by), url, f"asked for {what}")
        yield from (Line(str(v.voter), url, f"{_DID[v.choice]} {what}") for v in voters.get(promotion.approval_id, ()))


_DID: Final = {"approve": "approved", "reject": "rejected"}


def _owners(images: Sequence[Any]) -> Iterator[Line]:
    """The applications that the images lie with, and their teams."""
    places = [place.repository for image in images for place in image.seen_places]
    found = {r.application.slug: r.application for r in places if r.application}
    for slug, application in sorted(found.items()):
        yield Line(application.team.name, reverse("applications:detail", args=[slug]), f"owns {application.name}")


def _voters(requests: Sequence[int]) -> dict[int | None, list[Vote]]:
    found: dict[int | None, list[Vote]] = {}
    if requests:
        for vote in Vote.objects.filter(request__in=requests).select_related("voter").order_by("pk"):
            found.setdefault(vote.request_id, []).append(vote)
    return found
