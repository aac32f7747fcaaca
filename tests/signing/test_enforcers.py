"""The policies for other enforcers, held against real signatures and attestations in a real registry."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from secguard.images.adapters.pushing import PushingClient
from secguard.images.models import Registry, Repository
from secguard.images.reference import parse
from secguard.images.services import ensure_repository
from secguard.signing import services, statements
from secguard.signing.models import SigningKey
from secguard.signing.statements import PolicyRef, Promoted, Subject, Summary
from tests.fixtures_registries import RunningRegistry
from tests.imagebuilding import image_of, tar_of
from tests.signing.enforcing import ENFORCERS, FOLDER, REPOSITORIES, Target, allows, filled, rego
from tests.signing.enforcing import statements as statements_of

pytestmark = pytest.mark.django_db
PAGE = Path(__file__).parents[2] / "docs" / "enforcers.md"
NOW = datetime.now(UTC).replace(microsecond=0)
PATH = "production/api"


@dataclass
class Shop:
    """A registry with images, the keys, and what can be said of an image."""

    running: RunningRegistry
    client: PushingClient
    production: SigningKey
    other: SigningKey

    @property
    def repository(self) -> Repository:
        Registry.objects.get_or_create(host=self.running.host)
        return ensure_repository(parse(f"{self.running.host}/{PATH}:x"), application=None)

    def push(self) -> str:
        return self.running.push(PATH, "latest", image_of(tar_of({"etc/id": os.urandom(8)})))

    def sign(self, digest: str, key: SigningKey | None = None) -> None:
        services.sign_image(self.client, self.repository, digest, key or self.production)

    def attest(self, digest: str, said: statements.Statement, key: SigningKey | None = None) -> None:
        services.attest(self.client, self.repository, digest, [said], key or self.production)

    def promote(self, digest: str, environment: str = "production", key: SigningKey | None = None) -> None:
        name = self.repository.name
        said = Promoted(environment, "build.example/api", name, digest, NOW, "ann", ("ben",), "7", "PASSED")
        self.attest(digest, statements.promotion(Subject(digest, name), said), key)

    def judge(self, digest: str, *, passed: bool = True, days_ago: int = 0, key: SigningKey | None = None) -> None:
        at = NOW - timedelta(days=days_ago)
        policy = PolicyRef("https://secguard.example/policies/1/", "a" * 64)
        made = Summary("https://secguard.example", "1", self.repository.name, policy, passed, at, (3,), ("SECGUARD",))
        self.attest(digest, statements.verification_summary(Subject(digest, self.repository.name), made), key)

    def replay(self, of: str, on: str) -> None:
        """Everything that was said of one image, put beside another."""
        for suffix in ("sig", "att"):
            source, to = (f"/v2/{PATH}/manifests/{d.replace(':', '-')}.{suffix}" for d in (of, on))
            manifest = self.running.writer.get(source, headers={"Accept": MANIFEST}).raise_for_status()
            put = self.running.writer.put(to, content=manifest.content, headers={"Content-Type": MANIFEST})
            put.raise_for_status()

    def target(self, digest: str) -> Target:
        return Target(self.running.writer, self.running.host, PATH, digest, NOW)


MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def shop(plain_registry: RunningRegistry, make_key: Callable[..., SigningKey]) -> Iterator[Shop]:
    with PushingClient(plain_registry.access, sleep=lambda _: None) as client:
        yield Shop(plain_registry, client, make_key("production"), make_key("staging"))


# Situations: what was done with an image, as ``make(shop, digest)``.


def promoted(shop: Shop, digest: str) -> None:
    shop.sign(digest)
    shop.judge(digest)
    shop.promote(digest)


def came_by_staging(shop: Shop, digest: str) -> None:
    """Promoted to staging before, with staging's key; its statements were copied along."""
    shop.sign(digest, shop.other)
    shop.judge(digest, passed=False, key=shop.other)
    shop.promote(digest, "staging", shop.other)
    promoted(shop, digest)


def only_to_staging(shop: Shop, digest: str) -> None:
    shop.sign(digest)
    shop.judge(digest)
    shop.promote(digest, "staging")


