"""Snapshots: the same answers without the server, signed, bounded, and for the cluster alone."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from secguard.admission import services
from secguard.admission.answer import Outcome, answer
from secguard.admission.models import ClusterGate
from secguard.admission.review import Review, Subject
from secguard.admission.services import holding, snapshots
from secguard.admission.services.answering import known_of
from secguard.admission.snapshot import PAYLOAD_TYPE, Snapshot, decode
from secguard.errors import Conflict, NotFound
from secguard.findings.models import Exposure, Finding
from secguard.images.models import Image, Index, IndexImage, Registry
from secguard.policies.models import Verdict
from secguard.signing import dsse, ecdsa
from secguard.signing.models import SigningKey
from secguard.signing.services import NewKey, create_key, revoke_key
from secguard.workloads.models import Workload
from secguard.workloads.podspec import ImageUse
from tests.admission.conftest import BAD, GOOD, UNKNOWN, WEB
from tests.fixtures_people import Person
from tests.fixtures_reports import digest, flaw, report

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("images")]

SITE = "http://localhost:8000"
DAY = timedelta(days=1)


@pytest.fixture
def key(db: None) -> SigningKey:
    return create_key("snapshots", NewKey(), actor=None)


def take(gate: tuple[ClusterGate, str]) -> Snapshot:
    """The gate's snapshot as an agent reads it."""
    fresh = ClusterGate.objects.select_related("cluster").get(pk=gate[0].pk)
    return decode(snapshots.envelope(fresh, SigningKey.objects.get(status="active")).payload)


def review(*images: str, namespace: str = "shop") -> Review:
    uses = tuple(ImageUse(f"/spec/containers/{n}/image", image, "container") for n, image in enumerate(images))
    return Review(Subject("u-1", kind="Pod", namespace=namespace, name="web-1"), uses)


def known(
    taken: Snapshot, asked: Review, at: datetime | None = None, ends: datetime | None = None
) -> Mapping[str, Any]:
    at, ends = at or timezone.now(), ends or taken.head.made_at + DAY
    return {u.image: taken.knowledge(u.image, asked.subject.namespace, at, ends) for u in asked.images}


def outcome(taken: Snapshot, image: str, namespace: str = "shop", at: datetime | None = None) -> Any:
    """The one image's answer without the server."""
    at, asked = at or timezone.now(), review(image, namespace=namespace)
    return answer(asked, known(taken, asked, at), taken.head.rules, at, taken.head.site).images[0]


def run_in(namespace: str, *digests: str) -> None:
    workload = Workload.objects.create(
        cluster=ClusterGate.objects.get().cluster, namespace=namespace, name=f"{namespace}-web"
    )
    workload.images.set(Image.objects.filter(digest__in=digests))


# --- the same answers ---


@pytest.fixture
def index(post: Any) -> str:
    """An index of the good and the bad image; its digest."""
    made = Index.objects.create(digest=digest(77))
    for n in (1, 2):
        IndexImage.objects.create(index=made, image=Image.objects.get(digest=digest(n)), platform=f"linux/{n}")
    return made.digest


@pytest.mark.parametrize("namespace", ["shop", "other"])
def test_it_answers_word_for_word_as_the_server_does(
    gate: tuple[Any, str], key: SigningKey, post: Any, index: str, namespace: str
) -> None:
    post(report(flaw("CVE-2026-1", severity="critical"), image={"reference": f"{WEB}:3", "digest": digest(3)}))
    run_in("shop", digest(1), digest(3))
    now, taken = timezone.now(), take(gate)
    names = (GOOD, BAD, f"{WEB}:1", f"{WEB}:2", f"{WEB}@{digest(3)}", f"{WEB}@{index}", f"m.example/x@{digest(1)}", "%")
    asked = review(*names, namespace=namespace)
    here = answer(asked, known_of(asked, gate[0], now), gate[0].rules, now, SITE)
    there = answer(asked, known(taken, asked, now), taken.head.rules, now, taken.head.site)
    for a, b in zip(here.images, there.images, strict=True):
        assert (a.image, a.outcome, a.reason, a.ways, a.until) == (b.image, b.outcome, b.reason, b.ways, b.until)
        assert (a.known.evaluation_id, a.known.image_digest) == (b.known.evaluation_id, b.known.image_digest)
    assert (there.message, there.warnings, there.allowed) == (here.message, here.warnings, here.allowed)
    assert len({j.outcome for j in there.images}) > 1


