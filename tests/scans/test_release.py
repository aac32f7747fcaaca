"""Which distribution an image is: by what it shows, in the files that each distribution has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.advisories.models import Advisory, AffectedRange
from secguard.images.ecosystems import build_of
from secguard.images.models import Image, ImageComponent
from secguard.images.services import RegistryEdit, add_registry
from secguard.scans.adapters.layerlook import LayerLook
from secguard.scans.adapters.syft import LayerBlob, Release, packages
from secguard.scans.inspection.files import LayerFile
from secguard.scans.release import RELEASE_FILES, system_of
from secguard.scans.services.asking import ScanRequest, ask
from secguard.scans.services.examining import release_of
from tests.fixtures_reports import report
from tests.imagebuilding import image_of, sha256, tar_of

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n'
RHEL6 = "Red Hat Enterprise Linux Server release 6.10 (Santiago)\n"
STATUS = b"Package: zlib1g\nStatus: install ok installed\nVersion: 1:1.2.3.4.dfsg-3\nArchitecture: amd64\n\n"


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({"etc/os-release": DEBIAN}, ("debian", "12")),
        ({"usr/lib/os-release": "ID='fedora'\nVERSION_ID=40\n"}, ("fedora", "40")),
        ({"etc/os-release": "NAME=x\n", "etc/alpine-release": "3.4.6\n"}, ("alpine", "3.4.6")),
        ({"etc/os-release": "ID=debian\n", "etc/debian_version": "trixie/sid\n"}, ("debian", "")),
        ({"etc/centos-release": "CentOS release 6.10 (Final)\n"}, ("centos", "6.10")),
        ({"etc/redhat-release": "CentOS Linux release 7.9.2009 (Core)\n"}, ("centos", "7.9.2009")),
        ({"etc/redhat-release": RHEL6}, ("rhel", "6.10")),
        ({"etc/redhat-release": "Fedora release 12 (Constantine)\n"}, ("fedora", "12")),
        ({"etc/redhat-release": RHEL6, "etc/oracle-release": "Oracle Linux Server release 6.10\n"}, ("ol", "6.10")),
        ({"etc/system-release": "Amazon Linux AMI release 2018.03\n"}, ("amzn", "2018.03")),
        ({"etc/system-release-cpe": "cpe:/o:redhat:enterprise_linux:6server:ga:server\n"}, ("rhel", "6")),
        ({"etc/system-release-cpe": "cpe:/o:centos:linux:6:GA\n"}, ("centos", "6")),
        (
            {"etc/SuSE-release": "SUSE Linux Enterprise Server 11 (x86_64)\nVERSION = 11\nPATCHLEVEL = 4\n"},
            ("sles", "11.4"),
        ),
        ({"etc/SuSE-release": "openSUSE 13.1 (x86_64)\nVERSION = 13.1\nCODENAME = Bottle\n"}, ("opensuse", "13.1")),
        ({"etc/alpine-release": "3.20.0_alpha20240329\n"}, ("alpine", "3.20.0_alpha20240329")),
        ({"etc/debian_version": "6.0.10\n"}, ("debian", "6.0.10")),
        (
            {
                "etc/debian_version": "squeeze/sid\n",
                "etc/lsb-release": 'DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=10.04\nDISTRIB_DESCRIPTION="Ubuntu 10.04"\n',
            },
            ("ubuntu", "10.04"),
        ),
        ({"etc/redhat-release": "Appliance release 3\n"}, ("", "")),
        ({"etc/os-release": "ID=../x\n"}, ("", "")),
        ({}, ("", "")),
    ],
)
def test_each_distributions_own_file(texts: dict[str, str], told: tuple[str, str]) -> None:
    found = system_of(texts)
    assert (found.name, found.version) == told
    again = system_of({"etc/os-release": found.text})
    assert (again.name, again.version) == told, "what syft is given says the same"


@given(st.dictionaries(st.sampled_from(RELEASE_FILES), st.text()))
def test_whatever_stands_there_is_a_name_or_nothing(texts: dict[str, str]) -> None:
    found = system_of(texts)
    again = system_of({"etc/os-release": found.text})
    assert (again.name, bool(again.text)) == (found.name, bool(found.name))


def test_an_older_redhats_packages_have_their_ecosystem() -> None:
    system = system_of({"etc/redhat-release": RHEL6})
    build = build_of(f"pkg:rpm/rhel/bash@4.1.2-48.el6?distro={system.name}-{system.version}")
    assert build.ecosystem == "Red Hat:enterprise_linux:6"


# --- layers ---


def _look(*files: str, **texts: str) -> LayerLook:
    """A layer with these entries; ``texts`` by path, with ``__`` for a slash and ``_`` for a dash."""
    by_path = {name.replace("__", "/").replace("_", "-"): text for name, text in texts.items()}
    return LayerLook([LayerFile(p, "file") for p in [*files, *by_path]], [], [], by_path, 0, False, [])


class TestLayers:
    base = _look(etc__os_release=DEBIAN)

    def test_the_uppermost_counts(self) -> None:
        newer = _look(etc__os_release="ID=debian\nVERSION_ID=13\n")
        assert release_of([self.base, newer]) == Release("etc/os-release", b"ID=debian\nVERSION_ID=13\n")
        assert release_of([self.base, _look("etc/motd")]).content == DEBIAN.encode()

    @pytest.mark.parametrize("hides", ["etc/.wh.os-release", ".wh.etc", "etc/.wh..wh..opq", ".wh..wh..opq", "etc"])
    def test_one_that_a_later_layer_deleted_does_not(self, hides: str) -> None:
        assert release_of([self.base, _look(hides)]) == Release()
        other = _look(usr__lib__os_release="ID=alpine\nVERSION_ID=3.20.1\n")
        assert system_of({"etc/os-release": release_of([self.base, _look(hides), other]).content.decode()})[:2] == (
            "alpine",
            "3.20.1",
        )

    def test_one_that_came_back_does(self) -> None:
        assert release_of([self.base, _look(".wh.etc"), self.base]).content == DEBIAN.encode()

    def test_a_link_over_it_leads_to_another(self) -> None:
        link = LayerLook([LayerFile("etc/os-release", "link", link="../usr/lib/os-release")], [], [], {}, 0, False, [])
        assert release_of([self.base, link]) == Release()
        vendor = _look(usr__lib__os_release="ID=wolfi\nVERSION_ID=20230201\n")
        assert release_of([self.base, vendor, link]).content.startswith(b"ID=wolfi")

    def test_syft_hears_of_the_images_alone(self, tmp_path: Path) -> None:
        """Also where a layer has another one of its own."""

        def purl(release: Release, *layers: dict[str, bytes]) -> str:
            blobs = []
            for files in layers:
                raw = tar_of(files)
                path = tmp_path / sha256(raw)[7:]
                path.write_bytes(raw)
                blobs.append(LayerBlob(sha256(raw), path))
            told = packages(blobs, release, tmp_path)[blobs[0].diff_id].packages
            return next(p.purl for p in told if p.name == "zlib1g").partition("distro=")[2].partition("&")[0]

        layer = {"etc/os-release": DEBIAN.encode(), "var/lib/dpkg/status": STATUS}
        shown = release_of([_look(etc__debian_version="")])
        assert shown == Release()
        squeeze = Release("etc/os-release", system_of({"etc/debian_version": "6.0.10\n"}).text.encode())
        other = {"var/lib/dpkg/status": STATUS.replace(b"zlib1g", b"tar")}
        for more in ((), (other,)):  # alone, and beside another layer
            assert purl(squeeze, layer, *more) == "debian-6.0.10"
            assert purl(Release(), layer, *more) == ""


@pytest.mark.django_db
@pytest.mark.processes
def test_an_image_without_os_release(plain_registry: Any, operator: Any, administrator: Any, run_jobs: Any) -> None:
    add_registry(plain_registry.host, RegistryEdit(uses_plain_http=True), actor=operator)
    squeeze = tar_of({"etc/debian_version": b"6.0.10\n", "var/lib/dpkg/status": STATUS})
    images = {"6": image_of(squeeze), "none": image_of(squeeze, tar_of({"etc/.wh.debian_version": b""}))}
    for tag, image in images.items():
        plain_registry.push("old/base", tag, image)
        ask(ScanRequest(image=f"{plain_registry.host}/old/base:{tag}"), actor=administrator)
    run_jobs()
    known, unknown = (Image.objects.get(digest=images[tag].digest) for tag in ("6", "none"))
    assert (known.os_name, known.os_version) == ("debian", "6.0.10")
    assert (unknown.os_name, unknown.os_version) == ("", "")
    rows = ImageComponent.objects.order_by("image__os_name").values_list("component__name", "build__ecosystem")
    assert list(rows) == [("zlib1g", None), ("zlib1g", "Debian:6")]


@pytest.mark.django_db
def test_packages_of_a_distribution_that_nobody_knows_are_not_clean(post: Any) -> None:
    """There are advisories, but none of them could be held against these."""
    advisory = Advisory.objects.create(source="x", name="X-1")
    AffectedRange.objects.create(advisory=advisory, ecosystem="npm", name="x", ranges=[[["introduced", "0"]]])
    purls = ["pkg:rpm/fedora/bash@5.2-1.fc40?distro=fedora-40", "pkg:rpm/fedora/tar@1.35-3.fc40", "pkg:npm/x@1"]
    scan = post(report(scanner="syft", covers=[], components=[{"purl": purl} for purl in purls]))
    assert scan.covers == []
    (warning,) = scan.warnings
    assert warning.endswith("2 packages were not matched")
