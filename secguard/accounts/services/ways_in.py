"""Ways in for people: the one-time link, the password, and the bound on guessing it."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib.auth import authenticate
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from secguard.accounts import credentials
from secguard.accounts.models import Membership, SignInLink, User
from secguard.accounts.roles import Permission, Role
from secguard.accounts.services import attempts
from secguard.accounts.services.permission import require
from secguard.audit import services as audit
from secguard.audit.actions import Action
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound

OWNER = "owner"
LINK_VALID = timedelta(hours=24)

ATTEMPTS_AT_NAME = 10
"""Wrong passwords for one name from one address in ``attempts.WINDOW``: more than a forgetful person needs, and by far
too few for a guess at a password of twelve characters. Bound to the address, so that nobody can lock somebody else
out; and from a device of theirs bound to that alone, whatever comes from the address that it shares with others."""
ATTEMPTS_AT_NAME_TRIED, TRIED = 3, 100
"""As few from one address, once so many were wrong for a name from everywhere else: many addresses guess slower, and
nobody is shut out."""
ATTEMPTS_FROM_ADDRESS = 100
"""Wrong passwords from one address for whatever names: an office behind one address may need some."""


def create_owner() -> str | None:
    """Make the owner's account on a first run and give back the path of a one-time sign-in link, valid for a day.

    The owner administers and reviews; more people get more roles later. As long as no administrator has set a password,
    every call gives a new link and ends the one before; afterwards None. Safe to call at every start.
    """
    with transaction.atomic():
        if _somebody_can_sign_in():
            return None
        owner = _owner()
        return _new_link(owner, actor=None) if owner.is_active else None


def _owner() -> User:
    """The owner's account, locked, with its roles."""
    unset = {"username": OWNER, "display_name": "Owner", "password": make_password(None)}
    found, is_new = User.objects.get_or_create(username__iexact=OWNER, defaults=unset)
    owner = User.objects.select_for_update().get(pk=found.pk)
    if is_new:
        _record(Action.USER_CREATE, owner, None)
    # The developer's role adds nothing but this: a token for a first pipeline that can neither approve nor administer.
    for role in (Role.ADMINISTRATOR, Role.SECURITY_REVIEWER, Role.DEVELOPER):
        _, is_granted = Membership.objects.get_or_create(user=owner, team=None, role=role.value)
        if is_granted:
            _record(Action.MEMBERSHIP_GRANT, owner, None, role=role.value)
    return owner


def _somebody_can_sign_in() -> bool:
    administrators = User.objects.people().filter(
        is_active=True, is_sample=False, memberships__team=None, memberships__role=Role.ADMINISTRATOR.value
    )
    return any(user.has_usable_password() for user in administrators)


def issue_sign_in_link(user_id: int, *, actor: User | None) -> str:
    """Make the path of a one-time link for a person who was invited or forgot their password; ends earlier ones.

    Whoever holds the link is that person, so making one is in the audit log under the maker's name.
    Raises ``NotAllowed`` without user:manage, ``Conflict`` for a service or somebody who is deactivated.
    """
    require(actor, Permission.USER_MANAGE)
    with transaction.atomic():
        user = User.objects.select_for_update().filter(pk=user_id).first()
        if user is None:
            raise NotFound(f"there is no user {user_id}")
        if user.is_service or not user.is_active:
            state = "a service and signs in with tokens alone" if user.is_service else "deactivated"
            raise Conflict(f"{user.username} is {state}: no sign-in link can be made")
        return _new_link(user, actor=actor)


def _new_link(user: User, *, actor: User | None) -> str:
    secret = credentials.new_secret()
    SignInLink.objects.filter(user=user, used_at=None).delete()
    ends = timezone.now() + LINK_VALID
    SignInLink.objects.create(user=user, digest=credentials.digest(secret), expires_at=ends)
    _record(Action.SIGN_IN_LINK_CREATE, user, actor, expires_at=ends)
    return credentials.SIGN_IN_LINK_PATH + secret


