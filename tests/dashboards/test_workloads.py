"""Pages of what runs: the list, one workload, and where an image's and an application's pages lead to them."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.images.models import Image
from secguard.workloads.models import Cluster, Workload
from tests.dashboards.test_queries import assert_constant_queries
from tests.dashboards.test_views import rows_behind, text_of
from tests.fixtures_people import Person
from tests.fixtures_reports import digest, flaw, report

pytestmark = pytest.mark.django_db

WEB, THEIRS = "reg.example/shop/web", "reg.example/logistics/api"
BLOCK_ALL = """
name: default
rules:
  - id: any-flaw
    each: finding
    stages: [admit]
    when: finding.kind == "vulnerability"
    effect: block
    message: "{count} flaws: {examples}"
"""


def workload(name: str, cluster: str, cluster_kind: str, application: Any, *numbers: int, **columns: Any) -> Workload:
    place, _ = Cluster.objects.get_or_create(name=cluster, defaults={"kind": cluster_kind})
    made = Workload.objects.create(cluster=place, name=name, application=application, **{"namespace": "shop"} | columns)
    made.images.set(Image.objects.filter(digest__in=[digest(n) for n in numbers]))
    return made


@pytest.fixture
def running(post: Any, administrator: Person, application: Any, other_application: Any) -> dict[str, Workload]:
    """Image 1 is flawed, 2 is clean, 3 is another team's; each runs somewhere, and one workload runs 1 and 3."""
    from secguard.policies.services import create_version

    post(report(flaw("CVE-2026-1")), application=application.slug)
    post(report(image={"reference": f"{WEB}:2", "digest": digest(2)}), application=application.slug)
    theirs = {"reference": f"{THEIRS}:1", "digest": digest(3)}
    post(report(flaw("CVE-2026-3"), image=theirs), application=other_application.slug)
    create_version("default", BLOCK_ALL, actor=administrator, activate=True)
    made = {
        "web": workload("web", "prod", "cloud", application, 1, 3),
        "clean": workload("clean", "ann", "laptop", application, 2),
        "bare": workload("bare", "prod", "cloud", application, kind="DaemonSet"),
        "api": workload("api", "prod", "cloud", other_application, 3, namespace="logistics"),
        "lost": workload("lost", "prod", "cloud", None, 2, namespace="kube"),
    }
    made["web"].volumes.create(name="data", kind="persistentVolumeClaim", source="shop-data")
    made["web"].volumes.create(name="logs", kind="hostPath", source="/var/log/shop", read_only=True)
    made["web"].volumes.create(name="settings", kind="configMap", source="settings", read_only=True)
    made["clean"].volumes.create(name="scratch", kind="emptyDir")
    return made


def page(person: Person, path: str) -> str:
    return text_of(person.client.get(path))


def said(html: str) -> str:
    """A page's words, without its tags."""
    return re.sub(r" ([,.:;])", r"\1", " ".join(re.sub(r"<[^>]+>", " ", html).split()))


# --- the list ---


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("", 5),
        ("cluster_kind=laptop", 1),
        ("cluster_kind=cloud", 4),
        ("cluster_kind=datacenter", 0),
        ("application=shop", 3),
        ("application=shop&cluster_kind=cloud", 2),
        ("cluster=ann", 1),
        ("namespace=kube", 1),
        ("holds_data=true", 1),
        ("holds_data=false", 4),
        (f"image={digest(2)}", 2),
        ("q=we", 1),
        ("q=logi", 1),
    ],
)
def test_the_list_is_filtered(running: Any, operator: Person, query: str, rows: int) -> None:
    assert rows_behind(operator.client, f"/workloads/?{query}") == rows


def test_the_list_says_whether_each_may_start_again(running: Any, operator: Person) -> None:
    assert rows_behind(operator.client, "/workloads/?may=unknown") == 5, "nobody has judged them yet"
    for made in running.values():
        operator.client.get(f"/workloads/{made.pk}/")
    assert {may: rows_behind(operator.client, f"/workloads/?may={may}") for may in ("block", "pass", "unknown")} == {
        "block": 2,
        "pass": 2,
        "unknown": 1,
    }
    table = list(csv.DictReader(io.StringIO(page(operator, "/workloads/?format=csv&sort=name").lstrip("\ufeff"))))
    assert [row["At admission"] for row in table] == ["block", "", "pass", "pass", "block"]
    assert [row["Cluster kind"] for row in table] == ["cloud", "cloud", "laptop", "cloud", "cloud"]
    assert [row["Holds data"] for row in table] == ["no", "no", "no", "no", "yes"]


