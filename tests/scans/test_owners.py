"""A language's package that came with a distribution's package: a component still, and judged with its owner."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secguard.findings.models import Finding
from secguard.images.models import ImageComponent
from secguard.images.services import RegistryEdit, add_registry
from secguard.scans.adapters.syft import LayerBlob, Release, packages
from secguard.scans.inspection.files import LayerFile
from secguard.scans.layers import Layer, LayerPackage, Role, merge
from secguard.scans.owners import speaks_for
from secguard.scans.services.asking import ScanRequest, ask
from tests.imagebuilding import image_of, sha256, tar_of

TEAM = "Debian Python Team <team+python@tracker.debian.org>"
DIST = "usr/lib/python3/dist-packages"
INFO = f"{DIST}/urllib3-1.26.12.egg-info/PKG-INFO"
METADATA = b"Metadata-Version: 2.1\nName: urllib3\nVersion: 1.26.12\n"


class TestWhoseWordCounts:
    @pytest.mark.parametrize(
        ("purl", "vendor"),
        [
            ("pkg:deb/debian/python3-urllib3@1.26.12-1?arch=all&distro=debian-12", TEAM),
            ("pkg:deb/debian/python3-x@1", "Matthias Klose <doko@debian.org>"),
            ("pkg:deb/debian/node-x@1", "Javascript Maintainers <pkg-javascript-devel@alioth-lists.debian.net>"),
            ("pkg:deb/ubuntu/python3-x@1", "Ubuntu Developers <ubuntu-devel-discuss@lists.ubuntu.com>"),
            ("pkg:rpm/redhat/python3-urllib3@1.24.2-5.el8?arch=noarch&distro=rhel-8.6", "Red Hat, Inc."),
            ("pkg:rpm/centos/python3-urllib3@1.24.2-5.el8", "CentOS"),
            ("pkg:rpm/rocky/python3-urllib3@1.26.5-3.el9", "Rocky Enterprise Software Foundation"),
            ("pkg:rpm/opensuse-leap/python3-x@1", "SUSE LLC <https://www.suse.com/>"),
            ("pkg:apk/alpine/py3-urllib3@1.26.7-r0", "Somebody <somebody@example.org>"),
        ],
    )
    def test_the_distributions_own_packages(self, purl: str, vendor: str) -> None:
        assert speaks_for(purl, vendor, INFO)

    @pytest.mark.parametrize(
        ("purl", "vendor", "path"),
        [
            ("pkg:deb/debian/agent@7.50", "Agent Packages <package@vendor.example>", "usr/lib/agent/x/METADATA"),
            ("pkg:deb/debian/agent@7.50", "", INFO),
            ("pkg:deb/debian/agent@7.50", "Fake <a@notdebian.org>", INFO),
            ("pkg:deb/debian/agent@7.50", "Fake <a@debian.org.example>", INFO),
            ("pkg:deb/debian/agent@7.50", TEAM, "opt/agent/embedded/x.dist-info/METADATA"),
            ("pkg:deb/kali/python3-x@1", TEAM, INFO),
            ("pkg:rpm/redhat/python3-boto3@1.18", "Fedora Project", INFO),
            ("pkg:rpm/redhat/own@1", "", INFO),
            ("pkg:rpm/fedora/python3-x@1", "Fedora Project", INFO),
            ("pkg:apk/alpine/own@1", "", "usr/local/lib/x/METADATA"),
            ("pkg:alpm/arch/python-x@1", "Arch", INFO),
        ],
    )
    def test_others_packages(self, purl: str, vendor: str, path: str) -> None:
        assert not speaks_for(purl, vendor, path)


# --- layers ---


def _deb(version: str = "1.26.12-1", owns: tuple[str, ...] = (INFO,), vendor: str = TEAM) -> LayerPackage:
    purl = f"pkg:deb/debian/python3-urllib3@{version}"
    return LayerPackage(
        purl, "python3-urllib3", version, "var/lib/dpkg/status", Role.DISTRIBUTION, owns=owns, vendor=vendor
    )


def _pypi(path: str = INFO, version: str = "1.26.12") -> LayerPackage:
    return LayerPackage(f"pkg:pypi/urllib3@{version}", "urllib3", version, path)


def _owner(*layers: tuple[LayerPackage, ...], files: tuple[tuple[str, ...], ...] = ()) -> dict[str, str]:
    """The owner of each language's package."""
    made = [
        Layer(
            f"sha256:{n}",
            told,
            [LayerFile(p, "file") for p in {p.path for p in told} | {*(files[n] if files else ())}],
        )
        for n, told in enumerate(layers)
    ]
    return {c.purl: c.owner for c in merge(made) if c.purl.startswith("pkg:pypi")}


