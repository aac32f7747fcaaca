"""A reviewer works through the queue by keyboard: the next one is there at once, a vote can be undone, focus stays."""

from __future__ import annotations

import re
import statistics
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Installation, OpenAs
from tests.fixtures_reports import flaw, report

pytestmark = [pytest.mark.browser]

REPOSITORY = "registry.example.org/queue/base"
DIGEST = "sha256:" + "7c" * 32
REQUESTS = 30
WATCH = """() => {
  window.steps = [];
  let pressed = 0;
  window.addEventListener("keydown", () => { pressed = performance.now(); }, true);
  let shown = document.getElementById("review").dataset.decision;
  window.done = [];
  let marked = 0;
  new MutationObserver(() => {
    const decided = document.querySelectorAll("[data-done]").length;
    if (decided > marked) requestAnimationFrame(() => window.done.push(performance.now() - pressed));
    marked = decided;
    const now = document.getElementById("review")?.dataset.decision;
    if (!now || now === shown) return;
    shown = now;
    requestAnimationFrame(() => window.steps.push(performance.now() - pressed));
  }).observe(document.body, { childList: true, subtree: true, attributes: true });
}"""


@pytest.fixture(scope="module")
def waiting(installation: Installation) -> None:
    """Thirty requests of Quinn's wait for Ruth."""
    installation.make_person("quinn", "developer", "Queueing")
    installation.make_person("ruth", "security-reviewer")
    installation.make_application("Queue", "queueing")
    token = installation.make_token("quinn", "developer", "Queueing")
    flaws = [flaw(f"CVE-2026-7{n:03}", f"package{n}", severity="medium") for n in range(REQUESTS)]
    raw = report(*flaws, image={"reference": f"{REPOSITORY}:1", "digest": DIGEST})
    posted = installation.api("POST", "reports/?wait=60&application=queue", token=token, content=raw)
    assert posted.status_code in (200, 201, 202), posted.text
    risks = installation.api("GET", "risks/?search=CVE-2026-7", token=token).json()["results"]
    ends = (datetime.now(UTC) + timedelta(days=20)).isoformat()
    for risk in risks[:REQUESTS]:
        body = {"kind": "accept", "risk": risk["id"], "scope": {"repository": REPOSITORY}, "reason": "Not reachable."}
        made = installation.api("POST", "decisions/", token=token, json=body | {"expires_at": ends})
        assert made.status_code == 201, made.text


def shown(page: Page) -> str:
    found = page.locator("#review").get_attribute("data-decision")
    assert found
    return found


def ahead(page: Page) -> None:
    """Until the part about the next one has come."""
    page.wait_for_load_state("networkidle")


def test_by_keyboard_one_after_the_other(installation: Installation, open_as: OpenAs, waiting: None) -> None:
    page = open_as("ruth").new_page()
    page.goto("/decisions/queue/")
    ahead(page)
    page.evaluate(WATCH)
    box = page.locator("#review").bounding_box()
    seen = [shown(page)]
    for _ in range(8):
        page.keyboard.press("a")
        expect(page.locator("#review")).not_to_have_attribute("data-decision", seen[-1])
        seen.append(shown(page))
        ahead(page)
    assert len(set(seen)) == 9
    assert page.locator("#review").bounding_box() == box, "the page jumped"
    assert page.evaluate("document.activeElement.id") == "review", "focus got lost"
    expect(page.locator("[data-done]")).to_have_count(8)
    said = page.locator("#queue-said")
    expect(said).to_have_attribute("aria-live", "polite")
    expect(said).to_contain_text(f"Decision {seen[7]} is approved")
    for what, name in (("that it is decided", "done"), ("the next request", "steps")):
        took = page.evaluate(f"window.{name}")
        print(f"\nfrom the key to {what}: median {statistics.median(took):.0f} ms, at most {max(took):.0f} ms")  # noqa: T201 - for people to read
    for pk in seen[:8]:
        assert installation.api("GET", f"decisions/{pk}/").json()["status"] == "approved"
    assert installation.api("GET", f"decisions/{seen[8]}/").json()["status"] == "requested"


def test_a_vote_is_undone_within_seconds(installation: Installation, open_as: OpenAs, waiting: None) -> None:
    page = open_as("ruth").new_page()
    page.goto("/decisions/queue/")
    ahead(page)
    first = shown(page)
    page.keyboard.press("a")
    expect(page.locator("#queue-said")).to_contain_text("is approved")
    page.keyboard.press("u")
    expect(page.get_by_text("Your vote is undone.")).to_be_visible()
    again = shown(page)
    assert again != first
    assert installation.api("GET", f"decisions/{first}/").json()["status"] == "revoked"
    reopened = installation.api("GET", f"decisions/{again}/").json()
    assert (reopened["status"], reopened["requested_by"]) == ("requested", "quinn")


def test_a_rejection_asks_for_words_and_keeps_its_place(open_as: OpenAs, waiting: None) -> None:
    page = open_as("ruth").new_page()
    page.goto("/decisions/queue/")
    ahead(page)
    first = shown(page)
    page.keyboard.press("r")
    expect(page.locator("form[data-vote] textarea")).to_be_focused()
    page.keyboard.type("Upgrade it.")
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    expect(page.locator("#queue-said")).to_contain_text("is rejected")
    assert shown(page) != first


def test_a_vote_that_is_not_taken_says_why_and_comes_up_no_more(
    installation: Installation, open_as: OpenAs, waiting: None
) -> None:
    page = open_as("ruth").new_page()
    page.goto("/decisions/queue/")
    ahead(page)
    first = shown(page)
    assert installation.api("POST", f"decisions/{first}/withdraw/").status_code == 200
    page.keyboard.press("a")
    expect(page.get_by_text(re.compile("The decision is withdrawn"))).to_be_visible()
    expect(page.locator(f"[data-queue-item='{first}']")).to_have_attribute("data-done", "")


def test_a_vote_that_never_arrived_is_back_in_its_place(
    installation: Installation, open_as: OpenAs, waiting: None
) -> None:
    page = open_as("ruth").new_page()
    page.goto("/decisions/queue/")
    ahead(page)
    first = shown(page)
    page.route("**/decisions/queue/", lambda r: r.abort() if r.request.method == "POST" else r.fallback())
    page.keyboard.press("a")
    expect(page.locator("#queue-said")).to_contain_text(f"The vote on request {first}")
    expect(page.locator("#queue-said")).to_contain_text("still in the list; try again")
    expect(page.locator("[data-done]")).to_have_count(0)
    page.unroute("**/decisions/queue/")
    page.keyboard.press("k")
    expect(page.locator("#review")).to_have_attribute("data-decision", first)
    page.keyboard.press("a")
    expect(page.locator("#queue-said")).to_contain_text(f"Decision {first} is approved")


def test_without_scripts_it_is_the_same_day(open_as: OpenAs, waiting: None) -> None:
    page = open_as("ruth", java_script_enabled=False).new_page()
    page.goto("/decisions/queue/")
    first = shown(page)
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_text(f"Decision {first} is approved.")).to_be_visible()
    assert shown(page) != first
    page.get_by_role("button", name=re.compile("Undo your vote")).click()
    expect(page.get_by_text("Your vote is undone.")).to_be_visible()
