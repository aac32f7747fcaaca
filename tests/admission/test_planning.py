"""What clusters refuse, and what pods are kept from: kept, missing, not measured; never by another team's workloads."""

from __future__ import annotations

from typing import Any

import pytest

from secguard.admission.planning import OLD
from secguard.workloads.restrictions import RESTRICTIONS
from tests.measuring import DAY, NOW, image_in, names_behind, outcome, outcomes, repository_of, rows_behind, run

pytestmark = pytest.mark.django_db

REFUSES = {
    "refuses-host-namespaces": ("host-network", "host-pid", "host-ipc"),
    "refuses-no-limits": ("no-limits",),
    "refuses-privileged": ("privileged",),
    "refuses-root": ("root",),
    "refuses-capabilities": ("capability",),
    "refuses-node-folders": ("host-path", "container-socket"),
}
DEMANDS: dict[str, dict[str, Any]] = {
    "refuses-tags": {"requires_digest": False},
    "refuses-unsigned": {"signers": []},
    "refuses-unpromoted": {"environment": ""},
}
"""Checks of what a cluster asks of every image, each with the settings of one that does not."""
KEPT_FROM = {
    "workloads-unprivileged": {"not-privileged"},
    "workloads-non-root": {"non-root"},
    "workloads-read-only": {"read-only-root"},
    "workloads-restricted": {"no-capabilities", "no-privilege-escalation", "seccomp"},
    "workloads-no-capabilities": {"no-capabilities"},
    "workloads-no-escalation": {"no-privilege-escalation"},
    "workloads-seccomp": {"seccomp"},
}
OF_CLUSTERS = ("clusters-enforce", *REFUSES, *DEMANDS)
OF_PODS = (*KEPT_FROM, "workloads-off-the-node")
OF_WHAT_RUNS = ("running-admitted", "running-known", "running-preferred", "workloads-own-namespace")


def ask(cluster: str = "prod", **columns: Any) -> Any:
    """A cluster that asks, was heard from today, and refuses all that pods may ask for."""
    from secguard.admission.models import ClusterGate
    from secguard.workloads.models import Cluster
    from secguard.workloads.podspec import ASKS

    place, _ = Cluster.objects.get_or_create(name=cluster)
    values = {"token_hash": f"{place.pk:064}", "heard_at": NOW, "effects": dict.fromkeys(ASKS, "block")}
    values |= {"signers": ["release"], "environment": "production"}
    return ClusterGate.objects.create(cluster=place, **values | columns)


def listed(application: Any, *without: str, **columns: Any) -> Any:
    """A workload of which a list of pods told today that it is kept from all, but for ``without``."""
    kept = sorted(set(RESTRICTIONS) - set(without))
    return run(application, **{"restrictions": kept, "listed_at": NOW} | columns)


@pytest.mark.parametrize("name", [*OF_CLUSTERS, *OF_PODS, *OF_WHAT_RUNS])
def test_nothing_is_measured_where_nothing_runs(application: Any, other_application: Any, name: str) -> None:
    ask()
    listed(other_application)
    listed(application, gone_at=NOW)
    found = outcome(name, application)
    assert (found.state, found.links) == ("unmeasured", ())


# --- clusters ---


@pytest.mark.parametrize("name", OF_CLUSTERS)
def test_a_cluster_that_asks_enforces_and_refuses_keeps_it_for_a_week(application: Any, name: str) -> None:
    ask()
    run(application)
    found = outcome(name, application)
    assert (found.state, found.changes_at) == ("kept", NOW + OLD)
    assert outcome(name, application, NOW + OLD).state == "unmeasured"


@pytest.mark.parametrize("name", OF_CLUSTERS)
@pytest.mark.parametrize("columns", [None, {"token_hash": None}, {"mode": "warn"}, {"namespaces": {"sh*": "observe"}}])
def test_nobody_asked_or_nothing_enforced_is_missing(
    application: Any, other_application: Any, viewer: Any, stranger: Any, name: str, columns: dict[str, Any] | None
) -> None:
    if columns is not None:
        ask(**columns)
    ask("elsewhere")
    bad, _good = run(application), run(application, cluster="elsewhere")
    run(other_application, cluster="elsewhere")
    ours, theirs = outcomes(name, [application, other_application])
    assert (ours.state, theirs.state) == ("missing", "kept")
    assert ours.says.startswith("1 of 2 workloads: where ")
    ((_, path),) = ours.links
    assert [row["Workload"] for row in rows_behind(viewer, path)] == [bad.name]
    assert rows_behind(stranger, path) == []


