"""The environment as typed values: every variable is read here once, and an odd one is refused in words.

Pure: the mapping is an argument and nothing is written. Each function takes the environment and a variable's name,
returns a typed value, and raises ``BadEnvironment`` saying what was found, what is expected and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formataddr, parseaddr
from urllib.parse import parse_qsl, unquote, urlsplit

SECRET_KEY_LENGTH = 32
# Words that stand in examples of configuration; a key that holds one was copied and not made.
PLACEHOLDER = re.compile(r"change.?me|change.?this|insecure|example|placeholder|default|secret.?key|your.?key", re.I)
LOG_LEVELS = ("debug", "info", "warning", "error")


class BadEnvironment(Exception):
    """An environment variable cannot be taken; the message names it, what was found and what is expected."""

    def __init__(self, name: str, found: str, expected: str) -> None:
        super().__init__(f"{name} is {found}. Expected: {expected}.")
        self.name = name


@dataclass(frozen=True)
class Database:
    """Where the database is. ``path`` for SQLite; the other fields for PostgreSQL."""

    engine: str
    path: str = ""
    name: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    host: str = ""
    port: str = ""
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MailServer:
    """Where mail is handed over. ``security``: ``tls`` from the first byte, ``starttls``, or ``none``."""

    host: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)
    security: str = "starttls"


def text(env: Mapping[str, str], name: str, default: str) -> str:
    """The variable without surrounding space; the default where it is unset or empty."""
    return env.get(name, "").strip() or default


def items(env: Mapping[str, str], name: str, default: list[str]) -> list[str]:
    """A comma-separated list without empty items."""
    return [item.strip() for item in env.get(name, "").split(",") if item.strip()] or default


def hosts(env: Mapping[str, str], name: str) -> list[str]:
    """A comma-separated list of ``host`` or ``host:port``, in small letters; an IPv6 address stands in brackets."""
    found = [item.lower() for item in items(env, name, [])]
    for item in found:
        try:
            parts = urlsplit(f"//{item}")
            is_host = parts.netloc == item and bool(parts.hostname) and "@" not in item and parts.port != 0
        except ValueError:
            is_host = False
        if not is_host or not item.isprintable() or "*" in item:
            raise BadEnvironment(name, f"a list with {item!r}", "hosts separated by commas, like hooks.internal:8443")
    return found


def days(env: Mapping[str, str], name: str, default: list[int], *, most: int) -> list[int]:
    """A comma-separated list of whole numbers of days, the most first; ``none`` is an empty one."""
    raw = items(env, name, [str(number) for number in default])
    if [word.lower() for word in raw] == ["none"]:
        return []
    if not all(re.fullmatch(r"[1-9]\d{0,3}", word) and int(word) <= most for word in raw):
        raise BadEnvironment(name, repr(",".join(raw)), f"whole numbers from 1 to {most} separated by commas, or none")
    return sorted({int(word) for word in raw}, reverse=True)


def integer(env: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    """A whole number between ``least`` and ``most``; underscores between digits are allowed."""
    raw = text(env, name, str(default))
    expected = f"a whole number from {least} to {most}, like {default}"
    if not re.fullmatch(r"-?\d[\d_]*", raw):
        raise BadEnvironment(name, repr(raw), expected)
    value = int(raw)
    if not least <= value <= most:
        raise BadEnvironment(name, str(value), expected)
    return value


def flag(env: Mapping[str, str], name: str, default: bool) -> bool:
    """``1``/``true``/``yes``/``on`` or ``0``/``false``/``no``/``off``, in any case."""
    raw = text(env, name, "on" if default else "off").lower()
    if raw in {"1", "true", "yes", "on"}:
        return True
    if raw in {"0", "false", "no", "off"}:
        return False
    raise BadEnvironment(name, repr(raw), "1, true, yes or on; or 0, false, no or off")


def choice(env: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    """One of the allowed words, in any case."""
    raw = text(env, name, default).lower()
    if raw not in allowed:
        raise BadEnvironment(name, repr(raw), f"one of {', '.join(allowed)}")
    return raw


def some_of(env: Mapping[str, str], name: str, allowed: list[str]) -> list[str]:
    """A comma-separated list of allowed words, in any case; none where it is unset."""
    found = [item.lower() for item in items(env, name, [])]
    for item in found:
        if item not in allowed:
            raise BadEnvironment(name, f"{item!r} among others" if len(found) > 1 else repr(item), ", ".join(allowed))
    return found


def web_url(env: Mapping[str, str], name: str, default: str) -> str:
    """An http(s) address without a path's last slash, query or fragment."""
    raw = text(env, name, default)
    expected = "the address people open, like https://secguard.example.org"
    try:
        parts = urlsplit(raw)
        parts.port  # noqa: B018 - raises ValueError where the port is no number
    except ValueError as error:
        raise BadEnvironment(name, repr(raw), expected) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise BadEnvironment(name, repr(raw), expected)
    return raw.rstrip("/")


def database(env: Mapping[str, str], name: str, default: str) -> Database:
    """``sqlite:///relative``, ``sqlite:////absolute`` or ``postgres://user:password@host:port/name``.

    For a unix socket the host is left out or percent-encoded (libpq, "Connection URIs"), or ``?host=/run/postgresql``
    names it. The other query parameters go to libpq. The found value is never repeated: it may hold a password.
    """
    raw = text(env, name, default)
    expected = "sqlite:////absolute/file.sqlite3 or postgres://user:password@host:5432/name (?host=/socket/folder)"
    scheme = raw.partition("://")[0] if "://" in raw else ""
    if scheme == "sqlite":
        path = unquote(raw.removeprefix("sqlite://").removeprefix("/"))
        if not path:
            raise BadEnvironment(name, "a sqlite URL without a file", expected)
        return Database(engine="sqlite", path=path)
    if scheme not in {"postgres", "postgresql"}:
        raise BadEnvironment(name, f"a URL of kind {scheme!r}" if scheme else "not a URL", expected)
    return _postgres(raw, name, expected)


