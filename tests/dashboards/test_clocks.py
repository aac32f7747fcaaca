"""Break-glass and graces, with their clocks, on the homes of those who answer for them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.admission.models import AdmissionDecision, BreakGlass
from secguard.images.models import Image
from secguard.policies.models import Verdict
from secguard.workloads.models import Workload
from tests.dashboards.test_queries import assert_constant_queries
from tests.dashboards.test_views import rows_behind, text_of
from tests.dashboards.test_workloads import BLOCK_ALL, said, workload
from tests.fixtures_people import MakePerson, Person
from tests.fixtures_reports import digest, flaw, report

pytestmark = pytest.mark.django_db


@pytest.fixture
def prod(post: Any, administrator: Person, application: Any) -> Workload:
    """A cluster where image 1 runs, which is blocked at admission."""
    from secguard.policies.facts import Gate
    from secguard.policies.services import create_version, verdict_of

    post(report(flaw("CVE-2026-1")), application=application.slug)
    create_version("default", BLOCK_ALL, actor=administrator, activate=True)
    assert verdict_of(Image.objects.get(), Gate.ADMIT).verdict == "block"
    return workload("web", "prod", "cloud", application, 1)


def panel(person: Person, name: str) -> str:
    """One panel of the person's home; empty where it has none."""
    found = re.search(
        rf'<section class="card" aria-labelledby="{name}">.*?</section>', text_of(person.client.get("/")), re.S
    )
    return found[0] if found else ""


# --- break-glass ---


@pytest.fixture
def glass(prod: Workload, operator: Person, reviewer: Person) -> dict[str, BreakGlass]:
    """One in every state, and one that was granted and ran out unused."""
    now = timezone.now()

    def make(status: str, minutes: int, **columns: Any) -> BreakGlass:
        granted = {"decided_by": reviewer, "decided_at": now, "expires_at": now + timedelta(minutes=minutes)}
        return BreakGlass.objects.create(
            cluster=prod.cluster, namespace=f"of-{status}{minutes}", digest=digest(1), minutes=30, reason="It is down.",
            requested_by=operator, status=status,
            **(granted if status in ("granted", "used", "reviewed") else {}), **columns,
        )  # fmt: skip

    return {
        "later": make("granted", 90),
        "sooner": make("granted", 15),
        "over": make("granted", -1),
        "used": make("used", 5, used_at=now, used_for="Pod shop/web-1, asked for by ann"),
        "asked": make("requested", 0),
        "refused": make("refused", 0),
        "reviewed": make("reviewed", 0, review="Done."),
    }


@pytest.mark.parametrize("who", ["reviewer", "operator", "administrator"])
def test_what_waits_and_what_may_be_used_each_with_its_link(
    glass: dict[str, BreakGlass], who: str, request: pytest.FixtureRequest
) -> None:
    person = request.getfixturevalue(who)
    html = panel(person, "glass")
    shown = [int(pk) for pk in re.findall(r'href="/break-glass/(\d+)/"', html)]
    assert shown == [glass[name].pk for name in ("asked", "sooner", "later", "used")]
    assert all(person.client.get(f"/break-glass/{pk}/").status_code == 200 for pk in shown)
    words = said(html)
    assert "May be used once ends in 14 minutes" in words
    assert "To be reviewed used just now" in words
    assert ("Waits for somebody else's answer" if who == "operator" else "Waits for an answer; Operator") in words


def test_nobody_sees_it_who_works_for_a_team_alone(
    glass: Any, developer: Person, stranger: Person, business_approver: Person, make_person: MakePerson, team: Any
) -> None:
    near = make_person("near", "operator", team=team)
    for person in (developer, stranger, business_approver, near):
        html = text_of(person.client.get("/", follow=True))
        assert "break-glass/" not in html.replace('href="/break-glass/"', ""), person
        assert panel(person, "glass") == ""


def test_where_nothing_waits_that_is_said(prod: Workload, reviewer: Person) -> None:
    assert "Nothing waits, and none may be used." in panel(reviewer, "glass")


def test_the_list_says_what_ran_out(glass: dict[str, BreakGlass], reviewer: Person) -> None:
    words = said(text_of(reviewer.client.get("/break-glass/?status=granted")))
    assert words.count("Ran out unused") == 1
    assert "Granted ends in 14 minutes" in words


