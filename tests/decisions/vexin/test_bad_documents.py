"""Documents that contradict, lead in circles, are of tomorrow, are enormous or forged: refused with words, and nothing
is kept of them."""

from __future__ import annotations

import base64
import codecs
import gzip
import json
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from secguard.decisions import services, vexin
from secguard.decisions.models import VexDocument
from secguard.decisions.services import vexin as taking
from secguard.decisions.vexin import matching
from secguard.decisions.vexin.document import Product, Statement, Status
from secguard.decisions.vexin.matching import Stand, match
from secguard.errors import Invalid, SecGuardError, TooLarge
from secguard.signing import ecdsa
from tests.decisions.conftest import NOW
from tests.decisions.vexin.test_readers import csaf, openvex, said
from tests.decisions.vexin.test_services import AUTHOR, document, of, outcomes, take
from tests.decisions.vexin.test_signed import post, sealed

if TYPE_CHECKING:
    from secguard.accounts.models import User
    from secguard.images.models import Image
    from tests.fixtures_people import Person

RowCounts = Callable[[], dict[str, int]]


def cyclonedx(components: list[dict[str, Any]], **changed: Any) -> bytes:
    flaw = {"id": "CVE-2026-1", "affects": [{"ref": "a"}]}
    flaw |= {"analysis": {"state": "not_affected", "justification": "code_not_present"}}
    base = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}
    return json.dumps(base | {"vulnerabilities": [flaw]} | changed).encode()


def related(*steps: tuple[str, str, str]) -> bytes:
    found = csaf()
    found["product_tree"]["relationships"] = [
        {
            "category": "default_component_of",
            "full_product_name": {"product_id": made, "name": made},
            "product_reference": part,
            "relates_to_product_reference": base,
        }
        for made, part, base in steps
    ]
    return json.dumps(found).encode()


def refused(raw: bytes) -> SecGuardError:
    with pytest.raises(SecGuardError) as caught:
        vexin.read(raw)
    return caught.value


# --- circles ---


@pytest.mark.parametrize(
    "raw",
    [
        related(("A:Z", "A:Z", "A")),
        related(("A:Z", "Z", "A:Z")),
        related(("A:Z", "P", "A"), ("P", "Q", "A"), ("Q", "A:Z", "A")),
        related(("A:Z", "R0", "A"), *((f"R{n}", f"R{n + 1}", f"R{n + 1}") for n in range(40)), ("R40", "Z", "A")),
    ],
)
def test_a_tree_of_products_that_leads_back_is_refused_with_its_place(raw: bytes) -> None:
    error = refused(raw)
    assert "back to itself" in str(error)
    assert error.where.startswith("$.product_tree.relationships[")


def test_a_tree_in_which_everything_stands_on_the_same_is_read_at_once() -> None:
    """Each of 18 products stands twice on the next: 2**18 ways through it, each product resolved once."""
    steps = [(f"R{n}", f"R{n + 1}", f"R{n + 1}") for n in range(1, 18)]
    raw = related(("A:Z", "R1", "R1"), *steps, ("R18", "Z", "A"))
    (one,) = vexin.read(raw).statements
    assert one.product is not None
    assert one.product.subcomponents == ("pkg:deb/debian/zlib@1",)


def test_dependencies_in_a_circle_are_nobodys_statement() -> None:
    circle = [{"ref": "a", "dependsOn": ["b"]}, {"ref": "b", "dependsOn": ["a"]}]
    (one,) = vexin.read(cyclonedx([{"bom-ref": "a", "purl": "pkg:npm/a@1"}], dependencies=circle)).statements
    assert one.product == Product(purls=("pkg:npm/a@1",))


def test_a_reference_that_two_components_have_is_refused() -> None:
    """Whichever were taken, the statement could be about the other one."""
    both = [{"bom-ref": "a", "purl": "pkg:npm/a@1"}, {"bom-ref": "a", "purl": "pkg:npm/b@1"}]
    error = refused(cyclonedx(both))
    assert "another component has already" in str(error)
    assert vexin.read(cyclonedx([both[0], both[0]])).statements


# --- contradictions ---


def test_what_two_names_of_one_flaw_contradict_is_asked_for_under_neither() -> None:
    statements = vexin.read(
        openvex(said(), said(vulnerability={"name": "GHSA-x", "aliases": ["CVE-2026-1"]}, status="affected"))
    ).statements
    stand = Stand(
        risk=1,
        names=frozenset({"CVE-2026-1", "GHSA-X"}),
        image=1,
        digest="sha256:" + "a" * 64,
        repositories=((1, "registry/api"),),
        package="pkg:deb/debian/zlib",
        version="1",
    )
    assert [ask.statement for ask in match(statements[:1], [stand], image=None)[0]] == [0]
    assert match(statements, [stand], image=None)[0] == []


