"""The second factor: an authenticator app, passkeys, and recovery codes for whoever lost both."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError, transaction
from django.utils import timezone
from fido2.server import Fido2Server
from fido2.webauthn import (
    AttestedCredentialData,
    AuthenticationResponse,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from secguard import sealing
from secguard.accounts import totp
from secguard.accounts.models import FactorKind, RecoveryCode, SecondFactor, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import attempts
from secguard.accounts.services.attempts import Pace
from secguard.accounts.services.permission import require
from secguard.accounts.services.telling import tell_wrong_code
from secguard.audit import services as audit
from secguard.audit.actions import Action
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound

PURPOSE = "second factor"
RECOVERY_CODES = 10
RECOVERY_LENGTH = 16
ATTEMPTS = 5
"""Wrong codes for one person from one address in ``attempts.WINDOW``."""
STRANGERS = Pace(at_once=20, every=timedelta(minutes=30))
"""Wrong codes for one person from all devices that are not theirs: whoever guesses has the password already, and may
have any number of addresses. At most 20 + 48 = 68 a day; of a million codes three count at any moment, so a day of
guessing succeeds with a probability of at most 68 * 3 / 1,000,000, one in 4,900."""
OWN_DEVICE = Pace(at_once=5, every=timedelta(minutes=15))
"""Wrong codes from a device of theirs, counted for itself alone: what others do never locks it out."""
_OTHER_WAYS = (
    ". A browser in which you have signed in before, a passkey or a recovery code lets you in now. If you did not try, "
    "somebody has your password: set another one"
)
MAX_FACTORS = 10
MAX_RESPONSE = 20_000
SITE = "SecGuard"

log = structlog.get_logger(__name__)


def needs_second_factor(user: User) -> bool:
    return SecondFactor.objects.filter(user=user).exists()


def must_have_one(user: User | AnonymousUser | Any) -> bool:
    """Whether a role that this person holds asks for a second factor (SECGUARD_REQUIRE_MFA)."""
    wanted = set(settings.REQUIRE_MFA)
    return bool(wanted) and isinstance(user, User) and any(role.value in wanted for role, _ in user.grants())


# --- the authenticator app ---


def add_app(user_id: int, secret: str, code: str) -> list[str]:
    """Keep an app whose first code fits; returns new recovery codes where there were none.

    Raises ``Invalid`` for a code that does not fit, ``Conflict`` where there is an app already.
    """
    now = timezone.now()
    step = totp.matching_step(secret, code, now, after=0)
    if step is None:
        raise Invalid(
            "The code does not fit. Type the one that the app shows now; the clocks of both must be right.",
            where="code",
        )
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    with transaction.atomic():
        user = _locked(user_id)
        if SecondFactor.objects.filter(user=user, kind=FactorKind.TOTP).exists():
            raise Conflict("There is an authenticator app already; remove it first.", where="code")
        _require_room(user)
        sealed = sealing.seal(secret, keys=keys, purpose=PURPOSE)
        factor = SecondFactor.objects.create(
            user=user, kind=FactorKind.TOTP, name="Authenticator app", secret=sealed, last_step=step
        )
        codes = _first_codes(user)
        _record(Action.SECOND_FACTOR_ADD, user, user, factor)
    return codes


def check_code(user: User, code: str, *, address: str, device: str = "") -> None:
    """A code of the app, or a recovery code, which is used up by it.

    ``device`` is the name of a device of theirs (``devices.known``): its tries are counted for itself. All others are
    counted by their address, and together at the pace of ``STRANGERS``; a recovery code is not to be guessed, and so
    waits for no stranger. Raises ``NotAllowed`` for a wrong code, of which the person is told, and ``Unavailable``
    after too many.
    """
    now = timezone.now()
    tries = _Tries(user, code, address, device)
    tries.take(now)
    if not _is_right(user, code, now):
        if not device:
            log.warning("wrong code after a right password", user=user.pk)
            tell_wrong_code(user, address, now)
        raise NotAllowed("this code is wrong, or was used already", code="wrong-password")
    tries.take_back()


class _Tries:
    """Whose count one try of a code goes to."""

    def __init__(self, user: User, code: str, address: str, device: str) -> None:
        self.is_own_device = bool(device)
        self.is_recovery = len(_typed(code)) == RECOVERY_LENGTH
        place = f"device {device}" if device else address
        # Apart, so that whoever spends the tries of an address they share leaves a recovery code its own.
        what = "recovery code" if self.is_recovery else "second factor"
        self.here = attempts.key_of(f"{what} of {user.pk}", place)
        self.all = attempts.key_of(f"second factor of {user.pk}", "strangers")

    def take(self, now: datetime) -> None:
        if self.is_own_device:
            attempts.spend(self.here, OWN_DEVICE, now, what="wrong codes")
            return
        attempts.take(self.here, ATTEMPTS, now, what="wrong codes")
        if not self.is_recovery:
            attempts.spend(self.all, STRANGERS, now, what="wrong codes for this account", hint=_OTHER_WAYS)

    def take_back(self) -> None:
        """Of their own all; of what strangers spent only this one, or each sign-in would give them new guesses."""
        attempts.forget(self.here)
        if not self.is_own_device and not self.is_recovery:
            attempts.unspend(self.all, STRANGERS)


def _is_right(user: User, code: str, now: datetime) -> bool:
    with transaction.atomic():
        # Locked: the same code sent twice at once counts for one of them.
        app = SecondFactor.objects.select_for_update().filter(user=user, kind=FactorKind.TOTP).first()
        if app is not None:
            keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
            secret = sealing.unseal(app.secret, keys=keys, purpose=PURPOSE)
            step = totp.matching_step(secret, code, now, after=app.last_step)
            if step is not None:
                app.last_step, app.last_used_at = step, now
                app.save(update_fields=["last_step", "last_used_at"])
                return True
        used, _ = RecoveryCode.objects.filter(user=user, digest=_digest(user, code)).delete()
    return bool(used)


def new_recovery_codes(user_id: int) -> list[str]:
    """New recovery codes in the place of all there were. ``Conflict`` for somebody without a second factor."""
    with transaction.atomic():
        user = _locked(user_id)
        if not needs_second_factor(user):
            raise Conflict("Recovery codes are for who has a second factor; add one first.")
        return _made_codes(user)


def _first_codes(user: User) -> list[str]:
    return [] if RecoveryCode.objects.filter(user=user).exists() else _made_codes(user)


def _made_codes(user: User) -> list[str]:
    RecoveryCode.objects.filter(user=user).delete()
    codes = [f"{raw[:4]}-{raw[4:8]}-{raw[8:12]}-{raw[12:]}" for raw in (_raw_code() for _ in range(RECOVERY_CODES))]
    RecoveryCode.objects.bulk_create(RecoveryCode(user=user, digest=_digest(user, code)) for code in codes)
    return codes


def _raw_code() -> str:
    """80 random bits: as little to be guessed as a token, so a plain hash keeps it (``accounts.credentials``)."""
    return base64.b32encode(secrets.token_bytes(10)).decode().lower()


def _digest(user: User, code: str) -> str:
    return hashlib.sha256(f"{user.pk}\n{_typed(code)}".encode()).hexdigest()


def _typed(code: str) -> str:
    return "".join(c for c in code.lower() if c.isalnum())[:100]


# --- passkeys ---


def _server() -> Fido2Server:
    site = PublicKeyCredentialRpEntity(id=settings.PUBLIC_HOST, name=SITE)
    origin = "/".join(settings.PUBLIC_URL.split("/")[:3])
    return Fido2Server(site, verify_origin=lambda told: told == origin)


def begin_passkey(user: User) -> tuple[str, dict[str, Any]]:
    """(what the browser is told, as JSON; what is kept in the session until it answers) to add a passkey."""
    entity = PublicKeyCredentialUserEntity(
        id=_handle(user), name=user.username, display_name=user.display_name or user.username
    )
    options, state = _server().register_begin(
        entity,
        credentials=_credentials(user),
        # One that the device keeps and asks its owner for: it signs in without a name and a password.
        resident_key_requirement=ResidentKeyRequirement.REQUIRED,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return json.dumps(dict(options)), dict(state)


def add_passkey(user_id: int, name: str, answer: str, state: dict[str, Any]) -> list[str]:
    """Keep a passkey that the browser made; returns new recovery codes where there were none.

    Raises ``Invalid`` where the answer does not fit what was asked, ``Conflict`` for a passkey that is known.
    """
    label = " ".join(name.split())[:60] or "Passkey"
    try:
        made = _server().register_complete(state, RegistrationResponse.from_dict(_json(answer)))
        data = made.credential_data
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error) as error:
        raise Invalid("The browser's answer does not fit; try again.", where="credential") from error
    if data is None or not made.is_user_verified():
        raise Invalid("The device did not ask who you are; set a PIN or a finger up on it.", where="credential")
    with transaction.atomic():
        user = _locked(user_id)
        _require_room(user)
        try:
            with transaction.atomic():
                factor = SecondFactor.objects.create(
                    user=user,
                    kind=FactorKind.PASSKEY,
                    name=label,
                    credential_id=_text(data.credential_id),
                    credential=_text(bytes(data)),
                    sign_count=made.counter,
                )
        except IntegrityError:
            raise Conflict("This passkey is known already.", where="credential") from None
        codes = _first_codes(user)
        _record(Action.SECOND_FACTOR_ADD, user, user, factor)
    return codes


def begin_check(user: User | None) -> tuple[str, dict[str, Any]]:
    """(what the browser is told, as JSON; what is kept in the session) to ask for a passkey of ``user``, or any."""
    options, state = _server().authenticate_begin(
        _credentials(user) if user is not None else None, user_verification=UserVerificationRequirement.REQUIRED
    )
    return json.dumps(dict(options)), dict(state)


def check_passkey(answer: str, state: dict[str, Any], user: User | None) -> User:
    """Whose passkey answered: ``user``'s, or, where nobody is named, that of whoever it belongs to.

    Raises ``NotAllowed``, in the same words whatever is wrong.
    """
    wrong = NotAllowed("this passkey is not known here, or its answer does not fit", code="wrong-password")
    try:
        response = AuthenticationResponse.from_dict(_json(answer))
        told = _text(response.raw_id)
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error):
        raise wrong from None
    with transaction.atomic():
        rows = SecondFactor.objects.select_for_update(of=("self",)).select_related("user")
        factor = rows.filter(kind=FactorKind.PASSKEY, credential_id=told).first()
        if factor is None or (user is not None and factor.user_id != user.pk) or not factor.user.is_active:
            raise wrong
        try:
            _server().authenticate_complete(state, [AttestedCredentialData(_bytes(factor.credential))], response)
        except (ValueError, TypeError, KeyError):
            raise wrong from None
        handle = response.response.user_handle
        count = response.response.authenticator_data.counter
        is_anothers = handle is not None and bytes(handle) != _handle(factor.user)
        # A counter that does not grow: the key was copied (WebAuthn Level 2, section 6.1.1).
        is_copied = bool(count or factor.sign_count) and count <= factor.sign_count
        if is_anothers or is_copied:
            raise wrong
        factor.sign_count, factor.last_used_at = count, timezone.now()
        factor.save(update_fields=["sign_count", "last_used_at"])
    return factor.user


def _credentials(user: User) -> list[AttestedCredentialData]:
    rows = SecondFactor.objects.filter(user=user, kind=FactorKind.PASSKEY)
    return [AttestedCredentialData(_bytes(row.credential)) for row in rows]


def _handle(user: User) -> bytes:
    """Who a passkey is for: an id that tells nothing of the person (WebAuthn Level 2, section 14.6.1)."""
    return hashlib.sha256(f"{settings.PUBLIC_HOST} user {user.pk}".encode()).digest()


def _json(answer: str) -> dict[str, Any]:
    found = json.loads(answer) if len(answer) <= MAX_RESPONSE else None
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- ending one ---


def remove_second_factor(factor_id: int, *, actor: User) -> SecondFactor:
    """Remove one's own. ``NotAllowed`` for the last one of somebody whose role asks for one."""
    with transaction.atomic():
        user = _locked(actor.pk)
        factor = SecondFactor.objects.filter(pk=factor_id, user=user).first()
        if factor is None:
            raise NotFound("There is no such second factor of yours.")
        is_last = SecondFactor.objects.filter(user=user).count() == 1
        if is_last and must_have_one(actor):
            raise NotAllowed("Your role asks for a second factor: add another one before you remove the last.")
        _record(Action.SECOND_FACTOR_REMOVE, user, actor, factor)
        factor.delete()
        if is_last:
            RecoveryCode.objects.filter(user=user).delete()
    return factor


