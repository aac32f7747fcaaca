"""What people do with an incident, who may, and what comes of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard.accounts.models import Application
from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.findings.severity import Severity
from secguard.images.models import Image, Repository
from secguard.incidents.lifecycle import Decision, Status
from secguard.incidents.models import Expectation, Incident
from secguard.incidents.services import expecting, handling, several
from secguard.incidents.services.handling import Scope, Verdict
from secguard.notifications.models import NoticeLine
from secguard.runtime.event import Process
from secguard.workloads.models import Workload
from tests.fixtures_people import Person
from tests.fixtures_reports import Post, report
from tests.incidents.conftest import Sees, event

pytestmark = pytest.mark.django_db
EXPECTED = Verdict(Decision.EXPECTED, "The nightly job.", 30)


def test_acknowledged_it_is_somebodys(incident: Incident, developer: Person, reviewer: Person) -> None:
    found = handling.acknowledge(incident.pk, actor=developer)
    assert (found.status, found.assigned_to) == ("acknowledged", developer)
    with pytest.raises(Conflict, match="acknowledged"):
        handling.acknowledge(incident.pk, actor=reviewer)
    assert AuditEntry.objects.get(action="incident:acknowledge").team_id == incident.team_id


def test_strangers_do_not_know_of_it_and_readers_do_nothing(
    incident: Incident, stranger: Person, viewer: Person, business_approver: Person
) -> None:
    with pytest.raises(NotFound):
        handling.acknowledge(incident.pk, actor=stranger)
    for person in (viewer, business_approver):
        with pytest.raises(NotAllowed, match="incident:handle"):
            handling.close(incident.pk, "no", actor=person)
    incident.refresh_from_db()
    assert incident.status == "open"


def test_what_is_tied_to_nothing_is_the_organisations(
    sees: Sees, developer: Person, reviewer: Person, viewer: Person
) -> None:
    (loose,) = sees(event(1, workload=None))
    with pytest.raises(NotFound):
        handling.acknowledge(loose.pk, actor=developer)
    assert handling.acknowledge(loose.pk, actor=reviewer).status == "acknowledged"


def test_it_is_assigned_to_who_may_handle_it(
    incident: Incident, developer: Person, developer2: Person, stranger: Person, viewer: Person
) -> None:
    assert handling.assign(incident.pk, developer2, actor=developer).assigned_to == developer2
    for person in (stranger, viewer):
        with pytest.raises(Invalid, match=person.username):
            handling.assign(incident.pk, person, actor=developer)
    assert handling.assign(incident.pk, None, actor=developer).assigned_to is None


def test_what_is_expected_makes_no_incident_until_its_end(incident: Incident, sees: Sees, developer: Person) -> None:
    handling.decide(incident.pk, EXPECTED, actor=developer)
    (same,) = sees(event(2), event(3))
    assert (same.status, same.count) == (Status.EXPECTED, 1)
    found = Expectation.objects.get()
    assert (found.count, found.place, found.rule) == (2, incident.place, incident.rule)
    # Another program of the same rule is another matter.
    _, other = sees(event(4, process=Process(exe="/bin/ash")))
    assert (other.status, other.before) == ("open", incident)
    Expectation.objects.update(until=timezone.now() - timedelta(seconds=1))
    sees(event(5))
    other.refresh_from_db()
    assert other.count == 2


def test_expected_in_a_lineage_it_holds_in_every_workload_of_the_application(
    incident: Incident, sees: Sees, developer: Person, post: Post, application: Application,
    other_application: Application,
) -> None:  # fmt: skip
    post(report(image=1))
    Repository.objects.update(application=application)
    image = Image.objects.get()
    Workload.objects.get().images.set([image])
    Incident.objects.update(image=image)
    handling.decide(incident.pk, Verdict(Decision.EXPECTED, "The job.", 9, Scope.REPOSITORY), actor=developer)
    cluster = Workload.objects.get().cluster
    for name, owner in (("same", application), ("others", other_application)):
        made = Workload.objects.create(cluster=cluster, namespace="shop", name=name, application=owner)
        made.images.set([image])
    found = sees(event(7, workload="same"), event(8, workload="others"))
    assert [i.workload_name for i in found] == ["web", "others"]


def test_without_a_lineage_it_is_expected_at_its_place_alone(incident: Incident, developer: Person) -> None:
    with pytest.raises(Invalid, match="no lineage") as refused:
        handling.decide(incident.pk, Verdict(Decision.EXPECTED, "x", 9, Scope.REPOSITORY), actor=developer)
    assert refused.value.where == "scope"
    incident.refresh_from_db()
    assert incident.status == "open"
    for days in (0, 366):
        with pytest.raises(Invalid, match="1 to 365"):
            handling.decide(incident.pk, Verdict(Decision.EXPECTED, "x", days), actor=developer)
    with pytest.raises(Invalid, match="Say why"):
        handling.decide(incident.pk, Verdict(Decision.EXPECTED, " \0 "), actor=developer)


def test_baselines_are_told_what_is_expected(
    incident: Incident, developer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[object] = []
    monkeypatch.setattr(expecting, "EXPECTED", [lambda i, until, by: heard.append((i.pk, by))])
    handling.decide(incident.pk, EXPECTED, actor=developer)
    assert heard == [(incident.pk, developer)]


def test_an_expectation_ends_by_hand_or_with_its_decision(
    incident: Incident, sees: Sees, developer: Person, stranger: Person
) -> None:
    handling.decide(incident.pk, EXPECTED, actor=developer)
    pk = Expectation.objects.get().pk
    with pytest.raises(NotFound):
        expecting.end(pk, actor=stranger)
    expecting.end(pk, actor=developer)
    with pytest.raises(Conflict, match="ended"):
        expecting.end(pk, actor=developer)
    assert len(sees(event(2))) == 2


def test_opened_again_what_was_expected_ends(incident: Incident, sees: Sees, developer: Person) -> None:
    handling.decide(incident.pk, EXPECTED, actor=developer)
    found = handling.reopen(incident.pk, "It was not the job.", actor=developer)
    assert (found.status, found.decision, found.decided_by) == ("open", "", None)
    assert Expectation.objects.get().ended_at is not None
    (same,) = sees(event(2))
    assert same.count == 2


def test_what_goes_on_elsewhere_is_not_opened_again(incident: Incident, sees: Sees, developer: Person) -> None:
    handling.close(incident.pk, "Looked at.", actor=developer)
    _, other = sees(event(2))
    with pytest.raises(Conflict, match=f"incident {other.pk}"):
        handling.reopen(incident.pk, "again", actor=developer)
    incident.refresh_from_db()
    assert incident.status == "closed"


def test_nobody_says_nothing_and_nobody_says_too_much(incident: Incident, developer: Person) -> None:
    handling.comment(incident.pk, "  <b>Looks\0 bad</b> ", actor=developer)
    assert incident.history.get().text == "<b>Looks bad</b>"
    for text in ("", "x" * 4_001):
        with pytest.raises(Invalid):
            handling.comment(incident.pk, text, actor=developer)


def test_several_are_done_by_the_rules_of_each(
    incident: Incident, sees: Sees, developer: Person, other_application: Application
) -> None:
    Workload.objects.create(
        cluster=Workload.objects.get().cluster, namespace="shop", name="theirs", application=other_application
    )
    sees(event(2, mitre=("T1105",)), event(3, workload="theirs"))
    second, theirs = (Incident.objects.get(**at) for at in ({"technique": "T1105"}, {"workload_name": "theirs"}))
    handling.acknowledge(second.pk, actor=developer)
    done = several.each([incident.pk, second.pk, theirs.pk], lambda pk: handling.acknowledge(pk, actor=developer))
    assert done.count == 1
    assert {pk for pk, _ in done.refused} == {second.pk, theirs.pk}
    theirs.refresh_from_db()
    assert theirs.status == "open"


def test_the_database_holds_the_states(incident: Incident) -> None:
    for change in ({"status": "attack"}, {"status": "expected", "decision": "expected"}, {"status": "lost"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Incident.objects.filter(pk=incident.pk).update(**change)


def test_the_team_is_told_once_of_what_is_severe(
    web: Workload, sees: Sees, developer: Person, developer2: Person, viewer: Person, stranger: Person
) -> None:
    sees(event(1))
    assert not NoticeLine.objects.exists()
    for n in range(3):
        sees(event(10 + n, severity=Severity.CRITICAL))
    told = NoticeLine.objects.filter(kind="incident")
    assert sorted(told.values_list("user__username", flat=True)) == ["developer", "developer2"]
    handling.acknowledge(Incident.objects.get().pk, actor=developer)
    assert not developer2.notices.filter(seen_at=None, kind="incident").exists()


def test_a_flood_is_a_few_lines_and_a_number(web: Workload, sees: Sees, developer: Person, reviewer: Person) -> None:
    sees(*(event(n, mitre=(f"T1{n:03}",), severity=Severity.HIGH) for n in range(45)))
    notice = developer.notices.get(kind="incident")
    assert (notice.lines.count(), notice.total) == (5, 45)
    sees(*(event(n, workload=None, host=f"h{n}", namespace=None, severity=Severity.HIGH) for n in range(3)))
    assert reviewer.notices.get(kind="incident").lines.count() == 3
