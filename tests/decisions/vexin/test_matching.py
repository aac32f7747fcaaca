"""Which findings a statement speaks of, and that it is never asked for more than it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.decisions.lifecycle import DecisionKind
from secguard.decisions.scope import ScopeKind
from secguard.decisions.vexin import Product, Statement, Status
from secguard.decisions.vexin.matching import Ask, Stand, match, parse_purl, same_version

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
API = "registry.example.org/shop/api"
ZLIB = "pkg:deb/debian/zlib"


def stand(**changed: object) -> Stand:
    values: dict[str, object] = {
        "risk": 1,
        "names": frozenset({"CVE-2026-1"}),
        "image": 10,
        "digest": A,
        "repositories": ((100, API),),
        "package": ZLIB,
        "name": "zlib",
        "version": "1.2",
    }
    return Stand(**values | changed)  # type: ignore[arg-type]


def says(product: Product | None, **changed: object) -> Statement:
    values: dict[str, object] = {"vulnerability": "CVE-2026-1", "product": product, "status": Status.NOT_AFFECTED}
    return Statement(**values | changed)  # type: ignore[arg-type]


def asked(statement: Statement, *stands: Stand, image: int | None = None) -> list[tuple[int, str, int]]:
    return [(a.risk, a.scope.value, a.scope_id) for a in match([statement], stands or [stand()], image=image)[0]]


IMAGE, REPOSITORY = [(1, "image", 10)], [(1, "repository", 100)]
OCI = f"pkg:oci/api?repository_url={API}"


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        (Product(digests=(A,)), IMAGE),
        (Product(digests=(B,)), []),
        (Product(purls=(f"pkg:oci/api@{A}",)), IMAGE),
        (Product(purls=("pkg:oci/api@sha256%3A" + "a" * 64,)), IMAGE),
        (Product(purls=(OCI,)), REPOSITORY),
        (Product(purls=("pkg:oci/api?repository_url=registry.example.org/shop",)), REPOSITORY),
        (Product(purls=(f"{OCI}&tag=1.0",)), []),
        (Product(purls=(f"{OCI}&arch=arm64",)), []),
        (Product(purls=("pkg:oci/api",)), []),
        (Product(purls=("pkg:oci/api@1.0",)), []),
        (Product(purls=(OCI,), subcomponents=(ZLIB,)), REPOSITORY),
        (Product(purls=(OCI,), subcomponents=(f"{ZLIB}@1.2",)), IMAGE),
        (Product(purls=(OCI,), subcomponents=(f"{ZLIB}@1.3",)), []),
        (Product(purls=(OCI,), subcomponents=("pkg:deb/debian/other",)), []),
        (Product(digests=(A,), subcomponents=("zlib",)), []),
        (Product(digests=(A,), subcomponents=(ZLIB,)), IMAGE),
        (Product(purls=(f"{ZLIB}@1.2",)), IMAGE),
        (Product(purls=(f"{ZLIB}@1.2?arch=amd64&distro=debian-12",)), IMAGE),
        (Product(purls=(ZLIB,)), REPOSITORY),
        (Product(purls=(f"{ZLIB}?distro=debian-12",)), []),
        (Product(purls=(ZLIB,), versions=("1.1", "1.2")), IMAGE),
        (Product(purls=(ZLIB,), versions=("vers:deb/>=1",)), IMAGE),
        (Product(purls=(ZLIB,), versions=("vers:deb/>=1.3",)), []),
        (Product(purls=(ZLIB,), versions=("vers:npm/>=1",)), []),
        (Product(purls=(ZLIB,), versions=("<1.2.1",)), IMAGE),
        (Product(purls=(ZLIB,), versions=("<1.2",)), []),
        (Product(digests=(A,), subcomponents=(f"{ZLIB}@vers%3Adeb%2F%3C2",)), IMAGE),
        (Product(digests=(A,), subcomponents=(f"{ZLIB}@vers%3Adeb%2F%3E2",)), []),
        (Product(purls=(f"{ZLIB}@1.2",), subcomponents=("pkg:deb/debian/part",)), []),
        (Product(name="zlib"), IMAGE),
        (Product(name="zlib", versions=("9",)), []),
        (Product(name="the product"), []),
        (None, []),
    ],
)
def test_a_product_means(product: Product | None, expected: list[tuple[int, str, int]]) -> None:
    assert asked(says(product)) == expected


def test_posted_to_an_image_everything_is_about_that_image() -> None:
    assert asked(says(None), image=10) == IMAGE
    assert asked(says(Product(purls=(OCI,))), image=10) == IMAGE
    assert asked(says(Product(digests=(B,))), image=10) == []


@pytest.mark.parametrize("name", ["cve-2026-1", "CVE-2026-1"])
def test_ids_are_compared_without_case_and_by_alias(name: str) -> None:
    assert asked(says(Product(digests=(A,)), vulnerability="GHSA-x", aliases=(name,))) == IMAGE


@pytest.mark.parametrize("status", [Status.AFFECTED, Status.FIXED, Status.UNDER_INVESTIGATION])
def test_other_statuses_are_told(status: Status) -> None:
    asks, told = match([says(Product(digests=(A,)), status=status)], [stand()], image=None)
    assert (asks, [t.why.partition(":")[0] for t in told]) == ([], [status.value])


def test_what_a_scanner_ignores_is_asked_to_be_accepted() -> None:
    (ask,), told = match([says(None, status=Status.IGNORED)], [stand()], image=10)
    assert (ask.kind, told) == (DecisionKind.ACCEPT, [])


def test_a_condition_that_cannot_be_checked_asks_for_nothing() -> None:
    asks, told = match([says(Product(digests=(A,)), narrowed_by="the paths usr/x")], [stand()], image=None)
    assert (asks, len(told)) == ([], 1)
    assert "the paths usr/x" in told[0].why


def test_a_risk_is_not_asked_for_where_one_of_its_packages_is_left_out() -> None:
    both = [stand(), stand(version="1.3")]
    asks, told = match([says(Product(purls=(f"{ZLIB}@1.2",)))], both, image=None)
    assert (asks, ["it covers some" in t.why for t in told]) == ([], [True])
    every = [says(Product(purls=(f"{ZLIB}@{v}",))) for v in ("1.2", "1.3")]
    assert match(every, both, image=None)[0] == [
        Ask(statement=0, risk=1, kind=DecisionKind.NOT_AFFECTED, scope=ScopeKind.IMAGE, scope_id=10)
    ]


def test_what_the_document_calls_affected_elsewhere_is_not_asked_for() -> None:
    both = [says(Product(digests=(A,))), says(Product(purls=(f"{ZLIB}@1.2",)), status=Status.AFFECTED)]
    for order in (both, both[::-1]):
        asks, told = match(order, [stand()], image=None)
        assert (asks, len(told)) == ([], 2)


@pytest.mark.parametrize(
    ("package", "one", "other", "expected"),
    [
        ("pkg:pypi/x", "1.0", "1.0.0", True),
        ("pkg:deb/debian/x", "0:1.0", "1.0", True),
        ("pkg:deb/debian/x", "1.0", "1.0.0", False),
        ("pkg:generic/x", "1.0", "1.0.0", False),
        ("pkg:pypi/x", "no version", "1.0", False),
        ("pkg:pypi/x", "", "1.0", False),
    ],
)
def test_versions_are_compared_as_the_ecosystem_does(package: str, one: str, other: str, expected: bool) -> None:
    assert same_version(package, one, other) is expected


def test_an_epoch_belongs_to_the_version() -> None:
    found = parse_purl("pkg:rpm/redhat/x@1-2.el9?epoch=3")
    assert found is not None
    assert found.version == "3:1-2.el9"


_PRODUCTS = st.builds(
    Product,
    purls=st.lists(
        st.sampled_from([OCI, f"pkg:oci/api@{A}", ZLIB, f"{ZLIB}@1.2", f"{ZLIB}@1.3", "no purl"]), max_size=2
    ).map(tuple),
    digests=st.lists(st.sampled_from([A, B]), max_size=1).map(tuple),
    subcomponents=st.lists(st.sampled_from([ZLIB, f"{ZLIB}@1.2", "a name"]), max_size=2).map(tuple),
)
_STATEMENTS = st.lists(
    st.builds(
        Statement,
        vulnerability=st.sampled_from(["CVE-2026-1", "CVE-2026-2"]),
        product=st.none() | _PRODUCTS,
        status=st.sampled_from(list(Status)),
    ),
    max_size=6,
)
_STANDS = st.lists(
    st.builds(
        lambda n, image, version: stand(
            risk=n, names=frozenset({f"CVE-2026-{n}"}), image=image, digest={10: A, 11: B}[image], version=version
        ),
        st.sampled_from([1, 2]),
        st.sampled_from([10, 11]),
        st.sampled_from(["1.2", "1.3"]),
    ),
    max_size=6,
    unique=True,
)


@given(_STATEMENTS, _STANDS)
def test_nothing_is_asked_for_that_was_not_said(statements: list[Statement], stands: list[Stand]) -> None:
    asks, told = match(statements, stands, image=None)
    assert len({(a.risk, a.scope, a.scope_id) for a in asks}) == len(asks)
    for ask in asks:
        said = statements[ask.statement]
        assert said.status in (Status.NOT_AFFECTED, Status.IGNORED)
        assert said.product is not None
        assert said.vulnerability == f"CVE-2026-{ask.risk}"
        assert any(s.risk == ask.risk and ask.scope_id in (s.image, 100) for s in stands)
    spoken = {a.statement for a in asks} | {t.statement for t in told}
    silent = [s for i, s in enumerate(statements) if i not in spoken]
    # Who is neither asked for nor told repeats what another statement of the document asks for already.
    assert all(s.status in (Status.NOT_AFFECTED, Status.IGNORED) and s.product for s in silent)


@given(_STATEMENTS, _STANDS)
def test_the_order_of_findings_changes_nothing(statements: list[Statement], stands: list[Stand]) -> None:
    assert match(statements, stands, image=None) == match(statements, stands[::-1], image=None)
