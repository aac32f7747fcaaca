"""A reviewer writes the next policy in a browser: words are completed, faults stand there while typing, it is tried
over the estate, and let in by stages."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Installation, OpenAs, Watched
from tests.fixtures_reports import flaw, report

pytestmark = [pytest.mark.browser]

REPOSITORY = "registry.example.org/editor/web"
DIGEST = "sha256:" + "e1" * 32
TYPED = """
  - id: nothing-medium
    description: What is medium is not let in.
    each: finding
    stages: [admit]
    when: >-
      """


@pytest.fixture(scope="module")
def author(installation: Installation) -> str:
    """Somebody who writes the policy, and an image with a medium flaw that passes what is in force."""
    installation.make_person("paula", "security-reviewer")
    installation.make_person("edwin", "developer", "Editors")
    installation.make_application("Editor", "editors")
    token = installation.make_token("edwin", "developer", "Editors")
    found = flaw("CVE-2026-6001", severity="medium", fixed_versions=["1.1.2"])
    raw = report(found, image={"reference": f"{REPOSITORY}:1", "digest": DIGEST})
    posted = installation.api("POST", "reports/?wait=60&application=editor", token=token, content=raw)
    assert posted.status_code in (200, 201, 202), posted.text
    return "paula"


@pytest.fixture
def in_force_again(installation: Installation) -> Any:
    """What gated before gates again afterwards: the installation is shared."""
    before = installation.api("GET", "policy-versions/?gates=true").json()["results"][0]
    yield before
    installation.api("POST", f"policy-versions/{before['id']}/activate/", json={"modes": {}})


def at_the_end(page: Page) -> Locator:
    """The text field, with the cursor at the end of its rules."""
    area = page.get_by_role("combobox", name="Policy")
    area.focus()
    page.keyboard.press("Control+End")
    return area


def test_a_policy_is_written_tried_and_let_in_by_stages(
    installation: Installation, open_as: OpenAs, author: str, in_force_again: Any
) -> None:
    page = open_as(author).new_page()
    watched = Watched()
    watched.watch(page)
    page.goto("/policy/new/")
    checks, words = page.locator(".policy-checks").first, page.get_by_role("listbox", name="Words of the policy")
    expect(words).to_be_hidden()

    # Faults while typing, with their place; a click leads there.
    area = at_the_end(page)
    page.keyboard.insert_text(TYPED)
    page.keyboard.type('finding.severty == "medium"')
    expect(checks).to_contain_text("It cannot be used yet")
    fault = checks.get_by_role("button").filter(has_text="severty").first
    expect(fault).to_have_text(re.compile(r"^line \d+, column \d+: "))
    fault.click()
    line = int(re.search(r"line (\d+)", fault.inner_text())[1])  # type: ignore[index]
    cursor = area.evaluate("node => node.value.slice(0, node.selectionStart).split('\\n').length")
    assert cursor == line

    # Completion: from the second letter on, by the keyboard alone.
    for _ in range(len('severty == "medium"')):
        page.keyboard.press("Control+End")
        page.keyboard.press("Backspace")
    page.keyboard.type("sev")
    expect(words).to_be_visible()
    options = words.get_by_role("option")
    expect(options.filter(has_text="finding.severity").first).to_be_visible()
    expect(area).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Escape")
    expect(words).to_be_hidden()
    page.keyboard.press("Control+Space")
    expect(words).to_be_visible()
    page.keyboard.press("Enter")
    expect(words).to_be_hidden()
    assert "finding.severity" in area.input_value().splitlines()[-1]
    page.keyboard.press("Control+End")
    for _ in range(len(area.input_value().splitlines()[-1].strip())):
        page.keyboard.press("Backspace")
    page.keyboard.type('finding.severity == "medium"')
    page.keyboard.press("Escape")
    page.keyboard.insert_text('\n    effect: block\n    message: "{count} medium in {reference}"\n')
    expect(checks).to_contain_text(re.compile(r"No faults; \d+ rules\."))
    assert all("422" in complaint for complaint in watched.take())  # the browser's own line about a check's answer

    # Tried over the estate, before anything gates by it.
    written = area.input_value()
    page.get_by_role("button", name="Try it over the estate").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("were in force")
    expect(page.locator("#state")).to_contain_text(re.compile("done", re.IGNORECASE), timeout=90_000)
    team = page.get_by_role("region", name="By team").get_by_role("row").filter(has_text="Editors")
    expect(team).to_be_visible()
    team.get_by_role("link").first.click()
    expect(page.locator("main")).to_contain_text("1 medium in")
    assert watched.take() == []
    assert installation.api("GET", "policy-versions/?gates=true").json()["results"][0]["id"] == in_force_again["id"]

    # Kept, and let in by stages: it observes at admission, and what was in force goes on to decide.
    page.goto("/policy/new/")
    page.get_by_role("combobox", name="Policy").fill(written)
    page.get_by_role("button", name="Check, test and save").click()
    expect(page.get_by_role("heading", level=2, name="Let it gate")).to_be_visible()
    expect(page.locator("tr#nothing-medium")).to_be_visible()
    page.get_by_label("At admit").select_option("observe")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Let this version gate").click()
    agreed = page.get_by_role("dialog").get_by_role("button")
    if agreed.count():
        agreed.last.click()
    expect(page.get_by_role("status").filter(has_text="it observes at admit")).to_be_visible()
    gating = installation.api("GET", "policy-versions/?gates=true").json()["results"][0]
    assert gating["id"] != in_force_again["id"]
    verdict = installation.api("GET", f"images/{DIGEST}/verdict/?stage=admit").json()
    assert verdict["verdict"] != "block"
    assert verdict["policy"]["mode"] == "observe"
    assert verdict["observed"]["verdict"] == "block"
