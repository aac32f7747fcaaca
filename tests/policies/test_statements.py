"""What goes along with an image: its verdict, its decisions and its SBOM, signed, beside it in a registry."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess

import pytest
from django.conf import settings
from django.utils import timezone

from secguard.decisions import queries, services
from secguard.findings.models import Risk
from secguard.images.adapters.pushing import PushingClient
from secguard.images.models import Image, Repository
from secguard.images.services import RegistryEdit, edit_registry
from secguard.policies.facts import Gate
from secguard.policies.queries import statements_of
from secguard.policies.services import active_version, verdict_of
from secguard.signing import ecdsa, statements
from secguard.signing import services as signing
from secguard.signing.dsse import decode
from tests.fixtures_reports import flaw, report
from tests.imagebuilding import image_of, tar_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def judged(plain_registry, post, application, developer, reviewer, run_jobs):
    """(image, repository) of a pushed image with a blocking flaw that is accepted for the repository."""
    digest = plain_registry.push("shop/stated", "1", image_of(tar_of({"etc/id": os.urandom(8)})))
    reference = f"{plain_registry.host}/shop/stated:1"
    flaws = [flaw("CVE-2026-1", severity="critical", fixed_versions=["9"]), flaw("CVE-2026-2", "zlib", severity="low")]
    installed = [{"purl": f"pkg:deb/debian/{name}@1.1.1"} for name in ("openssl", "zlib")]
    document = report(*flaws, components=installed, image={"reference": reference, "digest": digest})
    post(document, developer, application=application.slug)
    run_jobs()
    return Image.objects.get(digest=digest), Repository.objects.get()


def accept(repository, developer, reviewer, kind: str = "accept") -> int:
    scope = queries.find_scope(developer, "repository", repository.name)
    risk = Risk.objects.get(vulnerability__name="CVE-2026-1")
    ends = timezone.now() + timezone.timedelta(days=5)
    asked = services.request_decision(services.Ask(risk.pk, kind, scope, "Not called.", ends), actor=developer)
    services.approve(asked.pk, actor=reviewer)
    return asked.pk


def told(image, repository) -> dict[str, dict]:
    now = timezone.now()
    found = statements_of(verdict_of(image, Gate.PROMOTE), repository, now)
    assert all(one.is_about(image.digest) for one in found)
    return {one.predicate_type: json.loads(statements.encode(one))["predicate"] for one in found}


def test_a_blocked_image_says_failed_and_names_the_policy(judged):
    image, repository = judged
    said = told(image, repository)
    summary = said[statements.VERIFICATION_SUMMARY]
    version = active_version()
    assert summary["verificationResult"] == "FAILED"
    assert summary["policy"] == {
        "uri": f"{settings.PUBLIC_URL}/policy/{version.pk}/",
        "digest": {"sha256": version.sha256},
    }
    assert summary["resourceUri"] == f"{repository.name}@{image.digest}"
    assert said[statements.OPENVEX]["statements"] == []


def test_a_decision_lets_it_pass_and_is_named_in_both(judged, developer, reviewer, run_jobs):
    image, repository = judged
    decision = accept(repository, developer, reviewer)
    run_jobs()
    said = told(image, repository)
    summary = said[statements.VERIFICATION_SUMMARY]
    assert summary["verificationResult"] == "PASSED", summary
    assert summary[statements.DECISIONS] == [decision]
    (vex,) = said[statements.OPENVEX]["statements"]
    assert (vex["vulnerability"]["name"], vex["status"]) == ("CVE-2026-1", "affected")
    assert vex["products"][0]["subcomponents"] == [{"@id": "pkg:deb/debian/openssl@1.1.1"}]
    assert "Not called" not in json.dumps(said)
    services.revoke(decision, actor=reviewer, reason="over")
    assert told(image, repository)[statements.OPENVEX]["statements"] == []


def test_the_sbom_is_the_image_s_own_and_left_out_where_nobody_listed_any(judged):
    image, repository = judged
    names = {component["name"] for component in told(image, repository)[statements.CYCLONEDX]["components"]}
    assert {"openssl", "zlib"} <= names
    image.components.all().delete()
    assert statements.CYCLONEDX not in told(image, repository)


TYPES = {statements.VERIFICATION_SUMMARY, statements.OPENVEX, statements.CYCLONEDX}


def test_all_of_it_is_signed_beside_the_image_on_request(
    judged, plain_registry, developer, reviewer, operator, run_jobs
):
    image, repository = judged
    accept(repository, developer, reviewer)
    run_jobs()
    edit = RegistryEdit(uses_plain_http=True)
    edit_registry(repository.registry_id, edit, actor=None)
    key = signing.create_key("production", signing.NewKey(), actor=None)
    path = f"/api/v1/images/{image.digest}/signatures/"
    body = {"repository": repository.name, "key": "production", "attest": True}
    assert operator.api.post(path, body).status_code == 202
    run_jobs()
    assert operator.api.get(f"{path}job/").json()["error"] == ""
    rows = operator.api.get(path).json()["results"]
    assert sorted((row["form"], row["predicate_type"]) for row in rows if row["predicate_type"] in TYPES) == sorted(
        (form, kind) for kind in TYPES for form in ("attestation-tag", "bundle")
    )
    assert {row["standing"] for row in rows} == {"trusted"}
    with PushingClient(plain_registry.access) as client:
        tag = client.resolve(repository.path, f"{image.digest.replace(':', '-')}.att")
        envelopes = [decode(client.small_blob(repository.path, layer)) for layer in tag.parse().layers]
    public = ecdsa.load_public(key.public_pem)
    assert all(one.signers([public]) for one in envelopes)
    assert {statements.decode(one.payload).predicate_type for one in envelopes} == TYPES


@pytest.mark.skipif(shutil.which("cosign") is None, reason="needs cosign on the PATH (Debian has it from trixie on)")
def test_cosign_s_policies_find_what_they_check(judged, plain_registry, tmp_path):
    """What Kyverno, policy-controller and Ratify ask cosign's library: by key, digest and predicate type."""
    image, repository = judged
    key = signing.create_key("production", signing.NewKey(), actor=None)
    with PushingClient(plain_registry.access) as client:
        said = statements_of(verdict_of(image, Gate.PROMOTE), repository, timezone.now())
        signing.attest(client, repository, image.digest, said, key)
    (tmp_path / "key.pub").write_text(key.public_pem)
    options = ["--key", str(tmp_path / "key.pub"), "--insecure-ignore-tlog=true", "--allow-http-registry=true"]
    for kind in (statements.OPENVEX, "cyclonedx", statements.VERIFICATION_SUMMARY):
        command = ["cosign", "verify-attestation", *options, "--type", kind, f"{repository.name}@{image.digest}"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found = [json.loads(base64.b64decode(json.loads(line)["payload"])) for line in done.stdout.splitlines() if line]
        assert [one["subject"][0]["digest"]["sha256"] for one in found] == [image.digest.partition(":")[2]]
