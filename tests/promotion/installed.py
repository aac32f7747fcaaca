"""An installation with two promotions to one tag asked for, for tests of faults; and what has to come of them.

The first is of an index of two platforms between two real registries, asked for by its tag and approved.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

from secguard.images.adapters.addresses import RegistryAccess
from secguard.images.adapters.pushing import PushingClient
from secguard.signing import ecdsa, statements
from secguard.signing.adapters import attached
from secguard.signing.verification import Party, Standing, judge
from tests.fixtures_installations import Installation
from tests.imagebuilding import BuiltImage, image_of, index_of, tar_of
from tests.promotion.between import Between

LARGE = tar_of({"opt/data": os.urandom(2**20)})
FIRST = index_of(image_of(LARGE), image_of(tar_of({"etc/id": b"arm"}), architecture="arm64"))
SECOND = image_of(tar_of({"etc/id": b"another"}))
THIRD = image_of(tar_of({"etc/id": b"a third"}))
BEFORE = image_of(tar_of({"etc/id": b"what stood there"}))
PATH, THERE, TAG = "shop/web", "staging/shop/web", "1.4"
FIRST_PK, SECOND_PK = 1, 2
LATER = "2999-01-01 00:00:00"
CARRYING = "jobs_job WHERE kind = 'promotion.carry'"

SET_UP = """
from secguard.accounts.models import Application, Membership, Team, User
from secguard.images.models import Image, Index, IndexImage, Repository, Tag
from secguard.images.services import RegistryEdit, add_registry
from secguard.promotion import services
from secguard.scans import services as scans
from secguard.signing.services import NewKey, create_key

roles = ("administrator", "operator", "security-reviewer")
people = {role: User.objects.create(username=role, email=role + "@example.org") for role in roles}
for role, user in people.items():
    Membership.objects.create(user=user, role=role)
Application.objects.create(name="Shop", slug="shop", team=Team.objects.create(name="Payments", slug="payments"))
source, destination = values["hosts"]
for host in values["hosts"]:
    add_registry(host, RegistryEdit(uses_plain_http=True), actor=None)
create_key("release", NewKey(), actor=None)
Edit = services.EnvironmentEdit
services.add_environment("build", Edit(registry=source), actor=None)
seats = {"security-reviewer": 1}
staging = Edit(registry=destination, path_prefix="staging", key_name="release", approvers=seats)
services.add_environment("staging", staging, actor=None)
for report in values["reports"]:
    taken = scans.Submission(json.dumps(report).encode(), application="shop")
    scan, _ = scans.submit(taken, actor=people["administrator"], max_bytes=10**8)
    scans.take_in(scan.pk, progress=lambda *_: None)
index = Index.objects.create(digest=values["index"])
for digest, platform in values["platforms"]:
    IndexImage.objects.create(index=index, image=Image.objects.get(digest=digest), platform=platform)
name = source + "/shop/web"
Tag.objects.filter(repository=Repository.objects.get(name=name), name="1.4").update(index=index)
for image in (name + ":1.4", name + "@" + values["second"]):
    asked = services.ask(services.Ask(image, "staging", ["1.4"]), actor=people["operator"])
    services.approve(asked.pk, actor=people["security-reviewer"])
"""


def reports(host: str) -> list[dict[str, Any]]:
    """A pipeline's, on every image."""
    return [
        {
            "schema": "secguard-report/v1",
            "scanner": {"name": "trivy"},
            "image": {"reference": f"{host}/{PATH}:{tag}", "digest": built.digest},
            "covers": ["vulnerability", "malware"],
            "components": [{"purl": f"pkg:deb/debian/openssl@3.0.{number}"}],
        }
        for number, (tag, built) in enumerate([("2", SECOND), ("3", THIRD), *((TAG, one) for one in FIRST.children)])
    ]


@dataclass
class Two:
    """The registries: what images come from, and where they go."""

    source: Between
    destination: Between

    @property
    def ranges(self) -> list[str]:
        return self.source.ranges

    def go_on(self) -> None:
        self.source.go_on()
        self.destination.go_on()