def test_the_corpus_of_verdicts_is_answered_alike_however_the_policy_judges(gate: Any, key: Any, post: Any) -> None:
    """Every image that is known, by digest and by tag, in and out of a namespace where it runs."""
    for n, severity in enumerate(("low", "medium", "high", "critical"), start=10):
        flaws = [flaw(f"CVE-2026-{n}{i}", severity=severity, fixed_versions=["2.0"] if i % 2 else []) for i in range(5)]
        post(report(*flaws, image={"reference": f"{WEB}:{n}", "digest": digest(n)}))
    run_in("shop", *(digest(n) for n in range(10, 14)))
    now, taken = timezone.now(), take(gate)
    for image in Image.objects.all():
        for namespace in ("shop", "other"):
            asked = review(f"{WEB}@{image.digest}", namespace=namespace)
            here = answer(asked, known_of(asked, gate[0], now), gate[0].rules, now, SITE)
            there = answer(asked, known(taken, asked, now), taken.head.rules, now, SITE)
            assert (here.outcome, here.message, here.warnings) == (there.outcome, there.message, there.warnings)


def test_the_clusters_rules_and_paths_go_along(gate: tuple[Any, str], key: SigningKey) -> None:
    paths = {"example.org/Job": ["spec.image"]}
    edit = services.GateEdit(mode="warn", namespaces={"a*": "observe"}, effects={"root": "block"}, paths=paths)
    services.edit_gate(gate[0].pk, edit, actor=None)
    head = take(gate).head
    assert (head.rules, head.paths) == (ClusterGate.objects.get().rules, paths)
    assert (head.cluster_id, head.cluster, head.site) == (gate[0].pk, "prod", SITE)


def test_a_registry_that_is_not_preferred_stays_so(gate: tuple[Any, str], key: SigningKey) -> None:
    Registry.objects.update(is_preferred=False)
    found = outcome(take(gate), GOOD)
    assert (found.outcome, "none that images may run from" in found.reason) == (Outcome.DENIED, True)


# --- what cannot be told ---


def test_what_nobody_knew_is_refused(gate: tuple[Any, str], key: SigningKey) -> None:
    found = outcome(take(gate), UNKNOWN)
    assert found.outcome is Outcome.DENIED
    assert "It is not known here" in found.reason


