"""Signing asked for, done by a worker on a real registry, and kept."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from django.utils import timezone

from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.images.models import ImageRepository, Registry
from secguard.images.reference import parse
from secguard.images.services import RegistryEdit, add_registry, ensure_image, ensure_repository
from secguard.signing import ecdsa, services, simplesigning
from secguard.signing.models import Signature
from secguard.signing.services import Ask, Trust
from secguard.signing.simplesigning import Payload
from secguard.signing.verification import Standing
from tests.dashboards.test_workloads import said
from tests.imagebuilding import image_of, tar_of
from tests.signing.putting import put_signature

pytestmark = pytest.mark.django_db


@pytest.fixture
def registry(secure_registry):
    access = secure_registry.access
    edit = RegistryEdit(username=access.username, password=access.password, ca_certificate=access.ca_certificate)
    add_registry(access.host, edit, actor=None)
    return secure_registry


@pytest.fixture
def repository(registry, application):
    return ensure_repository(parse(f"{registry.host}/jobs/api:x"), application=application)


@pytest.fixture
def image(registry, repository):
    digest = registry.push(repository.path, "latest", image_of(tar_of({"etc/id": os.urandom(8)})))
    made = ensure_image(digest, at=timezone.now())
    ImageRepository.objects.create(image=made, repository=repository)
    return made


def rows(person, image) -> list[tuple[str, str, str]]:
    answer = person.api.get(f"/api/v1/images/{image.digest}/signatures/")
    assert answer.status_code == 200, answer.content
    return sorted((row["form"], row["standing"], row["by"]) for row in answer.json()["results"])


OURS = [("bundle", "trusted", "production"), ("tag", "trusted", "production")]


def test_an_image_is_signed_and_everybody_who_sees_it_reads_whose_signature_that_is(
    image, repository, make_key, operator, viewer, stranger, run_jobs
):
    make_key()
    body = {"repository": repository.name, "key": "production"}
    asked = operator.api.post(f"/api/v1/images/{image.digest}/signatures/", body)
    assert (asked.status_code, asked.json()["status"]) == (202, "queued")
    run_jobs()
    job = operator.api.get(f"/api/v1/images/{image.digest}/signatures/job/?repository={repository.name}").json()
    assert (job["status"], job["result"]) == ("succeeded", {"signatures": 2, "trusted": 2}), job
    assert rows(viewer, image) == OURS
    assert stranger.api.get(f"/api/v1/images/{image.digest}/signatures/").status_code == 404
    entry = AuditEntry.objects.get(action="signature:request")
    assert (entry.actor, entry.details["key"], entry.team_id) == (
        "operator", "production", repository.application.team_id,
    )  # fmt: skip


def test_looking_again_adds_nothing_and_sees_what_is_new_and_what_is_gone(
    image, repository, registry, make_key, operator, run_jobs
):
    vendor = ecdsa.generate()
    make_key()

    def go(**asked: str) -> None:
        services.ask(image, Ask(repository.name, **asked), actor=operator)
        assert run_jobs()

    go(key="production")
    first = list(Signature.objects.order_by("pk").values_list("pk", "first_seen_at"))
    go()
    assert list(Signature.objects.order_by("pk").values_list("pk", "first_seen_at")) == first
    payload = simplesigning.encode(Payload(repository.name, image.digest))
    from secguard.images.services import pusher_of

    with pusher_of(Registry.objects.get(host=registry.host)) as client:
        put_signature(client, repository.path, image.digest, payload, vendor.sign(payload))
    go()
    assert rows(operator, image) == [*OURS, ("tag", "unknown", "")]
    services.trust_key(Trust("Vendor", vendor.public.pem, f"{registry.host}/**"), actor=None)
    go()
    assert rows(operator, image) == sorted([*OURS, ("tag", "trusted", "Vendor")])
    services.keep(repository, image.digest, [], timezone.now())
    assert {row.standing for row in Signature.objects.all()} == {Standing.UNKNOWN}
    assert not Signature.objects.filter(gone_at=None).exists()


def test_a_revoked_key_takes_its_signatures_with_it_without_another_look(
    image, repository, make_key, operator, run_jobs
):
    key = make_key()
    services.ask(image, Ask(repository.name, "production"), actor=operator)
    run_jobs()
    new = services.rotate_key(key.pk, overlap_days=10, actor=None)
    assert rows(operator, image) == OURS
    row = Signature.objects.select_related("signing_key", "trusted_key").first()
    assert row.standing_at(timezone.now() + timedelta(days=11)) == Standing.UNKNOWN
    services.revoke_key(key.pk, "lost", actor=None)
    assert rows(operator, image) == [("bundle", "unknown", "production"), ("tag", "unknown", "production")]
    services.ask(image, Ask(repository.name, new.name), actor=operator)
    run_jobs()
    assert [standing for _, standing, _ in rows(operator, image)].count("trusted") == 2


def test_who_may_not_sign_does_not(image, repository, make_key, developer, reviewer, stranger):
    make_key()
    for actor, refusal in ((developer, NotAllowed), (reviewer, NotAllowed), (stranger, NotFound)):
        with pytest.raises(refusal):
            services.ask(image, Ask(repository.name, "production"), actor=actor)
    assert not AuditEntry.objects.filter(action="signature:request").exists()


def test_what_cannot_be_asked_for_is_told(image, repository, registry, make_key, operator):
    with pytest.raises(NotFound, match="No key 'production' signs"):
        services.ask(image, Ask(repository.name, "production"), actor=operator)
    with pytest.raises(NotFound, match="does not lie in"):
        services.ask(image, Ask("elsewhere.example/x"), actor=operator)
    assert services.latest_job(image, repository.name, actor=operator) is None
    assert operator.api.get(f"/api/v1/images/{image.digest}/signatures/job/").json()["status"] == "none"
    make_key()
    services.ask(image, Ask(repository.name), actor=operator)
    with pytest.raises(Conflict, match="Ask again"):
        services.ask(image, Ask(repository.name, "production"), actor=operator)
    Registry.objects.update(configured_at=None)
    with pytest.raises(Invalid, match="nobody has set that registry up"):
        services.ask(image, Ask(repository.name), actor=operator)


def test_a_request_that_fails_says_why(image, repository, registry, make_key, operator, run_jobs):
    make_key()
    Registry.objects.filter(host=registry.host).update(username="", sealed_password="")
    services.ask(image, Ask(repository.name, "production"), actor=operator)
    run_jobs()
    job = services.latest_job(image, actor=operator)
    assert job is not None
    assert (job.status, "anonymous" in job.error) == ("failed", True)
    assert not Signature.objects.exists()


def test_what_a_worker_signs_is_shown_on_the_images_page(image, repository, make_key, operator, viewer, run_jobs):
    make_key()
    path = f"/images/{image.digest}/"
    words = {"repository": repository.name, "act": "sign", "key": "production"}
    assert operator.client.post(f"{path}signatures/", words).status_code == 303
    run_jobs()
    shown = said(viewer.client.get(path).content.decode())
    assert shown.count("Trusted Signature by our key production") == 2
    assert "In the image's signature tag" in shown
    assert "In a bundle that refers to the image" in shown