def use_sign_in_link(secret: str) -> User:
    """Use a link up and give back whose it was. ``NotFound``, in the same words, if it never was, was used or ended."""
    now = timezone.now()
    with transaction.atomic():
        usable = SignInLink.objects.filter(
            digest=credentials.digest(secret), used_at=None, expires_at__gt=now, user__is_active=True
        )
        link = usable.select_related("user").first()
        # Two clicks at once: the row count decides who was first.
        if link is None or not SignInLink.objects.filter(pk=link.pk, used_at=None).update(used_at=now):
            raise NotFound("this sign-in link is no longer valid: it works once, for a day. Ask for a new one.")
        _record(Action.SIGN_IN_LINK_USE, link.user, link.user)
    return link.user


def set_password(user_id: int, password: str, *, current: str | None) -> User:
    """Set one's own password. ``current`` is the one that holds; None only straight after a sign-in link was used.

    All other sessions end. ``Invalid`` says what is wrong with the new one, ``NotAllowed`` that the current is wrong.
    """
    user = User.objects.get(pk=user_id)
    if current is not None:
        check_current(user, current)
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Invalid(" ".join(error.messages), where="password") from None
    with transaction.atomic():
        locked = User.objects.select_for_update().get(pk=user_id)
        if not locked.is_active or locked.password != user.password:
            raise Conflict("the account changed while the password was being set; sign in again")
        locked.set_password(password)
        locked.save(update_fields=["password"])
        _record(Action.PASSWORD_SET, locked, locked)
    return locked


def check_current(user: User, current: str) -> None:
    """Bounded like signing in: a session left open is no place to guess its owner's password."""
    key = attempts.key_of(f"password of {user.pk}", "")
    attempts.take(key, ATTEMPTS_AT_NAME, timezone.now())
    if not user.check_password(current):
        raise NotAllowed("the current password is wrong", code="wrong-password")
    attempts.forget(key)


def sign_in(request: HttpRequest | None, username: str, password: str, *, address: str, device: str = "") -> User:
    """Who signs in with this name and password. The caller starts the session.

    ``device`` is the name of a device of theirs (``devices.known_to``), whose tries are counted for itself. Raises
    ``NotAllowed``, in the same words and after the same work whether or not there is such a person, and
    ``Unavailable`` after too many wrong ones (``ATTEMPTS_AT_NAME``, ``ATTEMPTS_FROM_ADDRESS``).
    """
    now = timezone.now()
    at_name = attempts.key_of(username, f"device {device}" if device else address)
    # Counted before the password is tried: a thousand guesses sent at once pass no bound that way.
    shared = [] if device else _take_from_all(username, address, at_name, now)
    if device:
        attempts.take(at_name, ATTEMPTS_AT_NAME, now)
    user = authenticate(request, username=username, password=password)
    if not isinstance(user, User) or user.is_service:
        raise NotAllowed("the name or the password is wrong", code="wrong-password")
    attempts.forget(at_name)
    for key in shared:
        attempts.give_back(key)
    return user


def _take_from_all(username: str, address: str, at_name: str, now: datetime) -> list[str]:
    """Count one try from a device that is not known; returns the counts that many share."""
    from_address, everywhere = attempts.key_of("", address), attempts.key_of(username, "everywhere")
    attempts.take(at_name, ATTEMPTS_AT_NAME, now)
    attempts.take(from_address, ATTEMPTS_FROM_ADDRESS, now)
    if attempts.count(everywhere, now) > TRIED:
        attempts.check(at_name, ATTEMPTS_AT_NAME_TRIED, now)
    return [from_address, everywhere]


def _record(action: Action, user: User, actor: User | None, **details: object) -> None:
    audit.record(action, actor=actor, subject_type="user", subject_id=user.pk, subject=user.username, details=details)