def failed(shop: Shop, digest: str) -> None:
    shop.sign(digest)
    shop.judge(digest, passed=False)
    shop.promote(digest)


def failed_before(shop: Shop, digest: str) -> None:
    shop.judge(digest, passed=False, days_ago=2)
    promoted(shop, digest)


def long_ago(shop: Shop, digest: str) -> None:
    shop.sign(digest)
    shop.judge(digest, days_ago=31)
    shop.promote(digest)


def judged_again(shop: Shop, digest: str) -> None:
    long_ago(shop, digest)
    shop.judge(digest, days_ago=29)


def signed_alone(shop: Shop, digest: str) -> None:
    shop.sign(digest)


def attested_alone(shop: Shop, digest: str) -> None:
    shop.judge(digest)
    shop.promote(digest)


def by_another_key(shop: Shop, digest: str) -> None:
    shop.sign(digest, shop.other)
    shop.judge(digest, key=shop.other)
    shop.promote(digest, key=shop.other)


def of_another_digest(shop: Shop, digest: str) -> None:
    good = shop.push()
    promoted(shop, good)
    shop.replay(good, digest)


def nothing(shop: Shop, digest: str) -> None:
    return


SITUATIONS: dict[Callable[[Shop, str], None], str] = {
    # Kyverno, policy-controller, Ratify, containers/image
    promoted: "yes yes yes yes",
    came_by_staging: "yes yes yes yes",
    only_to_staging: "no no yes yes",
    failed: "no no yes yes",
    failed_before: "no yes yes yes",
    long_ago: "yes no yes yes",
    judged_again: "yes yes yes yes",
    signed_alone: "no no yes yes",
    attested_alone: "no no no no",
    by_another_key: "no no no no",
    of_another_digest: "no no no no",
    nothing: "no no no no",
}


@pytest.mark.parametrize("make", SITUATIONS, ids=lambda made: made.__name__)
def test_each_policy_lets_run_what_it_says(make: Callable[[Shop, str], None], shop: Shop) -> None:
    digest = shop.push()
    make(shop, digest)
    repositories = f"{shop.running.host}/production"
    found = [allows(name, shop.production.public_pem, repositories, shop.target(digest)) for name in ENFORCERS]
    assert dict(zip(ENFORCERS, found, strict=True)) == dict(
        zip(ENFORCERS, [word == "yes" for word in SITUATIONS[make].split()], strict=True)
    )


@pytest.mark.parametrize("name", ENFORCERS)
def test_a_policy_as_it_is_shipped_lets_nothing_run(name: str, shop: Shop) -> None:
    """Its place for the key holds no key: forgetting to put one in opens nothing."""
    file, _ = ENFORCERS[name]
    text = (FOLDER / file).read_text()
    if name == "containers/image":
        assert not Path(json.loads(text)["transports"]["docker"][REPOSITORIES][0]["keyPath"]).exists()
        return
    assert "the key at https://secguard.example.org/keys/production.pem" in text
    digest = shop.push()
    promoted(shop, digest)
    with pytest.raises(ValueError, match="PEM"):
        allows(
            name, "\n".join(["-", "the key at nowhere", "-"]), f"{shop.running.host}/production", shop.target(digest)
        )


def test_while_a_key_is_rotated_either_counts(shop: Shop) -> None:
    """The keys' address serves both; Kyverno's policy takes them one below the other."""
    before, after = shop.push(), shop.push()
    promoted(shop, before)
    old = shop.production
    new = services.rotate_key(old.pk, actor=None)
    promoted(replace(shop, production=new), after)
    text = (FOLDER / "kyverno.yaml").read_text()
    repositories = f"{shop.running.host}/production"
    policy = yaml.safe_load(filled(text, old.public_pem, repositories))
    keys = policy["spec"]["rules"][0]["verifyImages"][0]["attestors"][0]["entries"][0]["keys"]
    _, judge = ENFORCERS["Kyverno"]
    for served, expected in ((old.public_pem, [True, False]), (new.public_pem + old.public_pem, [True, True])):
        keys["publicKeys"] = served
        assert [judge(yaml.safe_dump(policy), shop.target(digest)) for digest in (before, after)] == expected


