"""The story of an attack: an alert on a running workload, to its digest, its findings and the decision that let them
run, to what could be reached from there, to containment by a second person's yes, and to the letter that tells it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.dashboards.test_views import text_of
from tests.fixtures_people import Person
from tests.fixtures_reports import digest, flaw, report
from tests.notifications.conftest import SmtpServer, make_smtp, smtp

__all__ = ["make_smtp", "smtp"]

pytestmark = [pytest.mark.django_db, pytest.mark.enable_socket]
WEB, DB = digest(1), digest(2)
SHELL = "Redirect stdout to a network connection in container"
POD = {"k8s.ns.name": "shop", "k8s.deployment.name": "web"}


def link(page: str, pattern: str) -> str:
    """The address of the first link whose address or words the pattern finds."""
    for url, words in re.findall(r'<a [^>]*?href="([^"]*)"[^>]*>(.*?)</a>', page, re.S):
        if re.search(pattern, url) or re.search(pattern, re.sub(r"<[^>]+>|\s+", " ", words)):
            return str(url.replace("&amp;", "&"))
    raise AssertionError(f"no link {pattern!r}")


def sent(person: Person, path: str, body: dict[str, Any]) -> Any:
    answer = person.api.post(f"/api/v1/{path}", body, format="json")
    assert answer.status_code in (200, 201), answer.content
    return answer.json()


def told(hook: str, body: Any, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    answer = Client().post(f"/hooks/{hook}/", json.dumps(body), content_type="application/json", headers=headers)
    assert answer.status_code == 200, answer.content


@pytest.fixture
def running(
    application: Any, developer: Person, operator: Person, reviewer: Person, post: Any, run_jobs: Callable[[], int]
) -> str:
    """A web server that runs with an accepted flaw, and speaks to a database with another; returns a sensor's token."""
    for name, image, cve in (("web", 1, "CVE-2026-1"), ("db", 2, "CVE-2026-2")):
        where = {"reference": f"reg.example/shop/{name}:1", "digest": digest(image)}
        post(report(flaw(cve, severity="critical"), image=where), application="shop")
        workload = {"cluster": "prod", "namespace": "shop", "name": name, "application": "shop"}
        sent(operator, "workloads/", workload | {"images": [digest(image)]})
    run_jobs()
    risk = developer.api.get("/api/v1/risks/?search=CVE-2026-1").json()["results"][0]["id"]
    asked = {"kind": "accept", "risk": risk, "scope": {"application": "shop"}, "reason": "Nobody reaches it."}
    asked |= {"expires_at": (timezone.now() + timedelta(days=5)).isoformat()}
    decision = sent(developer, "decisions/", asked)
    sent(reviewer, f"decisions/{decision['id']}/approve/", {"comment": "Until the next release."})
    sensor = sent(operator, "sensors/", {"name": "agent", "cluster": "prod", "takes_flows": True})
    web, db = ({"namespace": "shop", "workload": name, "workload_kind": "Deployment"} for name in ("web", "db"))
    flow = {"time": datetime.now(UTC).isoformat(), "verdict": "forwarded", "protocol": "tcp", "port": 5432}
    flows = {"schema": "secguard-flows/v1", "source": "mesh", "flows": [flow | {"source": web, "destination": db}]}
    told("flows", flows, sensor["token"])
    run_jobs()
    return str(sensor["token"])


