"""From an examined image to one report, as any scanner's: components, secrets, malware, failed checks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from secguard.findings.identity import FindingKind
from secguard.images.configuration import ImageConfig
from secguard.scans.inspection.configuration import Configuration, configuration_checks
from secguard.scans.inspection.contents import content_checks
from secguard.scans.inspection.files import LayerFile, Squashed, squash
from secguard.scans.inspection.secrets import build_arguments, environment_secrets
from secguard.scans.layers import Layer, LayerPackage, merge, visible_texts
from secguard.scans.release import system_of
from secguard.scans.report import OWN_LOOK, ReportedCheck, ReportedMalware, ReportedSecret, ScanReport, Subject

COVERS = frozenset(FindingKind) - {FindingKind.VULNERABILITY}
"""What looking at the image itself can find; flaws are found by matching, where there are advisories to match."""


@dataclass(frozen=True, slots=True)
class SeenLayer:
    """What was found in one layer, as if there were no other."""

    diff_id: str
    files: Sequence[LayerFile]
    secrets: Sequence[ReportedSecret]
    malware: Sequence[ReportedMalware]
    packages: Sequence[LayerPackage]
    texts: dict[str, str]
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True)
class Seen:
    """One image as it was examined. ``size_bytes`` and ``previous_size_bytes``: as registries keep it."""

    subject: Subject
    config: ImageConfig
    layers: Sequence[SeenLayer]
    size_bytes: int
    previous_size_bytes: int | None
    of_configuration: Sequence[ReportedSecret]
    version: str


def assemble(seen: Seen, *, key: bytes) -> ScanReport:
    """The report. A secret or malware in a layer counts wherever a later layer deletes it: it can still be read."""
    tree = squash([layer.files for layer in seen.layers])
    text = visible_texts([(layer.files, layer.texts) for layer in seen.layers])
    system = system_of(text)
    return ScanReport(
        format=OWN_LOOK,
        scanner="secguard",
        scanner_version=seen.version,
        subject=msgspec.structs.replace(seen.subject, os_name=system.name, os_version=system.version),
        covers=COVERS,
        secrets=_secrets(seen, tree, key),
        malware=_malware(seen, tree),
        checks=_checks(seen, tree, text),
        components=merge([Layer(layer.diff_id, layer.packages, layer.files) for layer in seen.layers]),
        inventory=True,
        warnings=tuple(dict.fromkeys(w for layer in seen.layers for w in layer.warnings)),
    )


def _secrets(seen: Seen, tree: Squashed, key: bytes) -> list[ReportedSecret]:
    found = [_said_where(secret, tree, number) for number, layer in enumerate(seen.layers) for secret in layer.secrets]
    config = seen.config
    history = [h.created_by for h in config.history]
    found += environment_secrets(config.execution.env, key=key)
    found += build_arguments(history, key=key)
    found += seen.of_configuration
    return found


def _said_where(secret: ReportedSecret, tree: Squashed, number: int) -> ReportedSecret:
    if _is_visible(secret.path, tree, number):
        return secret
    return msgspec.structs.replace(secret, title=f"{secret.title}, in a layer below what deletes or replaces it")


def _is_visible(path: str, tree: Squashed, number: int) -> bool:
    placed = tree.files.get(path.removeprefix("/"))
    return placed is not None and placed.layer == number


def _malware(seen: Seen, tree: Squashed) -> list[ReportedMalware]:
    """Each file once, however many rules it fails by one signature and places it lies at."""
    found: dict[tuple[str, str], ReportedMalware] = {}
    for number, layer in enumerate(seen.layers):
        for m in layer.malware:
            known = found.get((m.signature, m.sha256))
            if known is None or (_is_visible(m.path, tree, number) and not _is_visible(known.path, tree, number)):
                found[m.signature, m.sha256] = m
    return list(found.values())


def _checks(seen: Seen, tree: Squashed, texts: dict[str, str]) -> list[ReportedCheck]:
    config = seen.config
    return [
        *configuration_checks(_configuration(config)),
        *content_checks(
            tree,
            layers=len(seen.layers),
            size_bytes=seen.size_bytes,
            previous_size_bytes=seen.previous_size_bytes,
            accounts=texts.get("etc/passwd", ""),
            shadow=texts.get("etc/shadow", ""),
        ),
    ]


def _configuration(config: ImageConfig) -> Configuration:
    e = config.execution
    return Configuration(
        user=e.user,
        exposed_ports=e.exposed_ports,
        volumes=e.volumes,
        labels=dict(e.labels),
        has_healthcheck=e.healthcheck is not None and e.healthcheck.test[:1] != ("NONE",),
        history=_written(h.created_by for h in config.history),
        is_windows=config.platform.os == "windows",
    )


def _written(history: Iterable[str]) -> list[str]:
    return [step for step in history if step]
