"""Two people and a pipeline: blocked, asked, approved, passed, the next image covered; revoked, asked and withdrawn."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Installation, OpenAs

pytestmark = [pytest.mark.browser, pytest.mark.corpus]

REPOSITORY = "registry.example.org/shop/base"
FLAW = "CVE-2019-18224"
FIRST, SECOND = "sha256:" + "1a" * 32, "sha256:" + "2b" * 32


@pytest.fixture(scope="module")
def shop(installation: Installation) -> str:
    """The shop of team Payments: Ada develops, Rex reviews, Stan is of another team. Gives the pipeline's token."""
    installation.make_person("ada", "developer", "Payments")
    installation.make_person("stan", "developer", "Logistics")
    installation.make_person("rex", "security-reviewer")
    installation.make_application("Shop", "payments")
    return installation.make_token("ci", "developer", "Payments")


@pytest.fixture
def gate(installation: Installation, shop: str, buster: Path):
    """Runs the pipeline's step on one image: (exit code, what it printed)."""

    def run(tag: str, digest: str, *more: str) -> tuple[int, str]:
        done = installation.run("gate", f"{REPOSITORY}:{tag}@{digest}", "--wait", "60", *more, token=shop)
        return done.returncode, done.stdout + done.stderr

    return run


def decision_of(page: Page) -> int:
    found = re.search(r"/decisions/(\d+)/", page.url)
    assert found is not None, page.url
    return int(found[1])


def ask_from_finding(page: Page, digest: str, *, images: int) -> int:
    """As the developer: open the image, ask from the finding, see what it would cover, send. Returns the decision."""
    page.goto(f"/images/{digest}/")
    row = page.get_by_role("row").filter(has_text=FLAW)
    row.get_by_role("link", name="Ask").click()
    radius = page.locator("#preview")
    expect(radius).to_contain_text("Repositories")
    expect(radius).to_contain_text(re.compile(rf"Images\s*{images}\b"))
    page.get_by_label("Image sha256:").check()
    expect(radius).to_contain_text("Only this very image")
    page.get_by_label(f"Repository {REPOSITORY}").check()
    expect(radius).to_contain_text("The next images there are covered as well")
    page.get_by_label("Why is that right here?").fill("Domain names of strangers never reach the library.")
    page.get_by_role("button", name="Send the request").click()
    expect(page.get_by_text("The request is sent.")).to_be_visible()
    return decision_of(page)


def approve_by_keyboard(context: BrowserContext) -> None:
    """As the reviewer, with no mouse: from home to the queue, write a comment, approve."""
    page = context.new_page()
    page.goto("/")
    card = page.get_by_role("link", name=re.compile(r"^\d+ waiting for you$"))
    expect(card).to_contain_text("1")
    card.focus()
    page.keyboard.press("Enter")
    review = page.locator("#review")
    for fact in (FLAW, "Critical", "Domain names of strangers", REPOSITORY, "ada"):
        expect(review).to_contain_text(fact)
    page.keyboard.press("c")
    page.keyboard.type("Agreed until the base image is rebuilt.")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    expect(page.get_by_text("Nothing waits for you")).to_be_visible()
    expect(page.get_by_text("is approved")).to_be_visible()


