"""The webhooks: what a cluster is answered, what is kept of it, and what it costs."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from secguard.admission import services
from secguard.admission.models import AdmissionDecision, ClusterGate
from tests.admission.conftest import BAD, GOOD, UNKNOWN, WEB, Ask, pod, review
from tests.fixtures_reports import digest, flaw, report
from tests.scans.conftest import corpus, corpus_members  # noqa: F401 - fixtures

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("images")]

AskPod = Callable[..., dict[str, Any]]
PATHS = ("validate", "mutate", "imagereview", "external-data")


def edit(**changed: Any) -> None:
    services.edit_gate(ClusterGate.objects.get().pk, services.GateEdit(**changed), actor=None)


# --- who may ask ---


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("value", ["", "Bearer sgk_wrong", "Basic x", "Bearer "])
def test_nobody_without_a_clusters_token(path: str, value: str, gate: Any) -> None:
    answer = Client().post(
        f"/admission/v1/{path}", "{}", content_type="application/json", headers={"Authorization": value}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "cluster-token")
    assert answer["Content-Type"] == "application/problem+json"


def test_a_persons_token_is_no_clusters(administrator: Any, gate: Any) -> None:
    assert administrator.api.post("/admission/v1/validate", {}, format="json").status_code == 403


def test_a_renewed_token_ends_the_former_one(gate: tuple[Any, str], ask_pod: AskPod) -> None:
    assert ask_pod(GOOD)["allowed"]
    services.renew_token(gate[0].pk, actor=None)
    with pytest.raises(AssertionError, match="cluster-token"):
        ask_pod(GOOD)
    assert gate[1] not in json.dumps(list(ClusterGate.objects.values()), default=str)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"kind": "AdmissionReview"}', b"[" * 10_000])
def test_what_is_no_question_is_refused_in_words(path: str, raw: bytes, gate: tuple[Any, str]) -> None:
    answer = Client().post(
        f"/admission/v1/{path}", raw, content_type="application/json", headers={"Authorization": f"Bearer {gate[1]}"}
    )
    assert answer.status_code in (413, 422)
    assert answer.json()["detail"]


def test_bodies_are_bounded_and_may_be_larger_than_a_form(gate: tuple[Any, str], settings: Any) -> None:
    def post(size: int) -> int:
        body = review(pod(GOOD))
        body["request"]["object"]["metadata"]["annotations"] = {"a": "x" * size}
        headers = {"Authorization": f"Bearer {gate[1]}"}
        answer = Client().post(
            "/admission/v1/validate", json.dumps(body), content_type="application/json", headers=headers
        )
        return int(answer.status_code)

    assert post(3 * 2**20) == 200
    settings.MAX_REVIEW_BYTES = 2 * 2**20
    assert post(3 * 2**20) == 413


# --- what is answered ---


def test_what_passes_starts(ask_pod: AskPod) -> None:
    answer = ask_pod(GOOD)
    assert (answer["uid"], answer["allowed"]) == ("u-1", True)
    assert "status" not in answer
    assert answer["auditAnnotations"]["digests"] == digest(1)


def test_a_denied_pod_says_what_and_why_and_the_way_out(ask_pod: AskPod) -> None:
    answer = ask_pod(GOOD, BAD)
    assert not answer["allowed"]
    assert answer["status"]["code"] == 403
    message = answer["status"]["message"]
    assert message.startswith(f"SecGuard refuses Pod shop/web-1:\n{BAD}:\n  - 1 malware")
    assert "Way out: Rebuild from sources you trust" in message
    assert f"/images/{digest(2)}/" in message
    assert GOOD not in message


def test_an_unknown_image_follows_the_mode_and_says_how_it_becomes_known(ask_pod: AskPod) -> None:
    assert f"secguard scan {UNKNOWN}" in ask_pod(UNKNOWN)["status"]["message"]
    edit(mode="warn")
    answer = ask_pod(UNKNOWN)
    assert answer["allowed"]
    assert "not known here" in answer["warnings"][0]
    edit(mode="enforce", namespaces={"sh*": "observe"})
    answer = ask_pod(UNKNOWN)
    assert answer["allowed"]
    assert "warnings" not in answer


def test_a_known_image_that_nobody_scanned_is_not_clean(ask_pod: AskPod, post: Any) -> None:
    post(report(image={"reference": f"{WEB}:5", "digest": digest(5)}, covers=["secret"]))
    assert "no complete scan" in ask_pod(f"{WEB}@{digest(5)}")["status"]["message"]


def test_a_tag_means_what_is_known_here(ask_pod: AskPod) -> None:
    answer = ask_pod(f"{WEB}:1")
    assert not answer["allowed"]
    assert GOOD in answer["status"]["message"]
    edit(requires_digest=False)
    assert ask_pod(f"{WEB}:1")["allowed"]
    assert digest(2) in ask_pod(f"{WEB}:2")["status"]["message"]
    assert not ask_pod(f"{WEB}:nobody-knows")["allowed"]


def test_of_an_index_the_worst_platform_counts(ask_pod: AskPod) -> None:
    from secguard.images.models import Image, Index, IndexImage

    index = Index.objects.create(digest=digest(77))
    name = f"{WEB}@{digest(77)}"
    IndexImage.objects.create(index=index, image=Image.objects.get(digest=digest(1)), platform="linux/amd64")
    assert ask_pod(name)["allowed"]
    IndexImage.objects.create(index=index, image=Image.objects.get(digest=digest(2)), platform="linux/arm64")
    assert digest(2) in ask_pod(name)["status"]["message"]


def test_a_registry_that_is_not_preferred(ask_pod: AskPod) -> None:
    from secguard.images.models import Registry

    Registry.objects.update(is_preferred=False)
    assert "Its registry reg.example is none" in ask_pod(GOOD)["status"]["message"]


@pytest.mark.parametrize("kind", ["apps/Deployment", "batch/Job"])
def test_what_leads_to_pods_is_answered_alike(ask: Ask, kind: str) -> None:
    obj = {"spec": {"template": {"spec": pod(BAD)["spec"]}}, "metadata": {"name": "web"}}
    assert not ask("validate", review(obj, kind))["response"]["allowed"]


def test_an_ephemeral_container_is_asked_about(ask_pod: AskPod, ask: Ask) -> None:
    running = pod(GOOD)
    changed = pod(GOOD, ephemeralContainers=[{"name": "debug", "image": BAD}])
    body = review(changed, operation="UPDATE", subResource="ephemeralcontainers", oldObject=running)
    assert not ask("validate", body)["response"]["allowed"]


def test_a_blocked_pod_can_still_be_labelled_and_taken_away(ask_pod: AskPod) -> None:
    assert ask_pod(BAD, operation="UPDATE", oldObject=pod(BAD))["allowed"]
    assert ask_pod(BAD, operation="DELETE", object=None)["allowed"]


def test_custom_resources_by_configured_paths(ask: Ask) -> None:
    obj = {"spec": {"jobs": [{"pod": pod(BAD)["spec"]}]}, "metadata": {"name": "x"}}
    assert ask("validate", review(obj, "example.org/Batch"))["response"]["allowed"]
    edit(paths={"example.org/Batch": ["spec.jobs[].pod"]})
    assert not ask("validate", review(obj, "example.org/Batch"))["response"]["allowed"]


def test_what_a_pod_asks_for(ask: Ask) -> None:
    body = review(pod(GOOD, hostNetwork=True))
    assert ask("validate", body)["response"]["warnings"] == ["The pod shares the node's network (hostNetwork)."]
    edit(effects={"host-network": "block"})
    assert "hostNetwork" in ask("validate", body)["response"]["status"]["message"]


def test_what_runs_already_may_restart_until_its_deadline(
    ask_pod: AskPod, application: Any, administrator: Any
) -> None:
    """A policy that blocks at once at admission: what is new is refused, what runs has its grace (DESIGN rule 8)."""
    from secguard.findings.models import Exposure
    from secguard.images.models import Image
    from secguard.policies.services import create_version
    from secguard.workloads.models import Workload

    source = """