def test_a_snapshot_that_has_not_all_says_so(
    gate: tuple[Any, str], key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in("shop", digest(1))
    monkeypatch.setattr(holding, "MAX_IMAGES", 1)
    taken = take(gate)
    assert (taken.known, taken.held) == (2, 1)
    assert outcome(taken, GOOD).outcome is Outcome.ALLOWED, "what runs comes first"
    assert "1 of the 2 images" in outcome(taken, BAD).reason


def test_a_verdict_that_ended_lets_nothing_new_start(gate: tuple[Any, str], key: SigningKey) -> None:
    run_in("shop", digest(1))
    taken, later = take(gate), timezone.now() + timedelta(hours=25)
    assert outcome(taken, GOOD, "other").outcome is Outcome.ALLOWED
    found = answer(
        asked := review(GOOD, namespace="other"), known(taken, asked, later, later + DAY), taken.head.rules, later, SITE
    ).images[0]
    assert (found.outcome, "Its verdict held until" in found.reason) == (Outcome.DENIED, True)


def test_what_runs_may_restart_after_that_until_the_snapshot_ends(gate: tuple[Any, str], key: SigningKey) -> None:
    run_in("shop", digest(1))
    taken, later = take(gate), timezone.now() + timedelta(hours=25)
    asked, ends = review(GOOD), later + DAY
    found = answer(asked, known(taken, asked, later, ends), taken.head.rules, later, SITE).images[0]
    assert (found.outcome, found.until) == (Outcome.GRACE, ends)
    assert "may restart and scale until" in found.reason
    ended = answer(asked, known(taken, asked, ends, ends), taken.head.rules, ends, SITE).images[0]
    assert ended.outcome is Outcome.DENIED


def test_what_is_blocked_stays_so_after_its_verdict_ended(gate: tuple[Any, str], key: SigningKey) -> None:
    run_in("shop", digest(2))
    taken, later = take(gate), timezone.now() + timedelta(hours=25)
    found = outcome(taken, BAD, at=later)
    assert (found.outcome, "1 malware" in found.reason) == (Outcome.DENIED, True)


def test_a_verdict_that_was_called_off_is_judged_anew(gate: tuple[Any, str], key: SigningKey) -> None:
    Verdict.objects.update(valid_until=timezone.now() - timedelta(minutes=1))
    assert outcome(take(gate), GOOD).outcome is Outcome.ALLOWED
    assert Verdict.objects.filter(stage="admit", valid_until__gt=timezone.now()).count() == 2


def test_what_there_was_no_time_to_judge_is_refused_as_such(
    gate: tuple[Any, str], key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in("shop", digest(1))
    Verdict.objects.update(valid_until=timezone.now() - timedelta(minutes=1))
    monkeypatch.setattr(holding, "JUDGING_SECONDS", -1.0)
    found = outcome(take(gate), GOOD)
    assert (found.outcome, "not judged any more" in found.reason) == (Outcome.DENIED, True)


@pytest.mark.parametrize(("decision_ends", "due", "until"), [(2, 5, 5), (2, 1, 2), (2, None, 2), (None, 5, None)])
def test_how_long_it_may_restart_follows_the_decisions_that_end(
    post: Any, decision_ends: int | None, due: int | None, until: int | None
) -> None:
    """In days: after the decision its finding blocks, and has the grace that its deadline gives it."""
    post(report(flaw("CVE-2026-7"), image={"reference": f"{WEB}:7", "digest": digest(7)}))
    image, now = Image.objects.get(digest=digest(7)), timezone.now()
    Exposure.objects.update(due_at=None if due is None else now + due * DAY)
    ends = (now + decision_ends * DAY).isoformat() if decision_ends else None
    document = {
        "verdict": "pass",
        "reasons": [],
        "decisions": [{"id": 7, "expires_at": ends}],
        "covered": [{"decision": 7, "rules": ["r"], "findings": [Finding.objects.get(image=image).pk]}],
    }
    assert holding.restarts({image.pk: document}, now) == ({image.pk: now + until * DAY} if until else {})


def test_how_long_it_may_restart_follows_a_warning_in_its_grace() -> None:
    now = datetime(2026, 11, 27, 18, tzinfo=UTC)
    finding = {"kind": "vulnerability", "due_at": (now + 3 * DAY).isoformat()}
    warned = {"effect": "warn", "until": (now + DAY).isoformat(), "findings": [finding]}
    plain = {"effect": "warn", "findings": [{"kind": "vulnerability", "due_at": None}]}
    assert holding.restarts({1: {"reasons": [warned, plain]}, 2: {"reasons": [plain]}}, now) == {1: now + 3 * DAY}
    malware = warned | {"findings": [finding | {"kind": "malware"}]}
    assert holding.restarts({1: {"reasons": [warned, malware]}}, now) == {1: now + DAY}


def test_break_glass_is_not_in_it(gate: tuple[Any, str], key: SigningKey, operator: Person, reviewer: Person) -> None:
    asked = services.request_glass("prod", "shop", digest(2), minutes=60, reason="The shop is down.", actor=operator)
    services.grant_glass(asked.pk, actor=reviewer)
    assert known_of(review(BAD), gate[0], timezone.now())[BAD].break_glass == asked.pk
    assert known(take(gate), review(BAD))[BAD].break_glass is None


def test_its_queries_do_not_grow_with_the_images_of_a_batch(
    gate: tuple[Any, str], key: SigningKey, post: Any, django_assert_max_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as before:
        take(gate)
    for n in range(20, 30):
        post(report(flaw(f"CVE-2026-{n}"), image={"reference": f"{WEB}:{n}", "digest": digest(n)}))
    take(gate)
    with django_assert_max_num_queries(len(before)):
        assert take(gate).held == 12


# --- signed ---


def test_it_is_signed_by_our_key_over_its_type(gate: tuple[Any, str], key: SigningKey) -> None:
    made = snapshots.envelope(gate[0], key)
    public = ecdsa.load_public(key.public_pem)
    assert made.signers([public, ecdsa.generate().public]) == (public,)
    assert made.payload_type == PAYLOAD_TYPE


def test_without_a_key_it_says_how_to_make_one(gate: tuple[Any, str]) -> None:
    with pytest.raises(Conflict, match="secguard keys create snapshots"):
        services.snapshot(gate[0])


def test_of_several_keys_one_is_named(gate: tuple[Any, str], key: SigningKey, settings: Any) -> None:
    create_key("production", NewKey(), actor=None)
    with pytest.raises(Conflict, match=r"production, snapshots.*\?key="):
        services.snapshot(gate[0])
    assert snapshots.signing_key("snapshots") == key
    settings.SNAPSHOT_KEY = "production"
    assert snapshots.signing_key().name == "production"
    with pytest.raises(NotFound, match="No key 'other' signs"):
        snapshots.signing_key("other")


def test_a_revoked_key_signs_no_other(gate: tuple[Any, str], key: SigningKey) -> None:
    services.snapshot(gate[0])
    revoke_key(key.pk, "lost", actor=None)
    with pytest.raises(Conflict, match="no key that signs"):
        services.snapshot(gate[0])


def test_it_is_made_once_for_all_who_ask_within_seconds(
    gate: tuple[Any, str], key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = services.snapshot(gate[0])
    assert services.snapshot(gate[0]) == first
    assert (first.path.stat().st_mode & 0o777, first.path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    later = timezone.now().timestamp() + 3600
    monkeypatch.setattr("time.time", lambda: later)
    assert services.snapshot(gate[0]).tag != first.tag


# --- over REST ---


def ask(gate: tuple[Any, str], pk: Any = "own", **headers: str) -> Any:
    found: Any = Client().get(
        f"/api/v1/clusters/{pk}/snapshot/", headers={"Authorization": f"Bearer {gate[1]}"} | headers
    )
    found.body = b"".join(found) if found.streaming else found.content
    return found


@pytest.mark.parametrize("by", ["own", "id"])
def test_a_cluster_fetches_its_own(gate: tuple[Any, str], key: SigningKey, by: str) -> None:
    found = ask(gate, gate[0].pk if by == "id" else by)
    assert (found.status_code, found["Content-Type"]) == (200, dsse.MEDIA_TYPE)
    envelope = dsse.decode(found.body)
    assert envelope.signers([ecdsa.load_public(key.public_pem)])
    assert decode(envelope.payload).head.cluster_id == gate[0].pk
    assert ClusterGate.objects.get().heard_at is not None


def test_it_comes_packed_to_who_takes_that_and_not_at_all_to_who_has_it(gate: tuple[Any, str], key: Any) -> None:
    plain, packed = ask(gate), ask(gate, **{"Accept-Encoding": "gzip, deflate"})
    assert packed["Content-Encoding"] == "gzip"
    assert int(packed["Content-Length"]) == len(packed.body)
    assert gzip.decompress(packed.body) == plain.body
    again = ask(gate, **{"If-None-Match": packed["ETag"]})
    assert (again.status_code, again.body) == (304, b"")
    assert ask(gate, **{"If-None-Match": 'W/"other"'}).status_code == 200


def test_no_cluster_gets_anothers(gate: tuple[Any, str], key: SigningKey) -> None:
    other = services.add_gate("test", services.GateEdit(), actor=None)
    assert ask(gate, other.pk).status_code == 404
    assert ask((None, "sgk_wrong")).status_code == 403


def test_people_who_may_edit_clusters_get_it_and_nobody_else(
    gate: tuple[Any, str], key: SigningKey, operator: Person, developer: Person, stranger: Person
) -> None:
    path = f"/api/v1/clusters/{gate[0].pk}/snapshot/"
    assert operator.api.get(path).status_code == 200
    assert operator.api.get("/api/v1/clusters/own/snapshot/").status_code == 404
    assert [p.api.get(path).status_code for p in (developer, stranger)] == [403, 403]
    assert Client().get(path).status_code == 401


def test_no_secret_is_in_it(gate: tuple[Any, str], key: SigningKey) -> None:
    raw = json.dumps(dsse.decode(ask(gate).body).payload.decode())
    for secret in (gate[1], ClusterGate.objects.get().token_hash, "token", "sealed", "BEGIN"):
        assert str(secret) not in raw
