"""Checks of the files that an image shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from secguard.scans.inspection import checks
from secguard.scans.inspection.contents import LARGE_BYTES, content_checks, largest
from secguard.scans.inspection.files import LayerFile, squash


def file(path: str, mode: int = 0o644, size: int = 1, uid: int = 0) -> LayerFile:
    return LayerFile(path, "file", mode, size, uid)


def folder(path: str, mode: int = 0o755) -> LayerFile:
    return LayerFile(path, "directory", mode)


def link(path: str, to: str) -> LayerFile:
    return LayerFile(path, "link", 0o777, 0, 0, to)


def found(*layers: list[LayerFile], **more) -> list[tuple[str, str]]:
    given = {"layers": len(layers), "size_bytes": None, "previous_size_bytes": None} | more
    return [(c.check_id, c.target) for c in content_checks(squash(layers), **given)]


def test_one_program_alone_fails_nothing():
    assert found([folder("app"), file("app/server", 0o755), folder("tmp", 0o1777), file("etc/passwd")]) == []


def test_the_distribution_s_set_id_programs_are_one_finding_and_others_are_their_own():
    entries = [file("bin/su", 0o4755), file("usr/bin/passwd", 0o4755), file("opt/tool", 0o4755), file("x", 0o2755)]
    assert found(entries) == [("SG-CFG-009", "/opt/tool"), ("SG-CFG-009", "/x"), ("SG-CFG-010", "/")]


def test_a_set_id_bit_that_is_none():
    assert found([LayerFile("d", "directory", 0o2775), file("locked", 0o2644)]) == []


def test_a_set_id_program_that_a_later_layer_deletes_or_mends_is_gone():
    first = [file("opt/tool", 0o4755), file("opt/other", 0o4755)]
    assert found(first, [LayerFile("opt/.wh.tool", "file"), file("opt/other", 0o755)]) == []


def test_the_highest_writable_path_is_said():
    entries = [folder("srv/up", 0o777), file("srv/up/a", 0o666), folder("tmp", 0o1777), file("etc/app.conf", 0o666)]
    assert found(entries) == [("SG-CFG-011", "/etc/app.conf"), ("SG-CFG-011", "/srv/up")]


def test_very_many_writable_paths_are_bounded():
    names = [target for _, target in found([file(f"d{i}", 0o666) for i in range(500)])]
    assert len(names) == 51
    assert names[-1] == "/"


def test_accounts():
    passwd = "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\nguest::1000:1000::/:/bin/sh\n"
    shadow = "root:*:1::::::\nopen::1::::::\n"
    ids = found([file("etc/passwd")], accounts=passwd, shadow=shadow)
    assert ids == [
        ("SG-CFG-012", "/etc/passwd toor"),
        ("SG-CFG-013", "/etc/shadow guest"),
        ("SG-CFG-013", "/etc/shadow open"),
    ]


@pytest.mark.parametrize(
    ("path", "check"),
    [
        ("usr/bin/apt-get", "SG-LEAN-001"),
        ("sbin/apk", "SG-LEAN-001"),
        ("bin/bash", "SG-LEAN-002"),
        ("usr/bin/x86_64-linux-gnu-gcc-12", "SG-LEAN-003"),
        ("usr/local/bin/go", "SG-LEAN-003"),
        ("usr/bin/curl", "SG-LEAN-004"),
        ("usr/bin/sudo", "SG-CFG-015"),
    ],
)
def test_a_tool_is_found_where_programs_lie(path, check):
    assert [c for c, _ in found([file(path, 0o755)])] == [check]
    name = path.rpartition("/")[2]
    assert found([file(f"usr/share/doc/{name}", 0o755), file(path, 0o644)]) == []


def test_a_link_is_a_program_where_it_leads_to_one():
    busybox = [file("bin/busybox", 0o755), link("bin/sh", "/bin/busybox"), link("usr/bin/wget", "../../bin/busybox")]
    assert [c for c, _ in found(busybox)] == ["SG-LEAN-002", "SG-LEAN-004"]
    assert found([link("bin/sh", "/bin/nothing"), link("bin/curl", "curl")]) == []


def test_merged_folders_are_followed():
    assert [c for c, _ in found([link("bin", "usr/bin"), file("usr/bin/dash", 0o755), link("usr/bin/sh", "dash")])] == [
        "SG-LEAN-002"
    ]


def test_two_services_are_too_many_and_one_under_two_names_is_one():
    assert [c for c, _ in found([file("usr/sbin/nginx", 0o755), file("usr/sbin/sshd", 0o755)])] == ["SG-LEAN-005"]
    assert found([file("usr/sbin/apache2", 0o755), file("usr/sbin/httpd", 0o755)]) == []


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("app/.git/HEAD", "a git repository"),
        ("var/lib/apt/lists/deb_dists_bookworm_InRelease", "apt's package lists"),
        ("var/cache/apt/archives/curl_7_amd64.deb", "apt's cache"),
        ("root/.cache/pip/http/a", "a build cache"),
        ("root/.bash_history", "a shell's history"),
        ("app/Dockerfile", "its own build files"),
    ],
)
def test_leftovers_are_named(path, what):
    assert found([file(path)]) == [("SG-LEAN-006", what)]


def test_bytes_that_later_layers_hide_are_counted():
    assert found([file("big", size=20 * 10**6)], [LayerFile(".wh.big", "file")]) == [("SG-LEAN-007", "/")]
    assert found([file("big", size=20 * 10**6)]) == []


def test_size_and_growth():
    assert found([file("big", size=LARGE_BYTES + 1)]) == [("SG-LEAN-008", "/")]
    grown = {"size_bytes": 150 * 10**6, "previous_size_bytes": 100 * 10**6}
    assert found([file("a")], **grown) == [("SG-LEAN-009", "/")]
    assert found([file("a")], **(grown | {"previous_size_bytes": 145 * 10**6})) == []
    assert found([file("a")], **(grown | {"previous_size_bytes": None})) == []


def test_very_many_layers():
    assert found(*[[file(f"f{i}")] for i in range(41)]) == [("SG-LEAN-010", "/")]


def test_the_largest_files_are_told():
    assert largest(squash([[file("a", size=3), file("b", size=9), folder("c")]]), 1) == [("/b", 9)]


def test_every_check_has_its_own_id_a_reason_and_a_remedy():
    assert len({c.id for c in checks.ALL}) == len(checks.ALL) > 20
    for check in checks.ALL:
        assert re.fullmatch(r"SG-(CFG|LEAN)-\d{3}", check.id)
        assert check.reason.endswith(".")
        assert check.remedy.endswith((".", ")", "+"))


def test_the_documentation_lists_every_check_and_rule():
    text = Path("docs/checks.md").read_text(encoding="utf-8")
    rules = Path("secguard/scans/rules")
    ids = [c.id for c in checks.ALL]
    for name in ("secrets", "malware"):
        ids += re.findall(r'id = "([^"]+)"', (rules / f"{name}.yar").read_text(encoding="utf-8"))
    assert [i for i in ids if f"`{i}`" not in text] == []
