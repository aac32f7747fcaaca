"""Answers without the server: the same rule, and the age of what it stands on in every form of answer."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest

from secguard.admission.answer import MAX_MESSAGE
from secguard.agent.answering import KINDS, age_words, basis, image_review, mutate, validate
from secguard.errors import SecGuardError
from tests.admission.conftest import pod, review
from tests.agent.conftest import BAD, GOOD, MADE, NOW, SITE, UNKNOWN, WEB, snapshot
from tests.fixtures_reports import digest

DAY = timedelta(hours=24)
NOTE = "Answered from a snapshot of 2026-11-27 17:48 UTC, 12 minutes old: SecGuard is away."


def asked(obj: Any, *of: str, made: Any = MADE, max_age: timedelta = DAY, rules: Any = None, **changed: Any) -> Any:
    """(the response, the record) to a review of ``obj``; ``made`` is when the snapshot was, or ``None``."""
    held = None if made is None else snapshot(made, **(rules or {}))
    found = validate(json.dumps(review(obj, *of, **changed)).encode(), basis(held, NOW, max_age))
    return found.document["response"], found.record


# --- from a snapshot ---


def test_what_passes_starts_with_the_age_as_a_warning_and_in_the_audit_log() -> None:
    response, record = asked(pod(GOOD))
    assert (response["allowed"], response["uid"], response["warnings"]) == (True, "u-1", [NOTE])
    assert response["auditAnnotations"] == {
        "outcome": "allowed",
        "mode": "enforce",
        "evaluations": "101",
        "digests": digest(1),
        "answered-by": "agent",
        "snapshot": "2026-11-27T17:48:00+00:00",
        "snapshot-age-seconds": "720",
    }
    assert record["snapshot_at"] == MADE.isoformat()


def test_a_denial_says_why_the_way_out_and_how_old_it_is() -> None:
    response, record = asked(pod(GOOD, BAD))
    assert not response["allowed"]
    lines = response["status"]["message"].splitlines()
    assert lines[:3] == ["SecGuard refuses Pod shop/web-1:", f"{BAD}:", "  - 1 malware finding: Eicar-Test."]
    assert f"  Way out: Ask for an exception: {SITE}/decisions/new/?risk=2" in lines
    assert lines[-1] == NOTE
    assert NOTE in response["warnings"]
    assert [(p["image"], p["outcome"]) for p in record["parts"]] == [(GOOD, "allowed"), (BAD, "denied")]


def test_a_long_denial_keeps_the_age() -> None:
    names = [f"{WEB}@{digest(n)}" for n in range(100, 120)]
    message = asked(pod(*names, "x/" + "y" * 3000))[0]["status"]["message"]
    assert message.endswith(NOTE)
    assert len(message) <= MAX_MESSAGE


@pytest.mark.parametrize(("mode", "warned"), [("warn", 2), ("observe", 1)])
def test_a_namespace_that_is_not_enforced_lets_it_through_and_says_the_age(mode: str, warned: int) -> None:
    response, record = asked(pod(BAD), rules={"namespaces": {"sh*": mode}})
    assert response["allowed"]
    assert response["warnings"][0] == NOTE
    assert len(response["warnings"]) == warned
    assert (record["mode"], record["parts"][0]["outcome"]) == (mode, "would-deny")


def test_tags_mean_what_they_meant_when_it_was_made() -> None:
    assert GOOD in asked(pod(f"{WEB}:1"))[0]["status"]["message"]
    assert asked(pod(f"{WEB}:1"), rules={"requires_digest": False})[0]["allowed"]
    assert not asked(pod(f"{WEB}:9"), rules={"requires_digest": False})[0]["allowed"]


def test_what_nobody_knew_does_not_start() -> None:
    message = asked(pod(UNKNOWN))[0]["status"]["message"]
    assert "It is not known here" in message
    assert message.endswith(NOTE)
    assert f"secguard scan {UNKNOWN}" in message


def test_what_starts_nothing_needs_no_answer_and_no_warning() -> None:
    for response, record in (
        asked(None, operation="DELETE"),
        asked({"kind": "ConfigMap"}, "ConfigMap", made=None),
        asked(None, operation="DELETE", made=None),
    ):
        assert (response["allowed"], "warnings" in response, record) == (True, False, None)


def test_an_update_that_leaves_the_image_alone_goes_through_even_without_a_snapshot() -> None:
    response, _ = asked(pod(BAD), made=None, operation="UPDATE", oldObject=pod(BAD))
    assert response["allowed"]
    response, _ = asked(pod(BAD), made=None, operation="UPDATE", oldObject=pod(GOOD))
    assert not response["allowed"]


def test_a_dry_run_is_answered_alike_and_told_to_nobody() -> None:
    response, record = asked(pod(BAD), dryRun=True)
    assert (response["allowed"], record) == (False, None)


def test_what_a_pod_asks_for_is_judged_by_the_clusters_own_rules() -> None:
    response, record = asked(pod(GOOD, hostPID=True), rules={"effects": {"host-pid": "block"}})
    assert "shares the node's processes" in response["status"]["message"]
    assert record["parts"][-1]["image"] == ""


# --- without one that counts ---


@pytest.mark.parametrize("made", [None, NOW - timedelta(hours=25)])
def test_without_a_snapshot_that_counts_enforcing_denies_in_words(made: Any) -> None:
    response, record = asked(pod(GOOD), made=made)
    message = response["status"]["message"]
    assert not response["allowed"]
    assert ("no snapshot to answer from" in message) == (made is None)
    assert ("25 hours old: at most 24 hours count" in message) == (made is not None)
    assert "Way out: Try again once SecGuard answers again" in message
    assert response["auditAnnotations"]["snapshot"] == "none"
    assert record["snapshot_at"] is None


@pytest.mark.parametrize("mode", ["warn", "observe"])
def test_too_old_a_snapshot_still_tells_the_modes(mode: str) -> None:
    response, _ = asked(pod(UNKNOWN), made=NOW - timedelta(hours=25), rules={"namespaces": {"shop": mode}})
    assert response["allowed"]
    assert "25 hours old" in response["warnings"][0]


def test_the_age_that_counts_is_the_agents_own_to_say() -> None:
    assert not asked(pod(GOOD), max_age=timedelta(minutes=12))[0]["allowed"]
    assert asked(pod(GOOD), max_age=timedelta(minutes=13))[0]["allowed"]


def test_what_cannot_be_told_is_the_only_thing_that_is_said() -> None:
    rules = {"environment": "production", "signers": ("release",)}
    for made in (None, NOW - timedelta(hours=25)):
        message = asked(pod(GOOD), made=made, rules=rules)[0]["status"]["message"]
        assert "promoted" not in message
        assert "sign" not in message
    message = asked(pod(GOOD), rules=rules)[0]["status"]["message"]
    assert "It was not promoted to production" in message


# --- the other forms ---


def test_tags_are_pinned_to_what_they_meant() -> None:
    body = json.dumps(review(pod(f"{WEB}:1", f"{WEB}:2", f"{WEB}:9"))).encode()
    response = mutate(body, basis(snapshot(), NOW, DAY)).document["response"]
    assert json.loads(base64.b64decode(response["patch"])) == [
        {"op": "replace", "path": "/spec/containers/0/image", "value": GOOD}
    ]
    response = mutate(body, basis(None, NOW, DAY)).document["response"]
    assert (response["allowed"], "patch" in response) == (True, False)


def test_an_image_review_has_the_age_in_its_reason_and_a_name_of_its_own() -> None:
    body = {"apiVersion": "imagepolicy.k8s.io/v1alpha1", "kind": "ImageReview"}
    body["spec"] = {"namespace": "shop", "containers": [{"image": BAD}]}  # type: ignore[assignment]
    found = image_review(json.dumps(body).encode(), basis(snapshot(), NOW, DAY), "u-9")
    assert not found.document["status"]["allowed"]
    assert found.document["status"]["reason"].endswith(NOTE)
    assert found.record
    assert (found.record["uid"], found.record["namespace"], found.record["kind"]) == ("u-9", "shop", "Pod")


def test_gatekeeper_gets_names_and_errors_with_the_age() -> None:
    body = {"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderRequest"}
    body["request"] = {"keys": [GOOD, BAD]}  # type: ignore[assignment]
    found = KINDS["/admission/v1/external-data"](json.dumps(body).encode(), basis(snapshot(), NOW, DAY))
    good, bad = found.document["response"]["items"]
    assert (good["value"], good["error"], bad["error"].endswith(NOTE), found.record) == (GOOD, "", True, None)


@pytest.mark.parametrize("path", sorted(KINDS))
@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b'{"kind": "AdmissionReview"}', b"[" * 10_000])
def test_what_is_no_question_is_refused_as_the_server_does(path: str, raw: bytes) -> None:
    with pytest.raises(SecGuardError) as error:
        KINDS[path](raw, basis(snapshot(), NOW, DAY))
    assert error.value.status in (413, 422)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 seconds"), (1, "1 second"), (119, "119 seconds"), (120, "2 minutes"), (7199, "119 minutes"),
     (7200, "2 hours"), (86_400, "24 hours"), (172_800, "2 days")],
)  # fmt: skip
def test_ages_are_told_as_people_tell_them(seconds: int, words: str) -> None:
    assert age_words(timedelta(seconds=seconds)) == words
