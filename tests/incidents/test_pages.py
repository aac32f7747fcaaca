"""The pages and the API of incidents."""

from __future__ import annotations

import re
from typing import Any

import pytest

from secguard.findings.severity import Severity
from secguard.incidents.models import Expectation, Incident
from secguard.runtime.event import Process
from secguard.workloads.models import Workload
from tests.dashboards.test_queries import assert_constant_queries
from tests.fixtures_people import Person
from tests.incidents.conftest import SHELL, Sees, event

pytestmark = pytest.mark.django_db
HOSTILE = "<img src=x onerror=alert(1)>"


def text(answer: Any) -> str:
    return re.sub(r"\s+", " ", answer.content.decode())


@pytest.fixture
def several(web: Workload, sees: Sees) -> list[Incident]:
    """The shell in five workloads, and one reverse shell."""
    for n in range(5):
        Workload.objects.create(cluster=web.cluster, namespace="shop", name=f"w{n}", application=web.application)
    sees(*(event(n, workload=f"w{n % 5}") for n in range(20)))
    return sees(event(99, rule="Reverse shell", severity=Severity.CRITICAL, mitre=("T1071",)))


def test_what_repeats_is_one_line_and_the_most_pressing_is_first(several: list[Incident], developer: Person) -> None:
    answer = developer.client.get("/incidents/")
    rows = answer.context["listing"].rows
    assert [(r["rule"], r["places"], r["incidents"], r["events"]) for r in rows] == [
        ("Reverse shell", 1, 1, 1), (SHELL, 5, 5, 20),
    ]  # fmt: skip
    opened = developer.client.get(rows[1]["url"])
    assert len(opened.context["listing"].rows) == 5
    assert "/incidents/all/?line=" in rows[1]["url"]


def test_lines_keep_their_filters_and_come_in_pages(several: list[Incident], developer: Person) -> None:
    listing = developer.client.get("/incidents/?severity=5&cluster=prod").context["listing"]
    assert [r["rule"] for r in listing.rows] == ["Reverse shell"]
    assert "severity=5" in listing.rows[0]["url"]
    for sort in ("first", "-first", "places", "-events", "last", "-severity"):
        seen: list[str] = []
        url = f"/incidents/?per=25&sort={sort}"
        while url:
            listing = developer.client.get(url).context["listing"]
            listing.__dict__.pop("page", None)
            seen += [r["rule"] for r in listing.rows]
            url = listing.next_url
        assert sorted(seen) == ["Reverse shell", SHELL]
    assert b"Reverse shell" in b"".join(developer.client.get("/incidents/?format=csv").streaming_content)


def test_pages_of_lines_have_each_line_once(web: Workload, sees: Sees, developer: Person) -> None:
    sees(*(event(n, rule=f"Rule {chr(65 + n)}", mitre=(f"T10{n:02}",)) for n in range(60)))
    seen, url = [], "/incidents/?per=25"
    while url:
        listing = developer.client.get(url).context["listing"]
        seen += [r["line"] for r in listing.rows]
        assert listing.count == 60
        url = listing.next_url
    assert len(seen) == len(set(seen)) == 60


@pytest.mark.parametrize(
    ("query", "count"),
    [("", 6), ("?status=all", 6), ("?status=closed", 0), ("?q=w3", 1), ("?technique=T1071", 1), ("?mine=true", 0),
     ("?application=shop", 6), ("?application=none", 0), ("?namespace=shop&cluster=prod", 6), ("?workload=x", 0),
     ("?severity=9", 0), ("?line=%00", 0), ("?assigned=nobody", 6), ("?assigned=developer", 0), ("?severe=high", 1),
     ("?severe=low", 6), ("?severe=x", 0), ("?team=payments", 6), ("?team=others", 0), ("?environment=x", 0),
     ("?application=sho", 6), ("?status=all&decided=7", 0), ("?decided=x", 0)],
)  # fmt: skip
def test_filters(several: list[Incident], developer: Person, query: str, count: int) -> None:
    assert developer.client.get(f"/incidents/all/{query}").context["listing"].count == count


def test_a_stranger_sees_nothing(several: list[Incident], stranger: Person) -> None:
    for path in ("/incidents/", "/incidents/all/?status=all", "/incidents/expected/"):
        assert "shop" not in text(stranger.client.get(path)).lower()
    pk = several[0].pk
    assert stranger.client.get(f"/incidents/{pk}/").status_code == 404
    assert stranger.client.post(f"/incidents/{pk}/close/", {"reason": "x"}).status_code == 404
    assert stranger.api.get("/api/v1/incidents/").json()["results"] == []
    answer = stranger.client.post("/incidents/several/", {"act": "acknowledge", "ids": [pk]}, follow=True)
    assert "1 refused" in text(answer)
    assert not Incident.objects.exclude(status="open").exists()


