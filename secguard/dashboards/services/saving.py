"""People's own views of the homes, and which of them are written to them each week."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.core import signing
from django.db import IntegrityError, transaction

from secguard.accounts.models import User
from secguard.accounts.services import require
from secguard.dashboards.homes import READS, Audience
from secguard.dashboards.models import SavedView, Subscription
from secguard.dashboards.report import Form
from secguard.dashboards.slices import Slice
from secguard.dashboards.weekly import next_time
from secguard.errors import Conflict, Invalid, NotFound
from secguard.notifications.models import Preference
from secguard.notifications.queries import wishes_of

MOST_VIEWS: Final = 50
"""Of one person."""
_SALT: Final = "dashboards.unsubscribe"


def save_view(name: str, audience: Audience, of: Slice, *, actor: User) -> SavedView:
    """Raises ``Conflict`` where the person has a view of that name, or as many as one may have."""
    require(actor, READS[audience], anywhere=True)
    words = " ".join(name.split())
    if not words or len(words) > 80 or "\x00" in words:
        raise Invalid(f"The name has {len(words)} characters; expected 1 to 80.", code="view-name", where="name")
    if SavedView.objects.filter(user=actor).count() >= MOST_VIEWS:
        raise Conflict(f"You keep {MOST_VIEWS} views already. Delete one first.", code="views-full", where="name")
    values = {field: getattr(of, field) for field in ("team", "application", "environment", "days")}
    try:
        with transaction.atomic():
            return SavedView.objects.create(user=actor, name=words, audience=audience.value, **values)
    except IntegrityError:
        raise Conflict(
            f"You have a view {words!r} already. Choose another name, or delete that one.",
            code="view-name",
            where="name",
        ) from None


def delete_view(pk: int, *, actor: User) -> SavedView:
    """With its letters. Raises ``NotFound`` for what is not the person's own."""
    found = _own(pk, actor)
    SavedView.objects.filter(pk=found.pk).delete()
    return found


def subscribe(pk: int, weekday: int, hour: int, form: Form, *, actor: User, now: datetime) -> Subscription:
    """Write the view to its person each week from now on; a later call changes when and how."""
    view = _own(pk, actor)
    if not (0 <= weekday <= 6 and 0 <= hour <= 23):
        raise Invalid(f"Day {weekday} and hour {hour} are none; expected 0 (Monday) to 6 and 0 to 23.", where="weekday")
    if not actor.email:
        raise Invalid(
            "Nothing can be written to you: your account has no e-mail address. Have one entered.",
            code="no-address",
            where="weekday",
        )
    at = next_time(weekday, hour, zone_of(actor.pk), now)
    values: dict[str, Any] = {"weekday": weekday, "hour": hour, "form": form.value, "next_at": at}
    return Subscription.objects.update_or_create(view=view, defaults=values)[0]


def unsubscribe(pk: int, *, actor: User) -> None:
    """End the view's letters; nothing where there are none."""
    Subscription.objects.filter(view=_own(pk, actor)).delete()


def key_of(subscription: Subscription) -> str:
    """What a letter's own link ends it with, signed in or not."""
    return signing.dumps([subscription.pk, subscription.view_id], salt=_SALT)


def find_by_key(key: str) -> Subscription | None:
    """The subscription that a letter's link names; None where it has ended. ``NotFound`` for a key of nobody's."""
    try:
        pk, view = signing.loads(key, salt=_SALT)
    except (signing.BadSignature, ValueError, TypeError):
        raise NotFound("This link ends no letters. Sign in, and end them on the home itself.", code="no-key") from None
    return Subscription.objects.filter(pk=pk, view=view).select_related("view").first()


def unsubscribe_by_key(key: str) -> None:
    """End the letters that ``key`` names; safe to do twice."""
    found = find_by_key(key)
    if found is not None:
        found.delete()


def zone_of(user_id: int) -> Any:
    """The person's time zone."""
    return wishes_of(Preference.objects.filter(user_id=user_id).first() or Preference()).zone


def _own(pk: int, actor: User) -> SavedView:
    found = SavedView.objects.filter(pk=pk, user=actor).first()
    if found is None:
        raise NotFound(f"There is no view {pk} of yours.", code="no-view")
    return found
