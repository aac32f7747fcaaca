"""Hand one letter to the mail server (RFC 5321), bounded in time whatever the server does."""

from __future__ import annotations

import re
import smtplib
import socket
import threading
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.smtp import EmailBackend
from django.core.validators import validate_email

from secguard.environment import MailServer
from secguard.errors import Invalid, Unavailable
from secguard.notifications.digest import Letter

STEP_SECONDS = 20
"""For the connection, and for each answer."""

WHOLE_SECONDS = 60
"""For all of one letter: a server that sends a byte now and then keeps every single answer below its bound."""

AWAY, LATER = "smtp-away", "smtp-later"
"""Codes of ``Unavailable``: the server itself, or only this letter."""

RETRY_AFTER = 60


@dataclass(frozen=True, slots=True)
class Envelope:
    """Where a letter goes. ``message_id`` stays the same for every attempt: who gets it twice can tell."""

    to: str
    message_id: str
    headers: tuple[tuple[str, str], ...] = ()


def send(letter: Letter, envelope: Envelope) -> None:
    """Hand the letter over; returns once the server has taken it.

    Raises ``Invalid`` where it never will (an address or header that cannot be, a recipient or content refused for
    good), ``Unavailable`` where it may later: code ``smtp-away`` when the server did not speak with us at all.
    """
    server: MailServer | None = settings.SMTP
    if server is None:
        raise Unavailable("No mail server is set (SECGUARD_SMTP_URL).", code=AWAY, retry_after=RETRY_AFTER)
    message = _message(letter, envelope)
    backend = _Bounded(server)
    try:
        backend.open()
        backend.send_messages([message])
    except smtplib.SMTPRecipientsRefused as error:
        raise _refused(*next(iter(error.recipients.values()), (550, b""))) from error
    except smtplib.SMTPDataError as error:
        raise _refused(error.smtp_code, error.smtp_error) from error
    except (OSError, smtplib.SMTPException) as error:
        raise Unavailable(
            f"The mail server {server.host}:{server.port} did not take it: {_words(error)}",
            code=AWAY,
            retry_after=RETRY_AFTER,
        ) from error
    except ValueError as error:
        # An address that cannot be written in ASCII, with a server that takes nothing else, is one (UnicodeError).
        raise Invalid(f"The letter cannot be written: {_words(error)}", code="mail-letter", where="To") from error
    finally:
        backend.finish()


def _message(letter: Letter, envelope: Envelope) -> EmailMultiAlternatives:
    headers = {
        "Message-ID": envelope.message_id,
        # RFC 3834 section 5: answers of absent people's mailboxes are not wanted.
        "Auto-Submitted": "auto-generated",
        **dict(envelope.headers),
    }
    for name, value in {"To": envelope.to, "Subject": letter.subject, **headers}.items():
        _check_header(name, value)
    _check_address(envelope.to)
    message = EmailMultiAlternatives(letter.subject, letter.text, settings.MAIL_FROM, [envelope.to], headers=headers)
    message.attach_alternative(letter.html, "text/html")
    for attachment in letter.attachments:
        message.attach(attachment.name, attachment.content, attachment.media_type)
    return message


def _check_header(name: str, value: str) -> None:
    """No header may end itself and begin another (RFC 5322 section 2.2: a field is one line)."""
    if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in value):
        raise Invalid(
            f"The header {name} would hold a line break or another control character; it was not sent.",
            code="mail-header",
            where=name,
        )


def _check_address(address: str) -> None:
    try:
        validate_email(address)
    except ValidationError:
        raise Invalid(f"{address[:80]!r} is no e-mail address.", code="mail-address", where="To") from None


def _refused(code: int, said: Any) -> Invalid | Unavailable:
    """RFC 5321 section 4.2.1: 5yz is for good, 4yz is for now."""
    words = f"The mail server answered {code}: {_clean(said)}"
    if code >= 500:
        return Invalid(words, code="mail-refused", where="To")
    return Unavailable(words, code=LATER, retry_after=RETRY_AFTER)


def _words(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"{error.smtp_code} (name or password refused; see SECGUARD_SMTP_URL)"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_clean(error.smtp_error)}"
    return _clean(f"{type(error).__name__}: {error}")


def _clean(said: Any) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip()[:300]


class _Bounded(EmailBackend):
    """Django's, to one server, for one letter, with an end."""

    def __init__(self, server: MailServer) -> None:
        super().__init__(
            host=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            use_ssl=server.security == "tls",
            use_tls=server.security == "starttls",
            timeout=STEP_SECONDS,
            fail_silently=False,
        )
        self._watch = _Watch(WHOLE_SECONDS)

    @property
    def connection_class(self) -> Any:
        watch, base = self._watch, super().connection_class

        class Watched(base):  # type: ignore[misc, valid-type]
            """Known to the watch from before it speaks."""

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                watch.over(self)
                super().__init__(*args, **kwargs)

        return Watched

    def finish(self) -> None:
        """Say QUIT and wait for no answer: what was taken is taken, and is to be written down at once."""
        self._watch.stop()
        if self.connection is not None:
            with suppress(OSError, smtplib.SMTPException):
                self.connection.putcmd("QUIT")
            self.connection.close()


class _Watch:
    """Cuts a connection off after a while; whoever reads from it then gets an error."""

    def __init__(self, seconds: float) -> None:
        self._client: smtplib.SMTP | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def over(self, client: smtplib.SMTP) -> None:
        self._client = client
        self._timer.start()

    def _cut(self) -> None:
        sock = getattr(self._client, "sock", None)
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        self._timer.cancel()