def test_the_list_goes_by_application(running: Any, operator: Person) -> None:
    table = list(csv.DictReader(io.StringIO(page(operator, "/workloads/?format=csv").lstrip("\ufeff"))))
    assert [row["Application"] for row in table] == ["Shop", "Shop", "Shop", "Warehouse", ""]
    assert "1 with data" in page(operator, "/workloads/?q=web")


def test_what_runs_no_longer_is_in_no_list_and_its_page_says_so(running: Any, operator: Person) -> None:
    Workload.objects.filter(name="clean").update(gone_at=timezone.now())
    assert rows_behind(operator.client, "/workloads/") == 4
    assert "It runs no longer" in page(operator, f"/workloads/{running['clean'].pk}/")


# --- one workload ---


def asks(administrator: Person, **settings: Any) -> None:
    """From now on cluster prod asks."""
    from secguard.admission import services

    gate = services.add_gate("prod", services.GateEdit(**settings), actor=administrator)
    services.renew_token(gate.pk, actor=administrator)


def test_what_it_runs_and_may_it(running: Any, operator: Person, administrator: Person) -> None:
    asks(administrator)
    text = page(operator, f"/workloads/{running['web'].pk}/")
    words = said(text)
    assert "1 flaws: CVE-2026-1." in words
    assert f"/images/{digest(1)}/?stage=admit" in text
    assert "In its grace ends in 2 months" in words
    assert "the cluster asks: what is refused does not start" in words
    assert "No image that is known here" in page(operator, f"/workloads/{running['bare'].pk}/")


def test_where_the_cluster_does_not_ask_the_policy_is_shown(running: Any, operator: Person) -> None:
    words = said(page(operator, f"/workloads/{running['web'].pk}/"))
    assert "1 flaws: CVE-2026-1" in words
    assert "Blocked by the policy" in words
    assert "the cluster does not ask" in words
    assert "May start" in said(page(operator, f"/workloads/{running['clean'].pk}/"))


def test_what_has_had_its_time_is_in_no_grace(running: Any, operator: Person, administrator: Person) -> None:
    from secguard.findings.models import Exposure

    asks(administrator)
    Exposure.objects.update(due_at=timezone.now() - timedelta(minutes=1))
    words = said(page(operator, f"/workloads/{running['web'].pk}/"))
    assert "Denied" in words
    assert "In its grace" not in words


def test_what_the_cluster_asks_beside_the_policy_counts_too(
    running: Any, operator: Person, administrator: Person
) -> None:
    """A registry that is not preferred, and a mode that lets what is refused start."""
    from secguard.images.models import Registry

    asks(administrator, namespaces={"shop": "warn"})
    Registry.objects.update(is_preferred=False)
    words = said(page(operator, f"/workloads/{running['web'].pk}/"))
    assert "Its registry reg.example is none that images may run from here." in words
    assert "Would be denied" in words


def test_what_may_not_start_comes_first(running: Any, operator: Person, administrator: Person) -> None:
    asks(administrator)
    running["web"].images.set(Image.objects.all())
    words = said(page(operator, f"/workloads/{running['web'].pk}/"))
    assert max(words.index("CVE-2026-3"), words.index("CVE-2026-1")) < words.index("Allowed")


def test_its_volumes_with_what_holds_data_marked_and_first(running: Any, operator: Person) -> None:
    text = page(operator, f"/workloads/{running['web'].pk}/")
    marks = [text.index(word) for word in ("holds data</span>", "of the node</span>", "config map")]
    assert marks == sorted(marks)
    assert "claim on a persistent volume" in text
    assert "/var/log/shop" in text
    assert text.count("only read") == 2
    assert "None was told" in page(operator, f"/workloads/{running['bare'].pk}/")


