"""Worker processes by name, and whether the one named is still alive.

A name is ``host/pid-namespace/pid/random``. Only a process of the same host and pid namespace can be looked up; of any
other one the end of its lease decides.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass


@dataclass(frozen=True)
class Holder:
    place: str
    pid: int
    token: str

    def __str__(self) -> str:
        return f"{self.place}/{self.pid}/{self.token}"


def _place() -> str:
    try:
        namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        namespace = ""
    return f"{socket.gethostname()[:60].replace('/', '-')}/{namespace}"


def this_process() -> Holder:
    """A new name for one run of a job in this process."""
    return Holder(_place(), os.getpid(), secrets.token_hex(8))


def is_gone(owner: str) -> bool:
    """Whether the process named by ``owner`` certainly no longer exists; False where this host cannot know."""
    place, _, rest = owner.rpartition("/")[0].rpartition("/")
    if place != _place() or not rest.isdigit():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