@pytest.mark.django_db
@pytest.mark.parametrize("status", ["affected", "under_investigation"])
def test_a_later_edition_or_another_author_that_says_affected_is_held_against_what_was_decided(
    developer: User, reviewer: User, image: Image, status: str
) -> None:
    other = "Another <vex@example.net>"
    for author in (AUTHOR, other):
        taking.trust_author(author, actor=None)
    (one,) = take(document(of(image)), developer).proposed
    assert one.decision is not None
    affected = {"statement": {"status": status, "justification": "", "action_statement": "Upgrade."}}
    edition = take(document(of(image), timestamp="2026-02-02T03:04:05Z", version=2, **affected), developer)
    (while_asked,) = [told.why for told in edition.told if "says not affected" in told.why]
    services.approve(one.decision.pk, actor=reviewer, comment="Looked at.", now=NOW)
    elsewhere = take(document(of(image), author=other, **{"@id": "https://example.net/9"}, **affected), developer)
    (while_in_force,) = [told.why for told in elsewhere.told if "says not affected" in told.why]
    assert while_asked == while_in_force
    assert f"decision {one.decision.pk} says not affected" in while_asked
    one.decision.refresh_from_db()
    assert one.decision.status == "approved"  # a document tells; people decide
    services.revoke(one.decision.pk, actor=reviewer, reason="The vendor corrected it.", now=NOW)
    again = take(document(of(image), timestamp="2026-02-03T03:04:05Z", version=3, **affected), developer)
    assert not [told for told in again.told if "says not affected" in told.why]


@pytest.mark.django_db
def test_a_stranger_is_told_nothing_of_what_others_decided(developer: User, stranger: User, image: Image) -> None:
    taking.trust_author(AUTHOR, actor=None)
    take(document(of(image)), developer)
    affected = {"statement": {"status": "affected", "justification": "", "action_statement": "Upgrade."}}
    told = take(document(of(image), **affected), stranger).told
    assert not [one for one in told if "decision" in one.why]


# --- time ---


@pytest.mark.django_db
@pytest.mark.parametrize(
    "changed",
    [
        {"timestamp": "2026-11-24T14:00:00Z"},
        {"timestamp": "2099-01-01T00:00:00Z"},
        {"last_updated": "2099-01-01T00:00:00Z"},
        {"statement": {"timestamp": "2099-01-01T00:00:00Z"}},
    ],
)
def test_a_document_of_tomorrow_shuts_out_none_of_today(
    developer: User, image: Image, row_counts: RowCounts, changed: dict[str, Any]
) -> None:
    taking.trust_author(AUTHOR, actor=None)
    before = row_counts()
    with pytest.raises(Invalid, match="with the right date") as caught:
        take(document(of(image), **changed), developer)
    assert caught.value.code == "vex-future"
    assert row_counts() == before
    assert outcomes(take(document(of(image)), developer)) == ["requested"]


@pytest.mark.django_db
def test_a_clock_that_runs_a_little_ahead_is_no_fault(developer: User, image: Image) -> None:
    taking.trust_author(AUTHOR, actor=None)
    soon = (NOW + timedelta(minutes=30)).isoformat()
    assert outcomes(take(document(of(image), timestamp=soon), developer)) == ["requested"]


@pytest.mark.parametrize(
    "raw",
    [
        openvex(said(), last_updated="2026-01-01T00:00:00Z"),
        openvex(said(timestamp="2026-01-02T00:00:00Z", last_updated="2026-01-01T00:00:00Z")),
    ],
)
def test_what_was_updated_before_it_was_made_is_refused(raw: bytes) -> None:
    error = refused(raw)
    assert "before its timestamp" in str(error)
    assert error.where.endswith("last_updated")