class TestLayers:
    owned = {"pkg:pypi/urllib3@1.26.12": "pkg:deb/debian/python3-urllib3@1.26.12-1"}
    free = {"pkg:pypi/urllib3@1.26.12": ""}

    def test_what_the_owner_brought_is_its(self) -> None:
        assert _owner((_deb(), _pypi())) == self.owned
        assert _owner((_deb(owns=()), _pypi())) == self.free
        assert _owner((_deb(vendor="Somebody else"), _pypi())) == self.free

    def test_a_database_repeated_by_a_later_layer_changes_nothing(self) -> None:
        assert _owner((_deb(), _pypi()), (_deb(owns=()),)) == self.owned
        assert _owner((_deb(), _pypi()), (_deb(),)) == self.owned

    def test_an_owner_upgraded_to_its_distributions_fix_stays_the_owner(self) -> None:
        newer = _deb("1.26.12-1+deb12u1")
        found = _owner((_deb(), _pypi()), (newer, _pypi()))
        assert found == {"pkg:pypi/urllib3@1.26.12": newer.purl}
        assert _owner((_deb(), _pypi()), (newer,)) == found, "a file that did not change need not be written again"

    def test_another_version_at_another_path_is_nobodys(self) -> None:
        upgrade = _pypi("usr/local/lib/python3.11/dist-packages/urllib3-2.0.7.dist-info/METADATA", "2.0.7")
        assert _owner((_deb(), _pypi()), (upgrade,)) == {**self.owned, "pkg:pypi/urllib3@2.0.7": ""}

    def test_another_version_over_the_owners_file_is_nobodys(self) -> None:
        assert _owner((_deb(), _pypi()), (_pypi(version="2.0.7"),)) == {"pkg:pypi/urllib3@2.0.7": ""}
        repeated = _owner((_deb(), _pypi()), (_deb(), _pypi(version="2.0.7")))
        assert repeated == {"pkg:pypi/urllib3@2.0.7": ""}, "though a later layer writes the database again"

    def test_the_same_version_written_again_is_still_the_owners(self) -> None:
        assert _owner((_deb(), _pypi()), (_pypi(),)) == self.owned

    def test_the_same_version_deleted_and_brought_by_somebody_is_nobodys(self) -> None:
        gone = f"{DIST}/.wh.urllib3-1.26.12.egg-info"
        assert _owner((_deb(), _pypi()), (), (_pypi(),), files=((), (gone,), ())) == self.free

    def test_one_copy_of_its_own_is_enough_to_be_judged(self) -> None:
        assert _owner((_deb(), _pypi()), (_pypi("opt/app/urllib3-1.26.12.dist-info/METADATA"),)) == self.free

    def test_an_owner_that_is_gone_speaks_for_nothing(self) -> None:
        assert _owner((_deb(), _pypi()), (), files=((), ("var/lib/dpkg/status",))) == self.free


# --- the real syft ---


def _told(work: Path, *layers: dict[str, bytes]) -> dict[str, str]:
    """The owner of each language's package in an image of these layers; ``work`` is a folder of the test's own."""
    blobs = []
    for files in layers:
        raw = tar_of(files)
        path = work / sha256(raw)[7:]
        path.write_bytes(raw)
        blobs.append(LayerBlob(sha256(raw), path))
    release = next((f["etc/os-release"] for f in layers if "etc/os-release" in f), b"")
    found = packages(blobs, Release("etc/os-release", release), work)
    made = [
        Layer(b.diff_id, found[b.diff_id].packages, [LayerFile(p, "file") for p in files])
        for b, files in zip(blobs, layers, strict=True)
    ]
    return {c.purl: c.owner for c in merge(made) if not c.purl.startswith(("pkg:deb", "pkg:rpm", "pkg:apk"))}


def _debian(info: bytes = METADATA, *, recorded: bytes = METADATA, maintainer: str = TEAM) -> dict[str, bytes]:
    """``python3-urllib3`` of Debian 12, as dpkg installs it."""
    status = f"""Package: python3-urllib3
Status: install ok installed
Priority: optional
Section: python
Maintainer: {maintainer}
Architecture: all
Source: python-urllib3
Version: 1.26.12-1+deb12u1
Description: HTTP library

"""
    folder = INFO.rpartition("/")[0]
    return {
        "etc/os-release": b'ID=debian\nVERSION_ID="12"\n',
        "var/lib/dpkg/status": status.encode(),
        "var/lib/dpkg/info/python3-urllib3.list": f"/.\n/usr/lib/python3\n/{folder}\n/{INFO}\n".encode(),
        "var/lib/dpkg/info/python3-urllib3.md5sums": f"{_md5(recorded)}  {INFO}\n".encode(),
        INFO: info,
    }


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


