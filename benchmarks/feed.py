"""A feed of advisories as OSV publishes them, generated: shapes and sizes of real ones, and the same every time."""

from __future__ import annotations

import io
import json
import random
import zipfile
from typing import Any

TEXT = "Crafted input to the parser lets a remote attacker read memory, exhaust it or execute code in the process. "


def osv_zip(entries: int, seed: int = 1) -> bytes:
    """An ``all.zip``: one JSON file an entry.

    Of ten, four are as Bitnami's (one package), three as GitHub's (a package or two, CVSS, long texts), two as Debian's
    (a release each, listed versions), one as AlmaLinux's (twelve binary packages, three flaws).
    """
    choose = random.Random(seed)  # noqa: S311 - the same feed every time
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for n in range(entries):
            entry = _SHAPES[n % 10](n, choose)
            archive.writestr(f"{entry['id'].replace(':', '_')}.json", json.dumps(entry))
    return packed.getvalue()


def _base(name: str, n: int, words: int) -> dict[str, Any]:
    return {
        "schema_version": "1.7.0",
        "id": name,
        "modified": f"2025-{n % 12 + 1:02}-{n % 28 + 1:02}T12:00:00Z",
        "published": "2024-05-01T00:00:00Z",
        "details": TEXT * words,
        "references": [{"type": "WEB", "url": f"https://security.example/{name}/{i}"} for i in range(6)],
    }


def _affected(ecosystem: str, name: str, fixed: str, type_: str = "ECOSYSTEM") -> dict[str, Any]:
    return {
        "package": {"ecosystem": ecosystem, "name": name, "purl": f"pkg:generic/{name}"},
        "ranges": [{"type": type_, "events": [{"introduced": "0"}, {"fixed": fixed}]}],
    }


def _cve(n: int) -> str:
    return f"CVE-{2015 + n % 10}-{10000 + n}"


def _bitnami(n: int, choose: random.Random) -> dict[str, Any]:
    affected = _affected("Bitnami", f"app{n % 300}", f"{n % 9}.{n % 17}.{n % 23}", "SEMVER")
    affected["severity"] = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}]
    return {
        **_base(f"BIT-app-{n}", n, 5),
        "aliases": [_cve(n)],
        "affected": [affected],
        "database_specific": {
            "severity": choose.choice(["Low", "Medium", "High", "Critical"]),
            "cpes": ["cpe:2.3:a:x"],
        },
    }


def _github(n: int, choose: random.Random) -> dict[str, Any]:
    ecosystem = choose.choice(["npm", "PyPI", "Go", "Maven"])
    return {
        **_base(f"GHSA-{n:04}-bench", n, 14),
        "aliases": [_cve(n)],
        "summary": f"Something in package{n % 4000}",
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}],
        "affected": [_affected(ecosystem, f"group/package{n % 4000}", f"{n % 5}.{n % 11}.0") for _ in range(1 + n % 2)],
        "database_specific": {"severity": "HIGH", "cwe_ids": ["CWE-400"], "github_reviewed": True},
    }


def _debian(n: int, choose: random.Random) -> dict[str, Any]:
    affected = [_affected(f"Debian:{r}", f"source{n % 3000}", f"{n % 7}.{r}-{n % 9}") for r in (11, 12, 13)]
    for a in affected:
        a["versions"] = [f"{n % 7}.{i}-1" for i in range(12)]
        a["ecosystem_specific"] = {"urgency": choose.choice(["not yet assigned", "unimportant", "low", "high"])}
    return {**_base(f"DEBIAN-{_cve(n)}", n, 3), "upstream": [_cve(n)], "affected": affected}


def _almalinux(n: int, choose: random.Random) -> dict[str, Any]:
    fixed = f"{n % 5}.{n % 13}-{n % 9}.el9_{n % 6}"
    return {
        **_base(f"ALSA-2025:{n}", n, 8),
        "summary": "Important: source security update",
        "related": [_cve(n + i * 100_000) for i in range(3)],
        "affected": [_affected("AlmaLinux:9", f"binary{n % 500}-{i}", fixed) for i in range(12)],
    }


_SHAPES = (_bitnami, _github, _debian, _bitnami, _github, _almalinux, _bitnami, _debian, _github, _bitnami)
