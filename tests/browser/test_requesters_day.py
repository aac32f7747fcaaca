"""A developer's day: blocked, the way out on the first page; asked, refused with words, asked more narrowly, approved.

The pipeline passes then, what would end it is seen, and more time is a new request. Another team sees none of it.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import PASSWORD, Installation, OpenAs
from tests.fixtures_reports import flaw, report

pytestmark = [pytest.mark.browser]

REPOSITORY = "registry.example.org/orders/api"
FLAW = "CVE-2026-8101"
DIGEST = "sha256:" + "5e" * 32
WORDS = "Not for every image to come: this one, and for two weeks."


@pytest.fixture(scope="module")
def orders(installation: Installation) -> str:
    """Team Orders: Dora develops; Ruben and Rita review; Stefan is of another team. Gives the pipeline's token."""
    installation.make_person("dora", "developer", "Orders")
    installation.make_person("stefan", "developer", "Returns")
    installation.make_person("ruben", "security-reviewer")
    installation.make_person("rita", "security-reviewer")
    installation.make_application("Orders", "orders")
    return installation.make_token("pipeline", "developer", "Orders")


def pipeline(installation: Installation, token: str, *more: str) -> tuple[int, str]:
    """The pipeline's step on the image: (exit code, what it printed)."""
    done = installation.run("gate", f"{REPOSITORY}:1.0@{DIGEST}", "--wait", "60", *more, token=token)
    return done.returncode, done.stdout + done.stderr


def decision_of(page: Page) -> int:
    found = re.search(r"/decisions/(\d+)/", page.url)
    assert found is not None, page.url
    return int(found[1])


def sign_in(page: Page, name: str) -> None:
    page.locator("input[name=username]").fill(name)
    page.locator("input[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")