# --- size and spelling ---


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (gzip.compress(b"{}"), "compressed (gzip)"),
        (b"(\xb5/\xfd\x00", "compressed (zstd)"),
        (b"PK\x03\x04" + b"\0" * 30, "a ZIP archive"),
        (openvex(said()).decode().encode("utf-16"), "UTF-16"),
        (openvex(said()).decode().encode("utf-16-le"), "is not JSON"),
        (b"[" * 10_000 + b"]" * 10_000, "nested more than"),
        (openvex(said()).replace(b'"version": 1', b'"version": ' + b"[" * 10_000 + b"]" * 10_000), "nested more than"),
        (openvex(said()).replace(b'"version": 1', b'"version": NaN'), "NaN is not a JSON number"),
        (openvex(said()).replace(b'"version": 1', b'"version": ' + b"9" * 5_000), "more digits than"),
        (openvex(said()).replace(b'"version": 1', b'"version": 1, "version": 2'), "'version' stands twice"),
        (openvex(said()).replace(b"Example Sec", b"\\ud800 Sec"), "surrogate"),
        (openvex(said()).replace(b"Example Sec", b"\\u0000 Sec"), "NUL"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_reader_should_take_is_refused_in_words(raw: bytes, words: str) -> None:
    error = refused(raw)
    assert words in str(error)
    assert "sys." not in str(error)
    assert error.status in (413, 422)


def test_what_is_enormous_is_refused_before_it_is_looked_at() -> None:
    assert "50,000,008 bytes" in str(refused(b'{"a":"' + b"x" * 50_000_000 + b'"}'))
    assert "1,000,000 entries" in str(refused(openvex()[:-2] + b",".join([b"{}"] * 1_000_000) + b"]}"))
    bomb = gzip.compress(b"{" + b" " * 50_000_000 + b"}")
    assert len(bomb) < vexin.MAX_BYTES
    assert "compressed (gzip)" in str(refused(bomb))


def test_a_mark_of_the_byte_order_is_no_part_of_the_document() -> None:
    assert vexin.read(codecs.BOM_UTF8 + openvex(said())) == vexin.read(openvex(said()))


def test_parts_are_bounded_over_the_whole_document() -> None:
    parts = [{"@id": f"pkg:npm/b{n}"} for n in range(2_000)]
    products = [{"@id": f"pkg:oci/a{n}"} for n in range(300)]
    raw = openvex(said(products=products) | {"subcomponents": parts})
    with pytest.raises(TooLarge, match="subcomponents in all"):
        vexin.read(raw)


def test_a_hundred_names_of_a_flaw_cost_no_more_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are looked at for the names that somebody has here, not for each that the author gives."""
    looked: list[str] = []
    monkeypatch.setattr(matching, "parse_purl", lambda text: looked.append(text))
    product = Product(purls=("pkg:npm/a",), subcomponents=tuple(f"pkg:npm/b{n}" for n in range(50)))
    names = tuple(f"X-{n}" for n in range(100))
    one = Statement(vulnerability="CVE-1", aliases=names, product=product, status=Status.NOT_AFFECTED)
    for known, times in (("OTHER", 0), ("X-7", 1)):
        stand = Stand(risk=1, names=frozenset({known}), image=1, digest="sha256:" + "a" * 64)
        matching.match([one], [stand], image=None)
        assert len(looked) == times * (1 + len(product.subcomponents))


# --- forgery ---


@pytest.mark.django_db
def test_a_signature_of_another_document_is_none(developer: Person, image: Image, row_counts: RowCounts) -> None:
    key = ecdsa.generate()
    taking.trust_author(AUTHOR, actor=None, public_key=key.public.pem)
    one, other = document(of(image)), document(of(image), version=2)
    envelope = json.loads(sealed(one, key))
    forged = [
        json.dumps(envelope | {"payload": base64.b64encode(other).decode()}).encode(),
        json.dumps(envelope | {"signatures": json.loads(sealed(other, key))["signatures"]}).encode(),
        json.dumps(envelope | {"signatures": json.loads(sealed(one, ecdsa.generate()))["signatures"]}).encode(),
        other,
    ]
    before = row_counts()
    beside = quote(base64.b64encode(key.sign(one)).decode())
    answers = [post(developer, raw) for raw in forged] + [post(developer, other, f"?signature={beside}")]
    assert [answer.json()["code"] for answer in answers] == ["vex-signature"] * 5
    assert row_counts() == before
    # The envelope's own signature is for its type and bytes; it is none for the bytes alone.
    bare = quote(json.loads(sealed(one, key))["signatures"][0]["sig"])
    assert post(developer, one, f"?signature={bare}").json()["code"] == "vex-signature"
    assert not VexDocument.objects.exists()


@pytest.mark.django_db
def test_an_envelope_with_a_forged_signature_beside_a_good_one_is_the_authors(developer: Person, image: Image) -> None:
    key = ecdsa.generate()
    taking.trust_author(AUTHOR, actor=None, public_key=key.public.pem)
    raw = document(of(image))
    envelope = json.loads(sealed(raw, key))
    other = json.loads(sealed(raw, ecdsa.generate()))["signatures"]
    answer = post(developer, json.dumps(envelope | {"signatures": [*other, *envelope["signatures"]]}).encode())
    assert (answer.json()["requested"], answer.json()["signed_by"]) == (1, key.public.fingerprint)


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1_000, 100_000])
def test_an_envelope_of_many_signatures_is_bounded(developer: Person, image: Image, count: int) -> None:
    key = ecdsa.generate()
    taking.trust_author(AUTHOR, actor=None, public_key=key.public.pem)
    envelope = json.loads(sealed(document(of(image)), ecdsa.generate()))
    answer = post(developer, json.dumps(envelope | {"signatures": envelope["signatures"] * count}).encode())
    assert answer.status_code == 422, answer.content[:300]
