"""The pages of frameworks: standings now and on past days, what is covered, who sees what, and own frameworks."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.approvals.quorum import Choice
from secguard.audit.models import AuditEntry
from secguard.compliance import services
from secguard.compliance.models import FrameworkVersion, MeasuredApplication, MeasureStanding
from secguard.planning import services as planning
from tests.compliance.texts import SMALL
from tests.fixtures_people import Person
from tests.measuring import find_in, image_in, repository_of, scan_of

pytestmark = pytest.mark.django_db
LIST, ONE = "/compliance/frameworks/", "/compliance/frameworks/own-rules/"
CONTROL = f"{ONE}controls/1.1/"


def text_of(answer: Any) -> str:
    main = answer.content.decode().partition("<main")[2]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", main)))


def keep() -> None:
    """As the job does."""
    services.measure_due()
    services.keep_days()


def days_ago(days: int) -> None:
    """Let everything that was measured until now have been measured so many days ago, and counted then."""
    span = timedelta(days=days)
    for row in MeasureStanding.objects.all():
        row.since -= span
        row.until = row.until and row.until - span
        row.turns_at = row.turns_at and row.turns_at - span
        row.save()
    for seen in MeasuredApplication.objects.all():
        seen.measured_at -= span
        seen.save()


@pytest.fixture
def framework(reviewer: Person) -> FrameworkVersion:
    made = services.make_framework(SMALL, actor=reviewer)
    FrameworkVersion.objects.update(valid_from=timezone.now() - timedelta(days=100))
    made.refresh_from_db()
    return made


@pytest.fixture
def estate(framework: FrameworkVersion, application: Any, other_application: Any) -> Any:
    """One application with a scanned image without a bill of materials, one without any."""
    type(application).objects.update(created_at=timezone.now() - timedelta(days=100))
    image = image_in(repository_of(application))
    scan_of(image, "vulnerability", finished_at=timezone.now())
    keep()
    return image


def test_each_number_leads_to_its_rows_and_nobody_sees_another_team_s(
    estate: Any, application: Any, other_application: Any, viewer: Person, stranger: Person, reviewer: Person
) -> None:
    assert "Our own rules" in text_of(viewer.client.get(LIST))
    page = reviewer.client.get(ONE)
    links = re.findall(
        rf'href="({CONTROL}\?state=[^"#]+)[^"]*"><span class="state[^>]*>([^<]+)<', page.content.decode()
    )
    assert {words for _, words in links} == {"1 fail", "1 not measured"}
    for url, words in links:
        answer = reviewer.client.get(html.unescape(url))
        assert (application.name in text_of(answer)) == (words == "1 fail")
        assert (other_application.name in text_of(answer)) == (words == "1 not measured")
    seen = text_of(viewer.client.get(CONTROL))
    assert application.name in seen
    assert other_application.name not in seen
    assert "1 of 1 image: without known contents" in seen
    assert estate.digest in seen
    assert application.name not in text_of(stranger.client.get(CONTROL))
    assert "1 fail" not in text_of(stranger.client.get(ONE))
    for path in (f"{ONE}?application={application.slug}", f"{ONE}?team={application.team.slug}"):
        assert "1 fail" in text_of(viewer.client.get(path))
        refused = text_of(stranger.client.get(path))
        assert "that you may see" in refused
        assert "1 fail" not in refused


def test_a_past_day_stays_as_it_was_whatever_happens_later(
    estate: Any, application: Any, viewer: Person, reviewer: Person
) -> None:
    days_ago(10)
    then, before = (timezone.now() - timedelta(days=n) for n in (10, 12))
    was = [text_of(reviewer.client.get(f"{path}?on={then:%Y-%m-%d}")) for path in (ONE, CONTROL)]
    assert "1 fail" in was[0]
    assert "without known contents" in was[1]
    MeasureStanding.objects.filter(until=None).update(says="It is another now.", state=0)  # nobody does; measuring does
    days_ago(0)
    MeasureStanding.objects.update(says="1 of 1 image: without known contents.", state=3)
    keep()
    services.make_framework(SMALL.replace("Know what is inside", "Something else"), actor=reviewer)
    keep()
    assert "Something else" in text_of(reviewer.client.get(ONE))
    assert "Something else" not in text_of(reviewer.client.get(f"{ONE}?on={then:%Y-%m-%d}"))
    nothing = text_of(reviewer.client.get(f"{ONE}?on={before:%Y-%m-%d}"))
    assert "Nothing was measured on that day, so nothing passes." in nothing
    assert "pass," not in nothing
    assert "This framework is in force since" not in was[0]
    FrameworkVersion.objects.filter(number=1).update(valid_from=timezone.now() - timedelta(days=9))
    for path in (ONE, CONTROL):
        assert "This framework is in force since" in text_of(reviewer.client.get(f"{path}?on={then:%Y-%m-%d}"))
    assert "is yet to come" in text_of(viewer.client.get(f"{ONE}?on=2999-01-01"))
    assert "is no day" in text_of(viewer.client.get(f"{ONE}?on=yesterday"))


def test_what_is_waived_is_an_exception_with_who_asked_and_who_approved_until_it_ends(
    estate: Any, application: Any, developer: Person, reviewer: Person
) -> None:
    planning.choose_template(application.pk, "containers", actor=developer)
    until = timezone.now() + timedelta(days=3)
    waiver = planning.ask_for_waiver(application.pk, "contents-known", "It is a test.", until, actor=developer)
    keep()
    assert "Exception" not in text_of(reviewer.client.get(f"{CONTROL}?state=exception")).partition("Applications")[2]
    planning.vote_on_waiver(waiver.pk, Choice.APPROVE, comment="", actor=reviewer)
    keep()
    row = MeasureStanding.objects.current().get(application=application, measure="sbom-known")
    assert (row.state, row.lacking, row.turns_at) == (1, 1, until)
    seen = text_of(reviewer.client.get(f"{CONTROL}?state=exception"))
    assert f"asked by {developer.username}, approved by {reviewer.username}, until" in seen
    planning.end_waiver(waiver.pk, actor=reviewer)
    keep()
    assert MeasureStanding.objects.current().get(pk__gt=row.pk, measure="sbom-known").state == 3


def test_own_frameworks_are_a_reviewer_s_and_every_fault_is_told_with_its_line(
    developer: Person, reviewer: Person, application: Any
) -> None:
    page = "/compliance/new-framework/"
    assert developer.client.get(page).status_code == 403
    assert developer.client.post(page, {"source": SMALL}).status_code == 403
    faulty = SMALL.replace("about:", "abuot:", 1).replace("[sbom-known]", "[x]")
    answer = reviewer.client.post(page, {"source": faulty})
    assert answer.status_code == 422
    assert {"line 13", "line 18"} <= set(re.findall(r"line \d+", text_of(answer)))
    hostile = SMALL.replace("Our own rules", "<script>alert(1)</script>").replace("Know what", "<img src=x onerror=y>")
    answer = reviewer.client.post(page, {"source": hostile.replace("\n", "\r\n")})
    assert answer.status_code == 303
    keep()
    for path in (LIST, ONE, CONTROL, f"{ONE}versions/"):
        shown = reviewer.client.get(path).content.decode()
        assert "<script>alert" not in shown
        assert "<img" not in shown
    assert reviewer.client.post(f"{ONE}retire/").status_code == 303
    assert reviewer.client.get(ONE).status_code == 404
    assert "Out of force" in text_of(reviewer.client.get(LIST))
    kept = AuditEntry.objects.filter(action__startswith="framework:", subject__startswith="own-rules")
    assert [entry.action for entry in kept.order_by("pk")] == ["framework:create", "framework:retire"]


def test_a_release_s_framework_is_the_next_version_and_nobody_takes_its_name(
    reviewer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {"own-rules": SMALL}
    monkeypatch.setattr("secguard.compliance.services.frameworks.shipped", lambda: texts)
    for _ in range(2):
        services.ensure_shipped()
    assert "Train everybody" in text_of(reviewer.client.get(ONE))
    for refused in (
        reviewer.client.post(f"{ONE}retire/"),
        reviewer.api.put("/api/v1/compliance/frameworks/own-rules/", {"source": SMALL}),
    ):
        assert refused.status_code == 409
    texts["own-rules"] = SMALL.replace("2026-01", "2026-02")
    services.ensure_shipped()
    texts.clear()
    services.ensure_shipped()
    rows = FrameworkVersion.objects.filter(name="own-rules").order_by("number")
    assert [(row.number, row.valid_until is None) for row in rows] == [(1, False), (2, False)]
    assert rows[0].valid_until == rows[1].valid_from


def test_what_passes_only_by_a_decision_is_an_exception_that_names_it(
    estate: Any, application: Any, developer: Person, reviewer: Person, business_approver: Person
) -> None:
    services.make_framework(SMALL.replace("[images-scanned, sbom-known]", "[no-secrets]"), actor=reviewer)
    scan_of(estate, "secret", finished_at=timezone.now())
    risk = find_in(estate, "secret", severity=1)
    keep()
    assert MeasureStanding.objects.current().get(application=application, measure="no-secrets").state == 3
    asked = {
        "kind": "accept",
        "risk": risk.pk,
        "scope": {"application": application.slug},
        "reason": "It opens nothing.",
        "expires_at": (timezone.now() + timedelta(days=5)).isoformat(),
    }
    decision = developer.api.post("/api/v1/decisions/", asked).json()["id"]
    for person in (reviewer, business_approver):
        person.api.post(f"/api/v1/decisions/{decision}/approve/", {"comment": "Seen."})
    MeasuredApplication.objects.update(is_due=True)
    keep()
    row = MeasureStanding.objects.current().get(application=application, measure="no-secrets")
    assert (row.state, [one["id"] for one in row.exceptions], row.lacking) == (1, [decision], 0)
    seen = text_of(reviewer.client.get(f"{CONTROL}?state=exception"))
    assert f"Decision {decision}" in seen
    assert f"asked by {developer.username}, approved by {reviewer.username}" in seen
    assert "1 exception" in text_of(reviewer.client.get(ONE))
