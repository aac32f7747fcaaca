"""The pages: clusters under Settings, and what clusters were answered."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from secguard.admission.models import AdmissionDecision, ClusterGate
from tests.admission.conftest import BAD, GOOD, UNKNOWN
from tests.dashboards.test_queries import assert_constant_queries
from tests.fixtures_people import Person
from tests.fixtures_reports import digest

pytestmark = pytest.mark.django_db
FORM = {
    "kind": "cloud", "mode": "warn", "namespaces": "team-* enforce\nkube-system observe",
    "paths": "example.org/Batch spec.jobs[].spec", "requires_digest": "on",
}  # fmt: skip


def form(gate: ClusterGate | None = None, **changed: str) -> dict[str, str]:
    """Everything that the page sends, as it stands and with ``changed``."""
    from secguard.admission.answer import DEFAULT_EFFECTS

    return FORM | {f"ask-{ask}": effect.value for ask, effect in DEFAULT_EFFECTS.items()} | changed


def test_a_cluster_is_added_edited_and_given_its_token_once(operator: Person) -> None:
    operator.client.get("/settings/clusters/")
    made = operator.client.post("/settings/clusters/new/", form(name="prod", **{"ask-privileged": "block"}))
    gate = ClusterGate.objects.get()
    assert made["Location"] == f"/settings/clusters/{gate.pk}/"
    assert gate.namespaces == {"team-*": "enforce", "kube-system": "observe"}
    assert gate.paths == {"example.org/Batch": ["spec.jobs[].spec"]}
    assert (gate.effects, gate.mode, gate.requires_digest) == ({"privileged": "block"}, "warn", True)
    page = operator.client.get(made["Location"]).content.decode()
    assert "team-* enforce" in page
    shown = operator.client.post(f"{made['Location']}token/")
    token = re.search(r"sgk_[\w-]{43}", shown.content.decode())
    assert token is not None
    assert "no-store" in shown["Cache-Control"]
    assert token[0] not in operator.client.get(made["Location"]).content.decode()
    operator.client.post(made["Location"], form(mode="enforce"))
    gate.refresh_from_db()
    assert (gate.mode, gate.effects) == ("enforce", {})


def test_a_line_that_means_nothing_comes_back_with_the_reason(operator: Person) -> None:
    answer = operator.client.post("/settings/clusters/new/", form(name="prod", namespaces="team-* enforce now"))
    assert answer.status_code == 422
    assert "expected two words" in answer.content.decode()
    assert not ClusterGate.objects.exists()


@pytest.mark.usefixtures("images")
def test_a_denial_is_found_with_its_reason_and_verdict(
    ask_pod: Callable[..., dict[str, Any]], developer: Person, stranger: Person, operator: Person
) -> None:
    ask_pod(GOOD, BAD, UNKNOWN)
    page = developer.client.get("/admissions/?outcome=denied").content.decode()
    assert BAD[:80] in page
    assert GOOD[:80] + "<" not in page
    row = AdmissionDecision.objects.get(reference=BAD)
    detail = developer.client.get(f"/admissions/{row.pk}/").content.decode()
    assert "malware" in detail
    assert f"/api/v1/evaluations/{row.evaluation_id}/" in detail
    assert stranger.client.get(f"/admissions/{row.pk}/").status_code == 404
    image = developer.client.get(f"/images/{digest(2)}/").content.decode()
    assert "/admissions/?image=" in image
    assert UNKNOWN[:80] in operator.client.get("/admissions/?q=not known").content.decode()
    assert "reason" in operator.client.get("/admissions/?format=csv").getvalue().decode().lower()


@pytest.mark.usefixtures("images")
def test_one_digest_in_two_teams_shows_neither_the_other_s_answers(
    ask_pod: Callable[..., dict[str, Any]], stranger: Person, developer: Person, post: Any, other_application: Any
) -> None:
    from tests.fixtures_reports import report

    theirs = {"reference": "reg.example/logistics/api:1", "digest": digest(2)}
    post(report(image=theirs, covers=["secret"]), application=other_application.slug)
    ask_pod(BAD)
    assert len(developer.api.get("/api/v1/admission-decisions/").json()["results"]) == 1
    assert stranger.api.get("/api/v1/admission-decisions/").json()["results"] == []


def test_as_many_queries_at_any_size(operator: Person, gate: tuple[ClusterGate, str]) -> None:
    from django.utils import timezone

    from secguard.workloads.models import Cluster

    def grow() -> None:
        n = ClusterGate.objects.count()
        ClusterGate.objects.create(cluster=Cluster.objects.create(name=f"c{n}"))
        now = timezone.now()
        AdmissionDecision.objects.create(
            key=str(n), cluster=gate[0].cluster, outcome="denied", mode="enforce", first_at=now, last_at=now
        )

    assert_constant_queries(grow, ["/admissions/", "/settings/clusters/"], operator.client.get)
