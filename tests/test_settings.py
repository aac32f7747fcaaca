"""The settings as a process reads them: what it takes, and the words with which it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard import environment, local
from secguard.environment import BadEnvironment

pytestmark = pytest.mark.once

CHECKOUT = Path(__file__).parent.parent
KEY = "kD8-2hVq_Zr5Yw1nT7uXa0LmPjE4oBfGsC9iHx3RtUeWvNyQ6"


def settings_with(tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """What a process says that reads the settings with this environment alone."""
    code = (
        "import json; from secguard import settings as s;"
        "print(json.dumps({n: getattr(s, n) for n in dir(s) if n.isupper()}, default=str))"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SECGUARD_") and name != "PORT"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, "SECGUARD_DATA_DIR": str(tmp_path), **env},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_defaults_are_for_this_machine_alone(tmp_path):
    result = json.loads(settings_with(tmp_path).stdout)
    assert result["DEBUG"] is False
    assert result["SECRET_KEY"] == ""
    assert result["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert result["DATABASES"]["default"]["NAME"] == str(tmp_path / "secguard.sqlite3")
    assert result["DATABASES"]["default"]["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert result["CELERY"]["broker_url"] == "filesystem://localhost"
    assert result["SESSION_COOKIE_SECURE"] is False


def test_an_https_address_makes_cookies_safe(tmp_path):
    result = json.loads(settings_with(tmp_path, SECGUARD_PUBLIC_URL="https://sec.example.org/").stdout)
    assert result["PUBLIC_URL"] == "https://sec.example.org"
    assert "sec.example.org" in result["ALLOWED_HOSTS"]
    assert result["SESSION_COOKIE_SECURE"] is result["CSRF_COOKIE_SECURE"] is True
    assert result["SESSION_COOKIE_NAME"].startswith("__Host-")
    assert result["SECURE_HSTS_SECONDS"] > 0


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "eighty", "PORT is 'eighty'. Expected: a whole number from 1 to 65535"),
        ("PORT", "70000", "PORT is 70000. Expected"),
        ("SECGUARD_DATABASE_URL", "mysql://u:hunter2@h/d", "SECGUARD_DATABASE_URL is a URL of kind 'mysql'"),
        ("SECGUARD_BROKER_URL", "amqp://u:hunter2@h", "SECGUARD_BROKER_URL is a URL of kind 'amqp'"),
        ("SECGUARD_PUBLIC_URL", "sec.example.org", "SECGUARD_PUBLIC_URL is 'sec.example.org'"),
        ("SECGUARD_MAX_REPORT_BYTES", "64MB", "SECGUARD_MAX_REPORT_BYTES is '64MB'"),
        ("SECGUARD_LOG_LEVEL", "loud", "one of debug, info, warning, error"),
        ("SECGUARD_DEBUG", "maybe", "SECGUARD_DEBUG is 'maybe'"),
        ("SECGUARD_WEBHOOK_HOSTS", "https://chat.internal", "hosts separated by commas, like hooks.internal:8443"),
        ("SECGUARD_WEBHOOK_HOSTS", "chat.internal,*.internal", "a list with '*.internal'"),
        ("SECGUARD_WEBHOOK_HOSTS", "chat.internal:http", "a list with 'chat.internal:http'"),
        ("SECGUARD_FORECAST_DAYS", "7,soon", "whole numbers from 1 to 14 separated by commas, or none"),
        ("SECGUARD_FORECAST_DAYS", "30", "SECGUARD_FORECAST_DAYS is '30'"),
        ("SECGUARD_SECRET_KEY", "hunter2", "SECGUARD_SECRET_KEY is only 7 characters long"),
        ("SECGUARD_SECRET_KEY", "a" * 60, "a placeholder that others know too"),
        ("SECGUARD_SECRET_KEY", "django-insecure-9rJ3kV0xN5bT8yQ2wE6uI1oP4aS7dF", "a placeholder"),
    ],
)
def test_an_odd_value_stops_the_start_with_words(tmp_path, name, value, words):
    result = settings_with(tmp_path, **{name: value})
    assert result.returncode != 0
    assert words in result.stderr
    assert "hunter2" not in result.stderr, "a secret is never repeated"


@pytest.mark.parametrize(
    "command",
    [
        ["-c", "import secguard.wsgi"],
        ["-m", "celery", "--app", "secguard.celery", "worker", "--pool", "solo"],
        ["-m", "celery", "--app", "secguard.celery", "beat", "--schedule", "{tmp}/beat", "--pidfile="],
    ],
)
def test_a_server_without_a_key_refuses_to_start(tmp_path, command):
    env = {name: value for name, value in os.environ.items() if name != "SECGUARD_SECRET_KEY"}
    result = subprocess.run(
        [sys.executable, *(word.format(tmp=tmp_path) for word in command)],
        env={**env, "SECGUARD_DATA_DIR": str(tmp_path)},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode != 0
    assert "SECGUARD_SECRET_KEY is not set, and a server has no default secret" in result.stderr


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://u:p%40ss@db:5433/name", {"user": "u", "password": "p@ss", "host": "db", "port": "5433"}),
        ("postgresql:///name?host=/run/postgresql", {"host": "/run/postgresql", "name": "name", "port": ""}),
        ("postgres://%2Frun%2Fpostgresql/name", {"host": "/run/postgresql"}),
        ("postgres://u@[::1]/name?sslmode=require", {"host": "::1", "options": {"sslmode": "require"}}),
        ("sqlite:////var/lib/x.db", {"engine": "sqlite", "path": "/var/lib/x.db"}),
        ("sqlite:///x%20y.db", {"engine": "sqlite", "path": "x y.db"}),
    ],
)
def test_database_urls(url, expected):
    database = environment.database({"U": url}, "U", "")
    assert {name: getattr(database, name) for name in expected} == expected


@pytest.mark.parametrize("url", ["postgres://host", "postgres://h:port/d", "sqlite:///", "just-a-name"])
def test_database_urls_that_name_nothing(url):
    with pytest.raises(BadEnvironment, match="U is "):
        environment.database({"U": url}, "U", "")


def test_a_databases_password_is_not_in_its_repr():
    assert "hunter2" not in repr(environment.database({"U": "postgres://u:hunter2@h/d"}, "U", ""))


@given(st.text(max_size=80))
def test_any_text_is_a_value_or_refused_in_words(text):
    readers = [
        lambda env: environment.integer(env, "X", 5, least=1, most=9),
        lambda env: environment.flag(env, "X", default=False),
        lambda env: environment.choice(env, "X", "a", ("a", "b")),
        lambda env: environment.web_url(env, "X", "http://localhost"),
        lambda env: environment.database(env, "X", "sqlite:///x"),
        lambda env: environment.broker(env, "X"),
        lambda env: environment.secret_key(env, "X"),
    ]
    for read in readers:
        refusal = ""
        try:
            read({"X": text})
        except BadEnvironment as error:
            refusal = str(error)
        assert not refusal or refusal.startswith("X is ")


def test_the_kept_key_is_made_once_and_readable_by_its_owner_alone(tmp_path):
    first: dict[str, str] = {"SECGUARD_DATA_DIR": str(tmp_path)}
    second = dict(first)
    local.make_key(first)
    local.make_key(second)
    assert first["SECGUARD_SECRET_KEY"] == second["SECGUARD_SECRET_KEY"] == environment.secret_key(first)
    assert (tmp_path / "secret-key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret-key"], "no draft is left"


def test_a_key_in_the_environment_wins_over_the_kept_one(tmp_path):
    env = {"SECGUARD_DATA_DIR": str(tmp_path), "SECGUARD_SECRET_KEY": KEY}
    local.make_key(env)
    assert env["SECGUARD_SECRET_KEY"] == KEY
    assert not (tmp_path / "secret-key").exists()


def test_a_kept_key_that_others_can_read_is_refused(tmp_path):
    env = {"SECGUARD_DATA_DIR": str(tmp_path)}
    local.make_key(dict(env))
    (tmp_path / "secret-key").chmod(0o644)
    with pytest.raises(BadEnvironment, match=r"readable by others.*chmod 600"):
        local.use_kept_key(env)


def test_hosts_and_days_are_read_as_lists():
    def hosts(text):
        return environment.hosts({"X": text}, "X")

    assert hosts("") == []
    assert hosts(" Chat.internal, hooks.internal:8443 ,[fd00::1]:80") == [
        "chat.internal",
        "hooks.internal:8443",
        "[fd00::1]:80",
    ]
    days = [environment.days({"X": text}, "X", [7, 1], most=14) for text in ("", "1,7,1,14", "none")]
    assert days == [[7, 1], [14, 7, 1], []]