# The page -------------------------------------------------------------------------------------------------------------


def test_the_page_has_the_files_as_they_are() -> None:
    blocks = re.findall(r"^```(?:yaml|json)\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    files = [p for p in sorted(FOLDER.rglob("*")) if p.is_file()]
    assert sorted(blocks) == sorted(p.read_text() for p in files)
    for file in files:
        assert f"deploy/enforcers/{file.relative_to(FOLDER)}" in PAGE.read_text()


def test_the_page_s_table_is_what_was_found() -> None:
    rows = re.findall(r"^\| (.+?) \| (yes|no) \| (yes|no) \| (yes|no) \| (yes|no) \|$", PAGE.read_text(), re.M)
    assert [" ".join(row[1:]) for row in rows] == list(SITUATIONS.values())


# The programs themselves ----------------------------------------------------------------------------------------------


def modules() -> dict[str, str]:
    """The Rego in policy-controller's policy, by the type that it is about."""
    policies = list(yaml.safe_load_all((FOLDER / "policy-controller.yaml").read_text()))
    wanted = [w for p in policies for a in p["spec"]["authorities"] for w in a.get("attestations", ())]
    return {w["predicateType"]: w["policy"]["data"] for w in wanted}


def test_a_whole_rego_engine_judges_alike(shop: Shop) -> None:
    """Each statement that lies beside an image, by the module of its type; the instant is the engine's own."""
    regorus: Any = pytest.importorskip("regorus", reason="needs Python bindings of regorus, an engine for Rego")
    found = []
    for make in (promoted, only_to_staging, failed, long_ago, judged_again):
        digest = shop.push()
        make(shop, digest)
        for kind, module in modules().items():
            for statement in statements_of(shop.target(digest), shop.production.public_pem, kind):
                engine = regorus.Engine()
                engine.set_rego_v0(True)
                engine.add_policy("policy.rego", module)
                engine.set_input_json(json.dumps(statement))
                found.append(engine.eval_rule("data.sigstore.isCompliant"))
                assert found[-1] is rego(module, statement, datetime.now(UTC))
    assert (found.count(True), found.count(False)) == (7, 4)


@pytest.fixture
def cosign(shop: Shop, tmp_path: Path) -> Callable[..., bool]:
    """Whether cosign finds an attestation of that type, by that key."""
    program = shutil.which("cosign")
    if program is None:
        pytest.skip("needs cosign on the PATH (scripts/get-programs)")

    def verifies(digest: str, key: SigningKey, kind: str) -> bool:
        (tmp_path / "key.pub").write_text(key.public_pem)
        words = ["--key", str(tmp_path / "key.pub"), "--insecure-ignore-tlog=true", "--allow-http-registry=true"]
        verify = [program, "verify-attestation", *words, "--type", kind, f"{shop.repository.name}@{digest}"]
        return subprocess.run(verify, capture_output=True).returncode == 0

    return verifies


def test_cosign_finds_what_the_policies_name(cosign: Callable[..., bool], shop: Shop) -> None:
    """Kyverno and policy-controller verify with cosign's own packages."""
    good, replayed, unattested = shop.push(), shop.push(), shop.push()
    promoted(shop, good)
    shop.replay(good, replayed)
    signed_alone(shop, unattested)
    for kind in modules():
        assert cosign(good, shop.production, kind)
        assert not cosign(good, shop.other, kind)
        assert not cosign(replayed, shop.production, kind)
        assert not cosign(unattested, shop.production, kind)


def test_the_engine_here_knows_what_is_missing() -> None:
    """A statement without the member is refused, as by Rego and not as by CUE."""
    for kind, module in modules().items():
        assert not rego(module, {"predicateType": kind, "predicate": {}}, NOW)


def skopeo_version(program: str) -> tuple[int, ...]:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in re.findall(r"\d+", said)[:2])


