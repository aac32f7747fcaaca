"""``secguard up``: makes this machine's installation ready and runs web, workers and sweeper as one process tree."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.error import URLError
from urllib.request import Request, urlopen

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connections

from secguard import administration, environment, local
from secguard.errors import Conflict
from secguard.supervisor import Child, Supervisor


@dataclass(frozen=True)
class Plan:
    """What is to run where: from the environment, checked before anything is made."""

    port: int
    hosts: list[str]
    threads: int
    web_processes: int
    workers: int


def plan(env: dict[str, str]) -> Plan:
    """Reads the plan; ``BadEnvironment`` for an odd value.

    SQLite has one writer at a time, so one process of each kind serves it best; PostgreSQL gets two.
    """
    database = environment.database(env, "SECGUARD_DATABASE_URL", "sqlite:///x")
    several = 1 if database.engine == "sqlite" else 2
    return Plan(
        port=environment.integer(env, "PORT", 8000, least=1, most=65535),
        hosts=environment.items(env, "SECGUARD_BIND", ["127.0.0.1", "::1"]),
        threads=environment.integer(env, "SECGUARD_WEB_THREADS", 8, least=1, most=256),
        web_processes=environment.integer(env, "SECGUARD_WEB_PROCESSES", several, least=1, most=64),
        workers=environment.integer(env, "SECGUARD_WORKERS", several, least=1, most=64),
    )


def up(env: dict[str, str], write: Callable[[str], None]) -> int:
    """Serves until stopped; returns the exit code.

    ``Conflict`` where another server runs on the same data folder or something else has the port; ``BadEnvironment``
    for an odd setting. A second run keeps everything that the first one made.
    """
    wanted = plan(env)
    env = log_level_for(env, is_terminal=sys.stdout.isatty())
    folder = local.data_dir(env)
    local.make_folders(folder)
    with _only_one(folder):
        hosts = _free_addresses(wanted)
        local.make_key(env)
        os.environ.update(env)
        # A thread's arena keeps what a large report took there (glibc, mallopt(3)): few of them, and it is used again.
        os.environ.setdefault("MALLOC_ARENA_MAX", "2")
        link = prepare(write)
        local.keep_address(folder, settings.PUBLIC_URL)
        announcement = _Announcement(_reachable(hosts[0]), link, write)
        children = list(_children(wanted, hosts, folder))
        return Supervisor(children, dict(os.environ), write, announcement.when_ready).run()


def log_level_for(env: dict[str, str], *, is_terminal: bool) -> dict[str, str]:
    """``env`` with ``SECGUARD_LOG_LEVEL``: on a terminal ``warning``, unless it is set.

    A line for every request would carry the sign-in link, which is shown once, off the screen in seconds; a log that is
    collected has them.
    """
    if environment.text(env, "SECGUARD_LOG_LEVEL", "") or not is_terminal:
        return env
    return {**env, "SECGUARD_LOG_LEVEL": "warning"}


def prepare(write: Callable[[str], None]) -> str | None:
    """Migrates, collects static files, makes the owner; returns the path of the owner's sign-in link, if any."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "secguard.settings")
    django.setup()
    write("Preparing the database.")
    administration.open_database()
    call_command("migrate", interactive=False, verbosity=0)
    collect_static_files()
    from secguard.accounts.services import create_owner  # noqa: PLC0415 - models are loaded only now

    link = create_owner()
    connections.close_all()
    return link


def collect_static_files() -> None:
    """Collects and compresses what the pages need, if it changed since the last time."""
    stamp = Path(settings.STATIC_ROOT) / ".collected"
    state = _state_of_static_files()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == state:
        return
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    stamp.write_text(state, encoding="utf-8")


def _state_of_static_files() -> str:
    from django.contrib.staticfiles.finders import get_finders  # noqa: PLC0415 - needs the settings

    digest = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list([]):
            stat = os.stat(storage.path(path))
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


