"""The four homes over a generated estate: known right answers, the same figures everywhere, nothing of another team."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from PIL import Image

from secguard.accounts.models import User
from secguard.dashboards.homes import DAYS, HEADINGS, OF_ROLE, Audience, as_document
from secguard.dashboards.queries.homes import home_of
from secguard.dashboards.slices import Slice
from secguard.findings.severity import from_word
from tests.dashboards.test_queries import assert_constant_queries
from tests.dashboards.test_views import overdue, rows_behind, text_of
from tests.incidents.conftest import event, take

pytestmark = pytest.mark.django_db
AUDIENCES = [audience.value for audience in Audience]


@pytest.fixture
def grown(organisation: Any, application: Any) -> Any:
    for _ in range(2):
        organisation.grow(application)
    return organisation


def attacked() -> None:
    """Three incidents of the shop, one of them taken, and one of nobody's; their cluster is of stage-1."""
    from secguard.admission.models import ClusterGate
    from secguard.events.models import Sensor
    from secguard.incidents.models import Incident
    from secguard.workloads.models import Cluster

    sensor = Sensor.objects.create(name="falco", cluster="production", token_hash="0" * 64)
    ClusterGate.objects.create(cluster=Cluster.objects.get(name="production"), environment="stage-1")
    told = (("service-1", "low"), ("service-1", "critical"), ("service-2", "critical"), ("nobody-s", "high"))
    events = [
        event(n, rule=f"Rule {n}", severity=from_word(word), workload=name, mitre=(f"T10{n}",))
        for n, (name, word) in enumerate(told)
    ]
    take(sensor, events, timezone.now())
    Incident.objects.filter(rule="Rule 1").update(assigned_to=User.objects.get(username="developer"))


def numbers(person: Any, audience: str, of: Slice | None = None) -> dict[str, Any]:
    home = home_of(Audience(audience), of or Slice(days=DAYS[Audience(audience)]), person, timezone.now())
    return {number.key: number.value for number in home.numbers}


def test_developers_see_what_to_fix(grown: Any) -> None:
    overdue(3)
    found = numbers(grown.people["developer"], "developers")
    # In each of two repositories: critical and high with a fix, medium and low without; low is accepted.
    assert (found["overdue"], found["fixable"], found["blocked"]) == (3, 4, 2)
    home = home_of(Audience.DEVELOPERS, Slice(days=7), grown.people["developer"], timezone.now())
    upgrades = next(panel for panel in home.panels if panel.key == "upgrades")
    assert {(row[1].value, row[3].value) for row in upgrades.rows} >= {("openssl1", "1.1.2"), ("openssl2", "1.1.2")}


def test_operations_see_drift_of_each_kind(grown: Any, application: Any) -> None:
    from secguard.admission.models import AdmissionDecision, ClusterGate
    from secguard.images.models import Image, Repository
    from secguard.workloads.models import Cluster, Container, Workload

    AdmissionDecision.objects.update(repository=Repository.objects.order_by("pk")[0])
    cluster = Cluster.objects.get(name="production")
    ClusterGate.objects.create(cluster=cluster, environment="stage-1")
    first, second = Workload.objects.order_by("pk")
    now = timezone.now()
    Image.objects.update(last_scanned_at=now)
    Image.objects.filter(workloads=second).update(last_scanned_at=now - timedelta(days=30))
    Container.objects.create(
        cluster=cluster, workload=first, namespace="shop", pod="p", name="c", digest="sha256:" + "0" * 64, seen_at=now
    )
    found = numbers(grown.people["operator"], "operations")
    assert (found["runs"], found["refused"], found["incidents"]) == (2, 2, 0)
    assert (found["not_promoted"], found["unknown"], found["not_scanned"]) == (2, 1, 1)
    _state(first, "stage-1", now)
    assert numbers(grown.people["operator"], "operations")["not_promoted"] == 1
    assert numbers(grown.people["operator"], "operations", Slice(environment="stage-1", days=7))["runs"] == 2
    assert numbers(grown.people["operator"], "operations", Slice(environment="stage-2", days=7))["runs"] == 0


def test_operations_see_open_incidents_the_worst_first(grown: Any) -> None:
    attacked()
    developer, operator = grown.people["developer"], grown.people["operator"]
    assert (numbers(developer, "operations")["incidents"], numbers(developer, "operations")["unassigned"]) == (3, 2)
    home = home_of(Audience.OPERATIONS, Slice(days=7), operator, timezone.now())
    assert [p.key for p in home.panels][:2] == ["incidents", "incidents-severity"], "what is needed comes first"
    first, counts = ([[cell.value for cell in row] for row in panel.rows] for panel in home.panels[:2])
    assert [row[:3] for row in counts] == [["critical", 2, 1], ["high", 1, 1], ["low", 1, 1]]
    assert {tuple(row[1:5]) for row in first[:2]} == {
        ("critical", "production · shop/service-1", "open", "Developer"),
        ("critical", "production · shop/service-2", "open", "nobody"),
    }
    oldest = home.panels[1].rows[0][3].url
    listed = operator.client.get(oldest).context["listing"].rows
    assert [row.first_at for row in listed] == sorted(row.first_at for row in listed)


