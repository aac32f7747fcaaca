"""Before it is sent and before it is approved: the gates that a decision would turn, and where its images stand."""

from __future__ import annotations

import pytest
from django.utils import timezone

from secguard.dashboards.queries import reach as found_reach
from secguard.decisions import queries
from secguard.images.models import ImageRepository
from secguard.policies.facts import Gate
from secguard.policies.services import create_version, judge
from secguard.promotion.models import Environment
from secguard.signing.models import Attestation, SigningKey
from secguard.signing.statements import PROMOTION
from secguard.workloads.models import Cluster, Workload

pytestmark = pytest.mark.django_db


@pytest.fixture
def bad(estate):
    return estate.risk(severity=5, known_exploited=True)


@pytest.fixture
def blocked(estate, repository, bad):
    image = estate.image(repository, [bad])
    judge(image, list(Gate))
    return image


@pytest.fixture
def environments(repository):
    return [
        Environment.objects.create(name=name, position=at, registry=repository.registry, gate="build")
        for at, name in enumerate(("build", "staging", "production"), 1)
    ]


def reach(risks, scope, user, kind="accept", seconds=60.0):
    return queries.reach([r.pk for r in risks], scope, kind, user, seconds=seconds)


def turned(found) -> set[tuple[str, str]]:
    return {(gate, was) for gate, was, _ in found.gates}


def test_the_gates_that_it_would_open_by_repository(blocked, bad, repository, developer, environments):
    found = reach([bad], queries.find_scope(developer, "repository", repository.name), developer)
    assert ("build", "block") in turned(found)
    assert not any(would == "block" for _, _, would in found.gates)
    assert {t.repository for t in found.turns} == {repository.name}
    assert (found.looked, found.of, found.is_complete) == (1, 1, True)
    assert [(e.name, e.opens) for e in found.environments] == [("staging", 1), ("production", 1)]


def test_what_something_else_blocks_as_well_does_not_turn(estate, repository, bad, developer):
    other = estate.risk(severity=5, known_exploited=True)
    judge(estate.image(repository, [bad, other]), list(Gate))
    scope = queries.find_scope(developer, "repository", repository.name)
    assert reach([bad], scope, developer).gates == {}
    assert ("build", "block") in turned(reach([bad, other], scope, developer))


def test_only_what_the_person_sees_is_told(estate, blocked, bad, repository, other_repository, developer, stranger):
    judge(estate.image(other_repository, [bad]), list(Gate))
    found = reach([bad], queries.ORGANISATION, developer)
    assert (found.of, {t.repository for t in found.turns}) == (1, {repository.name})
    found = reach([bad], queries.ORGANISATION, stranger)
    assert repository.name not in {t.repository for t in found.turns}


def test_what_lies_with_another_team_as_well_waits_for_its_part(blocked, bad, repository, other_repository, developer):
    ImageRepository.objects.create(image=blocked, repository=other_repository, first_seen_at=timezone.now())
    found = reach([bad], queries.find_scope(developer, "repository", repository.name), developer)
    assert (found.gates, found.shared) == ({}, 1)
    found = reach([bad], queries.find_scope(developer, "image", blocked.digest), developer)
    assert found.gates
    assert {t.repository for t in found.turns} == {repository.name}


def test_where_the_images_stand_and_run(blocked, bad, repository, developer, environments, application):
    key = SigningKey.objects.create(
        name="line", provider="local", fingerprint="sha256:1", public_pem="x", sealed_private="x"
    )
    Attestation.objects.create(
        digest=blocked.digest,
        repository=repository,
        predicate_type=PROMOTION,
        environment="staging",
        signing_key=key,
        made_at=timezone.now(),
    )
    workload = Workload.objects.create(
        cluster=Cluster.objects.create(name="east"), namespace="shop", name="api", application=application
    )
    workload.images.add(blocked)
    found = reach([bad], queries.find_scope(developer, "repository", repository.name), developer)
    assert [(e.name, e.images) for e in found.environments] == [("staging", 1), ("production", 0)]
    assert found.clusters == (("east", 1),)


def test_what_there_is_no_time_for_is_told(blocked, bad, repository, developer):
    found = reach([bad], queries.find_scope(developer, "repository", repository.name), developer, seconds=0)
    assert (found.looked, found.of, found.is_complete, found.gates) == (0, 1, False, {})


COUNTING = """
name: counting
rules:
  - id: many
    each: finding
    when: finding.severity == "critical" && counts.critical > 1
    effect: block
    message: "It is one of several."
"""


@pytest.mark.parametrize(("source", "asked"), [(None, 0), (COUNTING, 2)])
def test_what_another_risk_blocks_is_not_judged_again_but_where_findings_count_together(
    estate, repository, bad, developer, reviewer, monkeypatch, source, asked
):
    if source:
        create_version("counting", source, actor=reviewer, activate=True)
    judge(estate.image(repository, [bad, estate.risk(severity=5, known_exploited=True)]), [Gate.BUILD])
    calls = []
    real = found_reach.evaluate
    monkeypatch.setattr(found_reach, "evaluate", lambda *a, **k: calls.append(a) or real(*a, **k))
    found = reach([bad], queries.find_scope(developer, "repository", repository.name), developer)
    assert (len(calls), found.looked) == (asked, 1)
    assert turned(found) == ({("build", "block")} if source else set())
