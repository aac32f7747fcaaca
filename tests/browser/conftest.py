"""A running SecGuard with its workers, people who are signed in to it, and a real Chromium to look at it with."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.scans.conftest import corpus  # noqa: F401 - the fixture: real reports from ../shared/corpora
from tests.test_up import Server, have_tables

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
]
PASSWORD = "a-long-walk-by-the-river-7"
REPORT = "scanner/aquasecurity+trivy/integration/testdata/debian-buster.json.golden"
"""Trivy on Debian 10: one critical flaw with a fix (libidn2, CVE-2019-18224) and one low one."""


@dataclass
class Installation:
    """``secguard up`` on a data folder of its own, and its command line."""

    server: Server
    token: str = ""
    """An administrator's."""
    links: dict[str, str] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.server.url

    def run(self, *command: str, token: str = "") -> subprocess.CompletedProcess[str]:
        """One ``secguard`` command, as a pipeline with ``token`` runs it."""
        return self.server.run(*command, SECGUARD_URL=self.url, SECGUARD_TOKEN=token or self.token)

    def make_person(self, name: str, role: str, team: str = "") -> None:
        made = self.run("user", "create", name, "--role", role, *(["--team", team] if team else []))
        assert made.returncode == 0, made.stderr
        self.links[name] = made.stdout.split()[-1]

    def make_token(self, name: str, role: str, team: str = "") -> str:
        narrowed = ["--team", team] if team else []
        made = self.run("token", "create", "--role", role, "--user", name, *narrowed, "--print")
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def api(self, method: str, path: str, *, token: str = "", **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return httpx.request(method, f"{self.url}/api/v1/{path}", headers=headers, timeout=60, **more)

    def make_application(self, name: str, team: str) -> None:
        answer = self.api("POST", "applications/", json={"name": name, "team": team})
        assert answer.status_code == 201, answer.text


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Iterator[Installation]:
    """Each story has one of its own: what waits for whom in one is nothing to another."""
    folder = tmp_path_factory.mktemp("browser")
    have_tables(folder, migrated_file)
    server = Server(folder)
    server.start()
    try:
        server.until(r"SecGuard runs on", 600)
        made = Installation(server)
        made.token = made.make_token("root", "administrator")
        yield made
    finally:
        assert server.process is not None
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs Chromium (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield started
        started.close()


class Watched:
    """What a browser complained about: errors on the console (CSP among them) and exceptions of scripts."""

    def __init__(self) -> None:
        self.complaints: list[str] = []

    def watch(self, page: Page) -> None:
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def take(self) -> list[str]:
        taken, self.complaints = self.complaints, []
        return taken


OpenAs = Callable[..., BrowserContext]


@pytest.fixture
def open_as(browser: Browser, installation: Installation) -> Iterator[OpenAs]:
    """A browser of one person, signed in: ``open_as("ada", color_scheme="dark")``."""
    opened: list[BrowserContext] = []

    def open_context(name: str, **options: Any) -> BrowserContext:
        if name not in installation.states:
            installation.states[name] = sign_in_by_link(browser, installation, name)
        # ``storage_state=None``: not signed in yet, with the password chosen.
        options = {"base_url": installation.url, "storage_state": installation.states[name], **options}
        context = browser.new_context(**options)
        context.set_default_timeout(20_000)
        opened.append(context)
        return context

    yield open_context
    for context in opened:
        context.close()


def sign_in_by_link(browser: Browser, installation: Installation, name: str) -> Any:
    """Use the one-time link, choose a password; returns the cookies that come of it."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(installation.links[name])
    page.get_by_role("button", name="Sign in").click()
    for label in page.locator("input[type=password]").all():
        label.fill(PASSWORD)
    page.locator("main, body").first.get_by_role("button", name="password").click()
    page.wait_for_url(f"{installation.url}/**")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture(scope="session")
def buster(corpus: Callable[[str], bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A real Trivy report with one critical flaw that has a fix."""
    path = tmp_path_factory.mktemp("reports") / "report.json"
    path.write_bytes(corpus(REPORT))
    return path