def test_the_way_of_an_exception(installation: Installation, gate, open_as: OpenAs, buster: Path) -> None:
    code, words = gate("1.0", FIRST, "--report", str(buster), "--application", "shop", "--renamed")
    assert code == 1, words
    assert FLAW in words
    assert "2.0.5-1+deb10u1" in words, "the upgrade that mends it"
    assert f"{installation.url}/decisions/new/?risk=" in words, "the way to ask"

    developer = open_as("ada").new_page()
    developer.goto("/images/?q=shop/base")
    developer.get_by_role("link", name="shop/base:1.0").click()
    verdict = developer.get_by_role("region", name=re.compile("may not pass the promote gate"))
    expect(verdict).to_contain_text("critical-with-fix")
    expect(verdict).to_contain_text("The way out")
    expect(verdict).to_contain_text(re.compile(r"Upgrade\s+libidn2-0"))

    decision = ask_from_finding(developer, FIRST, images=1)
    expect(developer.get_by_role("button", name="Approve")).to_have_count(0)
    refused = vote_by_hand(developer, decision)
    assert refused == 403, "nobody approves their own request"
    assert gate("1.0", FIRST)[0] == 1, "a request alone lets nothing pass"

    approve_by_keyboard(open_as("rex"))

    developer.goto(f"/images/{FIRST}/?stage=promote")
    expect(developer.get_by_role("region", name=re.compile("It may pass the promote gate"))).to_be_visible()
    expect(developer.get_by_role("link", name=f"Decision {decision}")).to_be_visible()
    code, words = gate("1.0", FIRST)
    assert code == 0, words

    # Rebuilt the same day: another tag, another digest, no new decision.
    code, words = gate("1.1", SECOND, "--report", str(buster), "--renamed")
    assert code == 0, words
    developer.goto(f"/images/{SECOND}/")
    expect(developer.get_by_role("link", name=f"Decision {decision}")).to_be_visible()

    sees_nothing(installation, open_as("stan"), decision)
    revoke(open_as("rex"), decision)
    assert gate("1.1", SECOND)[0] == 1, "from the moment of the revocation on"
    ask_and_withdraw(developer, open_as("rex"))


def vote_by_hand(page: Page, decision: int) -> int:
    """POST the vote as a person would who knows the address; the status of the answer."""
    token = next(c["value"] for c in page.context.cookies() if "csrf" in c["name"])
    answer = page.context.request.post(
        f"/decisions/{decision}/vote/",
        form={"choice": "approve", "comment": "mine", "csrfmiddlewaretoken": token},
        headers={"Referer": page.url},
        max_redirects=0,
    )
    return answer.status


def sees_nothing(installation: Installation, context: BrowserContext, decision: int) -> None:
    """Another team's developer: no page, list, search, count or error message tells that any of it exists."""
    page = context.new_page()
    for path in (f"/images/{FIRST}/", f"/decisions/{decision}/", "/images/sha256:" + "0" * 64 + "/"):
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 404, path
        assert "shop/base" not in page.content()
    for path in ("/images/?q=base", "/risks/?q=2019", "/risks/open/", "/decisions/?q=CVE", "/applications/", "/"):
        page.goto(path)
        text = page.locator("main").inner_text()
        assert "shop/base" not in text, path
        assert FLAW not in text, path
    token = installation.make_token("stan", "developer", "Logistics")
    for path in ("images/", "findings/", "risks/", "decisions/", "scans/", "repositories/", "applications/"):
        document = installation.api("GET", path, token=token).json()
        assert (document["results"], document["count"]) == ([], 0), path
    assert installation.api("GET", f"images/{FIRST}/verdict/", token=token).status_code == 404
    stranger = installation.run("gate", f"{REPOSITORY}@{FIRST}", "--wait", "5", token=token)
    assert stranger.returncode == 2, "could not tell"


def revoke(context: BrowserContext, decision: int) -> None:
    page = context.new_page()
    page.goto(f"/decisions/{decision}/")
    page.get_by_role("link", name="Revoke").click()
    expect(page.get_by_text("Running workloads")).to_be_visible()
    page.get_by_label("Why?").fill("Exploited in the wild since this morning.")
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text(f"Decision {decision} is revoked")).to_be_visible()


def ask_and_withdraw(developer: Page, reviewer: BrowserContext) -> None:
    decision = ask_from_finding(developer, SECOND, images=2)
    developer.get_by_role("link", name="Withdraw").click()
    developer.get_by_role("button", name="Withdraw the request").click()
    expect(developer.get_by_text(f"Request {decision} is withdrawn")).to_be_visible()
    queue = reviewer.new_page()
    queue.goto("/decisions/queue/")
    expect(queue.get_by_text("Nothing waits for you")).to_be_visible()
