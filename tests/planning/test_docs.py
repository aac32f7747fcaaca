"""docs/planning.md: its checks are those that there are, its template and its rule can be used as they stand."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from django.utils import timezone

from secguard.planning.checks import CHECKS
from secguard.planning.template import parse_template, shipped
from secguard.policies.language import parse_policy

TEXT = (Path(__file__).parents[2] / "docs" / "planning.md").read_text()
FENCED = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.M | re.S)


def test_every_check_is_told_and_no_other() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|.*\|.*\|$", TEXT, re.M)
    assert sorted(name for row in rows for name in re.findall(r"`([a-z-]+)`", row)) == sorted(CHECKS)


def test_the_number_of_requirements_is_that_of_the_shipped_template() -> None:
    assert f"SecGuard: {len(parse_template(shipped()).requirements)} requirements" in TEXT


def test_the_template_and_the_rule_can_be_used() -> None:
    template, rule = FENCED
    assert [r.answer_days for r in parse_template(template, CHECKS).requirements] == [365, 180]
    policy = parse_policy(f"name: ours\nrules:\n{indent(rule, '  ')}")
    named = set(re.findall(r'"([a-z-]+)"', policy.rules[0].when))
    assert named <= {r.id for r in parse_template(shipped()).requirements}


@pytest.mark.django_db
def test_the_calls_do_what_is_said(application: Any, developer: Any, reviewer: Any) -> None:
    """In their order, by the developer; what somebody else has to do, by the reviewer."""
    (calls,) = re.findall(r"^```sh\n(.*?)^```", TEXT, re.M | re.S)
    done = []
    for path, body, is_post in re.findall(r"^api (\S+)(?: -d '(.*?)')?( -X POST)?", calls, re.M | re.S):
        sent = json.loads(body) if body else None
        if sent and "until" in sent:  # a day that stands in a document is over one day
            sent["until"] = (timezone.now() + timedelta(days=100)).isoformat()
        who = reviewer if path.endswith("/approve/") else developer
        call = who.api.post if body or is_post else who.api.get
        answer = call(f"/api/v1/{_real(path, application, developer)}", sent, format="json")
        assert answer.status_code in (200, 201), (path, answer.content)
        done.append((path, answer))
    (whole,) = [
        a.json() for path, a in done if path == "applications/shop/checklist/" and a.request["REQUEST_METHOD"] == "GET"
    ]
    shown = json.loads(re.findall(r"^```json\n(.*?)^```", TEXT, re.M | re.S)[0])
    item = next(i for i in whole["items"] if i["id"] == shown["id"])
    assert shown.keys() <= item.keys()
    assert {k: item[k] for k in ("title", "source", "check", "stage")} == {
        k: shown[k] for k in ("title", "source", "check", "stage")
    }
    states = {i["id"]: i["state"] for i in developer.api.get("/api/v1/applications/shop/checklist/").json()["items"]}
    assert (states["threats-modelled"], states["egress-limited"]) == ("kept", "not-applicable")


def _real(path: str, application: Any, person: Any) -> str:
    """The path with the ids that there are."""
    if path.startswith("planning/not-applicable/"):
        found = person.api.get("/api/v1/planning/not-applicable/").json()["results"][0]["id"]
        return path.replace("/1/", f"/{found}/")
    if path.startswith("planning/templates/1"):
        found = person.api.get("/api/v1/planning/templates/").json()["results"][0]["id"]
        return path.replace("/1/", f"/{found}/")
    return path
