"""Only what was approved runs, seen in a browser: blocked, an approved exception, a second person's yes, promoted while
somebody looks on, accepted by other enforcers, admitted; another digest under the same tag is refused; called back."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.admission.conftest import pod, review
from tests.browser.conftest import Installation, OpenAs, Watched
from tests.browser.test_pages import faults_of
from tests.fixtures_registries import RunningRegistry, Start
from tests.fixtures_reports import flaw
from tests.imagebuilding import BuiltImage, image_of, tar_of
from tests.signing.enforcing import ENFORCERS, Target, allows

pytestmark = [pytest.mark.browser, pytest.mark.processes]
CRITICAL = flaw("CVE-2026-0077", severity="critical", fixed_versions=["1.1.1w"])
PATH = "promoted/web"


@dataclass
class Story:
    """The registries, the environments story-build and story-live, and the cluster that asks for the second one."""

    installation: Installation
    build: RunningRegistry
    live: RunningRegistry
    cluster_token: str

    @property
    def name(self) -> str:
        return f"{self.build.host}/{PATH}"

    @property
    def destination(self) -> str:
        return f"{self.live.host}/live/{PATH}"

    def pushed(self, *findings: Any) -> BuiltImage:
        """What the pipeline does: build, push, report."""
        built = image_of(tar_of({"etc/id": os.urandom(8)}))
        self.build.push(PATH, "1.0", built)
        document = {
            "schema": "secguard-report/v1", "scanner": {"name": "trivy"}, "covers": ["vulnerability"],
            "image": {"reference": f"{self.name}:1.0", "digest": built.digest}, "findings": list(findings),
        }  # fmt: skip
        answer = self.installation.api("POST", "reports/?wait=60", content=json.dumps(document))
        assert answer.status_code == 200, answer.text
        return built

    def ask(self, image: str) -> dict[str, Any]:
        """What the cluster is answered about a pod with that image."""
        headers = {"Authorization": f"Bearer {self.cluster_token}"}
        url = f"{self.installation.url}/admission/v1/validate"
        answer = httpx.post(url, json=review(pod(image)), headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["response"]
        return found


@pytest.fixture(scope="module")
def story(installation: Installation, start_registry: Start) -> Story:
    build, live = start_registry(), start_registry()

    def post(path: str, body: dict[str, Any]) -> Any:
        answer = installation.api("POST", path, json=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    for registry in (build, live):
        post("registries/", {"host": registry.host, "uses_plain_http": True})
    post("signing-keys/", {"name": "story"})
    taken = [e["position"] for e in installation.api("GET", "environments/").json()["results"]]
    first = max(taken, default=0) + 1
    post("environments/", {"name": "story-build", "registry": build.host, "position": first, "key_name": "story"})
    live_body = {
        "name": "story-live", "registry": live.host, "position": first + 1, "key_name": "story", "path_prefix": "live",
        "approvers": {"security-reviewer": 1}, "requires_previous": False,
    }  # fmt: skip
    post("environments/", live_body)
    gate = post("clusters/", {"name": "story", "mode": "enforce", "environment": "story-live", "signers": ["story"]})
    token = post(f"clusters/{gate['id']}/token/", {})["token"]
    for name, role in (("owen", "operator"), ("rita", "security-reviewer")):
        installation.make_person(name, role)
    return Story(installation, build, live, token)


def test_from_blocked_to_running(story: Story, open_as: OpenAs, capsys: pytest.CaptureFixture[str]) -> None:
    built = story.pushed(CRITICAL)
    watched = Watched()
    operator, reviewer = open_as("owen").new_page(), open_as("rita").new_page()
    watched.watch(operator)
    watched.watch(reviewer)
    ask_on_the_page(operator, built)
    state = operator.locator("#promotion-state")
    expect(state).to_contain_text("Refused")
    expect(operator.get_by_role("region", name="What stopped it")).to_contain_text("CVE-2026-0077")
    assert not faults_of(operator, operator.url, watched, operator.url)

    except_it(story, built)
    ask_on_the_page(operator, built)
    expect(state).to_contain_text("Waiting")
    expect(operator.get_by_role("button", name="Approve")).to_have_count(0)
    reviewer.goto("/promotions/?status=waiting")
    reviewer.get_by_role("row").filter(has_text=PATH).get_by_role("link").first.press("Enter")
    reviewer.get_by_role("button", name="Approve").click()
    # The operator's page asks by itself; nothing reloads it here.
    expect(state).to_contain_text("Promoted", timeout=60_000)
    expect(operator.get_by_role("region", name="Check it without SecGuard")).to_contain_text("cosign verify --key")
    assert not faults_of(operator, operator.url, watched, operator.url)

    pem = httpx.get(f"{story.installation.url}/keys/story.pem").text
    target = Target(story.live.writer, story.live.host, f"live/{PATH}", built.digest, datetime.now(UTC))
    for enforcer in ENFORCERS:
        assert allows(enforcer, pem, f"{story.live.host}/live", target) is (enforcer in OF_THE_KEY), enforcer
    assert story.ask(f"{story.destination}@{built.digest}")["allowed"]

    other = image_of(tar_of({"etc/id": os.urandom(8)}))
    story.live.push(f"live/{PATH}", "1.0", other)
    denied = story.ask(f"{story.destination}:1.0@{other.digest}")
    assert not denied["allowed"]
    with capsys.disabled():
        print(f"\n{denied['status']['message']}")  # noqa: T201 - what a person at the terminal reads
    assert "nobody has scanned it" in denied["status"]["message"]

    call_back(reviewer, built)
    denied = story.ask(f"{story.destination}@{built.digest}")
    assert "It was called back: A backdoor in the build." in denied["status"]["message"]
    assert watched.take() == []


OF_THE_KEY = ("Ratify", "containers/image")
"""Enforcers to which the key is the environment; the others ask for ``production`` by name, which this is not."""


def ask_on_the_page(page: Page, built: BuiltImage) -> None:
    page.goto(f"/images/{built.digest}/")
    page.get_by_role("link", name="Promote to story-live").or_(
        page.get_by_role("link", name="story-live")
    ).first.click()
    page.get_by_role("button", name="Promote it").click()
    page.wait_for_url("**/promotions/*/")


def except_it(story: Story, built: BuiltImage) -> None:
    """An exception for the repository, asked for by one person and approved by another, over REST."""
    asker = story.installation.make_token("owen", "operator")
    approver = story.installation.make_token("rita", "security-reviewer")
    found = story.installation.api("GET", f"images/{built.digest}/findings/").json()["results"]
    body = {
        "kind": "accept", "risk": found[0]["risk"], "scope": {"repository": story.name},
        "reason": "It is not reachable here.", "expires_at": (datetime.now(UTC) + timedelta(days=9)).isoformat(),
    }  # fmt: skip
    made = story.installation.api("POST", "decisions/", json=body, token=asker)
    assert made.status_code == 201, made.text
    done = story.installation.api("POST", f"decisions/{made.json()['id']}/approve/", json={}, token=approver)
    assert done.json()["status"] == "approved", done.text


def call_back(page: Page, built: BuiltImage) -> None:
    page.goto(f"/images/{built.digest}/")
    page.get_by_role("link", name="Recall").click()
    page.get_by_label("Reason").fill("A backdoor in the build.")
    page.locator("main").get_by_role("button", name="Recall").or_(
        page.get_by_role("button", name="Call it back")
    ).first.click()
    expect(page.get_by_role("alert")).to_contain_text("Called back: no gate lets it pass")