def test_an_alert_is_followed_to_the_weekly_letter(
    running: str, developer: Person, operator: Person, reviewer: Person, stranger: Person, smtp: SmtpServer,
    run_jobs: Callable[[], int],
) -> None:  # fmt: skip
    from secguard.dashboards.models import Subscription
    from secguard.dashboards.services import count_all, write_due
    from secguard.notifications.services import delivering

    # The operator has the home of operations written to them each week.
    operator.client.post("/homes/views/new/?days=7", {"name": "The shop's week", "audience": "operations"})
    views = text_of(operator.client.get("/homes/views/"))
    subscribing = re.search(r'action="(/homes/views/\d+/letters/)"', views)
    assert subscribing
    operator.client.post(subscribing[1], {"weekday": "0", "hour": "8", "form": "html"})

    # The alert: a shell that speaks to somebody outside.
    alert = {
        "time": datetime.now(UTC).isoformat(), "rule": SHELL, "priority": "Critical", "output": "A shell.",
        "tags": ["T1059.004", "mitre_execution"], "output_fields": POD | {"proc.exepath": "/bin/bash"},
    }  # fmt: skip
    told("falco", [alert], running)
    run_jobs()

    # The home leads to the incident, as the landscape does.
    home = text_of(operator.client.get("/homes/operations/"))
    assert re.search(r'Open incidents</p><p class="stat-value"><a href="/incidents/all/"[^>]*>1<', home)
    address = link(home, r"^/incidents/\d+/$")
    count_all(timezone.now())
    landscape = text_of(operator.client.get("/landscape/"))
    assert "1 open incidents are high or critical" in landscape
    assert address in text_of(operator.client.get(link(landscape, "severe=high")))
    assert stranger.client.get(address).status_code == 404

    # The incident leads to its workload, the digest, what is found in it, and the decision that let it run.
    incident = text_of(operator.client.get(address))
    assert f'href="/images/{WEB}/"' in incident
    assert "CVE-2026-1" in incident
    decision = text_of(operator.client.get(link(incident, r"^/decisions/\d+/$")))
    assert "Nobody reaches it." in decision
    assert "Until the next release." in decision
    event = text_of(
        operator.client.get(link(text_of(operator.client.get("/events/?view=each&kind=process")), "process-"))
    )
    for words in ("Developer", "asked for decision", "Reviewer", "approved decision", "owns Shop"):
        assert words in event

    # What could be reached from there: the database, with what is found in it.
    workload = text_of(operator.client.get(link(incident, r"^/workloads/\d+/$")))
    for page in (incident, workload):
        reach = text_of(operator.client.get(link(page, r"^/network/reach/\d+/$")))
        row = re.search(r'<th scope="row"><a href="/workloads/\d+/">shop/db</a>.*?</tr>', reach, re.S)
        assert row
        assert "1 open" in row[0]

    # The developer, whose workload it is, calls it an attack: nothing is touched by that.
    done = developer.client.post(f"{address}decide/", {"decision": "attack", "reason": "Nobody of ours opens shells."})
    assert done.status_code == 303, text_of(done)
    found = developer.api.get(f"/api/v1{address}").json()
    assert {(c["kind"], c["status"]) for c in found["containments"]} == {
        ("recall", "proposed"), ("deny", "proposed"), ("scale", "proposed"),
    }  # fmt: skip
    means = {c["kind"]: f"/incidents/containments/{c['id']}" for c in found["containments"]}

    # Containing it takes a second person's yes.
    assert developer.client.post(f"{means['deny']}/approve/", {"labels": "app=web"}).status_code == 403
    assert operator.client.post(f"{means['deny']}/approve/", {"labels": "app=web"}).status_code == 303
    incident = text_of(operator.client.get(address))
    assert "kind: NetworkPolicy" in incident
    assert "app: web" in incident
    assert operator.client.post(f"{means['deny']}/applied/").status_code == 303
    assert reviewer.client.post(f"{means['recall']}/approve/").status_code == 303
    assert "called back" in text_of(operator.client.get(f"/images/{WEB}/")).lower()
    assert reviewer.client.post(f"{means['scale']}/refuse/", {"reason": "It is cut off."}).status_code == 303
    assert developer.api.get(f"/api/v1{address}").json()["status"] == "contained"

    # The week's letter tells it, with the figures of the home at that hour.
    due = Subscription.objects.get().next_at
    write_due(due)
    delivering.deliver(due)
    (letter,) = [one for one in smtp.letters if "The shop's week" in one["Subject"]]
    assert letter["To"] == operator.email
    text = letter.get_body(("plain",)).get_content()
    assert "- Open incidents: 0" in text
    said = re.sub(r"\s+", " ", text)
    assert f"{SHELL}: /bin/bash | prod · shop/web | attack | contained | Developer |" in said
    assert f"https://secguard.example.org{address}" in letter.get_body(("html",)).get_content()
