"""What one team may not see, nothing shows another: every GET route, every filter and order, read by strangers.

The rows are those of ``tests/permissions``; the world is the first team's. Every answer that a stranger of whatever
role gets, a refusal as well, is searched for words that only the first team's world holds. A word that the stranger
wrote into the address themselves may come back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from secguard.accounts.models import Team
from secguard.accounts.roles import Role
from secguard.audit import services as audit
from secguard.audit.actions import Action
from tests.fixtures_people import MakePerson, Person
from tests.test_permissions import (  # noqa: F401 - fixtures
    ROWS,
    asked_about,
    attacked,
    decided,
    estate,
    fill,
    framed,
    happened,
    judged,
    kept,
    on_the_way,
    planned,
    posted_to,
    sent_to,
    simulation,
    spoken,
    told,
    tracked,
    usual,
    world,
)

# Who may see what is asked of both databases by the apps' own tests; what a page shows of it is the same on both.
pytestmark = [pytest.mark.django_db, pytest.mark.once]

GETS = sorted({row.path.partition("?")[0] for row in ROWS if row.method == "GET"})
LISTS = [path for path in GETS if "{" not in path and path.startswith("/api/v1/") and path.count("/") == 4]
PAGES = [path for path in GETS if "{" not in path and not path.startswith(("/api", "/metrics", "/healthz", "/readyz"))]


@pytest.fixture
def secrets(world: dict[str, Any], developer: Person, viewer: Person, team: Team) -> list[str]:  # noqa: F811
    """Words of the first team's world, each of them in some row of it."""
    from secguard.decisions.models import Decision
    from secguard.events.models import Event, Tally
    from secguard.findings.models import Risk
    from secguard.incidents.models import Incident
    from secguard.workloads.models import Cluster, Workload

    for cluster in Cluster.objects.all():
        Cluster.objects.filter(pk=cluster.pk).update(name=f"cluster-zebra-{cluster.pk}")
    for workload in Workload.objects.all():
        Workload.objects.filter(pk=workload.pk).update(
            name=f"workload-zebra-{workload.pk}", namespace="namespace-zebra"
        )
    for model in (Event, Tally):
        model.objects.filter(team_id=team.pk).update(title="event-zebra", namespace="namespace-zebra")
    Incident.objects.filter(application__team=team).update(title="incident-zebra")
    Team.objects.filter(pk=team.pk).update(name="Team Zebra")
    Risk.objects.update(title="title-zebra", description="description-zebra")
    type(team).objects.get(pk=team.pk).applications.update(name="Application Zebra", description="about-zebra")
    for person in (developer, viewer):
        type(person).objects.filter(pk=person.pk).update(display_name="Person Zebra", email="zebra@example.org")
    audit_of(team)
    decision = Decision.objects.get(pk=world["decision"])
    flaw = decision.risk.name
    return ["zebra", "shop/api", world["digest"].partition(":")[2][-40:], flaw, "payments", "developer@", "viewer@"]


def audit_of(team: Team) -> None:
    from django.db import transaction

    with transaction.atomic():
        audit.record(
            Action.APPLICATION_EDIT,
            actor=None,
            subject_type="application",
            subject_id=1,
            subject="audited-zebra",
            team_id=team.pk,
        )


@pytest.fixture(params=[role.value for role in Role])
def outsider(request: pytest.FixtureRequest, make_person: MakePerson, other_team: Team) -> Person:
    return make_person("outsider", request.param, team=other_team)


@pytest.fixture
def manager(make_person: MakePerson, other_team: Team) -> Person:
    """Holds every role there is, in another team."""
    return make_person("manager", *sorted(Role), team=other_team)


def answer(person: Person, path: str, **headers: str) -> str:
    client = person.api if path.startswith("/api/") else person.client
    response = client.get(path, headers=headers or None)
    body = b"".join(response) if response.streaming else response.content
    assert response.status_code < 500, f"{path}: {response.status_code}"
    return f"{json.dumps(dict(response.headers))}\n{body.decode('utf-8', 'replace')}"


