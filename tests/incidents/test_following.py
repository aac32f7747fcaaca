"""Events become incidents: what makes one, what joins it, and what does not."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from secguard.accounts.models import Application
from secguard.events.models import Sensor
from secguard.findings.severity import Severity
from secguard.incidents.grouping import MAX_STORIES
from secguard.incidents.lifecycle import Status
from secguard.incidents.models import Incident, IncidentStory
from secguard.runtime.event import Kind, Outcome, Process
from secguard.workloads.models import Cluster, Workload
from tests.incidents.conftest import SHELL, Sees, event, hours, take

pytestmark = pytest.mark.django_db


def test_the_events_of_one_place_and_technique_are_one_incident(web: Workload, sees: Sees) -> None:
    sees(event(1), event(2), event(3, process=Process(exe="/bin/bash")))
    (found,) = sees(event(4))
    assert (found.workload, found.application, found.technique) == (web, web.application, "T1059")
    assert (found.count, found.stories_count, found.status, found.where) == (4, 2, "open", "prod · shop/web")
    assert sorted(found.stories.values_list("object", "count")) == [("/bin/bash", 1), ("/bin/sh", 3)]
    assert found.title == f"{SHELL}: /bin/sh"


def test_another_place_technique_or_digest_is_another_one(web: Workload, sees: Sees) -> None:
    digests = [f"sha256:{n:064x}" for n in (1, 2)]
    found = sees(
        event(1),
        event(2, mitre=("T1105",)),
        event(3, workload="other"),
        *(event(4 + n, digest=d) for n, d in enumerate(digests)),
    )
    assert len(found) == 5
    assert {i.digest for i in found} == {"", *digests}


def test_silence_of_six_hours_ends_one_and_the_next_names_it(web: Workload, sees: Sees) -> None:
    begin = timezone.now() - hours(13)
    sees(event(1), at=begin)
    (same,) = sees(event(2), at=begin + hours(5.9))
    assert same.count == 2
    first, later = sees(event(3), at=begin + hours(12))
    assert (first.status, later.status, later.before, later.count) == (Status.CLOSED, Status.OPEN, first, 1)
    assert first.history.get().person is None


def test_an_attack_is_joined_however_long_it_was_silent(incident: Incident, sees: Sees, reviewer: object) -> None:
    Incident.objects.update(
        status="attack",
        decision="attack",
        decided_by=reviewer,
        decided_at=timezone.now(),
        last_at=timezone.now() - hours(50),
    )
    (found,) = sees(event(9))
    assert found.count == 2


def test_what_comes_again_after_it_was_contained_is_said_to(incident: Incident, sees: Sees, reviewer: object) -> None:
    Incident.objects.update(status="contained", decision="attack", decided_by=reviewer, decided_at=timezone.now())
    _, again = sees(event(9))
    assert (again.before, again.status) == (incident, "open")
    assert any("contained" in words for _, words in again.reasons)
    assert again.score > incident.score


@pytest.mark.parametrize(
    ("told", "makes"),
    [
        ({"kind": Kind.MALWARE, "severity": Severity.UNKNOWN, "outcome": Outcome.ALLOWED}, True),
        ({"severity": Severity.UNKNOWN, "outcome": Outcome.ALLOWED}, False),
        ({"severity": Severity.UNKNOWN, "outcome": Outcome.BLOCKED}, True),
        ({"kind": Kind.API_AUDIT, "severity": Severity.UNKNOWN, "tool": "kubernetes-audit"}, False),
        ({"kind": Kind.API_AUDIT, "severity": Severity.MEDIUM}, True),
        ({"kind": Kind.LOG_GROWTH, "severity": Severity.LOW, "mitre": ()}, True),
    ],
)
@pytest.mark.usefixtures("web")
def test_what_somebody_must_look_at(told: dict[str, object], makes: bool, sees: Sees) -> None:
    assert bool(sees(event(1, **told))) is makes


@pytest.mark.usefixtures("web")
def test_the_most_severe_gives_it_its_name_and_its_line(sees: Sees) -> None:
    (low,) = sees(event(1))
    (high,) = sees(event(2, rule="Reverse shell", severity=Severity.CRITICAL))
    assert (high.severity, high.rule, high.pk) == (Severity.CRITICAL, "Reverse shell", low.pk)
    assert high.line != low.line
    (same,) = sees(event(3, rule="A third rule", severity=Severity.MEDIUM))
    assert same.rule == "Reverse shell"


@pytest.mark.usefixtures("web")
def test_stories_are_bounded_and_the_rest_is_counted(sees: Sees) -> None:
    names = ["".join(chr(97 + (n // 26**k) % 26) for k in range(3)) for n in range(MAX_STORIES + 30)]
    many = [event(n, process=Process(exe=f"/opt/{name}")) for n, name in enumerate(names)]
    (found,) = sees(*many)
    assert (found.stories_count, found.more_count, found.count) == (MAX_STORIES, 30, MAX_STORIES + 30)
    (found,) = sees(*many)
    assert (found.stories_count, found.count) == (MAX_STORIES, 2 * (MAX_STORIES + 30))
    assert found.more_count + sum(found.stories.values_list("count", flat=True)) == found.count


def test_what_is_tied_to_nothing_stands_by_its_place(sees: Sees) -> None:
    (found,) = sees(
        event(1, workload=None, pod="x", namespace="dark"), event(2, workload=None, pod="y", namespace="dark")
    )
    assert (found.workload, found.application, found.where, found.count) == (None, None, "prod · dark", 2)


def test_hostile_words_are_kept_as_words(sees: Sees) -> None:
    rule = "<script>alert(1)</script>\0" * 40
    (found,) = sees(event(1, rule=rule, workload=None, namespace="n\0" * 300, process=Process(exe="\0" * 500)))
    assert "\0" not in found.title + found.namespace + found.rule
    assert len(found.rule) <= 200


@pytest.mark.usefixtures("web")
def test_one_is_live_for_a_key_at_a_time(incident: Incident) -> None:
    copy = Incident.objects.get(pk=incident.pk)
    copy.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        copy.save(force_insert=True)


def test_privileged_pods_data_and_exploited_flaws_raise_it(web: Workload, sees: Sees) -> None:
    (plain,) = sees(event(1))
    web.restrictions = ["non-root"]
    web.save()
    (raised,) = sees(event(2))
    assert raised.score == plain.score + 10
    assert [10, "its pods are privileged"] in raised.reasons


def test_as_many_statements_for_any_number_of_events(sensor: Sensor, application: Application) -> None:
    cluster = Cluster.objects.create(name="prod")
    names = [f"w{n}" for n in range(200)]
    for name in names:
        Workload.objects.create(cluster=cluster, namespace="shop", name=name, application=application)

    def cost(count: int, places: list[str]) -> int:
        told = [
            event(n, workload=places[n % len(places)], severity=Severity.HIGH, process=Process(exe=f"/x{n % 7}y"))
            for n in range(count)
        ]
        with CaptureQueriesContext(connection) as seen:
            take(sensor, told, timezone.now())
        return len([q for q in seen.captured_queries if "SAVEPOINT" not in q["sql"]])

    new = cost(4, names[:2]), cost(800, names[2:])
    assert new[0] == new[1]
    joining = cost(6, names[:2]), cost(1_000, names[2:])
    assert joining[0] == joining[1]
    assert IncidentStory.objects.count() == 200
