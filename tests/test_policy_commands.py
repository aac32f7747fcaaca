"""``secguard policy``: tests without a server, and the rest against the API itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from secguard import cli, policy_commands
from secguard.client.rest import Server
from tests.fixtures_people import Person
from tests.policies.test_policytests import FAILING, PASSING
from tests.policies.test_services import BLOCK_ALL


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A policy with tests that pass beside it."""
    path = tmp_path / "policy.yaml"
    path.write_text(BLOCK_ALL)
    (tmp_path / "policy.tests.yaml").write_text(PASSING)
    return path


def run(*words: Any) -> int:
    return cli.main(["policy", *map(str, words)])


@pytest.fixture
def server(reviewer: Person, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The product's own API, as the reviewer's token sees it."""
    from django.core.signals import request_finished, request_started
    from django.core.wsgi import get_wsgi_application
    from django.db import close_old_connections

    token = reviewer.api._credentials["HTTP_AUTHORIZATION"]
    http = httpx.Client(
        base_url="http://testserver",
        transport=httpx.WSGITransport(app=get_wsgi_application()),  # type: ignore[arg-type]
        headers={"Authorization": token},
    )
    monkeypatch.setattr(policy_commands, "connect", lambda: Server(http, "http://testserver"))
    # A request of a server's ends by closing its connection; here that is the test's own.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


# --- without a server ---


def test_tests_that_pass(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("test", files) == 0
    assert "1 passed, 0 failed." in capsys.readouterr().out


def test_tests_that_fail(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.yaml").write_text(FAILING)
    assert run("test", files, "--tests", tmp_path / "other.yaml") == 1
    out = capsys.readouterr().out
    assert "FAILED" in out
    assert "expected pass, found block" in out


@pytest.mark.parametrize(
    ("policy", "tests", "words"),
    [
        (BLOCK_ALL.replace("block", "explode"), PASSING, "line 6, column 13"),
        (BLOCK_ALL, "tests: 1", "The tests cannot be read"),
        (BLOCK_ALL, None, "There are no tests"),
        ("#" * 300_000, PASSING, "262,144 bytes"),
    ],
)
def test_what_cannot_be_read_is_two(
    files: Path, policy: str, tests: str | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write_text(policy)
    beside = files.with_name("policy.tests.yaml")
    if tests is None:
        beside.unlink()
    else:
        beside.write_text(tests)
    assert run("test", files) == 2
    assert words in capsys.readouterr().err


def test_a_file_that_is_no_text(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files.write_bytes(b"\xff\xfe")
    assert run("test", files) == 2
    assert "no UTF-8 text" in capsys.readouterr().err
    assert run("test", files.with_name("nowhere.yaml")) == 2


# --- with a server ---


@pytest.mark.django_db
def test_a_policy_in_git(server: None, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Differs, is applied, is applied again without a change, and comes out as it went in."""
    from secguard.policies.models import PolicyVersion
    from secguard.policies.services import active_version

    assert run("diff", files) == 1
    assert "rule malware removed" in capsys.readouterr().out
    assert run("apply", files, "--activate", "--comment", "from git") == 0
    assert run("diff", files) == 0
    kept = PolicyVersion.objects.count()
    assert run("apply", files, "--activate") == 0
    assert PolicyVersion.objects.count() == kept
    assert "says exactly this already" in capsys.readouterr().out
    assert (active_version().policy.name, active_version().comment) == ("strict", "from git")
    out = files.with_name("out.yaml")
    assert run("export", "-o", out) == 0
    assert out.read_text() == BLOCK_ALL
    assert out.with_name("out.tests.yaml").read_text() == PASSING


@pytest.mark.django_db
def test_a_policy_whose_tests_fail_is_not_applied(
    server: None, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from secguard.policies.models import Policy

    files.with_name("policy.tests.yaml").write_text(FAILING)
    assert run("apply", files) == 1
    assert "expected pass, found block" in capsys.readouterr().out
    assert not Policy.objects.filter(name="strict").exists()


@pytest.mark.django_db
def test_what_is_not_there_or_not_allowed_is_two(
    server: None, files: Path, reviewer: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("diff", files, "--name", "nobody") == 2
    reviewer.memberships.all().delete()
    assert run("apply", files) == 2
    assert "policy" in capsys.readouterr().err


@pytest.mark.django_db
def test_a_draft_is_simulated(
    server: None, files: Path, run_jobs: Callable[[], int], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    get = Server.get

    def get_after_work(self: Server, *args: Any, **query: Any) -> Any:
        run_jobs()  # the worker
        return get(self, *args, **query)

    monkeypatch.setattr(Server, "get", get_after_work)
    assert run("simulate", files, "--since", "2026-11-01T00:00:00Z") == 0
    assert "nothing would be answered otherwise" in capsys.readouterr().out
