"""Deadlines by an SSVC table, over real rows: counted, recounted as facts change, and shown with what says so."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from secguard.decisions import services
from secguard.decisions.queries.deadlines import deadlines_of
from secguard.decisions.services.appetite import default_source
from tests.decisions.conftest import NOW

pytestmark = pytest.mark.django_db
WORST = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
TABLE = """
ssvc:
  table: cisa
  fix_within_days: {act: 3, attend: 14, "track*": 60, track: none}
  impact: medium
"""


@pytest.fixture
def by_table(db: None) -> Any:
    """Puts the default appetite with CISA's table in force."""
    return services.create_appetite(default_source() + TABLE, actor=None, activate=True)


def days_of(*risks: Any) -> list[int | None]:
    from secguard.findings.models import Exposure

    found = []
    for risk in risks:
        exposure = Exposure.objects.get(risk=risk)
        found.append(exposure.due_at and (exposure.due_at - exposure.since).days)
    return found


def facts(risk: Any, **columns: Any) -> None:
    from secguard.advisories.models import Vulnerability

    Vulnerability.objects.filter(pk=risk.vulnerability_id).update(**columns)


def test_new_exposures_have_the_deadline_of_the_table(estate: Any, application: Any, by_table: Any) -> None:
    exploited, likely, quiet, unknown = (
        estate.risk(known_exploited=True, epss=0.9),
        estate.risk(epss=0.4),
        estate.risk(epss=0.01),
        estate.risk(),
    )
    for risk in (exploited, likely, quiet):
        facts(risk, cvss_vector=WORST)
    estate.image(estate.repository("shop/web", application), [exploited, likely, quiet, unknown])
    assert days_of(exploited, likely, quiet, unknown) == [3, 60, None, 60]


def test_what_is_no_vulnerability_keeps_its_row(estate: Any, application: Any, by_table: Any) -> None:
    from secguard.findings.models import Exposure, Risk

    risk = estate.risk()
    Risk.objects.filter(pk=risk.pk).update(kind="secret", vulnerability=None, rule="aws-key")
    estate.image(estate.repository("shop/web", application), [Risk.objects.get(pk=risk.pk)])
    exposure = Exposure.objects.get()
    assert exposure.due_at == exposure.since + timedelta(days=7)
    assert deadlines_of([exposure.pk])[exposure.pk].words == "row secret: 7 days"


def test_a_reference_to_an_exploit_an_epss_and_a_vector_move_it(estate: Any, application: Any, by_table: Any) -> None:
    from secguard.findings.models import Risk

    risk = estate.risk(epss=0.01)
    facts(risk, cvss_vector=WORST)
    estate.image(estate.repository("shop/web", application), [risk])
    assert days_of(risk) == [None]
    facts(risk, references=["https://example.org/", "https://www.exploit-db.com/exploits/50000"])
    services.recount_deadlines()
    assert days_of(risk) == [60]
    facts(risk, references=[], cvss_vector="")
    Risk.objects.filter(pk=risk.pk).update(epss=0.2)
    services.follow_risks([risk.pk], NOW)
    assert days_of(risk) == [60]


def test_another_appetite_counts_all_anew_both_ways(estate: Any, application: Any) -> None:
    risk = estate.risk(known_exploited=True, epss=0.9)
    facts(risk, cvss_vector=WORST)
    estate.image(estate.repository("shop/web", application), [risk])
    assert days_of(risk) == [14]
    services.create_appetite(default_source() + TABLE, actor=None, activate=True)
    assert days_of(risk) == [3]
    services.activate_appetite(1, actor=None)
    assert days_of(risk) == [14]


def test_however_many_there_are_it_takes_as_many_queries(estate: Any, application: Any, by_table: Any) -> None:
    repository = estate.repository("shop/web", application)

    def counted(number: int, severity: int) -> int:
        risks = [estate.risk(epss=0.5) for _ in range(number)]
        with CaptureQueriesContext(connection) as few:
            services.recount_deadlines()
        estate.image(repository, risks, severity=severity)
        with CaptureQueriesContext(connection) as seen:
            services.recount_deadlines()
        assert len(few) == len(seen)
        return len(seen)

    assert counted(2, 4) == counted(20, 4)


def test_the_rest_api_and_the_pages_show_what_says_so(
    estate: Any, application: Any, by_table: Any, developer: Any, stranger: Any, image: Any
) -> None:
    shown = developer.api.get("/api/v1/exposures/").json()["results"]
    assert len(shown) == 1
    assert shown[0]["deadline"]["row"] == "cisa row 22"
    assert shown[0]["deadline"]["days"] == 60
    assert shown[0]["deadline"]["outcome"] == "track*"
    assert {i["point"]: i["is_assumed"] for i in shown[0]["deadline"]["inputs"]} == {
        "exploitation": True,
        "automatable": True,
        "technical_impact": True,
        "impact": False,
    }
    assert datetime.fromisoformat(shown[0]["due_at"]) == datetime.fromisoformat(shown[0]["since"]) + timedelta(days=60)
    one = developer.api.get(f"/api/v1/exposures/{shown[0]['id']}/").json()
    assert one == shown[0]
    assert stranger.api.get(f"/api/v1/exposures/{shown[0]['id']}/").status_code == 404
    for page in ("/risks/open/", f"/risks/{shown[0]['risk']}/", "/"):
        text = developer.client.get(page, follow=True).content.decode()
        assert "cisa row 22" in text, page
        assert "exploitation poc (assumed)" in text, page


def test_the_appetites_document_and_page_show_the_table(by_table: Any, viewer: Any) -> None:
    document = viewer.api.get("/api/v1/appetite/active/").json()["ssvc"]
    assert document["title"] == "CISA Coordinator 2.0.3"
    assert len(document["rows"]) == 36
    assert document["fix_within_days"] == {"act": 3, "attend": 14, "track*": 60, "track": None}
    assert document["warnings"] == []
    text = viewer.client.get(reverse("decisions:appetite")).content.decode()
    assert "All 36 combinations" in text
    assert "CERTCC/SSVC" in text


def test_a_warning_is_shown_and_does_not_stop_it(administrator: Any) -> None:
    odd = TABLE.replace("act: 3", "act: 90")
    made = administrator.api.post("/api/v1/appetite/", {"source": default_source() + odd})
    assert made.status_code == 201
    assert "has more time than" in made.json()["ssvc"]["warnings"][0]["message"]
    page = administrator.client.get(
        reverse("decisions:appetite-version", args=[made.json()["number"]])
    ).content.decode()
    assert "What is worse has more time" in page
