"""Run somebody else's program on hostile input: no network, bounded in time, memory and disk, gone when we are.

The program gets its own process group, no environment but the one given, and a folder of its own. Where the kernel
allows it, it also gets a network of its own with nothing in it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from secguard.errors import TooLarge, Unavailable

_POLL_SECONDS = 0.05
_LOOK_SECONDS = 0.5
_TOLD_BYTES = 16_384
_ANSI = re.compile(r"\x1b\[[0-9;]*m|\x1b")
_PAGE = os.sysconf("SC_PAGE_SIZE")

_LAUNCHER = """
import ctypes, os, resource, sys
libc = ctypes.CDLL(None)
NEW_NETWORK, NEW_USER, DEATH_SIGNAL, KILL = 0x40000000, 0x10000000, 1, 9
if libc.unshare(NEW_NETWORK):
    libc.unshare(NEW_USER | NEW_NETWORK)
libc.prctl(DEATH_SIGNAL, KILL)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Between fork and exec, in a process of its own: Python may not run there in a process that has threads.

The death signal is set after the network was left (that clears it), and the parent is looked at after that, in case it
died in between.
"""


@dataclass(frozen=True, slots=True)
class Bounds:
    seconds: float = 600.0
    memory_bytes: int = 2 * 2**30
    """Resident."""
    disk_bytes: int = 40 * 2**30
    """Of everything in the program's folder."""
    file_bytes: int = 20 * 2**30
    """Of one file that it writes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    told: str
    """The last of what it wrote to standard error, as text."""
    seconds: float
    memory_bytes: int
    """The most that was seen resident."""


def run(
    command: Sequence[str],
    *,
    name: str,
    folder: Path,
    environment: Mapping[str, str],
    bounds: Bounds,
    check: Callable[[], None],
) -> Outcome:
    """Run ``command`` (its first word a full path) in ``folder`` until it ends.

    ``check`` is called about twice a second; whatever it raises ends the program and goes on up. Raises ``TooLarge``
    past a bound of memory or disk and ``Unavailable`` past the one of time; ``name`` is what people call the program.
    """
    launched = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), str(bounds.file_bytes), *command]
    errors = folder / "stderr"
    started = time.monotonic()
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            launched,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
        )
        try:
            most = _watch(process, name, folder, bounds, started + bounds.seconds, check)
        finally:
            _end(process)
    return Outcome(process.returncode, _told(errors), time.monotonic() - started, most)


def _watch(
    process: subprocess.Popen[bytes],
    name: str,
    folder: Path,
    bounds: Bounds,
    ends_at: float,
    check: Callable[[], None],
) -> int:
    most, next_look = 0, 0.0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_SECONDS)
            return most
        most = max(most, _resident_bytes(process.pid))
        if most > bounds.memory_bytes:
            raise TooLarge(f"{name} needed more than {bounds.memory_bytes // 2**20:,} MiB of memory.", code="memory")
        now = time.monotonic()
        if now > ends_at:
            raise Unavailable(f"{name} did not end within {bounds.seconds:,.0f} seconds.", retry_after=60, code="slow")
        if now >= next_look:
            next_look = now + _LOOK_SECONDS
            if _used_bytes(folder) > bounds.disk_bytes:
                raise TooLarge(f"{name} wrote more than {bounds.disk_bytes // 2**20:,} MiB to disk.", code="disk")
            check()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of its process group; the group's number is ours as long as the leader is not waited for."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _used_bytes(folder: Path) -> int:
    used = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(place, name))
                used += status.st_blocks * 512
    return used


def _told(errors: Path) -> str:
    with errors.open("rb") as file:
        file.seek(max(0, errors.stat().st_size - _TOLD_BYTES))
        return _ANSI.sub("", file.read().decode("utf-8", "replace")).strip()