# --- what is expected ---

ATTESTED = (statements.VERIFICATION_SUMMARY, statements.PROMOTION)
FORMS = ("attestation-tag", "bundle")


def expected_beside(built: BuiltImage) -> Counter[tuple[str, str]]:
    """One signature of each form, and one statement of each kind in each."""
    kinds = ATTESTED if built.children else (*ATTESTED, statements.OPENVEX, statements.CYCLONEDX)
    signed = {("tag", ""): 1, ("bundle", statements.COSIGN_SIGNATURE): 1}
    return Counter(signed | {(form, kind): 1 for form in FORMS for kind in kinds})


def beside(installation: Installation, digest: str) -> Counter[tuple[str, str]]:
    """What our key signed beside a digest at the destination, by form and kind; nothing else may lie there."""
    pems = [pem for (pem,) in installation.rows("SELECT public_pem FROM signing_signingkey")]
    parties = [Party("release", ecdsa.load_public(pem), signing_key_id=1) for pem in pems]
    access = RegistryAccess(installation.registry.destination.host, uses_plain_http=True)
    with PushingClient(access) as client:
        found = [judge(seen, digest, parties) for seen in attached.read(client, THERE, digest)]
    assert {one.standing for one in found} <= {Standing.TRUSTED}, found
    return Counter((one.seen.form.value, one.seen.predicate_type) for one in found)


def status(installation: Installation, pk: int = FIRST_PK) -> str:
    ((found, why),) = installation.rows(f"SELECT status, why FROM promotion_promotion WHERE id = {pk}")
    assert found in ("running", "promoted"), why
    return str(found)


def count(installation: Installation, what: str) -> int:
    ((found,),) = installation.rows(f"SELECT count(*) FROM {what}")
    return int(found)


def ends_promoted(installation: Installation, built: BuiltImage = FIRST, pk: int = FIRST_PK) -> None:
    installation.until(lambda: status(installation, pk) == "promoted", 90)
    is_promoted_once(installation, built, pk)


def is_promoted_once(installation: Installation, built: BuiltImage = FIRST, pk: int = FIRST_PK) -> None:
    """Its bytes, signatures and statements lie there, once each; and all that the database says of it, too."""
    for one in (built, *built.children):
        assert beside(installation, one.digest) == expected_beside(one)
        stated = f"signing_attestation WHERE digest = '{one.digest}' AND withdrawn_at IS NULL"
        assert count(installation, stated) == count(installation, stated.partition(" AND")[0]) == 1
        seen = installation.rows(f"SELECT gone_at FROM signing_signature WHERE digest = '{one.digest}'")
        assert seen == [(None,)] * expected_beside(one).total()
    ended = f"audit_auditentry WHERE subject_type = 'promotion' AND subject_id = '{pk}' AND action = 'promotion:"
    assert [count(installation, f"{ended}{what}'") for what in ("finish", "end")] == [1, 0]
    ((digest, kept),) = installation.rows(f"SELECT digest, steps FROM promotion_promotion WHERE id = {pk}")
    assert digest == built.digest
    assert len(json.loads(kept) if isinstance(kept, str) else kept) == 8


def points(installation: Installation) -> tuple[str, str]:
    """What the tag names: at the destination, and here."""
    place = f"{installation.registry.destination.host}/{THERE}"
    known = installation.rows(
        "SELECT COALESCE(x.digest, i.digest) FROM images_tag t JOIN images_image i ON i.id = t.image_id "
        "JOIN images_repository r ON r.id = t.repository_id LEFT JOIN images_index x ON x.id = t.index_id "
        f"WHERE r.name = '{place}' AND t.name = '{TAG}'"
    )
    return installation.registry.destination.points(THERE, TAG), known[0][0] if known else ""


def has_ended(installation: Installation, pk: int = FIRST_PK) -> bool:
    """The job that carries it out."""
    return count(installation, f"{CARRYING} AND key = '{pk}' AND status = 'succeeded'") == 1
