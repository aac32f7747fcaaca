"""A reviewer's day: two hundred requests wait, and forty are worked through by keyboard, whatever comes in between.

Nothing is asserted about how long anything takes; from the key to the paint that shows the next one is printed.
"""

from __future__ import annotations

import re
import sqlite3
import statistics
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Request, Route, expect

from tests.browser.conftest import PASSWORD, Installation, OpenAs
from tests.fixtures_reports import flaw, report

pytestmark = [pytest.mark.browser]

PLACES = ("registry.example.org/day/shop", "registry.example.org/day/till")
FLAWS = 100
WALK = 40
WATCH = """() => {
  let pressed = 0, shown = null;
  addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const moved = entry.sources.map((s) => s.node?.nodeName + "." + (s.node?.className ?? ""));
      tellShift({ value: entry.value, moved });
    }
  }).observe({ type: "layout-shift", buffered: true });
  new MutationObserver(() => {
    const now = document.getElementById("review")?.dataset.decision;
    if (!now || now === shown) return;
    const isFirst = shown === null, key = pressed;
    shown = now;
    if (isFirst) return;
    // A message is handled after the frame that was asked for is painted.
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => tellStep(performance.now() - key);
      channel.port2.postMessage(0);
    });
  }).observe(document, { childList: true, subtree: true });
}"""
FOLLOWING = """() => {
  const all = [...document.querySelectorAll("[data-queue-item]:not([data-done])")].map((i) => i.dataset.queueItem);
  const at = all.indexOf(document.getElementById("review").dataset.decision);
  return all[at + 1] ?? all[at - 1];
}"""


@pytest.fixture(scope="module")
def estate(installation: Installation) -> dict[str, Any]:
    """A hundred risks in two repositories each: two hundred requests of Quentin's wait for Rhea, and one is her own."""
    installation.make_person("quentin", "developer", "Days")
    installation.make_person("rhea", "security-reviewer")
    installation.make_person("rolf", "security-reviewer")
    installation.make_application("Day", "days")
    quentin = installation.make_token("quentin", "developer", "Days")
    rhea = installation.make_token("rhea", "security-reviewer")
    rolf = installation.make_token("rolf", "security-reviewer")
    levels = ("low", "medium", "high")
    for at, place in enumerate(PLACES):
        flaws = [flaw(f"CVE-2026-5{n:03}", f"part{n}", severity=levels[n % 3]) for n in range(FLAWS)]
        flaws += [flaw("CVE-2026-6000", "hers")] if at == 0 else []
        raw = report(*flaws, image={"reference": f"{place}:1", "digest": "sha256:" + f"d{at}" * 32})
        posted = installation.api("POST", "reports/?wait=60&application=day", token=quentin, content=raw)
        assert posted.status_code in (200, 201), posted.text
    found = installation.api("GET", f"risks/?search=CVE-2026-5&limit={FLAWS}", token=quentin)
    ids = [risk["id"] for risk in found.json()["results"]]
    assert len(ids) == FLAWS
    body = {
        "kind": "accept",
        "reason": "Not reachable from outside.",
        "expires_at": (datetime.now(UTC) + timedelta(days=20)).isoformat(),
    }
    (hers,) = installation.api("GET", "risks/?search=CVE-2026-6000", token=rhea).json()["results"]
    own = {**body, "risk": hers["id"], "scope": {"repository": PLACES[0]}}
    made = installation.api("POST", "decisions/", token=rhea, json=own)
    assert made.status_code == 201, made.text
    for place in PLACES:
        sent = {**body, "risks": ids, "scope": {"repository": place}}
        answer = installation.api("POST", "decisions/bulk/", token=quentin, json=sent)
        assert answer.json()["done"] == FLAWS, answer.text
    return {"own": made.json()["id"], "rolf": rolf}


