"""Modules of RHEL and its rebuilds: an advisory on one stream says nothing of another."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from secguard.findings.models import Finding
from secguard.images.ecosystems import build_of
from secguard.images.models import ComponentBuild
from secguard.scans.adapters.syft import LayerBlob, Release, packages
from secguard.scans.matching import Candidate, match, streams_in
from tests.fixtures_reports import report
from tests.imagebuilding import sha256, tar_of

LABEL = "nodejs:14:8060020220523160029:ad008a3a"
VERSION = "1:14.20.0-2.module+el8.6.0+16231+7c1b33d9"


@pytest.mark.parametrize(
    ("title", "streams"),
    [
        ("Moderate: nodejs:16 security update", ("nodejs:16",)),
        ("Red Hat Security Advisory: nodejs:16 security, bug fix, and enhancement update", ("nodejs:16",)),
        (
            "Important: virt:rhel and virt-devel:rhel security update",
            ("virt-devel:rhel", "virt:rhel"),
        ),
        ("Moderate: 389-ds:1.4 security update", ("389-ds:1.4",)),
        ("Important: container-tools:rhel8 security update", ("container-tools:rhel8",)),
        ("Important: openssl security update", ()),
        ("See https://example.org:8080/x", ()),
        ("", ()),
    ],
)
def test_a_title_names_its_streams(title: str, streams: tuple[str, ...]) -> None:
    assert streams_in(title) == streams


@pytest.mark.parametrize(
    ("purl", "stream"),
    [
        (f"pkg:rpm/redhat/npm@6.14.17-1.14.20.0.2?distro=rhel-8.6&rpmmod={LABEL}", "nodejs:14"),
        ("pkg:rpm/redhat/npm@6.14?distro=rhel-8.6&rpmmod=nodejs%3A14", "nodejs:14"),
        (f"pkg:rpm/redhat/npm@6.14?distro=redhat-8&modularitylabel={LABEL}", "nodejs:14"),
        ("pkg:rpm/redhat/npm@6.14?distro=rhel-8.6&rpmmod=nodejs", ""),
        ("pkg:rpm/redhat/npm@6.14?distro=rhel-8.6", ""),
    ],
)
def test_a_purl_tells_the_stream(purl: str, stream: str) -> None:
    assert build_of(purl).stream == stream


def _candidate(fixed: str, *streams: str, advisory: str = "ALSA-1") -> Candidate:
    ranges = [[("introduced", "0"), ("fixed", fixed)]]
    return Candidate(advisory, "AlmaLinux:8", "nodejs", ranges, flaws=(1,), streams=streams)


OF_16 = _candidate("1:16.14.0-4.module_el8.6.0+2904+f21ad6f4", "nodejs:16")
OF_14 = _candidate("1:14.21.1-2.module_el8.7.0+3370+18f7e9b4", "nodejs:14", advisory="ALSA-2")


def _hits(*candidates: Candidate, stream: str, version: str = VERSION) -> list[str]:
    return [a for h in match("AlmaLinux:8", "nodejs", version, candidates, stream).hits.values() for a in h.advisories]


class TestMatching:
    def test_what_mends_another_stream_alone_is_no_hit(self) -> None:
        assert _hits(OF_16, stream="nodejs:14") == []
        assert _hits(OF_16, stream="nodejs:16", version="1:16.13.0-1.module_el8.5.0+1+1") == ["ALSA-1"]

    def test_the_streams_own_counts(self) -> None:
        assert _hits(OF_16, OF_14, stream="nodejs:14") == ["ALSA-2"]

    def test_its_own_advisory_counts_also_where_the_version_has_moved_on(self) -> None:
        """A rolling stream: what is nearer is of another one."""
        rolling = _candidate("1:16.1.0-1.module_el8.6.0+1+1", "nodejs:rhel8", advisory="ALSA-3")
        unnamed = _candidate("1:14.1.0-1.module_el8.6.0+1+1", advisory="ALSA-4")
        assert _hits(unnamed, rolling, stream="nodejs:rhel8") == ["ALSA-3"]

    def test_where_either_does_not_tell_versions_do(self) -> None:
        assert _hits(OF_16, OF_14, stream="") == ["ALSA-2"]
        assert _hits(OF_16, stream="") == ["ALSA-1"], "nobody knows of another stream"
        assert _hits(_candidate("1:16.14.0-4.module_el8.6.0+1+1"), stream="nodejs:14") == ["ALSA-1"]

    def test_another_modules_stream_tells_nothing(self) -> None:
        other = _candidate("1:14.21.1-2.module_el8.7.0+1+1", "container-tools:rhel8")
        assert _hits(other, stream="nodejs:14") == ["ALSA-1"]

    def test_a_plain_package_has_none(self) -> None:
        plain = _candidate("1:14.21.1-2.el9", "nodejs:16")
        assert _hits(plain, stream="nodejs:14", version="1:14.20.0-1.el9") == ["ALSA-1"]


@pytest.mark.skipif(not shutil.which("rpmbuild"), reason="needs rpmbuild (Debian's package rpm)")
@pytest.mark.processes
def test_a_real_database_tells_it(tmp_path: Path) -> None:
    spec = tmp_path / "nodejs.spec"
    spec.write_text(
        f"Name: nodejs\nEpoch: 1\nVersion: 14.20.0\nRelease: 2.module+el8.6.0+16231+7c1b33d9\nSummary: x\n"
        f"License: MIT\nBuildArch: noarch\nModularityLabel: {LABEL}\n%description\nx\n%files\n"
    )
    macros = ["--define", f"_topdir {tmp_path}/build", "--define", "_build_id_links none"]
    subprocess.run(["rpmbuild", "-bb", "--quiet", *macros, str(spec)], check=True, capture_output=True)
    built = next((tmp_path / "build").rglob("*.rpm"))
    kept = ["--root", str(tmp_path / "root"), "--dbpath", "/var/lib/rpm"]
    (tmp_path / "root").mkdir()
    subprocess.run(["rpm", *kept, "--initdb"], check=True, capture_output=True)
    command = ["rpm", *kept, "-i", "--justdb", "--nodeps", "--ignorearch", "--nosignature", str(built)]
    subprocess.run(command, check=True, capture_output=True)
    files = {f"var/lib/rpm/{p.name}": p.read_bytes() for p in (tmp_path / "root/var/lib/rpm").glob("*.sqlite")}
    raw = tar_of(files)
    (tmp_path / "layer").write_bytes(raw)
    release = Release("etc/os-release", b'ID="almalinux"\nVERSION_ID="8.6"\n')
    (found,) = packages([LayerBlob(sha256(raw), tmp_path / "layer")], release, tmp_path)[sha256(raw)].packages
    build = build_of(found.purl)
    assert (build.ecosystem, build.source_version, build.stream) == ("AlmaLinux:8", VERSION, "nodejs:14")


@pytest.mark.django_db
def test_from_the_inventory_to_the_finding(post: Any, administrator: Any, run_jobs: Any) -> None:
    advisory = {
        "schema_version": "1.7.0",
        "id": "ALSA-2022:4796",
        "summary": "Moderate: nodejs:16 security, bug fix, and enhancement update",
        "modified": "2026-01-01T00:00:00Z",
        "related": ["CVE-2021-43616"],
        "affected": [
            {
                "package": {"ecosystem": "AlmaLinux:8", "name": "nodejs"},
                "ranges": [
                    {
                        "type": "ECOSYSTEM",
                        "events": [{"introduced": "0"}, {"fixed": "1:16.14.0-4.module_el8.6.0+2904+f21ad6f4"}],
                    }
                ],
            }
        ],
    }
    answer = administrator.api.post(
        "/api/v1/advisories/import/?name=feed.jsonl", json.dumps(advisory), content_type="application/octet-stream"
    )
    assert answer.status_code in (200, 202), answer.content
    run_jobs()
    purl = "pkg:rpm/almalinux/nodejs@{}?distro=almalinux-8.6&epoch=1&rpmmod=nodejs:{}:8060020220523160029:ad008a3a"
    purls = [
        purl.format("14.20.0-2.module_el8.6.0+1+1", 14),
        purl.format("16.13.0-1.module_el8.5.0+1+1", 16),
    ]
    post(report(scanner="syft", covers=[], components=[{"purl": p.replace("+", "%2B")} for p in purls]))
    assert set(ComponentBuild.objects.values_list("stream", flat=True)) == {"nodejs:14", "nodejs:16"}
    assert list(Finding.objects.values_list("component__version", flat=True)) == ["1:16.13.0-1.module_el8.5.0+1+1"]