def _state(workload: Any, environment: str, now: Any) -> None:
    """What the workload runs was promoted to the environment."""
    from secguard.images.models import Repository
    from secguard.signing.models import Attestation, SigningKey
    from secguard.signing.statements import PROMOTION

    Attestation.objects.create(
        digest=workload.images.get().digest, repository=Repository.objects.order_by("pk")[0], predicate_type=PROMOTION,
        environment=environment, signing_key=SigningKey.objects.order_by("pk")[0], made_at=now,
    )  # fmt: skip


def test_security_sees_what_changed(grown: Any, application: Any) -> None:
    from secguard.decisions.models import Decision
    from secguard.decisions.services import revoke
    from secguard.findings.models import Exposure
    from secguard.policies.models import Evaluation, Verdict

    now = timezone.now()
    Exposure.objects.update(since=now - timedelta(days=40))
    chosen = list(Exposure.objects.present().order_by("pk").values_list("pk", flat=True)[:3])
    Exposure.objects.filter(pk__in=chosen).update(known_exploited=True)
    Exposure.objects.filter(pk=chosen[0]).update(since=now - timedelta(hours=2))
    found = numbers(grown.people["reviewer"], "security")
    assert (found["exploited"], found["exploited_exposed"], found["exploited_new"], found["arrived"]) == (3, 0, 1, 1)
    assert (found["waiting"], found["ended"], found["turned"], found["controls"]) == (2, 0, 0, 2)
    type(application).objects.update(is_exposed=True)
    approved = Decision.objects.filter(status="approved").order_by("pk")[0]
    revoke(approved.pk, reason="It was wrong.", actor=grown.people["reviewer"])
    verdict = Verdict.objects.filter(stage="promote", image__in=_newest()).order_by("pk")[0]
    Evaluation.objects.filter(image=verdict.image_id, stage="promote").update(
        verdict="pass", evaluated_at=now - timedelta(days=3)
    )
    Verdict.objects.filter(pk=verdict.pk).update(verdict="block", evaluated_at=now)
    found = numbers(grown.people["reviewer"], "security")
    assert (found["exploited_exposed"], found["ended"], found["turned"]) == (3, 1, 1)


def _newest() -> Any:
    from secguard.images.models import Repository

    return Repository.objects.exclude(newest_image=None).values("newest_image_id")


def test_business_sees_shares_times_and_owners(grown: Any, application: Any) -> None:
    from secguard.dashboards.services import keep_paces
    from secguard.decisions.models import Decision
    from secguard.findings.models import Exposure

    now = timezone.now()
    rows = list(Exposure.objects.present().filter(decision_id=None).order_by("pk")[:3])
    for row, days, due in zip(rows, (2, 4, 12), (1, 1, -1), strict=True):
        Exposure.objects.filter(pk=row.pk).update(
            since=now - timedelta(days=days), resolved_at=now, due_at=now + timedelta(days=due)
        )
    decided = Decision.objects.filter(status="approved")
    Exposure.objects.filter(risk__in=decided.values("risk")).update(since=now - timedelta(days=3))
    keep_paces(now + timedelta(seconds=5))
    keep_paces(now + timedelta(seconds=6))  # twice says the same
    found = numbers(grown.people["reviewer"], "business")
    assert found["days_to_fix"] == 6.0
    assert found["kept"] == pytest.approx(66.7)
    assert found["days_to_decide"] == pytest.approx(3.0, abs=0.1)
    assert (found["within"], found["passing"], found["exceptions"]) == (0.0, 0.0, 2)
    home = home_of(Audience.BUSINESS, Slice(days=90), grown.people["reviewer"], now + timedelta(seconds=10))
    owners = next(panel for panel in home.panels if panel.key == "owners")
    assert [[cell.value for cell in row] for row in owners.rows] == [["Developer", 2, 2, 0, 0, 0]]


# --- one data ---


