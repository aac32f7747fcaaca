"""Checks over what lies below this app: people, channels, registries, images and the audit log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Exists, OuterRef, Q
from django.urls import reverse

from secguard import bulk
from secguard.accounts.models import Application, Membership, SecondFactor, User
from secguard.accounts.queries import application_slugs
from secguard.accounts.roles import Role
from secguard.audit import chain
from secguard.audit.queries import newest
from secguard.audit.services import entries, head
from secguard.channels.models import Channel
from secguard.images.models import Image, Repository
from secguard.images.queries import newest_images
from secguard.planning.checks import Check, Outcome
from secguard.planning.counting import Counting, Rows, Shown, soonest

OLD: Final = timedelta(days=90)
"""An image that was built longer ago counts as not rebuilt."""
SIGNED_WITHIN: Final = timedelta(hours=25)
"""A day and an hour: a checkpoint of every day is never late for a worker that is."""
TAIL: Final = 1_000
"""So many entries of the log, the newest, are held against their chain each time."""


# --- people ---


def _teams(application_ids: Sequence[int]) -> dict[int, Application]:
    rows = Application.objects.filter(pk__in=bulk.among(application_ids)).select_related("team")
    return {a.pk: a for a in rows.order_by("pk")}


def _people_link(application: Application) -> tuple[tuple[str, str], ...]:
    return ((f"People of {application.team.name}", reverse("settings:team", args=[application.team.slug])),)


def _owner(application_ids: Sequence[int], _now: datetime) -> dict[int, Outcome]:
    applications = _teams(application_ids)
    acting = Membership.objects.filter(
        team__in=bulk.among(sorted({a.team_id for a in applications.values()})),
        role__in=[Role.DEVELOPER.value, Role.OPERATOR.value],
        user__is_active=True,
        user__is_service=False,
    )
    people = _by_team(acting.order_by().values_list("team_id", "user_id"))
    found = {}
    for pk, application in applications.items():
        number = len(people.get(application.team_id, ()))
        who = f"{number:,} active {'person acts' if number == 1 else 'people act'} as developer or operator"
        found[pk] = Outcome(
            state="kept" if number else "missing",
            says=f"{who} for {application.team.name}." if number else f"Nobody acts for {application.team.name}.",
            links=_people_link(application),
            changes_at=None,
        )
    return found


def _by_team(pairs: Iterable[tuple[int | None, int]]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    for team, user in pairs:
        found[team or 0].add(user)
    return dict(found)


def _factors(application_ids: Sequence[int], _now: datetime) -> dict[int, Outcome]:
    applications = _teams(application_ids)
    teams = sorted({a.team_id for a in applications.values()})
    without = Q(password="") | Q(password__startswith="!")  # noqa: S106 - how Django marks that there is none
    with_password = User.objects.people().filter(~without, is_active=True)
    people = with_password.annotate(is_sure=Exists(SecondFactor.objects.filter(user=OuterRef("pk"))))
    rows = people.filter(memberships__team__in=bulk.among(teams)).order_by()
    held = set(rows.values_list("memberships__team_id", "pk", "is_sure"))
    sure = _by_team([(team, user) for team, user, is_sure in held if is_sure])
    unsure = _by_team([(team, user) for team, user, is_sure in held if not is_sure])
    return {
        pk: _sure(a, len(sure.get(a.team_id, ())), len(unsure.get(a.team_id, ()))) for pk, a in applications.items()
    }


def _sure(application: Application, sure: int, unsure: int) -> Outcome:
    total, name = sure + unsure, application.team.name
    if not total:
        says = f"Nobody of {name} signs in with a password here; what their provider asks for is not known."
        return Outcome(state="unmeasured", says=says, links=_people_link(application), changes_at=None)
    who = f"{total:,} {'person' if total == 1 else 'people'} of {name} who {'signs' if total == 1 else 'sign'} in"
    says = f"{unsure:,} of {who} with a password: no second factor." if unsure else f"All {who} with a password: sure."
    return Outcome(state="missing" if unsure else "kept", says=says, links=_people_link(application), changes_at=None)


# --- news ---


def _told(application_ids: Sequence[int], _now: datetime) -> dict[int, Outcome]:
    """Only how many channels there are: where a team's news go is told to nobody else."""
    applications = _teams(application_ids)
    teams = sorted({a.team_id for a in applications.values()})
    rows = Channel.objects.filter(Q(team=None) | Q(team__in=bulk.among(teams)), is_active=True).order_by()
    channels: dict[int | None, list[tuple[bool, bool]]] = defaultdict(list)
    for team, failures, sent_at in rows.values_list("team_id", "failures", "sent_at"):
        channels[team].append((failures == 0 and sent_at is not None, failures > 0))
    return {pk: _heard([*channels[None], *channels[a.team_id]]) for pk, a in applications.items()}


def _heard(channels: Sequence[tuple[bool, bool]]) -> Outcome:
    """``channels``: (works, fails) of each."""
    working, failing = sum(works for works, _ in channels), sum(fails for _, fails in channels)
    link = (("Channels", reverse("channels:list")),)
    if working:
        says = f"{working:,} {'channel took' if working == 1 else 'channels took'} what was posted last."
        return Outcome(state="kept", says=says, links=link, changes_at=None)
    if failing or not channels:
        says = f"{failing:,} of {len(channels):,} channels: failing." if failing else "No channel is told what happens."
        return Outcome(state="missing", says=says, links=link, changes_at=None)
    says = f"{len(channels):,} {'channel is' if len(channels) == 1 else 'channels are'} set up; nothing was posted yet."
    return Outcome(state="unmeasured", says=says, links=link, changes_at=None)


