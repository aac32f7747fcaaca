"""Who is told of what: hits, decisions and scans reach the people they are for, and nobody of another team."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.decisions import services as decisions
from secguard.decisions.queries import find_scope
from secguard.decisions.services.telling import tell_ending
from secguard.notifications.models import Notice
from secguard.scans.models import Scan
from secguard.scans.services import telling
from secguard.scans.services.taking_in import failed
from secguard.workloads.models import Cluster, Workload
from tests.decisions.conftest import Estate
from tests.fixtures_people import Person

pytestmark = pytest.mark.django_db


@pytest.fixture
def estate(db: None) -> Estate:
    return Estate()


def told(person: Person, kind: str) -> list[str]:
    """The lines that the person was told, most pressing first."""
    notices = Notice.objects.visible_to(person).filter(kind=kind)
    return [row.facts["what"] for n in notices for row in n.lines.order_by("-weight", "id")]


# --- new flaws ---


@pytest.fixture
def hit(estate: Estate, application: Any, other_application: Any) -> dict[str, Any]:
    """Two repositories of the first team, one of them running, and one of another team; each newly hit."""
    now = timezone.now()
    quiet, running = estate.repository("shop/quiet", application), estate.repository("shop/api", application)
    other = estate.repository("logistics/api", other_application)
    severe = estate.risk("CVE-2026-1001", severity=5, fix_available=True)
    exploited = estate.risk("CVE-2026-1002", severity=3, known_exploited=True)
    mild = estate.risk("CVE-2026-1003", severity=3)
    images = {
        "quiet": estate.image(quiet, [severe, exploited, mild], at=now),
        "running": estate.image(running, [severe], at=now),
        "other": estate.image(other, [severe], at=now),
    }
    workload = Workload.objects.create(
        cluster=Cluster.objects.create(name="prod"), namespace="shop", name="api", application=application
    )
    workload.images.set([images["running"], images["other"]])
    pairs = [(images["quiet"], r) for r in (severe, exploited, mild)]
    pairs += [(images["running"], severe), (images["other"], severe)]
    return {
        "ids": ([i.pk for i, _ in pairs], [r.pk for _, r in pairs]),
        "images": images,
        "risks": (severe, exploited, mild),
        "repository": quiet,
    }


def test_an_import_is_one_notice_with_what_runs_first(
    hit: dict[str, Any], developer: Person, viewer: Person, reviewer: Person
) -> None:
    telling.tell_of_hits(*hit["ids"])
    notice = Notice.objects.get(user=developer)
    rows = list(notice.lines.order_by("-weight", "id"))
    where = [(row.facts["what"].split()[0], row.facts["where"], row.facts.get("is_running", False)) for row in rows]
    assert where[:2] == [
        ("CVE-2026-1001", "prod shop/api", True),
        ("CVE-2026-1001", "prod shop/api", True),  # of the image that the other team built and this one runs
    ]
    assert set(where[2:]) == {
        ("CVE-2026-1001", "registry.example.org/shop/quiet", False),
        ("CVE-2026-1002", "registry.example.org/shop/quiet", False),
    }
    assert rows[0].facts["note"] == "fixed in 1.1.1w"
    assert notice.subject.startswith("New flaw: CVE-2026-1001 in debian/openssl (critical), running in prod shop/api")
    assert told(viewer, "new-flaw") == told(developer, "new-flaw")
    assert told(reviewer, "new-flaw") == []


def test_a_stranger_is_told_of_their_own_alone(hit: dict[str, Any], stranger: Person, developer: Person) -> None:
    telling.tell_of_hits(*hit["ids"])
    (row,) = Notice.objects.get(user=stranger).lines.all()
    assert row.facts["where"] == "registry.example.org/logistics/api"
    assert "shop" not in str(row.facts)


def test_a_line_leads_only_where_its_reader_may_go(hit: dict[str, Any], developer: Person, stranger: Person) -> None:
    telling.tell_of_hits(*hit["ids"])
    for person in (developer, stranger):
        urls = [row.facts.get("url", "") for row in Notice.objects.get(user=person).lines.all()]
        assert {person.client.get(url).status_code for url in urls if url} == {200}
        assert urls.count("") == (1 if person == developer else 0)  # what runs here and another team built


def test_the_same_hit_is_told_once(hit: dict[str, Any], developer: Person) -> None:
    assert telling.tell_of_hits(*hit["ids"]) == 4
    assert telling.tell_of_hits(*hit["ids"]) == 0
    assert Notice.objects.get(user=developer).total == 4


def test_only_the_pairs_that_are_named_count(hit: dict[str, Any], developer: Person) -> None:
    severe, exploited, _ = hit["risks"]
    images = hit["images"]
    telling.tell_of_hits([images["quiet"].pk, images["running"].pk], [exploited.pk, severe.pk])
    assert len(told(developer, "new-flaw")) == 2


def test_what_is_decided_is_not_told(hit: dict[str, Any], developer: Person, reviewer: Person) -> None:
    exploited = hit["risks"][1]
    scope = find_scope(developer, "repository", hit["repository"].name)
    ask = decisions.Ask(exploited.pk, "not_affected", scope, "not called", timezone.now() + timedelta(days=5))
    decision = decisions.request_decision(ask, actor=developer)
    for person in (reviewer,):
        decision = decisions.approve(decision.pk, actor=person)
    assert decision.status == "approved", "else this shows nothing"
    telling.tell_of_hits(*hit["ids"])
    assert not any("CVE-2026-1002" in what for what in told(developer, "new-flaw"))


# --- decisions ---


@pytest.fixture
def ask(estate: Estate, application: Any, developer: Person) -> Any:
    now = timezone.now()
    repository, risk = estate.repository("shop/web", application), estate.risk("CVE-2026-2001")
    estate.image(repository, [risk], at=now)

    def make(days: int = 30, at: Any = None) -> Any:
        scope = find_scope(developer, "repository", repository.name)
        asked = decisions.Ask(risk.pk, "accept", scope, "known", (at or now) + timedelta(days=days))
        return decisions.request_decision(asked, actor=developer, now=at)

    return make


def test_a_request_waits_for_who_may_approve_it(
    ask: Any, developer: Person, viewer: Person, operator: Person, reviewer: Person, stranger: Person, make_person: Any,
    other_team: Any, team: Any,
) -> None:  # fmt: skip
    elsewhere = make_person("elsewhere", "security-reviewer", team=other_team)
    here = make_person("here", "security-reviewer", team=team)
    ask()
    assert told(reviewer, "decision-waiting") == told(here, "decision-waiting") == ["Accept CVE-2026-2001"]
    for person in (developer, viewer, operator, stranger, elsewhere):
        assert told(person, "decision-waiting") == []


@pytest.mark.parametrize("verb", ["approve", "reject", "withdraw"])
def test_a_decided_request_waits_for_nobody(
    ask: Any, developer: Person, reviewer: Person, make_person: Any, team: Any, verb: str
) -> None:
    here = make_person("here", "security-reviewer", team=team)
    decision = ask()
    assert Notice.objects.filter(kind="decision-waiting").unread().count() == 2
    if verb == "withdraw":
        decisions.withdraw(decision.pk, actor=developer)
    elif verb == "reject":
        decisions.reject(decision.pk, comment="Update it.", actor=reviewer)
    else:
        decisions.approve(decision.pk, actor=reviewer)
    assert not Notice.objects.filter(kind="decision-waiting").unread().exists()
    assert not Notice.objects.pending().filter(kind="decision-waiting").exists()
    assert told(here, "decision-waiting") == ["Accept CVE-2026-2001"], "what it was is still to be read"


def test_a_request_that_ran_out_waits_for_nobody(ask: Any, reviewer: Person) -> None:
    decisions.end_due(ask().expires_at)
    assert not Notice.objects.filter(kind="decision-waiting").unread().exists()


def test_who_asked_is_told_the_answer(ask: Any, developer: Person, reviewer: Person, stranger: Person) -> None:
    decisions.reject(ask().pk, comment="Update it.", actor=reviewer)
    (row,) = Notice.objects.get(user=developer, kind="decision-rejected").lines.all()
    assert row.facts["note"] == "Reviewer: Update it."
    decisions.approve(ask().pk, actor=reviewer)
    assert told(developer, "decision-approved") == ["Accept CVE-2026-2001"]
    assert not Notice.objects.filter(user__in=[reviewer, stranger], kind__in=["decision-approved", "decision-rejected"])


def test_a_team_is_told_before_a_decision_ends_and_when(
    ask: Any, developer: Person, viewer: Person, reviewer: Person, stranger: Person
) -> None:
    now = timezone.now()
    decision = decisions.approve(ask(30).pk, actor=reviewer)
    assert tell_ending(now + timedelta(days=20)) == 0
    assert tell_ending(now + timedelta(days=24)) == 2
    assert tell_ending(now + timedelta(days=25)) == 0
    assert told(developer, "decision-ending") == told(viewer, "decision-ending") == ["Accept CVE-2026-2001"]
    decisions.end_due(decision.expires_at)
    assert told(viewer, "decision-ended") == ["Accept CVE-2026-2001"]
    assert not Notice.objects.filter(user=stranger).exists()


def test_a_decision_that_no_longer_holds_is_told(ask: Any, viewer: Person, reviewer: Person, stranger: Person) -> None:
    from secguard.findings.models import Risk

    decision = decisions.approve(ask().pk, actor=reviewer)
    Risk.objects.filter(pk=decision.risk_id).update(known_exploited=True)
    assert decisions.review_material_changes([decision.risk_id])
    (row,) = Notice.objects.get(user=viewer, kind="decision-reopened").lines.all()
    assert "exploit" in row.facts["note"]
    assert not Notice.objects.filter(user=stranger).exists()


def test_whoever_revokes_knows_and_the_team_is_told(
    ask: Any, developer: Person, viewer: Person, reviewer: Person
) -> None:
    decision = decisions.approve(ask().pk, actor=reviewer)
    decisions.revoke(decision.pk, reason="It is reachable after all.", actor=developer)
    assert told(viewer, "decision-ended") == ["Accept CVE-2026-2001"]
    assert told(developer, "decision-ended") == []


# --- scans ---


def test_who_asked_for_a_scan_is_told_why_it_failed(developer: Person, stranger: Person) -> None:
    asked = Scan.objects.create(reference="reg/a:1", scanner="trivy", dedup_key="a", requested_by=developer)
    unasked = Scan.objects.create(reference="reg/b:1", scanner="trivy", dedup_key="b")
    for scan in (asked, unasked):
        failed({"scan": scan.pk}, "unreadable", "It is no report.")
        failed({"scan": scan.pk}, "unreadable", "It is no report.")
    (notice,) = Notice.objects.all()
    assert (notice.user_id, notice.url) == (developer.pk, f"/scans/{asked.pk}/")
    assert notice.lines.get().facts["note"] == "It is no report."


def test_what_is_exploited_where_it_is_exposed_is_a_kind_of_its_own(
    hit: dict[str, Any], application: Any, developer: Person, stranger: Person
) -> None:
    type(application).objects.filter(pk=application.pk).update(is_exposed=True)
    telling.tell_of_hits(*hit["ids"])
    assert told(developer, "exploited-flaw") == ["CVE-2026-1002 in debian/openssl"]
    assert "CVE-2026-1002 in debian/openssl" not in told(developer, "new-flaw")
    assert told(stranger, "exploited-flaw") == []
