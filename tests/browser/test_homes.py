"""The four homes in a real Chromium, over an estate of nothing and one of a few hundred rows: what is needed is seen
first, every number leads to as many rows, and what is narrowed is what is exported."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import Installation, OpenAs, Watched
from tests.browser.test_pages import faults_of
from tests.fixtures_reports import digest, flaw, report

pytestmark = pytest.mark.browser

HOMES = {
    "developers": ("What to fix", "Overdue", "Repositories"),
    "operations": ("What runs, and what was refused", "Open incidents", "Open incidents, what to read first on top"),
    "security": ("What waits for a decision", "Waiting decisions", "Waiting decisions"),
    "business": ("Where you stand", "Applications within policy", "By application"),
}
"""{home: its heading, the number that is seen first, the table that is}."""
REPOSITORIES, FLAWS, WORKLOADS, ALERTS = 6, 60, 30, 45
TEAMS = ("Payments", "Logistics")


def test_an_empty_estate_says_so_everywhere(installation: Installation, open_as: OpenAs) -> None:
    installation.make_person("vera", "security-reviewer")
    page, watched = open_as("vera", viewport={"width": 1280, "height": 900}).new_page(), Watched()
    watched.watch(page)
    for name, (heading, number, table) in HOMES.items():
        assert faults_of(page, f"/homes/{name}/", watched, name) == []
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        assert page.locator(".stat-label").first.inner_text() == number
        expect(page.get_by_role("region", name=table)).to_have_count(1)
        shown = set(page.locator(".stat-value").all_inner_texts())
        assert shown <= {"0", "–"}, "nothing is measured, and nothing is 100 %"
        assert page.locator("main table").count() == 0
    page.goto("/landscape/")
    expect(page.get_by_text("Nothing was counted yet")).to_be_visible()


@pytest.fixture(scope="module")
def estate(installation: Installation) -> Installation:
    """Two teams with an application each: repositories full of flaws, workloads, alerts, a request that waits."""
    made = installation
    for team in TEAMS:
        assert made.api("POST", "teams/", json={"name": team, "slug": team.lower()}).status_code == 201
        made.make_application(team, team.lower())
    for n in range(REPOSITORIES):
        flaws = [
            flaw(f"CVE-2026-{1000 * n + m}", f"lib{m}", severity=("critical", "high", "medium", "low")[m % 4],
                 **({"fixed_versions": ["2.0"]} if m % 3 else {}))
            for m in range(FLAWS)
        ]  # fmt: skip
        image = {"reference": f"reg.example/{TEAMS[n % 2].lower()}/service-{n}:1", "digest": digest(n + 1)}
        query = f"reports/?wait=60&application={TEAMS[n % 2].lower()}"
        posted = made.api("POST", query, content=report(*flaws, image=image))
        assert posted.status_code in (200, 201), posted.text
    for n in range(WORKLOADS):
        body = {"cluster": "prod", "namespace": "shop", "name": f"service-{n}"}
        body |= {"application": TEAMS[n % 2].lower(), "images": [digest(n % REPOSITORIES + 1)]}
        assert made.api("POST", "workloads/", json=body).status_code == 201
    risk = made.api("GET", "risks/?search=CVE-2026-2").json()["results"][0]["id"]
    asked = {"kind": "accept", "risk": risk, "scope": {"application": "payments"}, "reason": "It is not reachable."}
    asked |= {"expires_at": f"{datetime.now(UTC).year + 1}-01-05T00:00:00Z"}
    answer = made.api("POST", "decisions/", json=asked)
    assert answer.status_code == 201, answer.text
    alarm(made)
    return made


def alarm(made: Installation) -> None:
    sensor = made.api("POST", "sensors/", json={"name": "falco", "cluster": "prod"})
    now = datetime.now(UTC).isoformat()
    alerts = [
        {
            "time": now, "rule": f"Rule {chr(65 + n % 3)}", "priority": ("Critical", "Warning", "Notice")[n % 3],
            "tags": [f"T10{n % 3}"], "output": f"It happened ({n}).",
            "output_fields": {"k8s.ns.name": "shop", "k8s.deployment.name": f"service-{n % WORKLOADS}"},
        }
        for n in range(ALERTS)
    ]  # fmt: skip
    headers = {"Authorization": f"Bearer {sensor.json()['token']}"}
    answer = httpx.post(f"{made.url}/hooks/falco/", json=alerts, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    until = time.monotonic() + 60
    while made.api("GET", "incidents/").json().get("count", 0) < WORKLOADS:
        assert time.monotonic() < until, "no incident was made"
        time.sleep(0.5)


def numbers_on(page: Page) -> dict[str, str]:
    cards = page.locator(".stat")
    labels = cards.locator(".stat-label").all_inner_texts()
    return dict(zip(labels, cards.locator(".stat-value").all_inner_texts(), strict=True))


def links_on(page: Page) -> Iterator[tuple[str, str]]:
    """(number, address) of every count on the page that leads somewhere: of its cards and of its tables."""
    for link in page.locator(".stat-value a, .home-table td.num a").all():
        text = link.inner_text()
        if re.fullmatch(r"[\d,]+", text):
            yield text, str(link.get_attribute("href"))


@pytest.mark.parametrize("name", list(HOMES))
def test_what_is_needed_is_seen_first_and_every_number_leads_to_its_rows(
    name: str, open_as: OpenAs, estate: Installation
) -> None:
    page, watched = open_as("vera", viewport={"width": 1280, "height": 900}).new_page(), Watched()
    watched.watch(page)
    page.goto(f"/homes/{name}/")  # axe looks at it in test_pages
    heading, number, table = HOMES[name]
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    first = page.locator(".stat").first
    expect(first.locator(".stat-label")).to_have_text(number)
    expect(first).to_be_in_viewport(ratio=1)
    title = page.locator("main .card-title").first
    expect(title).to_have_text(table)
    if name != "business":  # where the trend comes first
        expect(title).to_be_in_viewport()
    counted = dict(links_on(page))
    assert counted
    for text, url in links_on(page):
        listed = page.request.get(url).text()
        found = re.search(r'class="listing-count"[^>]*>([\d,]+) ', listed)
        assert (found[1] if found else "0") == text, url
    assert watched.take() == []
    # One of them as a person does it.
    link = page.locator(".stat-value a").first
    expected = link.inner_text()
    link.click()
    if "%" not in expected:
        expect(page.locator(".listing-count, .empty-title").first).to_contain_text(
            expected if expected != "0" else "Nothing"
        )


@pytest.mark.parametrize("name", list(HOMES))
def test_what_is_narrowed_is_what_is_exported(name: str, open_as: OpenAs, estate: Installation) -> None:
    page = open_as("vera", viewport={"width": 1280, "height": 900}).new_page()
    page.goto(f"/homes/{name}/")
    whole = numbers_on(page)
    page.get_by_label("Team", exact=True).select_option("payments")
    page.wait_for_url("**team=payments**")
    shown = numbers_on(page)
    if name in ("developers", "operations"):
        assert shown != whole, "half of it is another team's"
    files = {}
    for kind in ("CSV", "JSON", "PNG", "PDF"):
        query = page.get_by_role("link", name=kind, exact=True).get_attribute("href")
        files[kind] = page.request.get(f"/homes/{name}/{query}")
    document = json.loads(files["JSON"].text())
    assert document["slice"]["team"] == "payments"
    told = {n["label"]: written(n["value"], n["unit"]) for n in document["numbers"]}
    assert told == shown
    rows = csv.DictReader(io.StringIO(files["CSV"].text().lstrip("\ufeff")))
    values = {row["column"]: row["value"] for row in rows if row["block"] == "numbers"}
    assert values == {n["label"]: "" if n["value"] is None else str(n["value"]) for n in document["numbers"]}
    picture = Image.open(io.BytesIO(files["PNG"].body()))
    picture.load()
    assert json.loads(picture.text["secguard:figures"])["numbers"] == document["numbers"]
    assert files["PDF"].body().startswith(b"%PDF")


def written(value: Any, unit: str) -> str:
    if value is None:
        return "–"
    return f"{value:,}" + (f" {unit}" if unit else "")


def test_a_view_is_kept_and_found_again(open_as: OpenAs, estate: Installation) -> None:
    page = open_as("vera", viewport={"width": 390, "height": 900}).new_page()
    page.goto("/homes/operations/?team=payments&days=30")
    page.get_by_label("Name", exact=True).fill("Payments, thirty days")
    page.get_by_role("button", name="Keep", exact=True).click()
    page.get_by_role("link", name="Payments, thirty days").click()
    page.wait_for_url("**/homes/operations/?team=payments&days=30")
    assert numbers_on(page)["Workloads"] == f"{WORKLOADS // 2}"
