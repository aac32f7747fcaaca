"""What every test stands on: no broker, no network but this host's, no slow password hashing, a key of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import django
import hypothesis
import pytest
import pytest_socket
from django.conf import settings
from django.core.management.commands import migrate
from django.db import connections, transaction
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.backends.postgresql.operations import DatabaseOperations
from psycopg.sql import SQL, Identifier

pytest_plugins = [
    "tests.fixtures_people",
    "tests.fixtures_registries",
    "tests.fixtures_installations",  # stands on the one before
    "tests.fixtures_reports",
]

# pytest-django has read the settings before this file; what depends on the installation is set here.
os.environ.setdefault("SECGUARD_SECRET_KEY", secrets.token_urlsafe(48))
settings.SECRET_KEY = os.environ["SECGUARD_SECRET_KEY"]
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
settings.ALLOWED_HOSTS = ["*"]
# Whether a commit has reached the disk matters where the machine stops; here processes are killed, at most.
os.environ.setdefault("PGOPTIONS", "-c synchronous_commit=off")
# Nothing was collected for tests: look files up when they are asked for, instead of listing a folder that is not there.
settings.WHITENOISE_AUTOREFRESH = True
# The manifest of collected files exists only where `secguard up` or an image build has made it.
settings.STORAGES = {
    **settings.STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}


# How fast a machine makes examples says nothing about the product: no test fails by the clock.
hypothesis.settings.register_profile("secguard", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("secguard")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--databases-part",
        action="store_true",
        help="leave out what asks no database and starts no process: on another database it does the same again",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--databases-part"):
        concerned = [(item, _concerns_databases(item)) for item in items]
        config.hook.pytest_deselected(items=[item for item, is_kept in concerned if not is_kept])
        items[:] = [item for item, is_kept in concerned if is_kept]


def _concerns_databases(item: pytest.Item) -> bool:
    if item.get_closest_marker("once"):
        return False
    fixtures = set(getattr(item, "fixturenames", ()))
    is_apps_own = item.path.parent.name != "tests"  # what stands beside the apps' tests is about the whole product
    asks = {"db", "transactional_db", "django_db_setup"} & fixtures
    return not is_apps_own or bool(asks) or any(map(item.get_closest_marker, ("django_db", "processes")))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name long bytes by their argument: what gzip writes holds the time, and every process must name tests alike."""
    return argname if isinstance(val, bytes) and len(val) > 20 else None


def pytest_runtest_setup() -> None:
    pytest_socket.socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Start from a database that is ready where ``SECGUARD_TEST_TEMPLATES`` names a folder to keep such in.

    Migrations of an empty database take longer than most apps' tests. A template belongs to the bytes of all
    migrations, so it is never an old one; SQLite alone.
    """
    if folder := os.environ.get("SECGUARD_TEST_TEMPLATES"):
        migrate.Command.handle = _from_template(Path(folder), migrate.Command.handle)  # type: ignore[method-assign,arg-type]


@pytest.fixture(scope="session", autouse=True)
def _empty_what_is_not_empty() -> None:
    """After a test that commits, take the rows away instead of making every table's files anew: that takes seconds."""
    DatabaseOperations.execute_sql_flush = _take_rows  # type: ignore[method-assign]


def _take_rows(operations: BaseDatabaseOperations, _statements: Sequence[str]) -> None:
    names = operations.connection.introspection.django_table_names(only_existing=True)
    has_rows = SQL("SELECT {} WHERE EXISTS (SELECT FROM {})")
    with transaction.atomic(using=operations.connection.alias), operations.connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # neither foreign keys nor triggers ask
        cursor.execute(SQL(" UNION ALL ").join(has_rows.format(name, Identifier(name)) for name in names))
        for (name,) in cursor.fetchall():
            cursor.execute(SQL("DELETE FROM {}").format(Identifier(name)))


def _from_template(folder: Path, really: Callable[..., None]) -> Callable[..., None]:
    def handle(command: migrate.Command, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        if connection.vendor != "sqlite" or options.get("app_label"):  # a test that goes back and forth means it
            return really(command, *args, **options)
        connection.ensure_connection()
        ready = folder / f"{_migrations_digest()}.sqlite3"
        if ready.exists():
            with contextlib.closing(sqlite3.connect(ready)) as template:
                return template.backup(connection.connection)
        really(command, *args, **options)
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = ready.with_suffix(f".{os.getpid()}")
        with contextlib.closing(sqlite3.connect(unfinished)) as template:
            connection.connection.backup(template)
        unfinished.replace(ready)
        return None

    return handle


def _migrations_digest() -> str:
    found = hashlib.sha256(f"{django.__version__} {sorted(settings.INSTALLED_APPS)}".encode())
    for path in sorted(Path(__file__).parent.glob("secguard/*/migrations/*.py")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:16]


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of the test's own."""
    monkeypatch.setattr(settings, "DATA_DIR", tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def woken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queues for which a wake-up was sent; none of them reaches a broker."""
    from secguard.jobs.adapters import waking  # noqa: PLC0415 - apps are loaded only now

    queues: list[str] = []

    def note(queue: str) -> bool:
        queues.append(str(queue))
        return True

    monkeypatch.setattr(waking, "wake", note)
    return queues


@pytest.fixture(autouse=True)
def _remember_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process remembers of clusters' questions belongs to one database, and so to one test."""
    from secguard.admission.services import counting, quick  # noqa: PLC0415 - apps are loaded only now

    monkeypatch.setattr(counting, "SECONDS", 0.0)
    monkeypatch.setattr(quick, "STALE_SECONDS", 0.0)
    for remembered in (counting.COUNTS, quick.GATES, quick.FRESH, quick.PASSING):
        remembered.clear()


@pytest.fixture
def run_jobs() -> Callable[[], int]:
    """Does all due jobs of both queues in this process, those they enqueue included; returns how many."""
    from secguard.jobs import services  # noqa: PLC0415 - apps are loaded only now
    from secguard.jobs.lifecycle import Queue  # noqa: PLC0415

    def run() -> int:
        total = 0
        while done := sum(services.work(queue, seconds=60) for queue in Queue):
            total += done
        return total

    return run
