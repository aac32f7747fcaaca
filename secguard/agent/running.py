"""The agent as a process: what it is told, its two threads (serving, and keeping up with the server), its end."""

from __future__ import annotations

import json
import signal
import ssl
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from secguard.admission.snapshot import Snapshot
from secguard.agent import answering, serving
from secguard.agent.accepting import accept, keys_of
from secguard.agent.keeping import Ledger, open_folder, write_whole
from secguard.agent.upstream import Away, Refused, Token, Upstream
from secguard.client.rest import CouldNotTell
from secguard.errors import SecGuardError
from secguard.signing.ecdsa import PublicKey

SAID_EVERY = 60.0
"""Seconds between two lines that say the same."""
MALFORMED = (400, 413, 422)


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, read."""

    server: str
    token_file: Path
    key: Path
    listen: tuple[str, int]
    state: Path
    refresh: float
    max_age: timedelta
    patience: float
    cert: Path | None = None
    cert_key: Path | None = None
    ca: Path | None = None


def say(words: str) -> None:
    """One line, with its time, for whoever collects logs."""
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} agent: {words}", file=sys.stderr, flush=True)  # noqa: T201


class Agent:
    """Answers questions; keeps the last snapshot, and what it answered without the server."""

    def __init__(self, options: Options, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._options, self._now = options, now
        self._token = Token(options.token_file)
        self._keys = _keys(options.key)
        self._upstream = Upstream(options.server, self._token, patience=options.patience, ca=options.ca)
        open_folder(options.state)
        self._file = options.state / "snapshot.json"
        self._ledger = Ledger(options.state)
        self._held: Snapshot | None = None
        self._tag = ""
        self._said: dict[str, float] = {}
        self._is_away = self._was_heard = False

    # --- questions ---

    def respond(self, path: str, query: str, body: bytes) -> tuple[int, str, bytes]:
        """The server's own answer, or one from the snapshot while it is away: (status, content type, body)."""
        try:
            reply = self._upstream.ask(path, query, body)
        except (Away, CouldNotTell) as away:
            self._note_away(str(away))
            return self._without(path, body)
        self._note_back()
        return reply.status, reply.kind, reply.body

    def _without(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        at = answering.basis(self._held, self._now(), self._options.max_age)
        try:
            found = answering.KINDS[path](body, at)
        except SecGuardError as refused:
            problem = {"status": refused.status, "title": refused.title, "detail": refused.detail, "code": refused.code}
            return refused.status, serving.PROBLEM, json.dumps(problem).encode()
        if found.record is not None:
            self._keep(found.record)
        return 200, serving.JSON, json.dumps(found.document).encode()

    def _keep(self, record: dict[str, object]) -> None:
        record["uid"] = record["uid"] or f"agent-{uuid.uuid4()}"
        try:
            if not self._ledger.add(record):
                self._once("full", f"answers.jsonl is full: {self._ledger.left_out} answers are kept nowhere else.")
        except OSError as error:
            # A full disk fails no answer; the cluster's own audit log has it.
            self._once("disk", f"An answer cannot be kept: {error.strerror or error}.")

    def ready(self) -> tuple[bool, str]:
        """Whether it can answer more than "nobody can tell": the server answers, or there is a snapshot that counts."""
        if self._was_heard and not self._is_away:
            return True, "SecGuard answers."
        at = answering.basis(self._held, self._now(), self._options.max_age)
        return at.snapshot is not None, at.note

    # --- keeping up ---

    def load(self) -> None:
        """Takes up the snapshot that an earlier agent kept, if it may still be used."""
        if not self._file.exists():
            say("There is no snapshot from earlier.")
            return
        try:
            self._held = accept(self._file.read_bytes(), self._keys, self._token.read(), self._now())
        except (SecGuardError, OSError) as refused:
            say(f"The snapshot in {self._file} is not used. {getattr(refused, 'detail', refused)}")
            return
        say(f"The snapshot of {self._held.head.made_at:%Y-%m-%d %H:%M} UTC is taken up; {self._held.held} images.")

    def keep_up(self) -> None:
        """One round: the snapshot if there is a newer one, and the answers that wait. Never raises."""
        for step in (self._fetch, self._deliver):
            try:
                step()
            except (Away, CouldNotTell) as away:
                self._note_away(str(away))
            except Refused as refused:
                self._note_back()
                self._once(f"refused {refused.status}", f"SecGuard refuses ({refused.status}): {refused}")
            except SecGuardError as unusable:
                self._once(unusable.code, unusable.detail)
            except Exception as error:  # noqa: BLE001 - this thread keeps the agent alive: it says so and goes on
                self._once(step.__name__, f"{type(error).__name__}: {error}")

    def _fetch(self) -> None:
        fetched = self._upstream.snapshot(self._tag)
        self._note_back()
        if fetched is None:
            return
        raw, tag = fetched
        taken = accept(raw, self._keys, self._token.read(), self._now(), have=self._held)
        if self._held is None:
            say(f"The first snapshot is here: cluster {taken.head.cluster}, {taken.held} images of {taken.known}.")
        self._held = taken
        write_whole(self._file, raw)
        self._tag = tag

    def _deliver(self) -> None:
        if not self._ledger.waits:
            return
        try:
            sent = self._ledger.deliver(self._upstream.tell)
        except Refused as refused:
            if refused.status in MALFORMED:
                say(f"SecGuard takes some answers for none; they were put into {self._ledger.set_aside()}: {refused}")
                return
            raise
        say(f"{sent} answers that were given while SecGuard was away were told to it.")

    # --- words ---

    def _note_away(self, why: str) -> None:
        if not self._is_away:
            self._is_away = True
            note = answering.basis(self._held, self._now(), self._options.max_age).note
            say(f"SecGuard is away ({why}). {note}")

    def _note_back(self) -> None:
        self._was_heard = True
        if self._is_away:
            self._is_away = False
            say("SecGuard answers again.")

    def _once(self, what: str, words: str) -> None:
        """The same is not said again within a minute."""
        if time.monotonic() - self._said.get(what, -SAID_EVERY) >= SAID_EVERY:
            self._said[what] = time.monotonic()
            say(words)


def _keys(path: Path) -> tuple[PublicKey, ...]:
    try:
        return keys_of(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise CouldNotTell(f"The public keys in {path} cannot be read: {why}.") from error


def run(options: Options) -> int:
    """Serves until SIGTERM or SIGINT; 0 where everything that was asked was answered by then.

    Raises ``CouldNotTell`` for what cannot be used: a file, a folder, an address.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    agent = Agent(options)
    agent.load()
    context = _context(options)
    try:
        server = serving.Server(options.listen, agent.respond, agent.ready, context)
    except OSError as error:
        host, port = options.listen
        raise CouldNotTell(f"The address {host}:{port} cannot be served on: {error.strerror}.") from error
    threading.Thread(target=server.serve_forever, name="serving", daemon=True).start()
    say(f"Serving on {options.listen[0]}:{server.server_port}, for {options.server}.")
    watch = _Watch(options, context)
    threading.Thread(target=_rounds, args=(agent, watch, options.refresh), name="keeping-up", daemon=True).start()
    stop.wait()
    say("Stopping: what was asked is answered first.")
    whole = server.drain()
    say("Stopped." if whole else "Stopped; some were not answered in time.")
    return 0 if whole else 1


def _rounds(agent: Agent, watch: _Watch, seconds: float) -> None:
    while True:
        agent.keep_up()
        watch.look()
        time.sleep(seconds)


def _context(options: Options) -> ssl.SSLContext | None:
    host = options.listen[0]
    if options.cert is None or options.cert_key is None:
        if options.cert is not options.cert_key:
            raise CouldNotTell("Name both --tls-cert and --tls-key.")
        if host not in serving.LOOPBACK:
            raise CouldNotTell(
                f"Without --tls-cert and --tls-key the agent serves on this machine alone, not on {host}: an API "
                "server speaks nothing but TLS (secguard admission certificate makes one)."
            )
        return None
    return serving.certificate(options.cert, options.cert_key)


class _Watch:
    """Takes up a certificate that was renewed."""

    def __init__(self, options: Options, context: ssl.SSLContext | None) -> None:
        self._options, self._context = options, context
        self._at = self._stamp()

    def look(self) -> None:
        if self._context is None or self._options.cert is None or self._options.cert_key is None:
            return
        stamp = self._stamp()
        if stamp in ((), self._at):
            return
        try:
            serving.load(self._context, self._options.cert, self._options.cert_key)
        except CouldNotTell as error:
            say(f"{error} The former one stays.")
            return
        self._at = stamp
        say("The certificate was renewed.")

    def _stamp(self) -> tuple[int, ...]:
        files = [f for f in (self._options.cert, self._options.cert_key) if f is not None]
        try:
            return tuple(f.stat().st_mtime_ns for f in files)
        except OSError:
            return ()  # between the old one and the new one