@pytest.mark.parametrize("audience", AUDIENCES)
def test_the_figures_are_identical_everywhere(audience: str, grown: Any) -> None:
    from secguard.dashboards import report, services
    from secguard.dashboards.report import Form

    overdue(2)
    person, of = grown.people["developer"], Slice(team="payments", days=30)
    document = person.api.get(f"/api/v1/homes/{audience}/?{of.query}").json()
    wanted = {n["label"]: n["value"] for n in document["numbers"]}
    assert (
        json.loads(person.client.get(f"/homes/{audience}/?{of.query}&format=json").content)["numbers"]
        == (document["numbers"])
    )
    lines = csv.DictReader(io.StringIO(text_of(person.client.get(f"/homes/{audience}/?{of.query}&format=csv"))[1:]))
    told = {row["column"]: row["value"] for row in lines if row["block"] == "numbers"}
    assert told == {label: "" if value is None else str(value) for label, value in wanted.items()}
    home = home_of(Audience(audience), of, person, timezone.now())
    assert {n.label: n.value for n in home.numbers} == wanted
    assert {t["key"]: t["rows"] for t in document["tables"]} == {
        t["key"]: t["rows"] for t in as_document(home)["tables"]
    }
    page = text_of(person.client.get(f"/homes/{audience}/?{of.query}"))
    view = services.save_view("v", Audience(audience), of, actor=person)
    letters = services.subscribe(view.pk, 0, 8, Form.HTML, actor=person, now=timezone.now())
    letter = services.letter(str(letters.pk), person.pk, timezone.now())
    assert letter is not None
    for number in home.numbers:
        card = re.search(
            rf'stat-label">{re.escape(number.label)}</p><p class="stat-value">(?:<a [^>]*>)?([^<]*)<', page
        )
        assert card is not None, number.label
        assert card[1] == number.shown
        assert f"- {number.label}: {number.shown}" in letter.letter.text
    drawn = Image.open(io.BytesIO(person.client.get(f"/homes/{audience}/?{of.query}&format=png").content))
    drawn.load()
    within = json.loads(drawn.text["secguard:figures"])
    assert within["numbers"] == document["numbers"]
    assert within["tables"] == document["tables"]
    assert report.as_pdf(home) == report.as_pdf(home)
    assert report.as_pdf(home).startswith(b"%PDF")


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("query", ["", "team=payments&days=30", "application=shop&days=365", "environment=stage-1"])
def test_every_count_is_that_of_the_rows_it_leads_to(audience: str, query: str, grown: Any) -> None:
    overdue(2)
    attacked()
    client = grown.people["reviewer"].client
    document = grown.people["reviewer"].api.get(f"/api/v1/homes/{audience}/?{query}").json()
    counted = [n for n in document["numbers"] if n["url"] and not n["unit"]]
    assert len(counted) >= 2
    for number in counted:
        assert rows_behind(client, number["url"]) == number["value"], number
    for table in document["tables"]:
        for row, links in zip(table["rows"], table["links"], strict=True):
            for value, link in zip(row, links, strict=True):
                if isinstance(value, int) and link:
                    assert rows_behind(client, link) == value, (table["title"], row, link)


# --- who sees what ---


@pytest.mark.parametrize("audience", AUDIENCES)
def test_a_stranger_sees_nothing_of_another_team(audience: str, grown: Any, stranger: Any) -> None:
    for query in ("", "?team=payments", "?application=shop", "?team=payments&format=csv", "?format=json"):
        page = text_of(stranger.client.get(f"/homes/{audience}/{query}"))
        for secret in ("CVE-2026", "reg.example", "service-1", "Payments", "Shop<"):
            assert secret not in page, (query, secret)
    found = stranger.api.get(f"/api/v1/homes/{audience}/?team=payments").json()
    assert {n["value"] for n in found["numbers"] if not n["unit"]} == {0}
    assert all(table["rows"] == [] for table in found["tables"])


def test_a_home_is_shown_to_its_role_first_with_tabs_for_the_others(grown: Any, request: pytest.FixtureRequest) -> None:
    from secguard.dashboards.views.home import audience

    for who in ("developer", "operator", "reviewer", "business_approver", "viewer"):
        person = request.getfixturevalue(who)
        page = text_of(person.client.get("/"))
        current = re.search(r'class="nav-link active" href="([^"]+)"', page)
        assert current is not None
        assert current[1] == f"/homes/{OF_ROLE[audience(person)].value}/"
        assert all(f'href="/homes/{name}/"' in page for name in AUDIENCES)


def test_what_is_no_slice_is_told_in_words(grown: Any) -> None:
    person = grown.people["developer"]
    answer = person.client.get("/homes/business/?days=3")
    assert answer.status_code == 422
    assert "expected one of 1, 7, 30, 90, 365" in text_of(answer)
    refused = person.api.get("/api/v1/homes/business/?team=%3Cb%3E")
    assert (refused.status_code, refused.json()["where"]) == (400, "team")
    assert person.client.get("/homes/nobody/").status_code == 404


def test_nobody_without_a_role_gets_in(make_person: Any) -> None:
    nobody = make_person("nobody")
    assert nobody.client.get("/homes/security/").status_code == 403
    assert nobody.api.get("/api/v1/homes/security/").status_code == 403


def test_homes_ask_the_same_number_of_queries_at_any_size(organisation: Any, application: Any) -> None:
    from secguard.dashboards.services import keep_paces

    def grow() -> None:
        organisation.grow(application)
        keep_paces(timezone.now())

    grow()
    queries = ("?days=30", "?team=payments", "?environment=stage-1")
    urls = [f"/homes/{a}/{query}" for a in AUDIENCES for query in queries]
    assert_constant_queries(grow, urls, organisation.people["reviewer"].client.get)


def test_every_audience_has_its_words() -> None:
    assert set(HEADINGS) == set(DAYS) == set(Audience)