DEBIANS = "pkg:deb/debian/python3-urllib3@1.26.12-1%2Bdeb12u1?arch=all&distro=debian-12&upstream=python-urllib3"


def test_of_debian(tmp_path: Path) -> None:
    assert _told(tmp_path, _debian()) == {"pkg:pypi/urllib3@1.26.12": DEBIANS}
    upgrade = {f"{DIST}/urllib3-2.0.7.dist-info/METADATA": METADATA.replace(b"1.26.12", b"2.0.7")}
    both = _told(tmp_path, _debian(), upgrade)
    assert both == {"pkg:pypi/urllib3@1.26.12": DEBIANS, "pkg:pypi/urllib3@2.0.7": ""}
    assert _told(tmp_path, _debian() | upgrade) == both, "though one layer brought both"
    assert _told(tmp_path, _debian(maintainer="Vendor <a@vendor.example>")) == {"pkg:pypi/urllib3@1.26.12": ""}


def test_a_file_of_the_owners_with_another_content_is_not_its_work(tmp_path: Path) -> None:
    changed = METADATA.replace(b"1.26.12", b"2.0.7")
    assert _told(tmp_path, _debian(changed)) == {"pkg:pypi/urllib3@2.0.7": ""}
    repeated = {k: v for k, v in _debian().items() if k.startswith("var/lib/dpkg/")}
    assert _told(tmp_path, _debian(changed), repeated) == {"pkg:pypi/urllib3@2.0.7": ""}


def test_of_alpine(tmp_path: Path) -> None:
    site = "usr/lib/python3.9/site-packages"
    raw = METADATA.replace(b"1.26.12", b"1.26.7")
    digest = base64.b64encode(hashlib.sha1(raw, usedforsecurity=False).digest()).decode()
    installed = (
        "C:Q1qKcZ+j23xssAXmgQhkOO8dHnbWw=\nP:py3-urllib3\nV:1.26.7-r0\nA:x86_64\nS:1\nI:1\nT:HTTP library\n"
        f"o:py3-urllib3\nm:Somebody <somebody@example.org>\nF:{site}/urllib3-1.26.7-py3.9.egg-info\n"
        f"R:PKG-INFO\nZ:Q1{digest}\n\n"
    )
    files = {
        "etc/os-release": b'ID=alpine\nVERSION_ID="3.15.0"\n',
        "lib/apk/db/installed": installed.encode(),
        f"{site}/urllib3-1.26.7-py3.9.egg-info/PKG-INFO": raw,
    }
    (owner,) = _told(tmp_path, files).values()
    assert owner.startswith("pkg:apk/alpine/py3-urllib3@1.26.7-r0?")
    files[f"{site}/urllib3-1.26.7-py3.9.egg-info/PKG-INFO"] = raw + b"Summary: another\n"
    assert _told(tmp_path, files) == {"pkg:pypi/urllib3@1.26.7": ""}


@pytest.mark.skipif(not shutil.which("rpmbuild"), reason="needs rpmbuild (Debian's package rpm)")
@pytest.mark.parametrize(("vendor", "is_owned"), [("Rocky Enterprise Software Foundation", True), ("Our team", False)])
def test_of_an_rpm_distribution(tmp_path: Path, vendor: str, is_owned: bool) -> None:
    files = _rpm_root(tmp_path, vendor)
    work = tmp_path / "work"
    work.mkdir()
    found = _told(work, files)
    assert sorted(found) == ["pkg:npm/semver@7.3.5", "pkg:pypi/urllib3@1.26.5"]
    assert all(owner.startswith("pkg:rpm/rocky/python3-urllib3@1.26.5-3.el9") == is_owned for owner in found.values())
    gone = "usr/lib/python3.9/site-packages/.wh.urllib3-1.26.5-py3.9.egg-info"
    over = {gone: b"", "usr/lib/node_modules/semver/package.json": b'{"name": "semver", "version": "7.5.4"}'}
    assert _told(work, files, over) == {"pkg:npm/semver@7.5.4": ""}