def _postgres(raw: str, name: str, expected: str) -> Database:
    try:
        parts = urlsplit(raw)
        port = str(parts.port or "")
    except ValueError as error:
        raise BadEnvironment(name, "a postgres URL whose host or port cannot be read", expected) from error
    if parts.path in {"", "/"}:
        raise BadEnvironment(name, "a postgres URL without a database's name", expected)
    options = dict(parse_qsl(parts.query))
    return Database(
        engine="postgresql",
        name=unquote(parts.path.removeprefix("/")),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        host=options.pop("host", unquote(parts.hostname or "")),
        port=options.pop("port", port),
        options=options,
    )


def broker(env: Mapping[str, str], name: str) -> str:
    """``redis://``, ``rediss://`` or ``unix:///socket`` (as ``redis+socket://``); empty means the embedded broker."""
    raw = text(env, name, "")
    if raw in {"", "filesystem", "filesystem://"}:
        return ""
    scheme = raw.partition("://")[0]
    if scheme == "unix":
        return "redis+socket" + raw.removeprefix("unix")
    if scheme not in {"redis", "rediss", "redis+socket"}:
        raise BadEnvironment(name, f"a URL of kind {scheme!r}", "redis://host:6379/0, or nothing (embedded broker)")
    return raw


LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def mail_server(env: Mapping[str, str], name: str) -> MailServer | None:
    """``smtps://user:password@host:465`` or ``smtp://user:password@host:587``; ``None`` where it is unset.

    ``smtp`` asks for STARTTLS, but on this machine itself; ``?starttls=off`` says that a server in a network of its
    own has none, and then takes no password. The found value is never repeated: it may hold one.
    """
    raw = text(env, name, "")
    if not raw:
        return None
    expected = "smtps://user:password@host:465 or smtp://user:password@host:587"
    try:
        parts = urlsplit(raw)
        port = parts.port
    except ValueError as error:
        raise BadEnvironment(name, "a URL whose host or port cannot be read", expected) from error
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        raise BadEnvironment(name, f"a URL of kind {parts.scheme!r}" if parts.scheme else "not a URL", expected)
    if parts.path not in {"", "/"} or parts.fragment:
        raise BadEnvironment(name, "a URL with a path", f"{expected}; a / or # in a password is percent-encoded")
    security = _mail_security(parts.scheme, parts.hostname, dict(parse_qsl(parts.query)), name)
    if parts.password and security == "none" and parts.hostname not in LOOPBACK:
        raise BadEnvironment(name, "a password for a server without TLS", "smtps://, or smtp:// with STARTTLS")
    return MailServer(
        host=parts.hostname,
        port=port or (465 if security == "tls" else 587 if security == "starttls" else 25),
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        security=security,
    )


def _mail_security(scheme: str, host: str, options: dict[str, str], name: str) -> str:
    default = "off" if host in LOOPBACK else "required"
    wanted = options.pop("starttls", default)
    if options or wanted not in {"off", "required"}:
        raise BadEnvironment(name, "a URL with other options", "?starttls=off, ?starttls=required, or none")
    if scheme == "smtps":
        return "tls"
    return "starttls" if wanted == "required" else "none"


def mail_sender(env: Mapping[str, str], name: str, server: MailServer | None) -> str:
    """``SecGuard <secguard@example.org>`` or the bare address; needed as soon as there is a mail server."""
    raw = text(env, name, "")
    expected = "the sender's address, like SecGuard <secguard@example.org>"
    if not raw and server is None:
        return ""
    shown, address = parseaddr(raw)
    if not re.fullmatch(r"[^@\s<>\"]+@[^@\s<>\"]+", address) or re.search(r"[\x00-\x1f\x7f]", raw):
        raise BadEnvironment(name, repr(raw) if raw else "not set, and mail needs a sender", expected)
    return formataddr((shown, address))


def secret_key(env: Mapping[str, str], name: str = "SECGUARD_SECRET_KEY") -> str:
    """The key, or nothing where it is unset; a short or copied one is refused and never repeated."""
    value = env.get(name, "").strip()
    expected = (
        f"a random text of at least {SECRET_KEY_LENGTH} characters, made for this installation alone: "
        'python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
    )
    if not value:
        return ""
    if len(value) < SECRET_KEY_LENGTH:
        raise BadEnvironment(name, f"only {len(value)} characters long", expected)
    if PLACEHOLDER.search(value) or len(set(value)) < 10:
        raise BadEnvironment(name, "a placeholder that others know too", expected)
    return value


def require_secret_key(env: Mapping[str, str], name: str = "SECGUARD_SECRET_KEY") -> str:
    """The key; ``BadEnvironment`` where it is unset, for whatever serves people or runs jobs."""
    value = secret_key(env, name)
    if not value:
        raise BadEnvironment(
            name,
            "not set, and a server has no default secret",
            "a random text, kept the same between starts and on every host: "
            'python3 -c "import secrets; print(secrets.token_urlsafe(48))" (only `secguard up` makes its own)',
        )
    return value
