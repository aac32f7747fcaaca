"""Our inventory and findings of an image beside syft's list of the whole of it, and beside people's labels.

Syft looks once at the image as it is; we look layer by layer and put the layers together. What is compared are
canonical purls: without qualifiers, each once.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secguard.findings.entries import component_purl
from secguard.images.adapters.layertar import Kind, LayerReader
from secguard.images.ecosystems import Build, build_of
from secguard.scans.adapters import syft
from secguard.scans.adapters.syft import LayerBlob, Release
from secguard.scans.inspection.files import LayerFile
from secguard.scans.layers import Layer, merge, visible_texts
from secguard.scans.matching import Candidate, match
from secguard.scans.readers._packages import purl_or
from secguard.scans.release import RELEASE_FILES, System, system_of
from secguard.scans.report import ReportedComponent
from tests.imagebuilding import BuiltImage, image_of, read_layout, tar_of, write_layout
from tests.labelled import Feeds, Label, answer, ecosystems_of, flaws_of, source_of

KINDS = {Kind.FILE: "file", Kind.DIRECTORY: "directory", Kind.SYMLINK: "link", Kind.HARDLINK: "hard-link"}


@dataclass(frozen=True)
class Comparison:
    name: str
    digest: str
    layers: int
    system: System
    whole: frozenset[str]
    """By syft alone."""
    ours: Mapping[str, ReportedComponent]

    @property
    def owned(self) -> Mapping[str, ReportedComponent]:
        return {purl: c for purl, c in self.ours.items() if c.owner}

    def build(self, component: ReportedComponent) -> Build:
        """As a scan is taken in: none of its own for what a distribution's package brought."""
        system = self.system.name, self.system.version
        if component.owner and build_of(component.owner, *system).ecosystem:
            return Build()
        return build_of(component.purl, *system)


def types(purls: Iterable[str]) -> Counter[str]:
    return Counter(purl.removeprefix("pkg:").partition("/")[0] for purl in purls)


def compare(layout: Path, name: str) -> list[Comparison]:
    """Every image of a layout: of an index each platform's."""
    found = []
    for _, image in read_layout(layout):
        for one in image.children or [image]:
            platform = one.platform.get("architecture", "")
            found.append(compare_image(one, f"{name}, {platform}" if image.children else name))
    return found


def compare_image(image: BuiltImage, name: str) -> Comparison:
    folder = Path(tempfile.mkdtemp(prefix="secguard-comparing-"))
    try:
        write_layout(folder / "image", {"latest": image})
        (folder / "work").mkdir()
        system, ours = _ours(image, folder)
        return Comparison(name, image.digest, len(_layers(image)), system, _whole(folder), ours)
    finally:
        shutil.rmtree(folder)