def _rpm_root(folder: Path, vendor: str) -> dict[str, bytes]:
    """What is on disk after the real rpm installed a package with a Python's and a Node's package in it."""
    python = "usr/lib/python3.9/site-packages/urllib3-1.26.5-py3.9.egg-info/PKG-INFO"
    node = "usr/lib/node_modules/semver/package.json"
    contents = {
        python: METADATA.replace(b"1.26.12", b"1.26.5"),
        node: json.dumps({"name": "semver", "version": "7.3.5"}).encode(),
    }
    for path, content in contents.items():
        (folder / "source" / path).parent.mkdir(parents=True)
        (folder / "source" / path).write_bytes(content)
    spec = folder / "python3-urllib3.spec"
    spec.write_text(
        f"Name: python3-urllib3\nVersion: 1.26.5\nRelease: 3.el9\nSummary: x\nLicense: MIT\nVendor: {vendor}\n"
        f"BuildArch: noarch\n%description\nx\n%install\ncp -a {folder}/source/usr %{{buildroot}}/usr\n"
        f"%files\n/{python}\n/{node}\n"
    )
    macros = ["--define", f"_topdir {folder}/build", "--define", "__os_install_post %{nil}"]
    subprocess.run(["rpmbuild", "-bb", "--quiet", *macros, str(spec)], check=True, capture_output=True)
    built = next((folder / "build" / "RPMS").rglob("*.rpm"))
    root = Path(tempfile.mkdtemp(dir=folder))
    kept = ["--root", str(root), "--dbpath", "/var/lib/rpm"]
    subprocess.run(["rpm", *kept, "--initdb"], check=True, capture_output=True)
    command = ["rpm", *kept, "-i", "--justdb", "--nodeps", "--ignorearch", "--nosignature", str(built)]
    subprocess.run(command, check=True, capture_output=True)
    database = {
        f"var/lib/rpm/{p.name}": p.read_bytes() for p in (root / "var/lib/rpm").iterdir() if p.suffix == ".sqlite"
    }
    return {"etc/os-release": b'ID="rocky"\nVERSION_ID="9.3"\n', **database, **contents}


# --- to findings ---


@pytest.mark.django_db
@pytest.mark.processes
def test_its_languages_advisories_are_not_held_against_it(
    plain_registry: Any, operator: Any, administrator: Any, run_jobs: Callable[[], int]
) -> None:
    """It stays a component, with its owner; whoever lies beside it is judged."""
    add_registry(plain_registry.host, RegistryEdit(uses_plain_http=True), actor=operator)
    feed = [
        _advisory("PYSEC-1", "PyPI", "urllib3", "2.0.6", "CVE-2026-10001"),
        _advisory("PYSEC-2", "PyPI", "urllib3", "2.0.8", "CVE-2026-10002"),
        _advisory("DSA-1", "Debian:12", "python-urllib3", "1.26.12-1+deb12u2", "CVE-2026-10003"),
    ]
    raw = "\n".join(json.dumps(a) for a in feed).encode()
    answer = administrator.api.post(
        "/api/v1/advisories/import/?name=feed.jsonl", raw, content_type="application/octet-stream"
    )
    assert answer.status_code in (200, 202), answer.content
    upgrade = {
        "usr/local/lib/python3.11/urllib3-2.0.7.dist-info/METADATA": METADATA.replace(b"1.26.12", b"2.0.7"),
    }
    plain_registry.push("shop/web", "1", image_of(tar_of(_debian()), tar_of(upgrade)))
    scan, _ = ask(ScanRequest(image=f"{plain_registry.host}/shop/web:1"), actor=administrator)
    run_jobs()
    scan.refresh_from_db()
    assert (scan.status, scan.problem) == ("finished", None)
    found = set(
        Finding.objects.exclude(risk__vulnerability=None).values_list("component__name", "risk__vulnerability__name")
    )
    assert found == {("urllib3", "CVE-2026-10002"), ("python3-urllib3", "CVE-2026-10003")}
    rows = ImageComponent.objects.filter(component__name="urllib3").order_by("component__version")
    assert list(rows.values_list("component__version", "owner", "build__ecosystem")) == [
        ("1.26.12", DEBIANS, None),
        ("2.0.7", "", "PyPI"),
    ]
    digest = rows[0].image.digest
    listed = administrator.api.get(f"/api/v1/images/{digest}/components/").json()["results"]
    assert {c["version"]: c["owner"] for c in listed if c["name"] == "urllib3"} == {"1.26.12": DEBIANS, "2.0.7": ""}
    bill = administrator.api.get(f"/api/v1/images/{digest}/sbom/").json()
    owned = [c for c in bill["components"] if {"name": "secguard:owner", "value": DEBIANS} in c.get("properties", [])]
    assert [c["purl"] for c in owned] == ["pkg:pypi/urllib3@1.26.12"]


def _advisory(name: str, ecosystem: str, package: str, fixed: str, flaw: str) -> dict[str, Any]:
    events = [{"introduced": "0"}, {"fixed": fixed}]
    return {
        "schema_version": "1.7.0",
        "id": name,
        "modified": "2026-01-01T00:00:00Z",
        "aliases": [flaw],
        "affected": [
            {
                "package": {"ecosystem": ecosystem, "name": package},
                "ranges": [{"type": "ECOSYSTEM", "events": events}],
            }
        ],
    }