# --- graces ---


def graced(prod: Workload, name: str, hours: float, **columns: Any) -> AdmissionDecision:
    """An answer that let ``name`` restart for so many hours more."""
    now = timezone.now()
    values: dict[str, Any] = {
        "key": f"{AdmissionDecision.objects.count()}", "cluster": prod.cluster, "namespace": "shop",
        "workload_kind": "Deployment",
        "workload_name": name, "reference": f"reg.example/shop/web@{digest(1)}", "digest": digest(1),
        "image": Image.objects.get(digest=digest(1)), "outcome": "grace", "mode": "enforce", "first_at": now,
        "repository": Image.objects.get(digest=digest(1)).places.get().repository,
        "last_at": now, "grace_until": now + timedelta(hours=hours),
    }  # fmt: skip
    return AdmissionDecision.objects.create(**values | columns)


def in_panel(person: Person) -> list[int]:
    return [int(pk) for pk in re.findall(r'href="/admissions/(\d+)/"', panel(person, "grace"))]


@pytest.mark.parametrize("who", ["reviewer", "operator"])
def test_what_runs_in_its_grace_comes_by_its_end(
    prod: Workload, who: str, request: pytest.FixtureRequest, developer: Person, stranger: Person
) -> None:
    later, sooner = graced(prod, "web", 30), graced(prod, "worker", 2.5)
    graced(prod, "cron", -1)
    person = request.getfixturevalue(who)
    assert in_panel(person) == [sooner.pk, later.pk]
    assert "ends in 2 hours" in said(panel(person, "grace"))
    assert rows_behind(person.client, "/admissions/?grace=runs&sort=grace") == 2
    listed = text_of(person.client.get("/admissions/?grace=runs&sort=grace"))
    assert listed.index(f"/admissions/{sooner.pk}/") < listed.index(f"/admissions/{later.pk}/")
    assert "In its grace ends in 2 hours" in said(listed)
    detail = said(text_of(person.client.get(f"/admissions/{sooner.pk}/")))
    assert "Its grace ends in 2 hours" in detail
    assert rows_behind(developer.client, "/admissions/?grace=runs") == 2
    assert rows_behind(stranger.client, "/admissions/?grace=runs") == 0


def test_of_one_place_the_last_answer_counts(prod: Workload, operator: Person) -> None:
    graced(prod, "web", 30, last_at=timezone.now() - timedelta(hours=1))
    last = graced(prod, "web", 5)
    assert in_panel(operator) == [last.pk]


@pytest.mark.parametrize("change", ["gone", "elsewhere", "passes", "unscanned"])
def test_what_passes_now_or_runs_no_longer_is_in_no_grace(prod: Workload, operator: Person, change: str) -> None:
    graced(prod, "web", 5)
    assert len(in_panel(operator)) == 1
    if change == "gone":
        Workload.objects.update(gone_at=timezone.now())
    elif change == "elsewhere":
        Workload.objects.update(namespace="other")
    elif change == "passes":
        Verdict.objects.filter(stage="admit").update(verdict="pass")
    else:
        Verdict.objects.filter(stage="admit").delete()
    assert in_panel(operator) == []
    assert "Nothing runs in a grace that ends." in panel(operator, "grace")


def test_a_grace_that_is_over_is_said_so(prod: Workload, operator: Person) -> None:
    over = graced(prod, "web", -2.5)
    assert "ended 2 hours ago" in said(text_of(operator.client.get("/admissions/")))
    assert "Its grace ended 2 hours ago" in said(text_of(operator.client.get(f"/admissions/{over.pk}/")))


def test_as_many_queries_at_any_size(prod: Workload, operator: Person, reviewer: Person) -> None:
    numbers = iter(range(100))

    def grow() -> None:
        n = next(numbers)
        graced(prod, f"web-{n}", n + 1)
        BreakGlass.objects.create(
            cluster=prod.cluster, namespace=f"n-{n}", digest=digest(1), minutes=5, reason="Why.", requested_by=operator
        )

    urls = ["/", "/break-glass/", "/admissions/?grace=runs&sort=grace"]
    for person in (operator, reviewer):
        assert_constant_queries(grow, urls, person.client.get)