def _whole(folder: Path) -> frozenset[str]:
    command = [str(syft.program()), "scan", f"oci-dir:{folder / 'image'}", "-q", "-o", f"syft-json={folder / 'json'}"]
    environment = {"HOME": str(folder), "TMPDIR": str(folder), "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    subprocess.run(command, env=environment, check=True, timeout=300)
    artifacts = json.loads((folder / "json").read_bytes())["artifacts"]
    return frozenset(_canonical(purl_or(a["purl"], a["type"], a["name"], a["version"]), a) for a in artifacts)


def _canonical(purl: str, artifact: Mapping[str, Any]) -> str:
    return component_purl(ReportedComponent(purl=purl, name=artifact["name"], version=artifact["version"]), dict)


def _layers(image: BuiltImage) -> list[dict[str, Any]]:
    return list(json.loads(image.raw)["layers"])


def _ours(image: BuiltImage, folder: Path) -> tuple[System, dict[str, ReportedComponent]]:
    document = json.loads(image.raw)
    diff_ids = json.loads(image.blobs[document["config"]["digest"]])["rootfs"]["diff_ids"]
    blobs = folder / "image" / "blobs" / "sha256"
    layers = [LayerBlob(d, blobs / row["digest"][7:]) for d, row in zip(diff_ids, _layers(image), strict=True)]
    seen = [_files(layer) for layer in layers]
    system = system_of(visible_texts(seen))
    release = Release(RELEASE_FILES[0], system.text.encode()) if system.name else Release()
    told = syft.packages(layers, release, folder / "work")
    merged = merge([Layer(x.diff_id, told[x.diff_id].packages, s[0]) for x, s in zip(layers, seen, strict=True)])
    return system, {component_purl(c, dict): c for c in sorted(merged, key=lambda c: not c.owner)}


def _files(layer: LayerBlob) -> tuple[list[LayerFile], dict[str, str]]:
    files, texts = [], {}
    with layer.path.open("rb") as raw:
        for entry in LayerReader(raw, diff_id=layer.diff_id):
            files.append(LayerFile(entry.path, KINDS.get(entry.kind, "other"), entry.mode, entry.size))
            if entry.kind is Kind.FILE and entry.path in RELEASE_FILES:
                texts[entry.path] = entry.read(2**16).decode("utf-8", "replace")
    return files, texts


# --- findings ---


@dataclass(frozen=True)
class Findings:
    hits: Counter[str]
    """By ecosystem: (package, flaw)."""
    unknown: int
    without_feed: Counter[str]
    """By ecosystem that no feed at hand speaks of: packages."""
    spared: Counter[str]
    """By ecosystem: what a language's advisories would have said of packages that their distribution judges."""


def findings_of(compared: Comparison, feeds: Feeds) -> Findings:
    known = {ecosystem for ecosystem, _ in feeds}
    found = Findings(Counter(), 0, Counter(), Counter())
    unknown = 0
    for component in compared.ours.values():
        build = compared.build(component)
        if build.ecosystem and build.ecosystem not in known:
            found.without_feed[build.ecosystem] += 1
        hits, odd = _held(build, feeds)
        found.hits.update({build.ecosystem: hits} if hits else {})
        unknown += odd
        if component.owner:
            own = build_of(component.purl)
            found.spared.update({own.ecosystem: _held(own, feeds)[0]} if _held(own, feeds)[0] else {})
    return Findings(found.hits, unknown, found.without_feed, found.spared)


def _held(build: Build, feeds: Feeds) -> tuple[int, int]:
    """(hits, unknown) by flaws, each under the first of its names."""
    numbers: dict[str, int] = {}
    candidates = []
    for advisory, names, said in feeds.get((build.ecosystem, build.source_name), ()):
        flaw = min(names or {advisory})
        number = numbers.setdefault(flaw, len(numbers))
        candidates.append(
            Candidate(advisory, build.ecosystem, build.source_name, said.ranges, said.versions, (number,))
        )
    found = match(build.ecosystem, build.source_name, build.source_version, candidates)
    return len(found.hits), len(found.unknown)


# --- images of labelled packages ---


@dataclass(frozen=True)
class Labelled:
    """What our scan of an image with labelled packages says of each label."""

    missing: list[tuple[str, str]]
    """(package, version) that the scan did not find."""
    said: Counter[tuple[str, str]]
    """By (label, answer): ``TP`` or ``FP``; ``hit``, ``no`` or ``unknown``."""


LABELLED = ("Alpine:v3.6", "Alpine:v3.8", "AlmaLinux:8", "AlmaLinux:9", "PyPI")
"""Of which packages can be installed here, without the packages themselves."""
ALPINES = {"Alpine:v3.6": "3.6.5", "Alpine:v3.8": "3.8.5"}


def labels_with_a_feed(labels: Sequence[Label], feeds: Feeds, ecosystem: str) -> list[Label]:
    """Those of the ecosystem whose flaw the feed names for their package."""

    def is_named(label: Label) -> bool:
        name = source_of(ecosystem, label["package"]["name"])
        return bool(answer(feeds, ecosystem, name, label["package"]["version"], flaws_of(label)))

    return [label for label in labels if ecosystem in ecosystems_of(label) and is_named(label)]


def image_of_labelled(ecosystem: str, labels: Sequence[Label], folder: Path) -> BuiltImage:
    """An image with each labelled package installed: in a real database of apk's or rpm's, or as pip leaves it."""
    packages = sorted({(x["package"]["name"], x["package"]["version"]) for x in labels})
    if ecosystem in ALPINES:
        return image_of(tar_of(_apk(packages, ecosystem)))
    if ecosystem.startswith("AlmaLinux"):
        return image_of(tar_of(_rpm(packages, ecosystem.partition(":")[2], folder)))
    return image_of(tar_of({f"app/{n}-{v}.dist-info/METADATA": _metadata(n, v) for n, v in packages}))


def judged(compared: Comparison, ecosystem: str, labels: Sequence[Label], feeds: Feeds) -> Labelled:
    builds: dict[tuple[str, str], Build] = {(c.name, c.version): compared.build(c) for c in compared.ours.values()}
    missing, said = set(), Counter[tuple[str, str]]()
    for label in labels:
        name, version = label["package"]["name"], label["package"]["version"]
        build = builds.get((name, version), Build())
        if build.ecosystem != ecosystem:
            missing.add((name, version))
            continue
        found = answer(feeds, build.ecosystem, build.source_name, build.source_version, flaws_of(label))
        said[label["label"], found] += 1
    return Labelled(sorted(missing), said)


def _apk(packages: Sequence[tuple[str, str]], ecosystem: str) -> dict[str, bytes]:
    entry = "C:Q1qKcZ+j23xssAXmgQhkOO8dHnbWw=\nP:{0}\nV:{1}\nA:x86_64\nS:1\nI:1\nT:x\no:{2}\n\n"
    installed = "".join(entry.format(n, v, source_of(ecosystem, n)) for n, v in packages)
    release = f"ID=alpine\nVERSION_ID={ALPINES[ecosystem]}\n"
    return {"etc/os-release": release.encode(), "lib/apk/db/installed": installed.encode()}


def _metadata(name: str, version: str) -> bytes:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()


def _rpm(packages: Sequence[tuple[str, str]], release: str, folder: Path) -> dict[str, bytes]:
    """A database that the real rpm wrote. A name's second version comes with a second specification, and so on."""
    rounds: dict[int, list[tuple[str, str]]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for name, version in packages:
        rounds[counts[name]].append((name, version))
        counts[name] += 1
    database = ["--root", str(folder / "root"), "--dbpath", "/var/lib/rpm"]
    (folder / "root").mkdir()
    subprocess.run(["rpm", *database, "--initdb"], check=True, capture_output=True)
    options = ["--justdb", "--nodeps", "--force", "--ignorearch", "--nosignature", "--noscripts"]
    for number, wanted in rounds.items():
        built = _built(wanted, folder / str(number))
        subprocess.run(["rpm", *database, "-i", *options, *built], check=True, capture_output=True)
    files = {f"var/lib/rpm/{p.name}": p.read_bytes() for p in (folder / "root/var/lib/rpm").glob("*.sqlite")}
    return {"etc/os-release": f'ID="almalinux"\nVERSION_ID="{release}"\n'.encode(), **files}


def _built(packages: Sequence[tuple[str, str]], folder: Path) -> list[str]:
    """The rpm files of empty packages."""
    head = "Name: none-of-these\nVersion: 1\nRelease: 1\nSummary: x\nLicense: MIT\nVendor: AlmaLinux\n"
    parts = [head + "BuildArch: noarch\n%description\nx\n"]
    for name, version in packages:
        epoch, _, rest = version.rpartition(":")
        number, _, release = rest.rpartition("-")
        tags = f"Version: {number}\nRelease: {release}\n" + (f"Epoch: {epoch}\n" if epoch else "")
        parts.append(f"%package -n {name}\nSummary: x\n{tags}%description -n {name}\nx\n%files -n {name}\n")
    folder.mkdir()
    specification = folder / "packages.spec"
    specification.write_text("\n".join(parts))
    macros = ["--define", f"_topdir {folder}/build", "--define", "_build_id_links none"]
    subprocess.run(["rpmbuild", "-bb", "--quiet", *macros, str(specification)], check=True, capture_output=True)
    return sorted(str(p) for p in (folder / "build" / "RPMS").rglob("*.rpm"))