def test_from_blocked_to_more_time(installation: Installation, open_as: OpenAs, orders: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    found = flaw(FLAW, "libxml2", version="2.9.10", severity="critical", fixed_versions=["2.9.14"])
    path.write_bytes(report(found, image={"reference": f"{REPOSITORY}:1.0", "digest": DIGEST}))
    assert json.loads(path.read_text())["schema"] == "secguard-report/v1"
    code, words = pipeline(installation, orders, "--report", str(path), "--application", "orders")
    assert code == 1, words

    open_as("dora")  # her password is chosen
    dora = open_as("dora", storage_state=None).new_page()
    dora.goto("/")
    sign_in(dora, "dora")
    blocked = dora.get_by_role("region", name="Blocked from promotion")
    expect(blocked).to_contain_text(re.compile(r"upgrade libxml2 from 2\.9\.10 to 2\.9\.14"))
    blocked.get_by_role("link", name="orders/api:1.0").click()
    verdict = dora.get_by_role("region", name=re.compile("may not pass the promote gate"))
    expect(verdict).to_contain_text(re.compile(r"Upgrade\s+libxml2\s+from\s+2\.9\.10\s+to\s+2\.9\.14"))
    verdict.get_by_role("link", name="Ask for an exception").click()

    expect(dora.get_by_label(f"Repository {REPOSITORY}")).to_be_checked()
    expect(dora.locator("#preview")).to_contain_text(re.compile(r"Images\s*1\b"))
    expect(dora.locator("#preview")).to_contain_text("1 security-reviewer")
    first = ask(dora, "The parser never sees what strangers send.")
    waits_with_reviewers(dora, first)
    expect(dora.get_by_role("button", name="Approve")).to_have_count(0)
    assert pipeline(installation, orders)[0] == 1, "a request alone lets nothing pass"

    refuse(open_as("ruben"), first)
    told(dora, "Rejected", first)
    second = ask_more_narrowly(dora, first)
    waits_with_reviewers(dora, second)
    sees_nothing(installation, open_as("stefan"), (first, second))
    approve(open_as("rita"), second)
    told(dora, "Approved", second)
    code, words = pipeline(installation, orders)
    assert code == 0, words

    dora.goto(f"/decisions/{second}/")
    ends = dora.get_by_role("list", name=re.compile("What would end it"))
    for end in ("Its date comes", "Known exploitation begins", "reachable from outside"):
        expect(ends).to_contain_text(re.compile(end, re.IGNORECASE))
    dora.get_by_role("link", name="Ask for more time").click()
    expect(dora.get_by_label("Image sha256:")).to_be_checked()
    third = ask(dora, "The rebuild is planned for next month.")
    assert third not in (first, second)
    waits_with_reviewers(dora, third)
    assert installation.api("GET", f"decisions/{second}/").json()["status"] == "approved", "it holds meanwhile"
    sees_nothing(installation, open_as("stefan"), (first, second, third))


def ask(page: Page, reason: str) -> int:
    page.get_by_label("Why is that right here?").fill(reason)
    page.get_by_role("button", name="Send the request").click()
    expect(page.get_by_text("The request is sent.")).to_be_visible()
    return decision_of(page)


def waits_with_reviewers(page: Page, decision: int) -> None:
    """It waits, and with whom; on its own page and among what she asked for on the first one."""
    page.goto(f"/decisions/{decision}/")
    expect(page.locator("main")).to_contain_text("Still missing: 1 security-reviewer")
    page.goto("/")
    mine = (
        page.get_by_role("region", name="What you asked for")
        .locator("li")
        .filter(has=page.locator(f"a[href='/decisions/{decision}/']"))
    )
    expect(mine).to_contain_text(re.compile("requested|waiting", re.IGNORECASE))


def refuse(context: BrowserContext, decision: int) -> None:
    page = context.new_page()
    page.goto(f"/decisions/queue/?decision={decision}")
    expect(page.locator("#review")).to_have_attribute("data-decision", str(decision))
    page.keyboard.press("c")
    page.keyboard.type(WORDS)
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    expect(page.get_by_text("is rejected")).to_be_visible()


def approve(context: BrowserContext, decision: int) -> None:
    page = context.new_page()
    page.goto(f"/decisions/queue/?decision={decision}")
    expect(page.locator("#review")).to_contain_text(WORDS)  # what was decided before, and why
    page.keyboard.press("a")
    expect(page.get_by_text("is approved")).to_be_visible()


def told(page: Page, kind: str, decision: int) -> None:
    """By a notice: what was decided, and the reviewer's words; it leads to the decision."""
    page.goto("/notifications/")
    notice = page.locator("main li, main tr, main article").filter(has_text=kind).first
    expect(notice).to_contain_text(FLAW)
    if kind == "Rejected":
        expect(notice).to_contain_text(WORDS)
    page.goto(f"/decisions/{decision}/")
    if kind == "Rejected":
        expect(page.locator("main")).to_contain_text(WORDS)


def ask_more_narrowly(page: Page, refused: int) -> int:
    """From the refused one: filled in as it was, then for this image alone, and for a shorter time."""
    page.goto(f"/images/{DIGEST}/")
    page.get_by_role("row").filter(has_text=FLAW).get_by_role("link", name="Ask").click()
    expect(page.locator("main")).to_contain_text(WORDS)  # what was decided before, and why
    page.get_by_label("Image sha256:").check()
    expect(page.locator("#preview")).to_contain_text("Only this very image")
    until = datetime.now(UTC) + timedelta(days=14)
    page.locator("input[name=until]").fill(until.date().isoformat())
    made = ask(page, "The rebuild comes in two weeks; until then the parser sees our own files alone.")
    assert made != refused
    expect(page.locator("main")).to_contain_text(f"until {until.day} {until:%b %Y}")
    return made


def sees_nothing(installation: Installation, context: BrowserContext, decisions: tuple[int, ...]) -> None:
    """Another team's developer: 404s, and no list or first page that tells of it."""
    page = context.new_page()
    paths = [f"/images/{DIGEST}/", "/decisions/999999/"]
    paths += [f"/decisions/{pk}/{more}" for pk in decisions for more in ("", "reach/", "withdraw/")]
    for path in paths:
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 404, path
        assert FLAW not in page.content(), path
    for path in ("/", "/decisions/", "/risks/", "/images/", "/notifications/"):
        page.goto(path)
        text = page.locator("main").inner_text()
        assert FLAW not in text, path
        assert "orders/api" not in text, path
    token = installation.make_token("stefan", "developer", "Returns")
    for pk in decisions:
        assert installation.api("GET", f"decisions/{pk}/", token=token).status_code == 404
    assert installation.api("GET", "decisions/", token=token).json()["count"] == 0
