"""What people are told of their own accounts."""

from __future__ import annotations

from datetime import datetime

from secguard.accounts.models import User
from secguard.accounts.services.sessions import shortened
from secguard.notifications import services as notifications
from secguard.notifications.digest import Line, weigh
from secguard.notifications.kinds import Kind
from secguard.notifications.services import Telling

WRONG_CODE = "sign-in-code"
KINDS = (
    Kind(
        WRONG_CODE,
        "Wrong codes after your password",
        "Somebody knows your password, or you mistyped a code",
        5,
        "/account/security/",
        at_once=True,
        is_urgent=True,
        is_personal=True,
    ),
)


def tell_wrong_code(user: User, address: str, now: datetime) -> None:
    """Your password was right and the code was not: once a day for each neighbourhood that it comes from."""
    place = shortened(address)
    line = Line(
        key=f"{now:%Y-%m-%d} {place}",
        what=f"a wrong code from {place}",
        where="a browser in which you have not signed in before",
        note="If that was not you, somebody has your password: set another one, which ends what they began.",
        url="/account/password/",
        weight=weigh(is_production=True),
    )
    notifications.notify([user.pk], Telling(WRONG_CODE, (line,)), now=now)
