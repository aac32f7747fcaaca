"""Whether what runs was promoted, is signed, and was not called back: kept, missing, not measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from secguard.signing.models import SigningKey
from secguard.signing.statements import PROMOTION
from tests.measuring import DAY, NOW, image_in, outcome, outcomes, repository_of, rows_behind, run

pytestmark = pytest.mark.django_db

NAMES = ("running-promoted", "running-signed", "running-not-recalled")


def attest(image: Any, key: SigningKey, digest: str = "", **columns: Any) -> Any:
    from secguard.signing.models import Attestation

    return Attestation.objects.create(
        digest=digest or image.digest, repository=image.places.get().repository, signing_key=key, made_at=NOW,
        **{"predicate_type": PROMOTION, "environment": "production"} | columns,
    )  # fmt: skip


def sign(image: Any, digest: str = "", **columns: Any) -> Any:
    from secguard.signing.models import Signature

    return Signature.objects.create(
        digest=digest or image.digest, repository=image.places.get().repository, form="tag", place="x",
        identity=f"{image.pk}-{sorted(columns)}-{digest[-4:]}"[-64:], first_seen_at=NOW, verified_at=NOW, **columns,
    )  # fmt: skip


@pytest.fixture
def running(application: Any) -> Any:
    """An image that a workload of the application runs."""
    image = image_in(repository_of(application))
    run(application, image)
    return image


@pytest.fixture
def strange(other_application: Any) -> Any:
    image = image_in(repository_of(other_application))
    run(other_application, image)
    return image


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_measured_where_nothing_runs(application: Any, strange: Any, name: str) -> None:
    image_in(repository_of(application))
    assert outcome(name, application).state == "unmeasured"


# --- promoted ---


def test_all_that_runs_has_to_be_promoted(
    application: Any, running: Any, strange: Any, make_key: Callable[..., SigningKey], viewer: Any
) -> None:
    attest(strange, make_key())
    found = outcome("running-promoted", application)
    assert (found.state, found.says) == ("missing", "1 of 1 running image: never promoted.")
    ((_, path),) = found.links
    assert [row["Digest"] for row in rows_behind(viewer, path)] == [running.digest]
    attest(running, make_key("other"))
    assert outcome("running-promoted", application).state == "kept"


@pytest.mark.parametrize("columns", [{"withdrawn_at": NOW}, {"predicate_type": "urn:other"}])
def test_what_was_withdrawn_or_says_something_else_is_no_promotion(
    application: Any, running: Any, make_key: Callable[..., SigningKey], columns: dict[str, Any]
) -> None:
    attest(running, make_key(), **columns)
    assert outcome("running-promoted", application).state == "missing"


@pytest.mark.parametrize("status", ["retired", "revoked"])
def test_a_key_that_counts_no_more_takes_its_statements_with_it(
    application: Any, running: Any, make_key: Callable[..., SigningKey], status: str
) -> None:
    key = make_key()
    attest(running, key)
    sign(running, signing_key=key)
    SigningKey.objects.update(status=status, sealed_private="", ended_at=NOW)
    assert outcome("running-promoted", application).state == "missing"
    assert outcome("running-signed", application).state == "missing"


def test_a_retiring_key_counts_until_its_overlap_ends(
    application: Any, running: Any, make_key: Callable[..., SigningKey]
) -> None:
    key = make_key()
    attest(running, key)
    sign(running, signing_key=key)
    SigningKey.objects.update(status="retiring", sealed_private="", counts_until=NOW + DAY)
    for name in ("running-promoted", "running-signed"):
        found = outcome(name, application)
        assert (found.state, found.changes_at) == ("kept", NOW + DAY)
        assert outcome(name, application, NOW + DAY).state == "missing"


def test_a_platform_of_an_index_is_promoted_and_signed_with_it(
    application: Any, running: Any, make_key: Callable[..., SigningKey]
) -> None:
    from secguard.images.models import Index, IndexImage
    from tests.fixtures_reports import digest

    index = Index.objects.create(digest=digest(7))
    IndexImage.objects.create(index=index, image=running, platform="linux/amd64")
    key = make_key()
    attest(running, key, digest=index.digest)
    sign(running, digest=index.digest, signing_key=key)
    assert outcome("running-promoted", application).state == "kept"
    assert outcome("running-signed", application).state == "kept"


# --- signed ---


def test_a_signature_counts_by_the_key_that_made_it(
    application: Any, running: Any, strange: Any, make_key: Callable[..., SigningKey], viewer: Any
) -> None:
    sign(strange, signing_key=make_key())
    sign(running)  # nobody's
    sign(running, signing_key=make_key("gone"), gone_at=NOW)
    sign(running, signing_key=make_key("sbom"), predicate_type="https://cyclonedx.org/bom", docker_reference="x")
    ours, theirs = outcomes("running-signed", [application, strange.places.get().repository.application])
    assert (ours.state, theirs.state) == ("missing", "kept")
    ((_, path),) = ours.links
    assert [row["Digest"] for row in rows_behind(viewer, path)] == [running.digest]


def test_a_trusted_key_counts_as_long_as_it_is_trusted(application: Any, running: Any) -> None:
    from secguard.signing.models import TrustedKey

    key = TrustedKey.objects.create(
        name="Vendor", fingerprint="sha256:1", public_pem="x", repositories="**", valid_until=NOW + DAY
    )
    sign(running, trusted_key=key)
    found = outcome("running-signed", application)
    assert (found.state, found.changes_at) == ("kept", NOW + DAY)
    assert outcome("running-signed", application, NOW + DAY).state == "missing"


# --- called back ---


def test_what_was_called_back_must_not_run(application: Any, running: Any, strange: Any, viewer: Any) -> None:
    from secguard.signing.models import Recall

    def recall(image: Any) -> Any:
        return Recall.objects.create(digest=image.digest, asked_digest=image.digest, reason="Leaks.", recalled_at=NOW)

    recall(strange)
    assert outcome("running-not-recalled", application).state == "kept"
    made = recall(running)
    found = outcome("running-not-recalled", application)
    assert (found.state, found.says) == ("missing", "1 of 1 running image: called back.")
    ((_, path),) = found.links
    assert [row["Digest"] for row in rows_behind(viewer, path)] == [running.digest]
    Recall.objects.filter(pk=made.pk).update(lifted_at=NOW)
    assert outcome("running-not-recalled", application).state == "kept"
