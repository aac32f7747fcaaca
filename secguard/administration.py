"""Commands for whoever works on the server's own machine: they use the services and the database directly.

``open_installation`` sets Django up on this installation's settings; every other function calls it first, takes plain
values and returns what the command line prints. They raise the services' own refusals.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import django
from django.core.management import call_command
from django.db import DatabaseError, connection

from secguard import local
from secguard.errors import Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    from secguard.accounts.models import Team


def open_installation() -> None:
    """Sets Django up on this machine's installation, with the key and the address that ``secguard up`` keeps."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "secguard.settings")
    local.make_folders(local.data_dir(os.environ))
    local.make_key(os.environ)
    local.use_kept_address(os.environ)
    django.setup()


def migrate() -> str:
    """Brings the database to this release's tables."""
    open_installation()
    open_database()
    call_command("migrate", interactive=False, verbosity=0)
    return "The database is up to date."


def open_database() -> None:
    """Connects to the database; ``Unavailable`` in words where that fails. What the server says holds no password."""
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        said = " ".join(str(error).split()) or type(error).__name__
        at = f" at {connection.settings_dict['NAME']}" if connection.vendor == "sqlite" else ""
        raise Unavailable(
            f"The database{at} cannot be opened: {said[:500]}. Check SECGUARD_DATABASE_URL and what it names."
        ) from error


def _ready() -> None:
    """Opens the installation and its database; a database without tables gets them, so that a script can start."""
    open_installation()
    open_database()
    if "django_migrations" not in connection.introspection.table_names():
        call_command("migrate", interactive=False, verbosity=0)


def create_token(
    role: str,
    *,
    user: str | None,
    team: str | None,
    days: int | None,
    applications: Sequence[str] = (),
    repositories: Sequence[str] = (),
) -> tuple[str, str]:
    """A new token as (the token, a sentence about it); an unknown user or team is made, an application is not."""
    _ready()
    from secguard.accounts import services  # noqa: PLC0415 - models are loaded only now
    from secguard.accounts.models import Application  # noqa: PLC0415

    rows = Application.objects.select_related("team")
    chosen = list(rows.filter(slug__in=applications))
    if unknown := set(applications) - {application.slug for application in chosen}:
        known = ", ".join(rows.values_list("slug", flat=True)[:10]) or "none"
        raise NotFound(f"There is no application {min(unknown)!r}; there are: {known}.")
    token, raw = services.create_token_on_server(
        role, username=user, team=_team(team), days=days, applications=chosen, repositories=repositories
    )
    where = f" in {token.team}" if token.team else ""
    limited = [*applications, *(token.repositories or [])]
    where += f", for {', '.join(limited)} alone" if limited else ""
    return raw, f"A token of {token.user.username} as {token.role}{where}, valid until {token.expires_at:%Y-%m-%d}."


def create_user(name: str, role: str, *, team: str | None) -> str:
    """Makes a person and returns a one-time sign-in link for them."""
    _ready()
    from django.conf import settings  # noqa: PLC0415

    from secguard.accounts import services  # noqa: PLC0415

    user = services.create_user(name, role, actor=None, team=_team(team))
    path = services.issue_sign_in_link(user.pk, actor=None)
    return f"{settings.PUBLIC_URL}{path}"


def sign_in_link(name: str) -> str:
    """A new one-time sign-in link for a person there is; ``NotFound``."""
    _ready()
    from django.conf import settings  # noqa: PLC0415

    from secguard.accounts import services  # noqa: PLC0415
    from secguard.accounts.models import User  # noqa: PLC0415

    user = User.objects.filter(username__iexact=name).first()
    if user is None:
        raise NotFound(f"There is no user {name!r}. Make one: secguard user create {name} --role ROLE")
    return f"{settings.PUBLIC_URL}{services.issue_sign_in_link(user.pk, actor=None)}"


def _team(name: str | None) -> Team | None:
    from secguard.accounts import services  # noqa: PLC0415
    from secguard.accounts.models import Team  # noqa: PLC0415

    if not name:
        return None
    found = Team.objects.filter(slug=name).first() or Team.objects.filter(name__iexact=name).first()
    return found or services.create_team(name, actor=None)


def sample(*, remove: bool, show: Callable[[str, int, int], None]) -> str:
    """Loads the sample organisation, or removes everything marked as sample; returns a sentence about it."""
    _ready()
    from secguard.sample import services  # noqa: PLC0415

    words: str = services.remove(actor=None) if remove else services.load(actor=None, progress=show)
    return words


def verify_audit(heads: list[str]) -> tuple[bool, str]:
    """Whether the log is as it was written, and the sentence that says so."""
    from secguard.audit import chain  # noqa: PLC0415

    _ready()
    from secguard.audit import services  # noqa: PLC0415

    try:
        known = [chain.Head.parse(head) for head in heads]
    except ValueError as error:
        raise Invalid(str(error), where="--head") from error
    result = services.verify(*known)
    if result.fault:
        return False, f"NOT intact at entry {result.fault.sequence} ({result.fault.kind}): {result.fault.message}"
    return True, f"Intact: {result.entries} entries. Keep this head elsewhere, for --head later: {result.head}"