# --- the log ---


def _chained(application_ids: Sequence[int], _now: datetime) -> dict[int, Outcome]:
    """The log is one; the newest part of it is read and held against its chain and its head."""
    outcome = _tail()
    return dict.fromkeys(application_ids, outcome)


def _tail() -> Outcome:
    link = (("The audit log", reverse("audit:list")),)
    end = head()
    if not end.sequence:
        return Outcome(state="unmeasured", says="The audit log has no entry yet.", links=link, changes_at=None)
    first = max(1, end.sequence - TAIL + 1)
    found = chain.verify(entries(first=first, last=end.sequence), heads=[end])
    if found.fault is not None:
        says = f"The audit log does not fit its chain: {found.fault.message}."
        return Outcome(state="missing", says=says, links=link, changes_at=None)
    says = f"The newest {found.entries:,} entries of the audit log fit their chain."
    return Outcome(state="kept", says=says, same="they fit", links=link, changes_at=None)


def _signed(application_ids: Sequence[int], now: datetime) -> dict[int, Outcome]:
    """The log is one. Two queries."""
    return dict.fromkeys(application_ids, _checkpointed(now)) if application_ids else {}


def _checkpointed(now: datetime) -> Outcome:
    """What was written since the newest checkpoint is proved by none."""
    link, written, last = (("The audit log", reverse("audit:list")),), head().sequence, newest()
    if not written:
        return Outcome(state="unmeasured", says="The audit log has no entry yet.", links=link, changes_at=None)
    if last is None:
        return Outcome(state="missing", says="No checkpoint of the audit log was ever signed.", links=link)
    says = f"The newest signed checkpoint holds {min(last.size, written):,} of {written:,} entries"
    if last.size >= written:
        return Outcome(state="kept", says=f"{says}.", same="signed", links=link, changes_at=None)
    ends = last.made_at + SIGNED_WITHIN
    if ends <= now:
        said = f"{says}, and is more than a day old."
        return Outcome(state="missing", says=said, same="old", links=link, changes_at=None)
    said = f"{says}, and is not a day old."
    return Outcome(state="kept", says=said, same="signed", links=link, changes_at=ends)


# --- registries and images ---


def _encrypted(application_ids: Sequence[int], _now: datetime) -> dict[int, Rows]:
    rows = Repository.objects.filter(application__in=bulk.among(application_ids)).order_by()
    found: dict[int, dict[int, tuple[bool, bool]]] = defaultdict(dict)
    columns = ("application_id", "pk", "registry__uses_plain_http", "registry__configured_at")
    for application, pk, is_plain, configured_at in rows.values_list(*columns):
        found[application or 0][pk] = (is_plain, configured_at is None)
    return {application: _plain(repositories) for application, repositories in found.items()}


def _plain(repositories: Mapping[int, tuple[bool, bool]]) -> Rows:
    lacking = frozenset(pk for pk, (is_plain, _) in repositories.items() if is_plain)
    unknown = frozenset(pk for pk, (_, is_unknown) in repositories.items() if is_unknown)
    return Rows(total=frozenset(repositories), lacking=lacking, untold=unknown - lacking)


def _rebuilt(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
    images = newest_images(application_ids)
    wanted = sorted(set().union(*images.values()))
    built = dict(Image.objects.filter(pk__in=bulk.among(wanted)).order_by().values_list("pk", "built_at"))
    old = {pk for pk, at in built.items() if at is not None and at <= now - OLD}
    fresh = {pk: at + OLD for pk, at in built.items() if at is not None and at > now - OLD}
    return {
        application: Rows(
            total=frozenset(several),
            lacking=frozenset(several & old),
            untold=frozenset(several - old - fresh.keys()),
            changes_at=soonest(*(fresh[pk] for pk in several if pk in fresh)),
        )
        for application, several in images.items()
    }


CHECKS: Final = (
    Check(
        name="owner-known",
        about="The team that owns the application has an active person who is developer or operator in it.",
        ask=_owner,
    ),
    Check(
        name="second-factors",
        about="Everybody of the team who signs in with a password has a second factor.",
        ask=_factors,
    ),
    Check(
        name="team-told",
        about="A channel of the team or of the whole organisation took what was posted to it last.",
        ask=_told,
    ),
    Check(
        name="audit-chained",
        about=f"The newest {TAIL:,} entries of the audit log fit their chain and its head.",
        ask=_chained,
    ),
    Check(
        name="audit-checkpointed",
        about="A signed checkpoint, not older than a day, holds the audit log, or all of it whatever its age.",
        ask=_signed,
    ),
)
COUNTINGS: Final = (
    Counting(
        name="registries-encrypted",
        about="None of the registries where the application's repositories lie is spoken to without TLS.",
        measure=_encrypted,
        of=Shown(
            noun="repository",
            plural="repositories",
            page="/repositories/",
            slugs=application_slugs,
            nothing="It has no repository yet.",
        ),
        kept="in registries that are spoken to over TLS",
        lacking="in a registry that is spoken to without TLS",
        untold="in a registry that nobody set up here",
    ),
    Counting(
        name="images-rebuilt",
        about="The newest image of each repository was built within the last 90 days.",
        measure=_rebuilt,
        of=Shown(
            noun="newest image",
            plural="newest images",
            page="/images/",
            slugs=application_slugs,
            nothing="It has no image yet: nothing was reported or pushed to its repositories.",
        ),
        kept="built within the last 90 days",
        lacking="built more than 90 days ago",
        untold="without a time of building",
    ),
)
