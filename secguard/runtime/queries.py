"""Baselines as pages and the API show them: narrowed to what somebody may see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from django.db.models import Prefetch, QuerySet
from django_filters import ChoiceFilter, FilterSet

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.approvals.models import Vote
from secguard.approvals.queries import votes_of
from secguard.errors import NotFound
from secguard.images.models import Image
from secguard.images.queries import find_image, previous_in_lineage, with_places
from secguard.runtime import apparmor, falco_rules, seccomp
from secguard.runtime import baseline as rules
from secguard.runtime.baseline import Difference, Status
from secguard.runtime.baseline_items import Item, ItemKind, items_of
from secguard.runtime.event import Event
from secguard.runtime.models import Baseline, BaselineChange, BaselineItem, Origin
from secguard.runtime.services import baselines
from secguard.web.filters import ChipFilter

MAX_WAITING: Final = 200
STATES: Final = [(s.value, s.value.capitalize()) for s in Status]


class BaselineFilter(FilterSet):
    status = ChoiceFilter(choices=STATES, label="State", empty_label="Any")
    team = ChipFilter(label="Team", method="at_a_place")
    application = ChipFilter(label="Application", method="at_a_place")
    repository = ChipFilter(label="Repository", method="at_a_place")

    class Meta:
        model = Baseline
        fields: list[str] = []

    def at_a_place(self, rows: QuerySet[Baseline], name: str, value: str) -> QuerySet[Baseline]:
        path = {"team": "application__team__slug", "application": "application__slug", "repository": "name"}[name]
        places = Image.objects.filter(**{f"places__repository__{path}": value})
        return rows.filter(image__in=places.values("pk"))


def listed(user: User) -> QuerySet[Baseline]:
    """Those that ``user`` may see, each with its image's places and tags."""
    images = with_places(Image.objects.all(), user)
    return Baseline.objects.visible_to(user).prefetch_related(Prefetch("image", queryset=images))


def baseline_of(digest: str, user: User) -> Baseline:
    """An image's baseline. ``NotFound`` where ``user`` sees no such image, or nothing was seen of it yet."""
    found = listed(user).filter(image=find_image(user, digest)).select_related("locked_by", "before").first()
    if found is None:
        raise NotFound(
            "No event of this image was told by a sensor yet, so nothing is known of what is normal for it. Connect a "
            "sensor where it runs (docs/runtime-events.md).",
            code="no-baseline",
        )
    return found


def called(image: Image) -> str:
    """``registry/shop/web:1.5``; without a tag the repository, without one the digest."""
    if tags := image.shown_tags:
        return f"{tags[0].repository.name}:{tags[0].name}"
    places: list[Any] = getattr(image, "seen_places", [])
    return str(places[0].repository.name) if places else image.digest[:19]


def version_of(image: Image) -> str:
    """``1.5``; without a tag the beginning of its digest."""
    return image.shown_tags[0].name if image.shown_tags else image.digest[7:19]


def state_of(row: Baseline, now: datetime) -> dict[str, Any]:
    """Where it stands at ``now``: learning ends by the clock, whether or not an event came since."""
    lacking = rules.still_lacking(row.learning_since, row.events, len(row.replicas), now)
    is_learning = row.status == Status.LEARNING
    status = Status.PROPOSED.value if is_learning and not lacking else row.status
    return {"status": status, "lacking": list(lacking) if is_learning else [], "days": row.days(now)}


# --- versions ---


def version_before(row: Baseline, user: User) -> Baseline | None:
    """The baseline that it began from, or that of the image before it in its repository."""
    rows = listed(user)
    if row.before_id and (found := rows.filter(pk=row.before_id).first()):
        return found
    before = previous_in_lineage(row.image, user)
    return rows.filter(image=before).first() if before else None


def compared(row: Baseline, before: Baseline | None, user: User) -> dict[str, Any]:
    """The difference to the version before, in items and in words; what is gone is told once it learned enough."""
    if before is None:
        return {"before": None, "words": "", "added": (), "gone": ()}
    now, was = _items(row, user, only_seen=True), _items(before, user)
    found = rules.difference(was, now)
    if row.status == Status.LEARNING:
        found = Difference(found.added)
    words = rules.in_words(found, version_of(row.image), version_of(before.image))
    return {"before": before, "words": words, "added": found.added, "gone": found.gone}


