"""What syft finds in a whole image we find layer by layer, no more and no less; and labels are met by scans.

The same comparisons as in docs/matching-images.md (``scripts/compare-inventories``).
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.comparing import (
    LABELLED,
    Comparison,
    Labelled,
    compare,
    compare_image,
    findings_of,
    image_of_labelled,
    judged,
    labels_with_a_feed,
    types,
)
from tests.imagebuilding import image_of, tar_of
from tests.labelled import Feeds, Label, read_feeds, read_labels

pytestmark = [pytest.mark.processes, pytest.mark.once]
ROOT = Path(__file__).parents[2]
FETCHED = {
    "debian": "debian-bookworm.tar",
    "packaged": "debian-bookworm-python3-requests-python3-jinja2-ruby-rack.tar",
    "legacy": "node",
}
"""What ``scripts/make-test-images`` keeps of each in tests/.cache/images: minutes to fetch, so no test asks for it."""


@pytest.fixture(scope="module")
def feeds(corpus: Callable[[str], bytes]) -> Feeds:
    return read_feeds(corpus)


@pytest.fixture(scope="module")
def labels(corpus: Callable[[str], bytes]) -> list[Label]:
    return read_labels(corpus)


@pytest.fixture
def compared(corpus: Callable[[str], bytes], real_image: Callable[[str], Path]) -> Callable[[str], list[Comparison]]:
    def compare_one(name: str) -> list[Comparison]:
        kept = FETCHED.get(name)
        if kept and not (ROOT / "tests" / ".cache" / "images" / kept).exists():
            pytest.skip(f"needs the image {name!r}: scripts/make-test-images FOLDER {name} fetches what it is made of")
        return compare(real_image(name), name)

    return compare_one


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alpine", [{"apk": 14}]),
        ("legacy", [{"apk": 14, "pypi": 4, "npm": 2}, {"apk": 14, "pypi": 4}]),
        ("debian", [{"deb": 88}]),
        ("packaged", [{"deb": 138, "gem": 91, "npm": 1, "pypi": 13}]),
    ],
)
def test_every_package_of_the_whole_image_is_a_component_and_conversely(
    compared: Callable[[str], list[Comparison]], name: str, expected: list[dict[str, int]]
) -> None:
    found = compared(name)
    for one in found:
        assert set(one.ours) == one.whole
    assert [dict(types(one.ours)) for one in found] == expected


def test_so_it_is_where_layers_change_what_others_brought() -> None:
    """Upgraded, removed, replaced and brought back, with programs that a package owns and others."""
    entry = "Package: {}\nStatus: install ok installed\nArchitecture: all\nVersion: {}\n\n"
    status = "var/lib/dpkg/status"
    metadata = "usr/lib/python3/dist-packages/{0}-{1}.dist-info/METADATA"

    def python(name: str, version: str) -> dict[str, bytes]:
        return {metadata.format(name, version): f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()}

    bash = b"\x7fELF" + bytes(200) + b"@(#)Bash version 5.2.15(1) release GNU" + bytes(200)
    layers = [
        {
            "etc/os-release": b"ID=debian\nVERSION_ID=12\n",
            status: (entry.format("bash", "5.2-1") + entry.format("tar", "1.34")).encode(),
            "var/lib/dpkg/info/bash.list": b"/bin/bash\n/usr/bin/bash\n",
            "usr/bin/bash": bash,
            "opt/bash": bash.replace(b"5.2.15", b"4.4.20"),
        },
        python("six", "1.15.0") | python("jinja2", "2.11.2"),
        {status: entry.format("bash", "5.2-2").encode(), "var/lib/dpkg/info/bash.list": b"/bin/bash\n"},
        {"usr/lib/python3/dist-packages/.wh.six-1.15.0.dist-info": b"", "app/package.json": b'{"name":"x"}'},
        python("six", "1.16.0") | {"opt/.wh..wh..opq": b""},
    ]
    found = compare_image(image_of(*(tar_of(files) for files in layers)), "layers")
    assert set(found.ours) == found.whole
    assert types(found.ours)["deb"] == 1
    assert {p for p in found.ours if p.startswith("pkg:pypi")} == {"pkg:pypi/six@1.16.0", "pkg:pypi/jinja2@2.11.2"}


@pytest.mark.corpus
def test_what_debian_brought_is_owned_and_what_pip_brought_is_judged(
    compared: Callable[[str], list[Comparison]], feeds: Feeds
) -> None:
    (found,) = compared("packaged")
    pip = {"pkg:pypi/django@3.2", "pkg:pypi/jinja2@2.11.2", "pkg:pypi/requests@2.25.0", "pkg:pypi/urllib3@1.26.4"}
    languages = {purl for purl in found.ours if not purl.startswith("pkg:deb")}
    assert set(found.owned) == languages - pip
    assert found.owned["pkg:pypi/urllib3@1.26.12"].owner.startswith("pkg:deb/debian/python3-urllib3@1.26.12-1")
    findings = findings_of(found, feeds)
    assert (findings.hits, findings.spared) == (Counter(PyPI=14), Counter(PyPI=2))
    assert findings.without_feed == Counter({"Debian:12": 138})


# --- labels ---

EXPECTED = {
    "Alpine:v3.6": {("TP", "hit"): 3, ("FP", "no"): 1},
    "Alpine:v3.8": {("TP", "hit"): 4, ("FP", "no"): 9},
    "AlmaLinux:8": {("TP", "hit"): 284, ("TP", "no"): 9, ("FP", "hit"): 38, ("FP", "no"): 122},
    "AlmaLinux:9": {("TP", "hit"): 12, ("TP", "no"): 21, ("FP", "no"): 84},
    "PyPI": {("TP", "hit"): 2, ("TP", "no"): 2, ("FP", "hit"): 20, ("FP", "unknown"): 1},
}
"""Together what test_matching_labels counts, where the packages can be installed here."""


@pytest.mark.corpus
@pytest.mark.parametrize("ecosystem", LABELLED)
def test_labels_are_met_from_the_package_database_on(
    ecosystem: str, feeds: Feeds, labels: list[Label], tmp_path: Path
) -> None:
    if ecosystem.startswith("AlmaLinux") and not shutil.which("rpmbuild"):
        pytest.skip("needs rpmbuild (Debian's package rpm)")
    wanted = labels_with_a_feed(labels, feeds, ecosystem)
    found = compare_image(image_of_labelled(ecosystem, wanted, tmp_path), ecosystem)
    assert set(found.ours) == found.whole
    assert judged(found, ecosystem, wanted, feeds) == Labelled([], Counter(EXPECTED[ecosystem]))


def test_the_document_says_what_is_tested() -> None:
    rows = re.findall(r"^\| ([^|\n]+) \|(.+)\|$", (ROOT / "docs" / "matching-images.md").read_text(), re.M)
    cells = {name: [cell.strip() for cell in rest.split("|")] for name, rest in rows if name in EXPECTED}
    assert set(cells) == set(EXPECTED)
    for ecosystem, said in EXPECTED.items():
        told = Counter(said)
        unknown = told["TP", "unknown"] + told["FP", "unknown"]
        numbers = [told["TP", "hit"], told["TP", "no"], told["FP", "hit"], told["FP", "no"], unknown]
        assert cells[ecosystem][2:] == [str(n) for n in [sum(said.values()), *numbers]]