@pytest.mark.parametrize("name", REFUSES)
@pytest.mark.parametrize("effect", ["warn", "off"])
def test_each_ask_has_to_be_refused(application: Any, name: str, effect: str) -> None:
    from secguard.workloads.podspec import ASKS

    gate = ask()
    run(application)
    for allowed in REFUSES[name]:
        gate.effects = dict.fromkeys(ASKS, "block") | {allowed: effect}
        gate.save(update_fields=["effects"])
        assert outcome(name, application).state == "missing"
    gate.effects = dict.fromkeys(ASKS, effect) | dict.fromkeys(REFUSES[name], "block")
    gate.save(update_fields=["effects"])
    assert outcome(name, application).state == "kept"


@pytest.mark.parametrize("name", DEMANDS)
def test_each_demand_has_to_be_made(application: Any, other_application: Any, name: str) -> None:
    ask(**DEMANDS[name])
    ask("elsewhere", **{k: v for other in DEMANDS if other != name for k, v in DEMANDS[other].items()})
    run(application)
    run(other_application, cluster="elsewhere")
    assert [found.state for found in outcomes(name, [application, other_application])] == ["missing", "kept"]


def test_a_namespaces_own_mode_counts(application: Any) -> None:
    ask(mode="observe", namespaces={"shop": "enforce"})
    run(application)
    assert outcome("clusters-enforce", application).state == "kept"
    run(application, namespace="other")
    assert outcome("clusters-enforce", application).state == "missing"


# --- pods ---


@pytest.mark.parametrize("name", OF_PODS)
def test_a_list_of_pods_tells_for_a_week(application: Any, name: str) -> None:
    listed(application)
    found = outcome(name, application)
    assert (found.state, found.changes_at) == ("kept", NOW + OLD)
    assert outcome(name, application, NOW + OLD).state == "unmeasured"


@pytest.mark.parametrize("name", OF_PODS)
def test_what_no_list_of_pods_told_is_not_known(application: Any, viewer: Any, name: str) -> None:
    listed(application)
    untold = run(application)
    found = outcome(name, application)
    assert found.state == "unmeasured"
    assert found.says.startswith("1 of 2 workloads: not told of")
    assert [
        row["Workload"]
        for _, path in found.links
        for row in rows_behind(viewer, path)
        if row["Workload"] == untold.name
    ]


@pytest.mark.parametrize(("name", "restriction"), [(n, r) for n, several in KEPT_FROM.items() for r in sorted(several)])
def test_one_workload_without_it_is_missing(
    application: Any, other_application: Any, viewer: Any, name: str, restriction: str
) -> None:
    bad, _good = listed(application, restriction), listed(application)
    listed(other_application)
    ours, theirs = outcomes(name, [application, other_application])
    assert (ours.state, theirs.state) == ("missing", "kept")
    ((_, path),) = ours.links
    assert [row["Workload"] for row in rows_behind(viewer, path)] == [bad.name]


@pytest.mark.parametrize("name", KEPT_FROM)
def test_other_restrictions_do_not_matter(application: Any, name: str) -> None:
    listed(application, *(set(RESTRICTIONS) - KEPT_FROM[name]))
    assert outcome(name, application).state == "kept"


@pytest.mark.parametrize("name", KEPT_FROM)
def test_what_was_seen_to_lack_it_lacks_it_until_a_list_tells_otherwise(application: Any, name: str) -> None:
    listed(application, *RESTRICTIONS, listed_at=NOW - 30 * DAY)
    assert outcome(name, application).state == "missing"


@pytest.mark.parametrize("source", ["/var/run/docker.sock", "/etc"])
def test_what_mounts_a_folder_of_its_node_is_on_it(
    application: Any, other_application: Any, viewer: Any, source: str
) -> None:
    from secguard.workloads.models import Volume

    bad, good = listed(application), listed(application)
    Volume.objects.create(workload=bad, name="host", kind="hostPath", source=source)
    Volume.objects.create(workload=good, name="data", kind="persistentVolumeClaim", source="data")
    listed(other_application)
    ours, theirs = outcomes("workloads-off-the-node", [application, other_application])
    assert (ours.state, theirs.state) == ("missing", "kept")
    ((_, path),) = ours.links
    assert [row["Workload"] for row in rows_behind(viewer, path)] == [bad.name]


def test_a_mount_counts_whoever_told_of_it(application: Any) -> None:
    from secguard.workloads.models import Volume

    Volume.objects.create(workload=run(application), name="host", kind="hostPath", source="/")
    assert outcome("workloads-off-the-node", application).state == "missing"


# --- what was let in ---


