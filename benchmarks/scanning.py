"""A scan by a worker beside syft alone on the same image, in turns; and the same image with one small layer changed.

The image is a Debian by debootstrap with an application's layer (``scripts/make-test-images``). Each round has a base
layer that nobody has seen before, so a cold scan looks at everything; what follows in the round finds the base layer
known. The time of a scan is from asked for to taken in, the worker's start of it included; uploading is not in it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from benchmarks.server import Server
from benchmarks.table import Measure
from secguard.scans.adapters import syft

PART = "Scanning"
ROUNDS = 3
SYFT_TIMES, CHANGED_SHARE = 1.5, 1 / 3
PACKAGES = 12
"""Of the application's layer, beside Debian's."""
_MAKER = Path(__file__).resolve().parents[1] / "scripts" / "make-test-images"
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"


def run(server: Server) -> list[Measure]:
    with tempfile.TemporaryDirectory(prefix="secguard-bench-images-") as name:
        folder = Path(name)
        base = debian(folder)
        if base is None:
            return [Measure(PART, "not measured: debootstrap is not installed, or may not run here", 0, "scans")]
        seconds: dict[str, list[float]] = {}
        for number in range(ROUNDS):
            for what, spent in _round(server, folder / str(number), base, number).items():
                seconds.setdefault(what, []).append(spent)
    return _measures({what: median(spent) for what, spent in seconds.items()}, len(base))


def _round(server: Server, folder: Path, base: bytes, number: int) -> dict[str, float]:
    """Seconds of syft alone and of each scan; another order in every second round."""
    unseen = tar({"opt/round": str(number).encode()}, is_open=True) + base
    images = {
        "cold": image(folder / "cold", [unseen, tar(application(number, 1))]),
        "dependency": image(folder / "dependency", [unseen, tar(application(number, 2))]),
        "code": image(folder / "code", [unseen, tar({"opt/app/main.py": f"print({number})".encode()})]),
    }
    spent: dict[str, float] = {}

    def scans() -> None:
        for what, layout in images.items():
            spent[what] = scan(server, layout, f"bench.example/{what}-{number}")

    def alone() -> None:
        spent["syft"] = syft_alone(images["cold"], folder)

    for step in (alone, scans) if number % 2 else (scans, alone):
        step()
    return spent


def _measures(seconds: Mapping[str, float], size: int) -> list[Measure]:
    note = f"{seconds['cold']:.1f} s; syft {seconds['syft']:.1f} s; medians of {ROUNDS}; {size / 10**6:.0f} MB unpacked"
    changed = {"dependency": "one dependency newer", "code": "code alone"}
    cold = Measure(
        PART, "a cold scan, to syft alone", seconds["cold"] / seconds["syft"], "times", SYFT_TIMES, note=note
    )
    return [cold] + [
        Measure(
            PART,
            f"one small layer changed ({words}), to the cold scan",
            seconds[what] / seconds["cold"],
            "times",
            CHANGED_SHARE,
            note=f"{seconds[what]:.1f} s",
        )
        for what, words in changed.items()
    ]


# --- images ---


def debian(folder: Path) -> bytes | None:
    """The lowest layer of a minimal Debian, unpacked; ``None`` where none can be made here."""
    command = [sys.executable, str(_MAKER), str(folder), "debian"]
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return None
    manifest = _document(folder / "debian", json.loads((folder / "debian" / "index.json").read_bytes()))
    return gzip.decompress(_blob(folder / "debian", manifest["layers"][0]["digest"]).read_bytes())


def _document(layout: Path, index: dict[str, Any]) -> Any:
    return json.loads(_blob(layout, index["manifests"][0]["digest"]).read_bytes())


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


def application(number: int, version: int) -> dict[str, bytes]:
    """Twelve dependencies of an application, one of them at ``version``, and its own code."""
    files = {"opt/app/main.py": f"print({number}, {version})".encode()}
    for n in range(PACKAGES):
        text = f"Metadata-Version: 2.1\nName: bench-{n}\nVersion: 1.{version if n == 0 else 0}\nLicense: MIT\n"
        files[f"opt/app/lib/bench_{n}-1.{version if n == 0 else 0}.dist-info/METADATA"] = text.encode()
    return files


def tar(files: Mapping[str, bytes], *, is_open: bool = False) -> bytes:
    """A tar of these files; ``is_open``: without its end, so that another may follow."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        end = archive.offset
    return out.getvalue()[:end] if is_open else out.getvalue()


def image(layout: Path, layers: list[bytes]) -> Path:
    """An OCI layout of one image with these layers, lowest first."""
    (layout / "blobs" / "sha256").mkdir(parents=True)
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    config = json.dumps({"os": "linux", "architecture": "amd64", "config": {"User": "1000"}, "rootfs": rootfs})
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _added(layout, config.encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [_added(layout, gzip.compress(layer, 6, mtime=0), _LAYER_TYPE) for layer in layers],
    }
    described = _added(layout, json.dumps(manifest).encode(), str(manifest["mediaType"]))
    described["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return layout


def _added(layout: Path, raw: bytes, media_type: str) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    _blob(layout, digest).write_bytes(raw)
    return {"mediaType": media_type, "digest": digest, "size": len(raw)}


# --- what is measured ---


def syft_alone(layout: Path, folder: Path) -> float:
    """Seconds of one run as anybody would run it."""
    command = [str(syft.program()), "scan", f"oci-dir:{layout}", "-q", "-o", f"syft-json={folder / 'syft.json'}"]
    environment = {"HOME": str(folder), "TMPDIR": str(folder), "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    begin = time.perf_counter()
    subprocess.run(command, env=environment, check=True)
    return time.perf_counter() - begin


def scan(server: Server, layout: Path, name: str) -> float:
    """Seconds from when the scan was asked for until it was taken in."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.add(layout, ".")
    asked = server.ask(f"/api/v1/scans/archive/?image={quote(name)}", out.getvalue()).document
    while asked["status"] in ("queued", "running"):
        time.sleep(0.1)
        asked = server.ask(f"/api/v1/scans/{asked['id']}/").document
    if asked["status"] != "finished":
        raise RuntimeError(f"The scan failed: {asked.get('problem')}")
    begin, end = (datetime.fromisoformat(asked[key]) for key in ("created_at", "finished_at"))
    return (end - begin).total_seconds()