name: default
rules:
  - id: any-flaw
    each: finding
    stages: [admit]
    when: finding.kind == "vulnerability"
    effect: block
    message: "{count} flaws: {examples}"
"""
    create_version("default", source, actor=administrator, activate=True)
    image = Image.objects.get(digest=digest(3))
    name = f"{WEB}@{digest(3)}"
    assert not ask_pod(name)["allowed"]
    gate = ClusterGate.objects.get()
    workload = Workload.objects.create(cluster=gate.cluster, namespace="shop", name="web", application=application)
    workload.images.add(image)
    answer = ask_pod(name)
    assert answer["allowed"]
    assert "may restart and scale until" in " ".join(answer["warnings"])
    assert not ask_pod(name, namespace="elsewhere")["allowed"]
    row = AdmissionDecision.objects.get(outcome="grace")
    assert row.grace_until == Exposure.objects.get(repository__name=WEB, risk__vulnerability__name="CVE-2026-3").due_at


@pytest.fixture(autouse=True)
def flawed(post: Any, application: Any) -> None:
    image = {"reference": f"{WEB}:3", "digest": digest(3)}
    post(report(flaw("CVE-2026-3", severity="high"), image=image), application=application.slug)


def test_a_decision_that_ended_is_named(ask_pod: AskPod, developer: Any, reviewer: Any) -> None:
    from secguard.decisions import queries as decision_queries
    from secguard.decisions import services as decisions
    from secguard.decisions.models import Decision
    from secguard.findings.models import Exposure

    risk = Exposure.objects.get(risk__vulnerability__name="CVE-2026-3").risk
    Exposure.objects.filter(risk=risk).update(due_at=timezone.now() - timedelta(days=1))
    scope = decision_queries.find_scope(developer, "repository", WEB)
    until = timezone.now() + timedelta(days=9)
    asked = decisions.request_decision(decisions.Ask(risk.pk, "accept", scope, "known", until), actor=developer)
    decisions.approve(asked.pk, actor=reviewer)
    name = f"{WEB}@{digest(3)}"
    assert ask_pod(name)["allowed"]
    decisions.revoke(asked.pk, actor=reviewer, reason="no longer")
    message = ask_pod(name)["status"]["message"]
    assert "CVE-2026-3" in message
    assert f"Decision {asked.pk} (accept) let it pass until" in message
    assert Decision.objects.get(pk=asked.pk).status == "revoked"


def test_a_dry_run_is_answered_alike_and_writes_nothing(ask_pod: AskPod, row_counts: Any) -> None:
    from secguard.policies.models import Verdict

    Verdict.objects.update(valid_until=timezone.now() - timedelta(days=1))
    before, heard = row_counts(), ClusterGate.objects.get().heard_at
    assert not ask_pod(BAD, dryRun=True)["allowed"]
    assert ask_pod(GOOD, dryRun=True)["allowed"]
    assert row_counts() == before
    assert ClusterGate.objects.get().heard_at == heard


def test_the_same_question_is_the_same_answer(ask_pod: AskPod) -> None:
    assert ask_pod(BAD, UNKNOWN) == ask_pod(BAD, UNKNOWN)


# --- the other protocols ---


def test_mutate_names_what_is_known_by_its_digest(ask: Ask) -> None:
    obj = {"spec": {"template": {"spec": pod(f"{WEB}:1", BAD, f"{WEB}:2", f"{WEB}:9", GOOD)["spec"]}}}
    response = ask("mutate", review(obj, "apps/Deployment"))["response"]
    assert (response["allowed"], response["patchType"]) == (True, "JSONPatch")
    patch = json.loads(base64.b64decode(response["patch"]))
    assert patch == [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": GOOD}]


def test_mutate_leaves_alone_what_runs(ask: Ask) -> None:
    body = review(pod(f"{WEB}:1"), operation="UPDATE", oldObject=pod(f"{WEB}:1"))
    assert "patch" not in ask("mutate", body)["response"]
    assert not AdmissionDecision.objects.exists()


def test_the_api_servers_own_image_review(ask: Ask) -> None:
    def status(*names: str) -> dict[str, Any]:
        spec = {"containers": [{"image": n} for n in names], "namespace": "shop"}
        answer = ask("imagereview", {"apiVersion": "imagepolicy.k8s.io/v1alpha1", "kind": "ImageReview", "spec": spec})
        assert answer["kind"] == "ImageReview"
        found: dict[str, Any] = answer["status"]
        return found

    assert status(GOOD)["allowed"]
    refused = status(GOOD, BAD)
    assert not refused["allowed"]
    assert "malware" in refused["reason"]


def test_gatekeepers_external_data(ask: Ask) -> None:
    body = {
        "apiVersion": "externaldata.gatekeeper.sh/v1beta1",
        "kind": "ProviderRequest",
        "request": {"keys": [f"{WEB}:1", GOOD, BAD]},
    }
    edit(requires_digest=False)
    answer = ask("external-data", body)
    assert answer["kind"] == "ProviderResponse"
    tag, good, bad = answer["response"]["items"]
    assert tag == {"key": f"{WEB}:1", "value": GOOD, "error": ""}
    assert good["error"] == ""
    assert "malware" in bad["error"]
    assert not AdmissionDecision.objects.exists()


# --- what is kept ---


def test_replicas_are_counted_and_not_repeated(ask: Ask) -> None:
    obj = pod(BAD)
    obj["metadata"] = {
        "generateName": "web-5d-",
        "labels": {"pod-template-hash": "5d"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d", "controller": True}],
    }
    for n in range(3):
        ask("validate", review(obj, uid=f"u-{n}"))
    row = AdmissionDecision.objects.get()
    assert (row.outcome, row.count, row.uid) == ("denied", 3, "u-2")
    assert (row.workload_kind, row.workload_name) == ("Deployment", "web")
    assert (row.reference, row.digest, row.namespace, row.requested_by) == (BAD, digest(2), "shop", "ann")
    assert "malware" in row.reason


def test_an_auditor_finds_what_the_answer_was_made_from(ask_pod: AskPod) -> None:
    from secguard.policies.services import replay

    ask_pod(BAD)
    evaluation = AdmissionDecision.objects.get().evaluation
    assert evaluation is not None
    assert json.loads(replay(evaluation)) == evaluation.kept_document
    assert evaluation.kept_document["verdict"] == "block"


def test_of_what_is_allowed_the_first_is_kept(ask_pod: AskPod) -> None:
    for _ in range(3):
        ask_pod(GOOD)
    ask_pod(GOOD, namespace="other")
    assert list(AdmissionDecision.objects.order_by("namespace").values_list("namespace", "count")) == [
        ("other", 1),
        ("shop", 1),
    ]


def test_an_answer_that_cannot_be_kept_is_given_all_the_same(ask_pod: AskPod, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(AdmissionDecision.objects, "bulk_create", full)
    monkeypatch.setattr("secguard.admission.models.AdmissionDecisionQuerySet.bulk_create", full)
    assert not ask_pod(BAD)["allowed"]
    assert not AdmissionDecision.objects.exists()


# --- what it costs ---


def test_as_many_queries_for_twenty_containers_as_for_one(ask: Ask, post: Any, application: Any) -> None:
    names = [f"{WEB}@{digest(100 + n)}" for n in range(20)]
    for n in range(20):
        image = {"reference": f"{WEB}:n{n}", "digest": digest(100 + n)}
        post(report(image=image), application=application.slug)
    for body in (review(pod(*names, BAD, UNKNOWN)), review(pod(*names)), review(pod(names[0]))):
        ask("validate", body)  # judged, and its first kept

    def cost(*images: str) -> int:
        with CaptureQueriesContext(
            connection,
        ) as seen:
            ask("validate", review(pod(*images)))
        return len(seen)

    assert cost(*names) == cost(names[0])
    assert cost(*names, BAD, UNKNOWN) <= 18


def test_a_hundred_replicas_are_one_evaluation(ask_pod: AskPod) -> None:
    from secguard.policies.models import Evaluation, Verdict

    Verdict.objects.update(valid_until=timezone.now())
    before = Evaluation.objects.count()
    for _ in range(5):
        ask_pod(GOOD)
    assert Evaluation.objects.count() == before + 1


# --- what real projects keep ---


@pytest.mark.parametrize("kind", ["admission", "workloads"])
def test_every_kept_file_is_answered(
    kind: str,
    gate: tuple[Any, str],
    corpus: Callable[[str], bytes],  # noqa: F811
    corpus_members: Callable[[str], list[str]],  # noqa: F811
) -> None:
    from tests.admission.test_review import as_review, documents

    client, odd, allowed = Client(), [], {True: 0, False: 0}
    for member in corpus_members(kind):
        bodies = [json.dumps(as_review(d), default=str) for d in documents(corpus(member), member)]
        for body in (*bodies, corpus(member)):
            for path in ("validate", "mutate"):
                answer = client.post(
                    f"/admission/v1/{path}", body, "application/json", headers={"Authorization": f"Bearer {gate[1]}"}
                )
                if answer.status_code == 200:
                    allowed[answer.json()["response"]["allowed"]] += 1
                elif answer.status_code not in (413, 422) or not answer.json()["detail"]:
                    odd.append((member, path, answer.status_code))
    assert not odd
    assert min(allowed.values()) > 40


# --- the inventory ---


def test_what_may_start_is_known_to_run(ask: Ask, application: Any) -> None:
    from secguard.workloads.models import Workload

    obj = pod(GOOD)
    owner = [{"kind": "StatefulSet", "name": "db", "controller": True}]
    obj["metadata"] = {"name": "db-0", "ownerReferences": owner}
    obj["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}]
    ask("validate", review(obj, dryRun=True))
    ask("validate", review(pod(GOOD)))  # nobody's: its name will not come again
    assert not Workload.objects.exists()
    ask("validate", review(obj))
    ask("validate", review(obj))
    workload = Workload.objects.get()
    assert (str(workload), workload.kind, workload.application) == ("shop/db", "StatefulSet", application)
    assert [i.digest for i in workload.images.all()] == [digest(1)]
    assert [(v.kind, v.source) for v in workload.volumes.all()] == [("persistentVolumeClaim", "data-db-0")]
    obj["spec"]["containers"][0]["image"] = BAD
    ask("validate", review(obj))
    assert [i.digest for i in Workload.objects.get().images.all()] == [digest(1)]


def test_the_page_about_admission_ends_with_what_a_denied_pod_is_told(ask_pod: AskPod, settings: Any) -> None:
    settings.PUBLIC_URL = "https://secguard.example.org"
    page = (Path(__file__).parents[2] / "docs" / "admission.md").read_text()
    said = re.sub(r"risk=\d+", "risk=2", ask_pod(BAD)["status"]["message"])
    told = page.rpartition("```text\n")[2].removesuffix("```\n").rstrip("\n")
    assert told == f'Error from server (Forbidden): admission webhook "admit.secguard.io" denied the request: {said}'