def answered(workload: Any, image: Any, outcome: str = "allowed", digest: str = "", **columns: Any) -> None:
    """The workload's cluster asked about the image (by another digest: an index's), and was answered so."""
    from secguard.admission.models import AdmissionDecision

    values = {"first_at": NOW, "last_at": NOW} | columns
    AdmissionDecision.objects.create(
        key=f"{AdmissionDecision.objects.count():064}", cluster=workload.cluster, image=image, outcome=outcome,
        digest=digest or image.digest, mode="enforce", **values,
    )  # fmt: skip


def test_what_runs_was_asked_for_and_let_in(application: Any, other_application: Any, viewer: Any) -> None:
    ask()
    image = image_in(repository_of(application))
    known, unasked = run(application, image), run(application, image_in(repository_of(application)))
    theirs = run(other_application, image)
    answered(known, image)
    ours, others = outcomes("running-admitted", [application, other_application])
    assert (ours.state, others.state) == ("missing", "kept")
    assert ours.says == "1 of 2 workloads: with an image that no answer let in."
    assert names_behind(viewer, ours.links[0][1], "Workload") == [unasked.name]
    answered(unasked, unasked.images.get(), "grace")
    assert outcome("running-admitted", application).state == "kept"
    answered(theirs, image, "would-deny", last_at=NOW + DAY)
    assert [o.state for o in outcomes("running-admitted", [application, other_application])] == ["missing", "missing"]


def test_an_answer_about_an_index_is_one_about_each_of_its_platforms(application: Any) -> None:
    from secguard.images.models import Index, IndexImage

    ask()
    runs, worst = (image_in(repository_of(application)) for _ in range(2))
    index = Index.objects.create(digest="sha256:" + "1" * 64)
    for image in (runs, worst):
        IndexImage.objects.create(index=index, image=image, platform="linux/amd64")
    workload = run(application, runs)
    answered(workload, worst)
    assert outcome("running-admitted", application).state == "missing"
    answered(workload, worst, digest=index.digest)
    assert outcome("running-admitted", application).state == "kept"


def test_a_cluster_that_does_not_ask_tells_nothing_of_what_was_let_in(application: Any) -> None:
    image = image_in(repository_of(application))
    answered(run(application, image), image)
    assert outcome("running-admitted", application).state == "unmeasured"


def test_every_container_runs_an_image_that_is_known(application: Any, other_application: Any, viewer: Any) -> None:
    from secguard.workloads.models import Container

    def container(workload: Any, image: Any = None, **columns: Any) -> None:
        values = {"digest": "sha256:" + "2" * 64, "seen_at": NOW, "name": f"c{Container.objects.count()}"} | columns
        Container.objects.create(workload=workload, cluster=workload.cluster, pod="p", image=image, **values)

    image = image_in(repository_of(application))
    good, silent, strange = listed(application), listed(application), listed(other_application)
    container(good, image)
    container(good, gone_at=NOW)
    container(silent, digest="")
    found = outcome("running-known", application)
    assert (found.state, found.says[:14]) == ("unmeasured", "1 of 2 workloa")
    container(silent, image)
    container(strange)
    ours, theirs = outcomes("running-known", [application, other_application])
    assert (ours.state, ours.changes_at, theirs.state) == ("kept", NOW + OLD, "missing")
    container(good)
    found = outcome("running-known", application)
    assert names_behind(viewer, found.links[0][1], "Workload") == [good.name]


def test_what_runs_lies_in_a_registry_from_which_images_may_run(
    application: Any, other_application: Any, viewer: Any
) -> None:
    from secguard.images.models import ImageRepository

    bad = image_in(repository_of(application, host="bad.example", is_preferred=False))
    run(application, bad)
    good = repository_of(other_application, host="good.example", configured_at=NOW)
    run(other_application, image_in(good))
    ours, theirs = outcomes("running-preferred", [application, other_application])
    assert (ours.state, theirs.state) == ("missing", "kept")
    assert names_behind(viewer, ours.links[0][1], "Digest") == [bad.digest]
    # A registry that only a report named is preferred by nobody's word.
    ImageRepository.objects.create(image=bad, repository=repository_of(application))
    assert outcome("running-preferred", application).state == "unmeasured"
    ImageRepository.objects.create(image=bad, repository=good)
    assert outcome("running-preferred", application).state == "kept"


def test_nothing_runs_in_the_namespace_default(application: Any, other_application: Any, viewer: Any) -> None:
    run(application)
    run(other_application, namespace="")
    ours, theirs = outcomes("workloads-own-namespace", [application, other_application])
    assert (ours.state, theirs.state) == ("kept", "unmeasured")
    bad = run(application, namespace="default")
    found = outcome("workloads-own-namespace", application)
    assert found.state == "missing"
    assert names_behind(viewer, found.links[0][1], "Workload") == [bad.name]