class Walk:
    """Rhea at her keyboard: what was painted and moved, and which requests of the page's went out."""

    def __init__(self, installation: Installation, context: BrowserContext) -> None:
        self.installation, self.context = installation, context
        self.steps: list[float] = []
        self.shifts: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.here: set[str] = set()
        context.expose_function("tellStep", lambda took: self.steps.append(took))
        context.expose_function("tellShift", lambda shift: self.shifts.append(shift))
        context.add_init_script(f"({WATCH})()")
        self.page = context.new_page()
        self.page.on("request", lambda r: self.asked.append(part_of(r)) if part_of(r) else None)
        self.page.on("requestfinished", lambda r: self.here.add(part_of(r)) if part_of(r) else None)

    @property
    def shown(self) -> str:
        return shown(self.page)

    def await_next(self) -> str:
        """Until the next one lies ready; which one that is."""
        following = self.page.evaluate(FOLLOWING)
        until(self.page, lambda: following in self.here, f"{following} is fetched ahead")
        return str(following)

    def vote(self, *keys: str) -> str:
        """Decide the one that is shown. The next one is shown, and nothing was asked of the server for it any more."""
        decided, following, before = self.shown, self.await_next(), len(self.asked)
        for key in keys:
            self.page.keyboard.press(key) if len(key) == 1 or key == "Escape" else self.page.keyboard.type(key)
        expect(self.page.locator("#review")).to_have_attribute("data-decision", following)
        assert following not in self.asked[before:], "it was asked for after the key"
        assert self.page.evaluate("document.activeElement.id") == "review", "focus got lost"
        return decided

    def told(self, words: str) -> None:
        expect(self.page.locator("#queue-said")).to_contain_text(words)

    def status(self, decision: str) -> str:
        return str(self.installation.api("GET", f"decisions/{decision}/").json()["status"])


def until(page: Page, is_so: Callable[[], bool], what: str) -> None:
    for _ in range(12_000):
        if is_so():
            return
        page.wait_for_timeout(5)
    pytest.fail(f"not within a minute: {what}")


def part_of(request: Request) -> str:
    """The decision that the request asks the part of the page about, if that is what it asks for."""
    found = re.search(r"/decisions/queue/\?decision=(\d+)$", request.url)
    return found[1] if found and request.headers.get("hx-target") == "review" else ""


def shown(page: Page) -> str:
    return page.locator("#review").get_attribute("data-decision") or ""


def end_session(installation: Installation, context: BrowserContext) -> None:
    """As an administrator, or time itself, would: it is gone from the database."""
    (key,) = (c["value"] for c in context.cookies() if c["name"] == "secguard-session")
    path = installation.server.folder / "data" / "secguard.sqlite3"
    with closing(sqlite3.connect(path, timeout=30)) as database, database:
        ended = database.execute("DELETE FROM django_session WHERE session_key = ?", [key]).rowcount
    assert ended == 1


def sign_in(page: Page, name: str) -> None:
    page.locator("input[name=username]").fill(name)
    page.locator("input[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")


def test_forty_by_keyboard_alone(installation: Installation, open_as: OpenAs, estate: dict[str, Any]) -> None:
    open_as("rhea")  # her password is chosen
    walk = Walk(installation, open_as("rhea", storage_state=None))
    page = walk.page
    page.goto("/")
    sign_in(page, "rhea")
    first = page.locator("main section.card, main a.card").first
    expect(first).to_contain_text(re.compile("waiting for you|Waiting for your decision"))
    page.get_by_role("link", name=re.compile(r"^\d+\+? waiting for you$")).press("Enter")
    expect(page.locator("[data-queue-item]")).to_have_count(200)
    expect(page.locator(".queue-items section")).to_have_count(FLAWS)
    assert page.locator(f"[data-queue-item='{estate['own']}']").count() == 0, "one's own is nobody's own to decide"

    approved, rejected = [], []
    for at in range(10):
        if at % 4 == 3:
            rejected.append(walk.vote("r", "Upgrade it instead.", "Escape", "r"))
        else:
            approved.append(walk.vote("a"))
    walk.told(f"Decision {approved[-1]} is approved")
    undone(walk, walk.vote("a"))
    approved += [walk.vote("a") for _ in range(4)]
    decided_by_somebody_else(walk, estate["rolf"])
    approved += [walk.vote("a") for _ in range(4)]
    walk.told(f"Decision {approved[-1]} is approved")
    approved.append(signed_out_in_the_middle(walk))
    approved += [walk.vote("a") for _ in range(4)]
    walk.told(f"Decision {approved[-1]} is approved")  # all are sent
    approved += on_a_slow_server(walk)
    while len(walk.steps) < WALK:
        approved.append(walk.vote("a"))
        walk.told("is approved")

    assert [walk.status(pk) for pk in approved] == ["approved"] * len(approved)
    assert [walk.status(pk) for pk in rejected] == ["rejected"] * len(rejected)
    assert sum(shift["value"] for shift in walk.shifts) == 0, walk.shifts
    steps = walk.steps[:WALK]
    print(  # noqa: T201 - for people to read
        f"\nfrom the key to the paint with the next of 200: median {statistics.median(steps):.0f} ms, "
        f"at most {max(steps):.0f} ms, of {len(steps)}"
    )


