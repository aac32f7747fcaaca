"""One message a person, by a real mail server on a real socket: when it takes, refuses, stalls, is away, or we die."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from secguard.environment import MailServer
from secguard.errors import Invalid
from secguard.notifications.adapters import email
from secguard.notifications.digest import Letter
from secguard.notifications.models import Message, Notice
from secguard.notifications.services import Telling, deliver, edit_preferences, mark_read, notify
from tests.fixtures_people import Person
from tests.notifications.conftest import FLAW, WAITS, SmtpServer, line

pytestmark = [pytest.mark.django_db, pytest.mark.enable_socket]
NOW = timezone.now()
AGO = NOW - timedelta(minutes=10)


def tell(person: Person, *keys: str, kind: str = FLAW.name, team: Any = None, **facts: Any) -> None:
    lines = tuple(line(key, **facts) for key in keys)
    notify([person.pk], Telling(kind, lines, team.pk if team else None), now=AGO)


def test_everything_that_waits_is_one_message_what_runs_first(
    smtp: SmtpServer, developer: Person, stranger: Person, team: Any
) -> None:
    tell(developer, "1", kind=WAITS.name, rank=5)
    tell(developer, "2", "3", team=team, rank=4)
    tell(developer, "4", team=team, rank=4, is_running=True)
    assert deliver(NOW) == {"made": 1, "sent": 1, "other": 0}
    (letter,) = smtp.letters
    assert letter["To"] == "developer@example.org"
    assert letter["From"] == "SecGuard <secguard@example.org>"
    assert letter["Subject"] == "[SecGuard] New flaw: CVE-2026-4, running in shop/api and 3 more"
    assert letter["Auto-Submitted"] == "auto-generated"
    parts = {part.get_content_type(): part.get_content() for part in letter.walk() if not part.is_multipart()}
    assert parts["text/plain"].index("CVE-2026-4") < parts["text/plain"].index("CVE-2026-2")
    assert "https://secguard.example.org/risks/4/" in parts["text/html"]
    assert deliver(NOW + timedelta(hours=2)) == {"made": 0, "sent": 0, "other": 0}
    assert not Notice.objects.filter(told_at=None).exists()


def test_without_a_mail_server_the_page_alone_tells(developer: Person, settings: Any) -> None:
    settings.SMTP = None
    tell(developer, "1")
    assert deliver(NOW) == {}
    assert not Message.objects.exists()
    assert developer.client.get("/notifications/").content.count(b"CVE-2026-1") >= 1


def test_what_was_read_here_is_not_written(smtp: SmtpServer, developer: Person) -> None:
    tell(developer, "1")
    mark_read(Notice.objects.get().pk, actor=developer)
    assert deliver(NOW)["made"] == 0
    assert smtp.connections == 0


def test_whoever_wants_no_mail_or_left_gets_none(smtp: SmtpServer, developer: Person, viewer: Person) -> None:
    edit_preferences({"email": False}, actor=developer)
    tell(developer, "1")
    tell(viewer, "1")
    type(viewer).objects.filter(pk=viewer.pk).update(is_active=False)
    assert deliver(NOW) == {"made": 0, "sent": 0, "other": 0}
    assert smtp.connections == 0


def test_what_is_no_longer_ones_own_is_not_written(smtp: SmtpServer, developer: Person, team: Any) -> None:
    tell(developer, "1", team=team)
    tell(developer, "2")
    developer.memberships.all().delete()
    deliver(NOW)
    (letter,) = smtp.letters
    assert "CVE-2026-1" not in letter.as_string()
    assert "CVE-2026-2" in letter.as_string()


def test_a_server_that_is_away_is_tried_again_and_told_once(smtp: SmtpServer, developer: Person, settings: Any) -> None:
    there, settings.SMTP = settings.SMTP, MailServer("127.0.0.1", 1, security="none")
    tell(developer, "1")
    assert deliver(NOW) == {"made": 1, "sent": 0, "other": 0}
    message = Message.objects.get()
    assert (message.status, message.attempts, message.next_at) == ("waiting", 1, NOW + timedelta(minutes=1))
    assert "did not take it" in message.error
    assert b"The last e-mail to you was not taken" in developer.client.get("/notifications/").content
    settings.SMTP = there
    assert deliver(NOW + timedelta(seconds=30))["sent"] == 0
    assert deliver(NOW + timedelta(minutes=2))["sent"] == 1
    assert len(smtp.taken) == 1


@pytest.mark.parametrize(
    ("verb", "reply", "status"),
    [
        ("RCPT", "550 no such person", "failed"),
        ("RCPT", "451 later", "waiting"),
        ("BODY", "554 it looks odd", "failed"),
        ("BODY", "452 full", "waiting"),
        ("GREETING", "554 not you", "waiting"),
        ("MAIL", "530 sign in first", "waiting"),
    ],
)
def test_a_refusal_is_for_good_or_for_now(
    smtp: SmtpServer, developer: Person, verb: str, reply: str, status: str
) -> None:
    smtp.answers[verb] = reply
    tell(developer, "1")
    deliver(NOW)
    message = Message.objects.get()
    assert message.status == status
    assert reply.partition(" ")[2] in message.error
    assert deliver(NOW + timedelta(seconds=10)) == {"made": 0, "sent": 0, "other": 0}


def test_after_days_it_is_given_up_and_nobody_is_kept_waiting(smtp: SmtpServer, developer: Person) -> None:
    smtp.answers["RCPT"] = "451 later"
    tell(developer, "1")
    deliver(NOW)
    deliver(NOW + timedelta(days=3, minutes=1))
    assert Message.objects.get().status == "failed"


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "RCPT", "BODY"])
def test_a_server_that_stalls_is_left(
    smtp: SmtpServer, developer: Person, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(email, "WHOLE_SECONDS", 0.5)
    smtp.stalls_at = verb
    tell(developer, "1")
    assert deliver(NOW)["sent"] == 0
    assert Message.objects.get().status == "waiting"


def test_one_persons_refusal_keeps_nobody_else_waiting(smtp: SmtpServer, developer: Person, viewer: Person) -> None:
    smtp.answers["RCPT"] = "550 no such person"
    tell(developer, "1")
    deliver(NOW)
    smtp.answers.clear()
    tell(viewer, "1")
    assert deliver(NOW)["sent"] == 1


@pytest.mark.parametrize(
    ("to", "subject"),
    [
        ("a@example.org", "x\r\nBcc: eve@example.org"),
        ("a@example.org\nBcc: eve@example.org", "x"),
        ("a@example.org, eve@example.org", "x"),
        ("nobody", "x"),
    ],
)
def test_no_header_is_smuggled_in(smtp: SmtpServer, to: str, subject: str) -> None:
    with pytest.raises(Invalid):
        email.send(Letter(subject, "t", "<p>t</p>"), email.Envelope(to, "<1@example.org>"))
    assert smtp.connections == 0


# --- real processes ---

HERE = Path(__file__).parent


class Installation:
    def __init__(self, folder: Path, server: SmtpServer) -> None:
        self.folder = folder
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SECGUARD_")},
            "PYTHONPATH": f"{HERE / 'processes'}:{HERE.parent.parent}",
            "DJANGO_SETTINGS_MODULE": "mail_settings",
            "SECGUARD_DATA_DIR": str(folder),
            "SECGUARD_SECRET_KEY": secrets.token_urlsafe(48),
            "SECGUARD_SMTP_URL": f"smtp://127.0.0.1:{server.port}",
            "SECGUARD_MAIL_FROM": "secguard@example.org",
        }
        self.run("django", "migrate", "-v", "0")
        self.run("mailing", "tell")

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *words], env=self.env, cwd=self.folder, stdout=subprocess.PIPE, text=True
        )

    def run(self, *words: str) -> str:
        process = self.start(*words)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        return said.strip().splitlines()[-1] if said.strip() else ""


@pytest.mark.processes
@pytest.mark.parametrize("verb", ["EHLO", "RCPT", "DATA"])
def test_a_killed_worker_has_told_nobody_and_the_next_one_tells_once(
    make_smtp: Callable[[], SmtpServer], tmp_path: Path, verb: str
) -> None:
    server = make_smtp()
    here = Installation(tmp_path, server)
    server.stalls_at = verb
    worker = here.start("mailing", "deliver", "0")
    assert server.stalled.wait(30)
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    server.stalls_at = ""
    # While the dead one's claim holds nobody sends; after it the next one sends the same message.
    assert json.loads(here.run("mailing", "deliver", "1"))["sent"] == 0
    assert json.loads(here.run("mailing", "deliver", "5"))["sent"] == 1
    assert json.loads(here.run("mailing", "deliver", "200")) == {"made": 0, "sent": 0, "other": 0}
    assert len(server.taken) == 1
    assert json.loads(here.run("mailing", "state")) == {"messages": ["sent"], "told": 1}


@pytest.mark.processes
def test_killed_between_the_servers_yes_and_our_note_the_copy_is_the_same_message(
    make_smtp: Callable[[], SmtpServer], tmp_path: Path
) -> None:
    server = make_smtp()
    here = Installation(tmp_path, server)
    server.stalls_at = "BODY"  # it has taken the letter and its answer does not arrive
    worker = here.start("mailing", "deliver", "0")
    assert server.stalled.wait(30)
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    server.stalls_at = ""
    assert json.loads(here.run("mailing", "deliver", "5"))["sent"] == 1
    assert len(server.taken) == 2
    assert len({letter["Message-ID"] for letter in server.letters}) == 1
    assert json.loads(here.run("mailing", "state")) == {"messages": ["sent"], "told": 1}