def test_markup_in_names_is_shown_as_text(running: Any, operator: Person) -> None:
    evil = "<script>alert(1)</script>"
    running["web"].volumes.create(name=evil, kind=evil, source=evil)
    for path in (f"/workloads/{running['web'].pk}/", "/workloads/"):
        assert evil not in page(operator, path)


def test_what_its_cluster_was_answered(running: Any, operator: Person, administrator: Person) -> None:
    from secguard.admission.models import AdmissionDecision

    asks(administrator, namespaces={"shop": "warn"})
    now, cluster = timezone.now(), running["web"].cluster
    for kind, name in (("Deployment", "web"), ("Deployment", "other")):
        AdmissionDecision.objects.create(
            key=name, cluster=cluster, namespace="shop", workload_kind=kind, workload_name=name,
            reference=f"{WEB}-of-{name}:1", outcome="grace", mode="enforce", first_at=now, last_at=now,
            grace_until=now + timedelta(hours=3),
        )  # fmt: skip
    text = page(operator, f"/workloads/{running['web'].pk}/")
    assert "In its grace" in text
    assert "grace ends in 2 hours" in said(text)
    assert "web-of-other" not in text
    assert "what is refused starts, with warnings" in text


# --- who sees what ---


def test_a_team_sees_its_own_workloads_and_no_more_of_others_images_than_that_they_run(
    running: Any, developer: Person
) -> None:
    text = page(developer, f"/workloads/{running['web'].pk}/")
    assert "It lies in no repository of your teams" in text
    assert "CVE-2026-1" in text
    assert "CVE-2026-3" not in text
    assert THEIRS not in text
    assert f"/images/{digest(3)}/" not in text
    assert rows_behind(developer.client, "/workloads/") == 3


def test_a_stranger_sees_their_own_alone(running: Any, stranger: Person) -> None:
    assert rows_behind(stranger.client, "/workloads/") == 1
    for name in ("web", "clean", "bare", "lost"):
        assert stranger.client.get(f"/workloads/{running[name].pk}/").status_code == 404
    for query in ("application=shop", "cluster=ann", "holds_data=true", "q=web", f"image={digest(1)}"):
        assert rows_behind(stranger.client, f"/workloads/?{query}") == 0, query
    assert "shop-data" not in page(stranger, "/workloads/?format=csv")


def test_the_pages_of_an_image_and_an_application_lead_here(running: Any, operator: Person, developer: Person) -> None:
    text = page(developer, f"/images/{digest(2)}/")
    assert f"/workloads/{running['clean'].pk}/" in text
    assert "ann, laptop · Shop" in text
    assert f"/workloads/{running['lost'].pk}/" not in text, "nobody's, which only the organisation sees"
    told = page(developer, "/applications/shop/")
    assert "application=shop&amp;cluster=ann" in told
    assert "prod cloud, 2 workloads" in said(told)
    for n in range(20):
        workload(f"many-{n}", "prod", "cloud", running["clean"].application, 2)
    assert f"/workloads/?image={digest(2).replace(':', '%3A')}" in page(operator, f"/images/{digest(2)}/")


def test_as_many_queries_at_any_size(
    running: Any, operator: Person, administrator: Person, post: Any, application: Any
) -> None:
    asks(administrator)
    web = running["web"]
    numbers = iter(range(100, 200))

    def grow() -> None:
        n = next(numbers)
        where = {"reference": f"reg.example/shop/more-{n}:1", "digest": digest(n)}
        post(report(flaw(f"CVE-2026-{n}"), image=where), application=application.slug)
        workload(f"more-{n}", f"cluster-{n}", "cloud", application, n).volumes.create(name="v", kind="nfs")
        web.images.add(Image.objects.get(digest=digest(n)))
        web.volumes.create(name=f"v-{n}", kind="emptyDir")
        operator.client.get(f"/workloads/{web.pk}/")  # judges it: that is done once

    urls = ["/workloads/", "/workloads/?holds_data=true&may=block", f"/workloads/{web.pk}/", "/applications/shop/"]
    assert_constant_queries(grow, urls, operator.client.get)