def undone(walk: Walk, decided: str) -> None:
    walk.told(f"Decision {decided} is approved")
    walk.page.keyboard.press("u")
    expect(walk.page.get_by_text("Your vote is undone.")).to_be_visible()
    assert walk.status(decided) == "revoked"
    walk.here.clear()


def decided_by_somebody_else(walk: Walk, rolf: str) -> None:
    """Rolf was faster: his vote stands, hers is not taken, she is told, and it does not come up again."""
    mine = walk.shown
    rejection = {"comment": "It is reachable."}
    answer = walk.installation.api("POST", f"decisions/{mine}/reject/", token=rolf, json=rejection)
    assert answer.status_code == 200, answer.text
    walk.vote("a")
    told = walk.page.locator("#queue-refused")
    expect(told).to_contain_text(f"Your vote on request {mine}")
    expect(told).to_contain_text("rejected")
    walk.told("It needs no vote of yours any more.")
    expect(walk.page.locator(f"[data-queue-item='{mine}']")).to_have_attribute("data-done", "")
    assert walk.status(mine) == "rejected"


def signed_out_in_the_middle(walk: Walk) -> str:
    """The vote is not lost unsaid: she is told, signs in, and stands before the same request."""
    page, mine = walk.page, walk.shown
    walk.await_next()
    end_session(walk.installation, walk.context)
    page.keyboard.press("a")
    expect(page.locator("#review")).not_to_have_attribute("data-decision", mine)
    told = page.locator("#queue-refused [data-signed-out]")
    expect(told).to_contain_text("You are signed out.")
    expect(told).to_contain_text(f"Your vote on request {mine}")
    expect(told.get_by_role("link")).to_be_focused()
    assert walk.status(mine) == "requested"
    page.keyboard.press("Enter")
    sign_in(page, "rhea")
    expect(page.locator("#review")).to_have_attribute("data-decision", mine)
    walk.here.clear()
    return walk.vote("a")


def on_a_slow_server(walk: Walk) -> list[str]:
    """No answer comes: the next one is shown all the same, and the votes reach the server in the order of the keys."""
    held: list[Route] = []
    order: list[str] = []

    def hold(route: Route) -> None:
        if route.request.method != "POST":
            route.fallback()
            return
        found = re.search(r'name="ids"\r\n\r\n(\d+)', route.request.post_data or "")
        order.append(found[1] if found else "")
        held.append(route)

    walk.page.route("**/decisions/queue/", hold)
    decided = [walk.vote("a") for _ in range(3)]
    assert order == decided[:1], "one after the other"
    for pk in decided:
        until(walk.page, lambda: bool(held), f"the vote on {pk} is sent")
        assert walk.status(pk) == "requested"
        held.pop().continue_()
        walk.told(f"Decision {pk} is approved")
    walk.page.unroute("**/decisions/queue/")
    assert order == decided
    return decided


def test_what_the_law_forbids_is_said_and_done_by_nobody(
    installation: Installation, open_as: OpenAs, estate: dict[str, Any]
) -> None:
    """Her own request is not in the queue, not under its address, and not to be voted on by a form bent for it."""
    page, own = open_as("rhea").new_page(), str(estate["own"])
    page.goto(f"/decisions/queue/?decision={own}")
    assert shown(page) != own
    page.evaluate("pk => { document.querySelector('form[data-vote] [name=ids]').value = pk; }", own)
    page.keyboard.press("a")
    expect(page.locator("#queue-refused")).to_contain_text("own request")
    page.goto(f"/decisions/{own}/")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    assert installation.api("GET", f"decisions/{own}/").json()["status"] == "requested"