def _items(row: Baseline, user: User, *, only_seen: bool = False) -> list[Item]:
    rows = BaselineItem.objects.filter(baseline=row).seen_by(user).only("kind", "name", "how", "port")
    if only_seen:
        rows = rows.exclude(origin=Origin.CARRIED, count=0)
    return [one.item for one in rows]


# --- what waits ---


def changes(user: User) -> QuerySet[BaselineChange]:
    images = with_places(Image.objects.all(), user)
    rows = BaselineChange.objects.visible_to(user).select_related("request", "asked_by", "baseline")
    return rows.prefetch_related(Prefetch("baseline__image", queryset=images))


def waiting(user: User) -> list[BaselineChange]:
    """Those on which ``user`` may vote, the oldest first."""
    if not user.can(Permission.DECISION_APPROVE):
        return []
    rows = changes(user).filter(ended_at=None, request__status="open").exclude(asked_by=user)
    return list(rows.order_by("pk")[:MAX_WAITING])


def change_documents(rows: Sequence[BaselineChange], user: User) -> list[dict[str, Any]]:
    votes = votes_of([row.request for row in rows])
    return [_change_document(row, votes[row.request_id], user) for row in rows]


def _change_document(row: BaselineChange, votes: Sequence[Vote], user: User) -> dict[str, Any]:
    is_waiting = row.ended_at is None and row.request.status == "open"
    status = "waiting" if is_waiting else {"closed": "withdrawn"}.get(row.request.status, row.request.status)
    return {
        "id": row.pk,
        "key": str(row.pk),
        "baseline": row.baseline.image.digest,
        "what": row.what,
        "items": [item_document(item) for item in baselines.items_of(row)],
        "reason": row.reason,
        "status": status,
        "asked_by": row.asked_by.username,
        "asked_at": row.asked_at,
        "ended_at": row.ended_at,
        "votes": [
            {"voter": v.voter.username, "choice": v.choice, "comment": v.comment, "at": v.created_at} for v in votes
        ],
        "may_vote": is_waiting and row.asked_by_id != user.pk and user.can(Permission.DECISION_APPROVE),
    }


def item_document(item: Item) -> dict[str, Any]:
    return {"kind": item.kind.value, "name": item.name, "how": item.how, "port": item.port, "words": str(item)}


def items_of_events(events: Iterable[Event]) -> list[Item]:
    """What is to join a baseline, where events of an incident are expected."""
    return sorted({item for event in events for item in items_of(event)})


# --- exports ---


def _exported(row: Baseline, user: User) -> tuple[list[Item], list[ItemKind], str]:
    items = _items(row, user)
    note = f"What is normal for {called(row.image)} ({row.image.digest}), {row.status} in SecGuard."
    if BaselineItem.objects.filter(baseline=row).count() > len(items):
        note += "\nMade of what your teams' workloads do: of other teams' you see nothing, and this would stop it."
    if row.status != Status.LOCKED:
        note += "\nNobody has locked it: what is missing here may be normal."
    return items, [ItemKind(kind) for kind in row.varied], note


def falco_of(row: Baseline, user: User) -> str:
    items, varied, note = _exported(row, user)
    names = [place.repository.name for place in getattr(row.image, "seen_places", [])]
    return falco_rules.rules_of(row.image.digest, names, items, varied, note=note)


def apparmor_of(row: Baseline, user: User) -> str:
    items, varied, note = _exported(row, user)
    return apparmor.profile_of(row.image.digest, items, varied, note=note)


def seccomp_of(row: Baseline, user: User, otherwise: seccomp.Otherwise) -> dict[str, Any]:
    """Raises ``Conflict`` where no agent told of system calls."""
    items, varied, _ = _exported(row, user)
    return seccomp.profile_of(items, varied, row.image.architecture, otherwise)