def remove_all_second_factors(user_id: int, *, actor: User | None) -> int:
    """For somebody who lost all of theirs. Needs user:manage in the whole organisation, and is done by another."""
    require(actor, Permission.USER_MANAGE)
    if actor is not None and actor.pk == user_id:
        raise NotAllowed("Your own you remove on your account's page, one by one.")
    with transaction.atomic():
        user = _locked(user_id)
        factors = list(SecondFactor.objects.filter(user=user))
        if not factors:
            raise Conflict(f"{user.username} has no second factor")
        for factor in factors:
            _record(Action.SECOND_FACTOR_REMOVE, user, actor, factor)
        SecondFactor.objects.filter(user=user).delete()
        RecoveryCode.objects.filter(user=user).delete()
    return len(factors)


def _locked(user_id: int) -> User:
    user = User.objects.select_for_update().filter(pk=user_id, is_active=True, is_service=False).first()
    if user is None:
        raise NotFound(f"there is no person {user_id}")
    return user


def _require_room(user: User) -> None:
    if SecondFactor.objects.filter(user=user).count() >= MAX_FACTORS:
        raise Conflict(f"A person has at most {MAX_FACTORS} of them; remove one first.")


def _record(action: Action, user: User, actor: User | None, factor: SecondFactor) -> None:
    audit.record(
        action,
        actor=actor,
        subject_type="user",
        subject_id=user.pk,
        subject=user.username,
        details={"kind": factor.kind, "name": factor.name},
    )
