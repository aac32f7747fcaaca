"""What comes of an image after it was judged: signed, stated, promoted, called back, admitted, ended."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.history.conftest import timeline_of

pytestmark = pytest.mark.django_db
OURS, THEIRS = "reg.example/shop/web", "reg.example/depot/copy"


@pytest.fixture
def shared(clock: Any, post: Any, stranger: Any, other_application: Any) -> str:
    """One digest that lies with two teams."""
    post(1, reference=THEIRS, by=stranger)
    image: str = post(1)
    return image


def beside(image: Any, repository: Any, at: datetime, word: str) -> None:
    """A signature, a statement, a promotion and an answer in one repository; ``word`` stands in each of them."""
    from secguard.admission.models import AdmissionDecision
    from secguard.promotion.models import Environment, Promotion
    from secguard.signing import services
    from secguard.signing.models import Attestation, Signature
    from secguard.workloads.models import Cluster, Workload

    key = services.create_key(f"key-{word}", services.NewKey(), actor=None)
    Signature.objects.create(
        repository=repository, digest=image.digest, identity=word, form="tag", place=word, signing_key=key,
        first_seen_at=at, verified_at=at, gone_at=at + timedelta(minutes=2),
    )  # fmt: skip
    Attestation.objects.create(
        digest=image.digest, repository=repository, predicate_type="urn:secguard:attestation:promotion:v1",
        environment=f"env-{word}", signing_key=key, made_at=at, withdrawn_at=at + timedelta(minutes=3), reason=word,
    )  # fmt: skip
    count = Environment.objects.count()
    environment = Environment.objects.create(name=f"env-{word}", position=count + 1, registry=repository.registry)
    Promotion.objects.create(
        digest=image.digest, image=image, asked_reference=repository.name, source=repository, environment=environment,
        destination_name=f"prod.example/{word}", status="promoted", requested_at=at,
        finished_at=at + timedelta(minutes=1),
    )  # fmt: skip
    cluster = Cluster.objects.create(name=f"cluster-{word}")
    AdmissionDecision.objects.create(
        key=word, cluster=cluster, namespace=word, workload_kind="Deployment", workload_name=word, image=image,
        digest=image.digest, repository=repository, outcome="denied", mode="enforce", reason=f"because {word}",
        count=3, first_at=at, last_at=at,
    )  # fmt: skip
    gone = Workload.objects.create(
        cluster=cluster, namespace=word, name=f"run-{word}", application=repository.application,
        gone_at=at + timedelta(minutes=4),
    )  # fmt: skip
    gone.images.add(image)


@pytest.fixture
def carried(shared: str, clock: Any) -> str:
    from secguard.images.models import Image, Repository

    image = Image.objects.get(digest=shared)
    for name, word in ((OURS, "walnut"), (THEIRS, "zebra")):
        beside(
            image, Repository.objects.select_related("registry", "application").get(name=name), clock(minutes=9), word
        )
    clock(hours=1)
    return shared


def test_each_step_is_told_with_who_and_where(carried: str, developer: Any) -> None:
    told = {(e["kind"], e["who"], e["words"]) for e in timeline_of(developer, carried, "?limit=200")}
    assert {
        ("signed", "key key-walnut", f"Signature seen in {OURS}"),
        ("ended", "", f"Signature lies in {OURS} no more"),
        (
            "signed",
            "key key-walnut",
            f"Stated in {OURS}: urn:secguard:attestation:promotion:v1, promoted to env-walnut",
        ),
        ("ended", "", f"The statement urn:secguard:attestation:promotion:v1 in {OURS} was withdrawn: walnut"),
        (
            "admitted",
            "",
            "Denied in cluster-walnut (Deployment walnut/walnut, 3 times so far): because walnut",
        ),
        ("ended", "", "Deployment walnut/run-walnut in cluster-walnut no longer runs it"),
    } <= told
    assert any(k == "promoted" and w == "the rule" and "to env-walnut: promoted" in said for k, w, said in told)
    assert any(k == "asked" and "to env-walnut was asked for" in said for k, _, said in told)


def test_no_team_reads_of_the_other_s(carried: str, developer: Any, stranger: Any) -> None:
    for person, own, other in ((developer, "walnut", "zebra"), (stranger, "zebra", "walnut")):
        envelope = json.loads(person.api.get(f"/api/v1/images/{carried}/passport/?key=key-{own}").content)
        passport = base64.b64decode(envelope["payload"]).decode()
        page = person.client.get(f"/images/{carried}/history/").content.decode()
        for text in (json.dumps(timeline_of(person, carried, "?limit=200")), passport, page):
            assert own in text
            assert other not in text


def test_the_passport_counts_them(carried: str, administrator: Any) -> None:
    envelope = json.loads(administrator.api.get(f"/api/v1/images/{carried}/passport/").content)
    found = json.loads(base64.b64decode(envelope["payload"]))
    assert [len(found[n]) for n in ("signatures", "attestations", "promotions", "places")] == [2, 2, 2, 2]
    assert found["admissions"]["by_outcome"] == {"denied": 6}
    assert found["admissions"]["clusters"] == ["cluster-walnut", "cluster-zebra"]
    assert {a["fingerprint"][:7] for a in found["attestations"]} == {"sha256:"}


def test_a_recall_and_its_lift_are_told(carried: str, clock: Any, developer: Any, administrator: Any) -> None:
    clock(hours=2)
    path = f"/api/v1/images/{carried}/recall/"
    assert administrator.api.post(path, {"reason": "A backdoor in the build."}).status_code == 201
    at = clock(hours=2, minutes=1)
    moment = at.isoformat().replace("+00:00", "Z")
    then = developer.api.get(f"/api/v1/images/{carried}/verdict/?at={moment}").json()
    assert then["held"] is False
    clock(hours=3)
    assert administrator.api.delete(path, {"reason": "It was none."}).status_code == 200
    told = [(e["kind"], e["who"], e["words"]) for e in timeline_of(developer, carried)]
    assert ("recalled", "administrator", "Called back: A backdoor in the build.") in told
    assert ("ended", "administrator", "The recall was lifted: It was none.") in told


def test_break_glass_is_told_to_who_sees_it(carried: str, clock: Any, developer: Any, administrator: Any) -> None:
    from secguard.admission.models import BreakGlass
    from secguard.workloads.models import Cluster

    at = clock(hours=1)
    BreakGlass.objects.create(
        cluster=Cluster.objects.get(name="cluster-walnut"), namespace="walnut", digest=carried, minutes=30,
        reason="The shop is down.", status="used", requested_by=developer, decided_by=administrator, decided_at=at,
        expires_at=at + timedelta(minutes=30), used_at=at,
    )  # fmt: skip
    clock(hours=2)
    words = "in cluster-walnut, walnut: The shop is down."
    assert any(e["words"].endswith(words) for e in timeline_of(administrator, carried))
    assert not any(e["words"].endswith(words) for e in timeline_of(developer, carried))


def test_an_earlier_policy_holds_no_more(shared: str, clock: Any, developer: Any, administrator: Any) -> None:
    from secguard.policies.models import PolicyVersion

    source = PolicyVersion.objects.get().source + "\n# stricter\n"
    at = clock(hours=1)
    body = {"name": "default", "source": source, "activate": True}
    assert administrator.api.post("/api/v1/policies/", body).status_code == 201
    moment = (at + timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
    clock(hours=2)
    then = developer.api.get(f"/api/v1/images/{shared}/verdict/?at={moment}").json()
    assert then["held"] is False
    assert "Another policy was put in force" in then["why_not"]