def leaks(person: Person, path: str, secrets: list[str], **headers: str) -> Iterator[str]:
    said = answer(person, path, **headers).lower()
    for secret in secrets:
        if secret.lower() in said and quote(secret.lower()) not in path.lower() and secret.lower() not in path.lower():
            at = said.index(secret.lower())
            yield f"{path} {headers or ''}: {secret!r} in …{said[max(0, at - 60) : at + 60]!r}…"


def everything(world: dict[str, Any]) -> Iterator[str]:  # noqa: F811
    for row in ROWS:
        # The API's own description is public and gives examples; the probe answers as the broker does.
        if row.method == "GET" and not row.path.startswith(("/api/schema/", "/api/docs/", "/readyz")):
            yield fill(row.path, world)


def questions(world: dict[str, Any]) -> Iterator[str]:  # noqa: F811
    """Lists narrowed by what belongs to the first team, and ordered by whatever they can be ordered by."""
    ids = {name: quote(str(value)) for name, value in world.items()}
    params = [
        f"risk={ids['risk']}",
        f"image={ids['digest']}",
        f"repository={ids['repository']}",
        f"application={ids['application']}",
        f"team={ids['team']}",
        f"team={ids['team_id']}",
        f"decision={ids['decision']}",
        f"finding={ids['finding']}",
        "search=zebra",
        "search=CVE",
        "q=zebra",
        "q=CVE",
        "q=a",
        "mine=false",
        "waiting=false",
        "status=requested",
        "user__username=developer",
        "username=developer",
        "role=developer",
        "page_size=1",
        "team__slug=payments",
        "from=2020-01-01",
    ]
    for path in [*LISTS, *PAGES]:
        for param in params:
            yield f"{path}?{param}"
        yield f"{path}?format=csv"
        yield f"{path}?format=ndjson"


def test_no_route_shows_a_stranger_anything(world: dict[str, Any], outsider: Person, secrets: list[str]) -> None:  # noqa: F811
    found = [leak for path in everything(world) for leak in leaks(outsider, path, secrets)]
    assert not found, "\n".join(found)


def test_no_fragment_shows_a_stranger_anything(
    world: dict[str, Any],  # noqa: F811
    manager: Person,
    secrets: list[str],
) -> None:
    paths = [path for path in everything(world) if not path.startswith("/api/")]
    found = [
        leak
        for path in paths
        for target in ("results", "review", "main")
        for leak in leaks(manager, path, secrets, **{"HX-Request": "true", "HX-Target": target})
    ]
    assert not found, "\n".join(found)


def test_no_filter_search_or_export_shows_a_stranger_anything(
    world: dict[str, Any],  # noqa: F811
    manager: Person,
    secrets: list[str],
) -> None:
    found = [leak for path in questions(world) for leak in leaks(manager, path, secrets)]
    assert not found, "\n".join(found)


OF_TEAMS = re.compile("images|repositories|findings|risks|exposures|scans|decisions|evaluations|workloads")
COUNTED = re.compile(r'"count": ?([1-9][0-9]*)')


@pytest.mark.parametrize("path", [p for p in LISTS if OF_TEAMS.search(p)])
def test_no_count_tells_of_what_is_not_shown(world: dict[str, Any], stranger: Person, path: str) -> None:  # noqa: F811
    for question in ("", f"?risk={world['risk']}", "?search=CVE", "?ordering=-id", "?page_size=1"):
        document = stranger.api.get(f"{path}{question}")
        if document.status_code == 200:
            assert document.json()["results"] == []
            assert not COUNTED.search(document.content.decode())
            assert (document.json()["next"], document.json()["previous"]) == (None, None)


def test_the_words_looked_for_are_there_for_whoever_may_see_them(
    world: dict[str, Any],  # noqa: F811
    reviewer: Person,
    secrets: list[str],
) -> None:
    """Guards the test itself: each word is somewhere among the answers."""
    said = "".join(answer(reviewer, path) for path in everything(world)).lower()
    assert [secret for secret in secrets[:-2] if secret.lower() not in said] == []