@pytest.fixture
def skopeo(shop: Shop, tmp_path: Path) -> Callable[..., bool]:
    """Whether skopeo copies an image under the shipped policy.json and registries.d, with that key in its place."""
    program = shutil.which("skopeo")
    if program is None or skopeo_version(program) < (1, 11):
        pytest.skip("needs skopeo 1.11 (bookworm's has sigstore taken out; scripts/get-programs)")
    repositories, home = f"{shop.running.host}/production", tmp_path / "containers"
    shutil.copytree(FOLDER / "containers", home)
    for file in (p for p in home.rglob("*") if p.is_file()):
        text = file.read_text().replace("/etc/containers/secguard-production.pem", str(home / "key.pem"))
        file.write_text(filled(text, "", repositories))

    def copies(reference: str, key: SigningKey, *, keypath: str = "") -> bool:
        (home / "key.pem").write_text(key.public_pem)
        options = [f"--policy={home / 'policy.json'}", f"--registries.d={home / 'registries.d'}"]
        to = tmp_path / "copied"
        shutil.rmtree(to, ignore_errors=True)
        words = [program, *options, "copy", "--src-tls-verify=false", f"docker://{reference}", f"dir:{to}"]
        done = subprocess.run([*words, "--remove-signatures"], capture_output=True, text=True)
        assert done.returncode == 0 or "Source image rejected" in done.stderr, done.stderr
        return done.returncode == 0

    return copies


def test_skopeo_accepts_what_was_signed_and_nothing_else(skopeo: Callable[..., bool], shop: Shop) -> None:
    good, replayed, unsigned = shop.push(), shop.push(), shop.push()
    promoted(shop, good)
    shop.replay(good, replayed)
    name = shop.repository.name
    assert skopeo(f"{name}@{good}", shop.production)
    assert not skopeo(f"{name}@{good}", shop.other)
    assert not skopeo(f"{name}@{replayed}", shop.production)
    assert not skopeo(f"{name}@{unsigned}", shop.production)
    # Elsewhere than in the repositories that the policy names nothing is accepted.
    shop.running.push("elsewhere/api", "1", image_of(tar_of({"a": b"b"})))
    assert not skopeo(f"{shop.running.host}/elsewhere/api:1", shop.production)


def test_skopeo_refuses_a_payload_that_was_altered(skopeo: Callable[..., bool], shop: Shop) -> None:
    digest = shop.push()
    promoted(shop, digest)
    tag = f"/v2/{PATH}/manifests/{digest.replace(':', '-')}.sig"
    manifest: dict[str, Any] = shop.running.writer.get(tag, headers={"Accept": MANIFEST}).json()
    file = shop.running.blob_file(manifest["layers"][0]["digest"])
    raw = file.read_bytes()
    assert skopeo(f"{shop.repository.name}@{digest}", shop.production)
    file.write_bytes(raw.replace(b'"optional"', b'"Optional"'))
    try:
        assert not skopeo(f"{shop.repository.name}@{digest}", shop.production)
    finally:
        file.write_bytes(raw)


def test_skopeo_refuses_a_signature_of_another_repository(skopeo: Callable[..., bool], shop: Shop) -> None:
    """The same digest and signature under another name: containers/image holds the name that was signed against it."""
    built = image_of(tar_of({"etc/id": os.urandom(8)}))
    digest = shop.running.push(PATH, "latest", built)
    promoted(shop, digest)
    shop.running.push("production/other", "latest", built)
    tag = f"{digest.replace(':', '-')}.sig"
    writer = shop.running.writer
    manifest = writer.get(f"/v2/{PATH}/manifests/{tag}", headers={"Accept": MANIFEST})
    for blob in [manifest.json()["config"], *manifest.json()["layers"]]:
        mount = f"/v2/production/other/blobs/uploads/?mount={blob['digest']}&from={PATH}"
        assert writer.post(mount).status_code == 201
    put = writer.put(
        f"/v2/production/other/manifests/{tag}", content=manifest.content, headers={"Content-Type": MANIFEST}
    )
    assert put.status_code == 201
    assert not skopeo(f"{shop.running.host}/production/other@{digest}", shop.production)