def test_one_is_told_in_a_sentence_and_handled_without_scripts(several: list[Incident], reviewer: Person) -> None:
    found = Incident.objects.get(technique="T1071")
    page = f"/incidents/{found.pk}/"
    told = text(reviewer.client.get(page))
    assert "Reverse shell (T1071) was seen 1 time in prod · shop/web" in told
    assert reviewer.client.post(f"{page}acknowledge/").status_code == 303
    refused = reviewer.client.post(f"{page}decide/", {"decision": "attack", "reason": " "})
    assert refused.status_code == 422
    answer = reviewer.client.post(f"{page}decide/", {"decision": "attack", "reason": "It is one."}, follow=True)
    assert "Cut its network off" in text(answer)
    deny = found.containments.get(kind="deny")
    refused = reviewer.client.post(f"/incidents/containments/{deny.pk}/approve/", {"labels": "nope"})
    assert refused.status_code == 422
    assert "is no label" in text(refused)
    answer = reviewer.client.post(f"/incidents/containments/{deny.pk}/approve/", {"labels": "app=web"}, follow=True)
    assert "kind: NetworkPolicy" in text(answer)
    assert reviewer.client.post(f"{page}fly/").status_code == 404


def test_hostile_words_are_words_on_the_pages(web: Workload, sees: Sees, developer: Person) -> None:
    (found,) = sees(event(1, rule=HOSTILE, process=Process(exe=HOSTILE), mitre=()))
    developer.client.post(f"/incidents/{found.pk}/comment/", {"text": HOSTILE})
    for path in ("/incidents/", "/incidents/all/", f"/incidents/{found.pk}/"):
        assert HOSTILE not in developer.client.get(path).content.decode()


def test_several_are_decided_from_their_list(several: list[Incident], developer: Person) -> None:
    ids = list(Incident.objects.filter(rule=SHELL).values_list("pk", flat=True))
    sent = {"act": "decide", "decision": "expected", "reason": "The job.", "days": 9, "ids": ids}
    back = "/incidents/all/?technique=T1059"
    answer = developer.client.post("/incidents/several/", sent | {"next": back})
    assert answer["Location"] == back
    assert Expectation.objects.count() == 5
    assert (
        developer.client.post("/incidents/several/", sent | {"next": "//evil.example"})["Location"] == "/incidents/all/"
    )
    for wrong in ({"act": "fly"}, {"ids": ["x"]}, {"ids": []}, {"ids": list(range(300))}, {"decision": ""}):
        answer = developer.client.post("/incidents/several/", sent | wrong, follow=True)
        assert "Nothing was done" in text(answer)


def test_the_chart_counts_every_event(several: list[Incident], sees: Sees, developer: Person) -> None:
    sees(*(event(200 + n, workload="w1") for n in range(30)))
    found = Incident.objects.get(workload_name="w1")
    chart = developer.client.get(f"/incidents/{found.pk}/").context["chart"]
    assert sum(chart.series[0].values) == found.count == 34
    bar = next(at for at, value in enumerate(chart.series[0].values) if value == 34)
    assert [row.told.count for row in developer.client.get(chart.url(0, bar)).context["listing"].rows] == [34]


def test_the_api_says_the_same(several: list[Incident], reviewer: Person) -> None:
    rows = reviewer.api.get("/api/v1/incidents/?status=live&severity=critical").json()
    assert [r["rule"] for r in rows["results"]] == ["Reverse shell"]
    path = f"/api/v1/incidents/{rows['results'][0]['id']}/"
    decided = reviewer.api.post(f"{path}decide/", {"decision": "attack", "reason": "x"}, format="json").json()
    kinds = {c["kind"]: c["id"] for c in decided["containments"]}
    answer = reviewer.api.post(f"{path}containments/{kinds['scale']}/approve/", {}, format="json").json()
    assert next(c for c in answer["containments"] if c["kind"] == "scale")["document"].startswith("# kubectl scale")
    done = reviewer.api.post(f"{path}containments/{kinds['scale']}/applied/", {}, format="json")
    assert done.status_code == 200
    wrong = reviewer.api.post(f"{path}containments/{kinds['deny']}/refuse/", {}, format="json")
    assert (wrong.status_code, wrong.json()["where"]) == (422, "reason")
    assert reviewer.api.post(f"{path}assign/", {"assignee": "nobody"}, format="json").json()["code"] == "assignee"
    other = Incident.objects.exclude(rule="Reverse shell")[0]
    crossed = reviewer.api.post(f"/api/v1/incidents/{other.pk}/containments/{kinds['deny']}/refuse/", {"reason": "x"})
    assert crossed.status_code == 404


@pytest.mark.parametrize("path", ["/incidents/", "/incidents/all/", "/incidents/expected/"])
def test_as_many_queries_for_any_number(web: Workload, sees: Sees, reviewer: Person, path: str) -> None:
    from secguard.incidents.lifecycle import Decision
    from secguard.incidents.services import handling

    def grow() -> None:
        n = Incident.objects.count()
        sees(*(event(n + k, rule=f"R{n}x{k}", mitre=(f"T1{n + k:03}",)) for k in range(4)))
        pk = Incident.objects.filter(status="open").order_by("pk")[0].pk
        handling.decide(pk, handling.Verdict(Decision.EXPECTED, "x"), actor=reviewer)

    assert_constant_queries(grow, [path], reviewer.client.get)


def test_one_page_asks_as_many_queries_whatever_happened(incident: Incident, sees: Sees, reviewer: Person) -> None:
    from secguard.incidents.services import handling

    def grow() -> None:
        n = incident.stories.count()
        sees(*(event(n + k, process=Process(exe=f"/bin/{'abcdefghij'[k]}{'x' * n}")) for k in range(5)))
        for _ in range(3):
            handling.comment(incident.pk, "known", actor=reviewer)

    assert_constant_queries(grow, [f"/incidents/{incident.pk}/"], reviewer.client.get)
