"""One process tree: starts children, passes their lines on under their names, restarts those that die, stops them all.

Single-threaded: one loop waits for lines, for signals and for what is due. No Django, nothing of SecGuard's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

FIRST_RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 30.0
STEADY_SECONDS = 30.0
TICK_SECONDS = 0.2
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """On Linux a child gets SIGTERM when its parent is gone, however that died (prctl(2), PR_SET_PDEATHSIG)."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Child:
    """One command that is to run all the time. ``failures`` counts deaths since it last ran steadily."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0
    rest: bytes = b""

    def start(self, now: float, env: dict[str, str]) -> IO[bytes]:
        self.process = subprocess.Popen(
            self.command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches the parent alone, which then stops the children in order.
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        self.started_at = now
        stream = self.process.stdout
        assert stream is not None  # noqa: S101 - asked for above
        os.set_blocking(stream.fileno(), False)
        return stream

    def died(self, now: float) -> float:
        """Notes a death; returns the seconds until the next start."""
        self.failures = 1 if now - self.started_at > STEADY_SECONDS else self.failures + 1
        wait: float = min(FIRST_RESTART_SECONDS * 2 ** (self.failures - 1), LONGEST_RESTART_SECONDS)
        self.process, self.start_at = None, now + wait
        return wait


@dataclass
class Supervisor:
    """Runs children until it is told to stop (SIGINT, SIGTERM).

    ``write`` gets each line, already prefixed; ``when_started`` is asked again and again after the start until it
    returns True (it prints where to go once the server answers). ``patience`` bounds how long stopping may take.
    """

    children: list[Child]
    env: dict[str, str]
    write: Callable[[str], None]
    when_started: Callable[[], bool] = lambda: True
    patience: float = 60.0
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _stop_requests: int = 0

    def run(self) -> int:
        """Runs until stopped; returns 0, or 1 where a child had to be killed."""
        with self._signals():
            announced = False
            while not self._stop_requests:
                now = time.monotonic()
                for child in self.children:
                    self._keep(child, now)
                announced = announced or self.when_started()
                self._pass_lines_on()
            return self._stop()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        self._selector.register(reader, selectors.EVENT_READ, None)
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        wake_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wake_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.unregister(reader)
            os.close(reader)
            os.close(writer)

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._stop_requests += 1

    def _keep(self, child: Child, now: float) -> None:
        if child.process is None:
            if now >= child.start_at:
                stream = child.start(now, self.env)
                self._selector.register(stream, selectors.EVENT_READ, child)
            return
        code = child.process.poll()
        if code is not None:
            self._drain(child)
            wait = child.died(now)
            self.write(f"{child.name}: stopped unexpectedly ({_outcome(code)}); starting it again in {wait:g} s.")

    def _pass_lines_on(self) -> None:
        for key, _events in self._selector.select(TICK_SECONDS):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    os.read(key.fd, 4096)
            else:
                self._read(key.data, key.fd)

    def _read(self, child: Child, descriptor: int) -> bool:
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return False
        if not data:
            self._forget(child)
            return False
        *lines, child.rest = (child.rest + data).split(b"\n")
        for line in lines:
            self.write(f"{child.name}: {line.decode(errors='replace')}")
        return True

    def _drain(self, child: Child) -> None:
        stream = child.process.stdout if child.process else None
        while stream and not stream.closed and self._read(child, stream.fileno()):
            pass
        self._forget(child)

    def _forget(self, child: Child) -> None:
        stream = child.process.stdout if child.process else None
        if stream and not stream.closed:
            if child.rest:
                self.write(f"{child.name}: {child.rest.decode(errors='replace')}")
                child.rest = b""
            self._selector.unregister(stream)
            stream.close()

    def _stop(self) -> int:
        """SIGTERM to all, so that running jobs are finished; SIGKILL after ``patience`` or a third request."""
        self.write("Stopping: running requests and jobs are finished first. Press Ctrl-C again to stop at once.")
        self._send(signal.SIGTERM)
        until = time.monotonic() + self.patience
        while self._alive():
            if time.monotonic() > until or self._stop_requests > 1:
                return self._kill()
            self._pass_lines_on()
        for child in self.children:
            self._drain(child)
        self.write("Stopped.")
        return 0

    def _kill(self) -> int:
        names = ", ".join(child.name for child in self._alive())
        self.write(f"Killed: {names}. No job is lost: what was running is done again after the next start.")
        self._send(signal.SIGKILL)
        for child in self._alive():
            if child.process:
                child.process.wait()
        return 1

    def _alive(self) -> list[Child]:
        return [child for child in self.children if child.process is not None and child.process.poll() is None]

    def _send(self, number: signal.Signals) -> None:
        for child in self._alive():
            if child.process:
                with contextlib.suppress(ProcessLookupError):
                    # The whole session on SIGKILL: a child's own children must not survive it.
                    (os.killpg if number is signal.SIGKILL else os.kill)(child.process.pid, number)


def _outcome(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
