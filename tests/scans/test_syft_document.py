"""Syft's document by layer; whatever is in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.errors import Invalid, TooLarge
from secguard.scans import syft_document
from secguard.scans.layers import Role
from secguard.scans.syft_document import layer_packages

LOW, HIGH = "sha256:" + "0" * 64, "sha256:" + "1" * 64


def _place(path: str, layer: str, evidence: str = "primary") -> dict[str, Any]:
    return {"path": path, "layerID": layer, "accessPath": path, "annotations": {"evidence": evidence}}


def _artifact(**changes: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "name": "adduser",
        "version": "3.134",
        "type": "deb",
        "purl": "pkg:deb/debian/adduser@3.134?arch=all&distro=debian-12",
        "locations": [_place("/var/lib/dpkg/status", LOW)],
        "licenses": [],
        "metadataType": "dpkg-db-entry",
        "metadata": {"files": []},
        **changes,
    }


def _read(*artifacts: dict[str, Any]) -> dict[str, Any]:
    raw = json.dumps({"artifacts": artifacts}).encode()
    return {diff_id: list(told.packages) for diff_id, told in layer_packages(raw, [LOW, HIGH]).items()}


def test_a_package_of_two_layers_stands_in_both() -> None:
    found = _read(_artifact(locations=[_place("/var/lib/dpkg/status", LOW), _place("/var/lib/dpkg/status", HIGH)]))
    assert [p.path for p in found[LOW]] == [p.path for p in found[HIGH]] == ["var/lib/dpkg/status"]
    assert found[LOW][0].role is Role.DISTRIBUTION


def test_what_another_layer_tells_beside_is_left_to_it() -> None:
    files = {"files": [{"path": "/usr/sbin/adduser"}, {"path": "/etc/adduser.conf"}]}
    text = {"value": "GPL-2", "spdxExpression": "GPL-2.0-only", "locations": [_place("/usr/share/doc/c", LOW)]}
    found = _read(
        _artifact(
            locations=[
                _place("/var/lib/dpkg/status", LOW),
                _place("/var/lib/dpkg/status", HIGH),
                _place("/var/lib/dpkg/info/adduser.list", LOW, "supporting"),
            ],
            licenses=[text],
            metadata=files,
        )
    )
    low, high = found[LOW][0], found[HIGH][0]
    assert (low.licenses, low.owns) == (("GPL-2.0-only",), ("usr/sbin/adduser", "etc/adduser.conf"))
    assert (high.licenses, high.owns) == ((), ())


def test_a_licence_without_a_layer_counts() -> None:
    licenses = [{"value": "MIT", "locations": [{"path": "/x/METADATA"}]}, {"value": " "}]
    found = _read(_artifact(type="python", metadataType="python-package", licenses=licenses))
    assert found[LOW][0].licenses == ("MIT",)
    assert found[LOW][0].role is Role.PACKAGE


@pytest.mark.parametrize(
    ("changes", "role"),
    [
        ({"type": "binary", "metadataType": "binary-signature"}, Role.BINARY),
        ({"type": "deb", "metadataType": "elf-binary-package-note-json-payload"}, Role.BINARY),
        ({"type": "binary", "metadataType": "java-jvm-installation"}, Role.JAVA),
        ({"type": "apk", "metadataType": "apk-db-entry"}, Role.DISTRIBUTION),
        ({"type": "npm", "metadataType": "javascript-npm-package"}, Role.PACKAGE),
    ],
)
def test_roles(changes: dict[str, str], role: Role) -> None:
    (found,) = _read(_artifact(**changes))[LOW]
    assert found.role is role
    assert bool(found.group) == (role in (Role.BINARY, Role.JAVA))


def test_a_package_without_a_purl_gets_one() -> None:
    (found,) = _read(_artifact(purl="", type="UnknownPackage", name="x y", version="1"))[LOW]
    assert found.purl == "pkg:generic/x%20y@1"


def test_other_layers_and_layers_that_tell_nothing() -> None:
    found = _read(_artifact(locations=[_place("/x", "sha256:other")]))
    assert found == {LOW: [], HIGH: []}


def test_the_order_is_the_same_whatever_the_document_s() -> None:
    one, two = _artifact(), _artifact(name="zlib", purl="pkg:deb/debian/zlib@1")
    assert _read(one, two) == _read(two, one, one)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"artifacts":{}}', b'{"artifacts":[{"name":1}]}', b"\xff", b"[" * 9**5]
)
def test_what_is_no_document_is_refused(raw: bytes) -> None:
    with pytest.raises(Invalid):
        layer_packages(raw, [LOW])


def test_too_many_packages_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syft_document, "MAX_COMPONENTS", 2)
    with pytest.raises(TooLarge, match="syft found 3 packages; an image may have 2"):
        _read(*[_artifact()] * 3)


def test_long_texts_are_cut_and_odd_metadata_is_left_out() -> None:
    long = "x" * 5000
    files: list[Any] = [{"path": 1}, 7, "/nix/store/x", {"path": "/" + long}, None]
    (found,) = _read(
        _artifact(
            name=long, version=long, purl="pkg:deb/" + long, type="nix", metadataType="nix", metadata={"files": files}
        )
    )[LOW]
    assert (len(found.name), len(found.version), len(found.purl)) == (300, 300, 1000)
    assert found.owns == ("nix/store/x", long[:1000])
    (found,) = _read(_artifact(type="nix", metadataType="nix", metadata=[1]))[LOW]
    assert found.owns == ()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@given(key=st.sampled_from(sorted(_artifact())), value=_JSON)
def test_any_value_anywhere_is_read_or_refused(key: str, value: Any) -> None:
    try:
        found = _read(_artifact(**{key: value}))
    except Invalid:
        return
    assert set(found) == {LOW, HIGH}
