"""Reports as Trivy writes them (SchemaVersion 2), generated: sizes and shapes of real ones, and the same every time."""

from __future__ import annotations

import json
import random
from typing import Any

SEVERITIES = ["LOW"] * 5 + ["MEDIUM"] * 5 + ["HIGH"] * 3 + ["CRITICAL"]
TEXT = "A flaw in the parsing of untrusted input allows a remote attacker to exhaust memory or to execute code. "


def trivy(name: str, number: int, findings: int, *, changed: float = 0.0, seed: int = 1) -> bytes:
    """A report on image ``number`` of repository ``name``; ``changed``: the share of findings rated otherwise."""
    choose = random.Random(seed)  # noqa: S311 - the same report every time
    other = random.Random(seed + 1)  # noqa: S311
    digest = f"sha256:{number:064x}"
    vulnerabilities = [_vulnerability(i, choose, is_changed=other.random() < changed) for i in range(findings)]
    document = {
        "SchemaVersion": 2,
        "CreatedAt": "2026-01-01T00:00:00Z",
        "ArtifactName": f"registry.example/{name}:build{number}",
        "ArtifactType": "container_image",
        "Metadata": {
            "OS": {"Family": "debian", "Name": "12.5"},
            "ImageID": f"sha256:{number + 10**9:064x}",
            "RepoTags": [f"registry.example/{name}:build{number}"],
            "RepoDigests": [f"registry.example/{name}@{digest}"],
        },
        "Results": [
            {
                "Target": "debian 12.5",
                "Class": "os-pkgs",
                "Type": "debian",
                "Vulnerabilities": vulnerabilities,
            }
        ],
    }
    return json.dumps(document).encode()


def _vulnerability(i: int, choose: random.Random, *, is_changed: bool) -> dict[str, Any]:
    package, version = f"package{i % 997}", f"1.{i % 997 % 13}.{i % 997 % 7}-1"
    severity = choose.choice(SEVERITIES)
    if is_changed:
        severity = SEVERITIES[(SEVERITIES.index(severity) + 5) % len(SEVERITIES)]
    # One flaw stands in three binary packages on average, as those of a distribution's sources do.
    flaw = i // 3
    name = f"CVE-{2015 + flaw % 10}-{10000 + flaw}"
    return {
        "VulnerabilityID": name,
        "PkgID": f"{package}@{version}",
        "PkgName": package,
        "PkgIdentifier": {"PURL": f"pkg:deb/debian/{package}@{version}?arch=amd64&distro=debian-12.5"},
        "InstalledVersion": version,
        "FixedVersion": "2.0-1" if i % 3 else "",
        "Status": "fixed" if i % 3 else "affected",
        "Layer": {"DiffID": f"sha256:{i % 9:064x}"},
        "SeveritySource": "debian",
        "PrimaryURL": f"https://avd.example/{name.lower()}",
        "Title": f"{package}: {TEXT[:50]}",
        "Description": TEXT * 4,
        "Severity": severity,
        "CVSS": {"nvd": {"V3Vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "V3Score": 7.5}},
        "References": [f"https://security.example/{name}/{n}" for n in range(4)],
        "PublishedDate": "2024-05-01T00:00:00Z",
    }