@contextmanager
def _only_one(folder: Path) -> Iterator[IO[str]]:
    """Holds the data folder's lock, which the kernel releases however this process ends."""
    with open(folder / "up.lock", "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise Conflict(
                f"SecGuard already runs on the data folder {folder} (process {owner}). Stop that one first, or set "
                "SECGUARD_DATA_DIR to another folder for a second installation."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file


def _free_addresses(wanted: Plan) -> list[str]:
    """The addresses to bind, as gunicorn writes them; ``Conflict`` where another process has the port."""
    usable = [host for host in wanted.hosts if _can_bind(host, wanted.port)]
    if not usable:
        raise Conflict(
            f"None of the addresses {', '.join(wanted.hosts)} exists on this machine; set SECGUARD_BIND to one that "
            "does, like 127.0.0.1 or 0.0.0.0."
        )
    return [f"[{host}]:{wanted.port}" if ":" in host else f"{host}:{wanted.port}" for host in usable]


def _can_bind(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except PermissionError as error:
        raise Conflict(f"This user may not serve on port {port}; set PORT to one above 1023.") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"Port {port} on {host} is in use by another program. Stop that one, or set PORT to a free one, "
                f"like: PORT={port + 1 if port < 65535 else 8001} make up"
            ) from error
        return False  # no IPv6 here, or no such address
    return True


def _children(wanted: Plan, addresses: list[str], folder: Path) -> Iterator[Child]:
    web = [sys.executable, "-m", "gunicorn", "secguard.wsgi:application", "--worker-class", "gthread"]
    web += ["--threads", str(wanted.threads), "--workers", str(wanted.web_processes), "--no-control-socket"]
    # A request that waits for a report's verdict may take a minute; the heartbeat is the process's, not the request's.
    web += ["--timeout", "120", "--graceful-timeout", "30", "--log-level", "warning", "--name", "secguard"]
    for address in addresses:
        web += ["--bind", address]
    yield Child("web", web)
    for number in range(1, wanted.workers + 1):
        yield Child(f"worker-{number}", _worker("interactive", number))
    yield Child("scheduled", _worker("scheduled", 1))


def _worker(queue: str, number: int) -> list[str]:
    # One job at a time in one process ("solo"): a second process costs less than a pool in each.
    # Celery's warning about root is about pickled messages; ours are JSON.
    command = [
        sys.executable,
        "-W",
        "ignore::UserWarning:celery.platforms",
        "-m",
        "celery",
        "--quiet",
        "--app",
        "secguard.celery",
        "worker",
        "--pool",
        "solo",
    ]
    command += ["--queues", queue, "--hostname", f"{queue}-{number}@%h", "--loglevel", "warning"]
    return [*command, "--without-gossip", "--without-mingle", "--without-heartbeat"]


def _command() -> str:
    """How a person at this prompt calls ``secguard``: by its path, where it is not on theirs."""
    return "secguard" if shutil.which("secguard") else os.path.relpath(Path(sys.executable).parent / "secguard")


def _reachable(address: str) -> str:
    """Where this machine reaches what is bound to ``address``: "all addresses" is no address to connect to."""
    return address.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:")


@dataclass
class _Announcement:
    """Says where to go, once the server answers."""

    address: str
    link: str | None
    write: Callable[[str], None]

    def when_ready(self) -> bool:
        try:
            request = Request(f"http://{self.address}/healthz", headers={"Host": settings.PUBLIC_HOST})
            with urlopen(request, timeout=1) as answer:  # noqa: S310 - our own server
                ready = bool(answer.status == 200)
        except (URLError, OSError):
            return False
        if ready:
            for line in self._lines():
                self.write(line)
        return ready

    def _lines(self) -> Iterator[str]:
        base = settings.PUBLIC_URL
        yield ""
        yield f"SecGuard runs on {base}  (Ctrl-C stops it; no job is lost)"
        if self.link:
            yield f"  Sign in as the owner, once and within a day:  {base}{self.link}"
        yield f"  A token for pipelines:   {_command()} token create --role developer --user ci --print"
        yield f"  A look around first:     {_command()} sample"
        yield f"  The API's documentation: {base}/api/docs/"
        yield ""
