"""What a cluster asks of images besides the verdict: the environment that they were promoted to, whose signature."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from secguard.admission import services
from secguard.admission.models import ClusterGate
from secguard.errors import Invalid
from secguard.images.models import Image, Repository
from secguard.signing.models import Attestation, Signature, SigningKey, TrustedKey
from secguard.signing.services import NewKey, Trust, create_key, recall, revoke_key, rotate_key, trust_key
from secguard.signing.statements import PROMOTION
from tests.admission.conftest import GOOD, WEB, pod, review
from tests.fixtures_reports import digest

pytestmark = pytest.mark.django_db


@pytest.fixture
def asking(gate: Any, images: None, application: Any) -> SigningKey:
    """The cluster asks for what was promoted to production; nothing was yet."""
    from secguard.images.models import Registry
    from secguard.promotion.models import Environment

    key = create_key("release", NewKey(), actor=None)
    registry = Registry.objects.get(host="reg.example")
    for position, name in enumerate(("build", "production"), start=1):
        Environment.objects.create(name=name, position=position, registry=registry, key_name="release")
    services.edit_gate(gate[0].pk, services.GateEdit(environment="production"), actor=None)
    return key


def promoted(key: SigningKey, number: int = 1, environment: str = "production") -> Attestation:
    place = Repository.objects.get(name=WEB)
    return Attestation.objects.create(
        digest=digest(number), repository=place, predicate_type=PROMOTION, environment=environment, signing_key=key,
        made_at=timezone.now(),
    )  # fmt: skip


def signed(number: int = 1, **by: Any) -> Signature:
    now = timezone.now()
    return Signature.objects.create(
        digest=digest(number), repository=Repository.objects.get(name=WEB), identity=f"{number}{by}"[:64], form="tag",
        place="x", first_seen_at=now, verified_at=now, **by,
    )  # fmt: skip


def answered(ask: Any, image: str = GOOD) -> tuple[bool, str]:
    response = ask("validate", review(pod(image)))["response"]
    return response["allowed"], response.get("status", {}).get("message", "")


def test_what_was_not_promoted_is_refused_and_told_how(ask: Any, asking: SigningKey) -> None:
    allowed, message = answered(ask)
    assert not allowed
    assert "It was not promoted to production." in message
    assert f"Way out: Promote it: secguard promote {GOOD} --to production" in message
    promoted(asking, environment="staging")
    assert "It was not promoted to production; it stands in staging." in answered(ask)[1]
    promoted(asking)
    assert answered(ask) == (True, "")


def test_a_promotion_counts_as_long_as_its_key_and_nobody_called_it_back(ask: Any, asking: SigningKey) -> None:
    stated = promoted(asking)
    assert answered(ask)[0]
    rotate_key(asking.pk, overlap_days=10, actor=None)
    assert answered(ask)[0], "within the overlap"
    revoke_key(asking.pk, "lost", actor=None)
    assert not answered(ask)[0]
    SigningKey.objects.filter(pk=asking.pk).update(status="retiring", counts_until=timezone.now() + timedelta(days=1))
    assert answered(ask)[0]
    recall(digest(1), "A backdoor", actor=None)
    allowed, message = answered(ask)
    assert not allowed
    assert "It was called back: A backdoor." in message
    stated.refresh_from_db()
    assert stated.withdrawn_at is not None


def test_the_mutating_webhook_pins_only_what_was_promoted(ask: Any, asking: SigningKey) -> None:
    body = review(pod(f"{WEB}:1"))
    assert "patch" not in ask("mutate", body)["response"]
    promoted(asking)
    assert "patch" in ask("mutate", body)["response"]


def test_what_runs_has_no_grace_where_it_was_not_promoted(ask: Any, asking: SigningKey, gate: Any) -> None:
    from secguard.workloads.models import Workload

    running = Workload.objects.create(cluster=gate[0].cluster, namespace="shop", name="web")
    running.images.add(Image.objects.get(digest=digest(1)))
    assert not answered(ask)[0]


def test_a_signature_counts_by_its_key_and_in_the_repository_that_is_named(
    ask: Any, gate: Any, images: None, application: Any
) -> None:
    key = create_key("release", NewKey(), actor=None)
    vendor = trust_key(Trust("Vendor", _public(), "reg.example/**"), actor=None)
    services.edit_gate(gate[0].pk, services.GateEdit(signers=["release"]), actor=None)
    assert f"Nobody whose signature counts here signed it in {WEB}." in answered(ask)[1]
    signed(trusted_key=vendor)
    assert "it is signed by Vendor" in answered(ask)[1]
    services.edit_gate(gate[0].pk, services.GateEdit(signers=["release", "Vendor"]), actor=None)
    assert answered(ask)[0]
    TrustedKey.objects.update(status="withdrawn", withdrawn_at=timezone.now())
    assert not answered(ask)[0]
    row = signed(signing_key=key)
    assert answered(ask)[0]
    Signature.objects.filter(pk=row.pk).update(gone_at=timezone.now())
    assert not answered(ask)[0], "it was not there any more when somebody looked"


def test_a_signature_that_is_none_counts_for_nobody(ask: Any, gate: Any, images: None, application: Any) -> None:
    create_key("release", NewKey(), actor=None)
    services.edit_gate(gate[0].pk, services.GateEdit(signers=["release"]), actor=None)
    signed(problem="It was made for another image.")
    signed()
    assert not answered(ask)[0]


def test_only_what_there_is_can_be_asked_for(asking: SigningKey, gate: Any, administrator: Any) -> None:
    for edit, words in (
        (services.GateEdit(environment="live"), "known: production"),
        (services.GateEdit(environment="build"), "known: production"),
        (services.GateEdit(signers=["nobody"]), "known: release"),
    ):
        with pytest.raises(Invalid, match=words):
            services.edit_gate(gate[0].pk, edit, actor=administrator)
    services.edit_gate(gate[0].pk, services.GateEdit(environment="", signers=[]), actor=administrator)
    assert ClusterGate.objects.get().rules.environment == ""


def test_the_form_offers_what_there_is(asking: SigningKey, gate: Any, operator: Any) -> None:
    page = operator.client.get(f"/settings/clusters/{gate[0].pk}/").content.decode()
    assert '<option value="production" selected>production</option>' in page
    assert "release" in page


def test_an_index_is_asked_for_by_its_own_digest(ask: Any, asking: SigningKey) -> None:
    from secguard.images.models import Index, IndexImage

    index = Index.objects.create(digest=digest(70))
    IndexImage.objects.create(index=index, image=Image.objects.get(digest=digest(1)), platform="linux/amd64")
    assert not answered(ask, f"{WEB}@{digest(70)}")[0]
    promoted(asking, 70)
    assert answered(ask, f"{WEB}@{digest(70)}")[0]


def test_asking_costs_one_query_each_however_many_images(ask: Any, asking: SigningKey, gate: Any) -> None:
    services.edit_gate(gate[0].pk, services.GateEdit(signers=["release"]), actor=None)
    several = [f"{WEB}@{digest(n)}" for n in range(1, 21)]
    ask("validate", review(pod(*several)))  # so that each has a verdict that is stored
    with CaptureQueriesContext(connection) as one:
        ask("validate", review(pod(GOOD), dryRun=True))
    with CaptureQueriesContext(connection) as many:
        ask("validate", review(pod(*several), dryRun=True))
    assert len(many) <= len(one) + 2, "and two for decisions that ended, where one of them blocks"


def _public() -> str:
    from secguard.signing import ecdsa

    return ecdsa.generate().public.pem
