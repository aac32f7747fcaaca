"""Set up where news are posted to. The organisation's channels are the administrators', a team's its operators'."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import Team, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.channels import signing
from secguard.channels.adapters import posting
from secguard.channels.formats import Format
from secguard.channels.models import Channel, Delivery
from secguard.errors import Conflict, Invalid, NotFound
from secguard.jobs import services as jobs
from secguard.jobs.lifecycle import Queue
from secguard.notifications import kinds
from secguard.sealing import seal, unseal

SEALED_FOR = "channel"
OVERLAP = timedelta(days=1)
"""So long both secrets sign after a new one was made: time to give it to the receiver."""

MOST_CHANNELS = 100
"""Of one team, or of the organisation."""

POST = "channels.post"
TEST = "test"
"""The kind of a message that somebody asked for to see whether it arrives."""


@dataclass(frozen=True, slots=True)
class ChannelEdit:
    """What a channel is to be. ``None`` leaves a field as it is."""

    name: str | None = None
    url: str | None = None
    kinds: Sequence[str] | None = None
    is_active: bool | None = None

    def checked(self) -> dict[str, Any]:
        """The model's fields to set. Raises ``Invalid``; asks for the addresses of the URL's host."""
        fields: dict[str, Any] = {}
        if self.name is not None:
            fields["name"] = _checked_name(self.name)
        if self.url is not None:
            fields |= _checked_url(self.url.strip())
        if self.kinds is not None:
            fields["kinds"] = _checked_kinds(self.kinds)
        if self.is_active is not None:
            fields["is_active"] = self.is_active
        return fields


def _checked_name(name: str) -> str:
    text = " ".join(name.split())
    if not text or len(text) > 100 or not text.isprintable():
        raise Invalid("A channel needs a name of 1 to 100 characters.", where="name")
    return text


def _checked_url(url: str) -> dict[str, Any]:
    to = posting.check(url, settings.WEBHOOK_HOSTS)
    sealed = seal(url, keys=[settings.SECRET_KEY], purpose=SEALED_FOR)
    return {"sealed_url": sealed, "host": to.host[:300], "failures": 0, "error": "", "next_at": timezone.now()}


def _checked_kinds(names: Sequence[str]) -> list[str]:
    known = {kind.name for kind in kinds.kinds() if not kind.is_personal}
    if unknown := sorted(set(names) - known):
        raise Invalid(
            f"There is no kind of news {unknown[0][:40]!r}; known: {', '.join(sorted(known))}.", where="kinds"
        )
    return sorted(set(names))


def require_edit(actor: User | None, team_id: int | None) -> None:
    """Return if ``actor`` may set up channels of that team (none: the organisation's), else raise ``NotAllowed``."""
    if team_id is None:
        require(actor, Permission.SETTINGS_EDIT)
    else:
        require(actor, Permission.CHANNEL_EDIT, team_id=team_id)


def add_channel(edit: ChannelEdit, *, format_: str, team: Team | None, actor: User | None) -> tuple[Channel, str]:
    """Set up a channel of ``team`` or of the organisation. Returns it and its secret, which is told this once (empty
    for chats: Slack and Teams check none).

    Raises ``NotAllowed``, ``Invalid``, and ``Conflict`` where the name is taken or there are too many.
    """
    require_edit(actor, team.pk if team else None)
    if edit.name is None or edit.url is None:
        raise Invalid("A channel needs a name and a URL.", where="name" if edit.name is None else "url")
    if format_ not in list(Format):
        raise Invalid(f"The format is {format_[:40]!r}; expected one of {', '.join(Format)}.", where="format")
    fields = edit.checked()  # before the transaction: it asks for addresses
    secret = signing.new_secret() if format_ == Format.SECGUARD else ""
    sealed = seal(secret, keys=[settings.SECRET_KEY], purpose=SEALED_FOR) if secret else ""
    with transaction.atomic():
        _check_place(team, fields["name"])
        channel = Channel.objects.create(team=team, format=format_, sealed_secret=sealed, created_by=actor, **fields)
        _record(Action.CHANNEL_CREATE, channel, actor, {"format": format_, **_told(fields)})
    return channel, secret


def _check_place(team: Team | None, name: str, *, but: int = 0) -> None:
    others = Channel.objects.filter(team=team).exclude(pk=but)
    if others.filter(name=name).exists():
        raise Conflict(f"There is a channel {name!r} already; choose another name.", code="channel-exists")
    if others.count() >= MOST_CHANNELS:
        raise Conflict(f"There are {MOST_CHANNELS} channels already; remove one first.", code="channels-full")


def edit_channel(channel_id: int, edit: ChannelEdit, *, actor: User) -> Channel:
    """Change what is named. Raises ``NotFound``, ``NotAllowed``, ``Invalid``, ``Conflict``."""
    _find(channel_id, actor)
    fields = edit.checked()
    with transaction.atomic():
        channel = _locked(channel_id, actor)
        if "name" in fields:
            _check_place(channel.team, fields["name"], but=channel.pk)
        if fields:
            for name, value in fields.items():
                setattr(channel, name, value)
            channel.save(update_fields=list(fields))
            _record(Action.CHANNEL_EDIT, channel, actor, _told(fields))
    return channel


@transaction.atomic
def remove_channel(channel_id: int, *, actor: User) -> None:
    """Remove a channel with what waits for it. Raises ``NotFound``, ``NotAllowed``."""
    channel = _locked(channel_id, actor)
    pk = channel.pk
    channel.delete()
    channel.pk = pk
    _record(Action.CHANNEL_DELETE, channel, actor, {})


@transaction.atomic
def renew_secret(channel_id: int, *, actor: User, now: datetime | None = None) -> tuple[Channel, str]:
    """A new secret, told this once; the former one signs too for ``OVERLAP``. ``Conflict`` for a chat's channel."""
    channel = _locked(channel_id, actor)
    if not channel.sealed_secret:
        raise Conflict(f"What is posted as {channel.format} is not signed: {channel.format} checks no signatures.")
    secret = signing.new_secret()
    channel.sealed_former_secret = channel.sealed_secret
    channel.former_until = (now or timezone.now()) + OVERLAP
    channel.sealed_secret = seal(secret, keys=[settings.SECRET_KEY], purpose=SEALED_FOR)
    channel.save(update_fields=["sealed_secret", "sealed_former_secret", "former_until"])
    _record(Action.CHANNEL_EDIT, channel, actor, {"secret": "renewed"})
    return channel, secret


@transaction.atomic
def send_test(channel_id: int, *, actor: User, now: datetime | None = None) -> Delivery:
    """Post a test message at once; one that waits already is returned. Raises ``NotFound``, ``NotAllowed``, and
    ``Conflict`` where the channel is turned off."""
    channel = _locked(channel_id, actor)
    if not channel.is_active:
        raise Conflict(f"The channel {channel.name!r} is turned off; turn it on first.", code="channel-off")
    at = now or timezone.now()
    delivery = channel.deliveries.filter(status="waiting", is_test=True).first()
    if delivery is None:
        delivery = Delivery.objects.create(
            channel=channel,
            message_id=new_message_id(),
            kind=TEST,
            team_id=channel.team_id or 0,
            is_test=True,
            ready_at=at,
            created_at=at,
        )
    # Somebody is waiting for it: no back-off of former failures.
    Channel.objects.filter(pk=channel.pk).update(next_at=at)
    jobs.enqueue(POST, {"channel": channel.pk}, key=str(channel.pk), queue=Queue.INTERACTIVE, again=True)
    return delivery


def new_message_id() -> str:
    return f"msg_{secrets.token_hex(16)}"


def _find(channel_id: int, actor: User) -> Channel:
    found = Channel.objects.visible_to(actor).select_related("team").filter(pk=channel_id).first()
    if found is None:
        raise NotFound(f"There is no channel {channel_id}.")
    require_edit(actor, found.team_id)
    return found


def _locked(channel_id: int, actor: User) -> Channel:
    _find(channel_id, actor)
    found = Channel.objects.select_for_update(of=("self",)).select_related("team").filter(pk=channel_id).first()
    if found is None:
        raise NotFound(f"There is no channel {channel_id}.")
    return found


def _told(fields: dict[str, Any]) -> dict[str, Any]:
    """What the log tells of a change: where it posts to, but no address that lets others post there."""
    return {name: fields[name] for name in ("name", "host", "kinds", "is_active") if name in fields}


def _record(action: Action, channel: Channel, actor: User | None, details: dict[str, Any]) -> None:
    record(
        action,
        actor=actor,
        subject_type="channel",
        subject_id=channel.pk,
        subject=channel.name,
        team_id=channel.team_id,
        details=details,
    )


def url_of(channel: Channel) -> str:
    """The whole address, for who posts to it; raises ``Unavailable`` where it was sealed with another key."""
    return unseal(channel.sealed_url, keys=_keys(), purpose=SEALED_FOR)


def secrets_of(channel: Channel, now: datetime) -> list[str]:
    """The secrets that sign now, the newest first."""
    sealed = [channel.sealed_secret] if channel.sealed_secret else []
    if channel.sealed_former_secret and channel.former_until and channel.former_until > now:
        sealed.append(channel.sealed_former_secret)
    return [unseal(text, keys=_keys(), purpose=SEALED_FOR) for text in sealed]


def _keys() -> list[str]:
    return [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
