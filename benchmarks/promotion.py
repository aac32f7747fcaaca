"""Promoting an image, and its copying alone, between two registries on this machine, beside ``skopeo copy``, in turns.

Both registries are Debian's docker-registry on the loopback interface. The image has 120 MB in six layers, half of them
random and half text that gzip made smaller; all are gzip, so that skopeo compresses none of them itself. Each copy goes
to a repository that nobody used before, in a store that was emptied. Ours includes reading all of it back; a promotion
everything, from being asked for over REST to its end: verdict, copy, signatures, attestations, reading back, the tag.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import yaml

from benchmarks.server import Server
from benchmarks.table import Measure
from secguard.images.adapters.addresses import RegistryAccess
from secguard.images.adapters.copying import Place, copy, verify
from secguard.images.adapters.pushing import PushingClient
from secguard.images.manifest import OCI_MANIFEST, Descriptor
from secguard.images.referrers import described

PART = "Promotion"
ROUNDS = 5
SKOPEO_TIMES = 1.3
LAYERS, LAYER_BYTES = 6, 20_000_000
_SOURCE = "bench/image"
_READY_SECONDS = 20
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_CONFIG = "application/vnd.oci.image.config.v1+json"


Way = Callable[["Local", "Local", str, str], float]
"""(source, destination, path there, digest) to seconds."""


@dataclass(frozen=True)
class Local:
    """A registry on this machine, open to everybody."""

    host: str
    folder: Path

    def client(self) -> PushingClient:
        return PushingClient(RegistryAccess(self.host, uses_plain_http=True))

    def empty(self) -> None:
        """Forget all that it has; it keeps nothing in memory."""
        shutil.rmtree(self.folder / "docker", ignore_errors=True)


def run(server: Server) -> list[Measure]:
    missing = [name for name in ("docker-registry", "skopeo") if shutil.which(name) is None]
    if missing:
        return [Measure(PART, f"not measured: {' and '.join(missing)} is not installed", 0, "copies")]
    spent: dict[str, list[float]] = {"promotion": [], "copy": [], "skopeo": []}
    with (
        tempfile.TemporaryDirectory(prefix="secguard-bench-promotion-") as name,
        registry(Path(name) / "source") as source,
        registry(Path(name) / "destination") as destination,
    ):
        digest, size = pushed(source)
        _set_up(server, source, destination, digest)
        ways: dict[str, Way] = {"promotion": partial(promoted, server), "copy": copied, "skopeo": by_skopeo}
        for number in range(ROUNDS):
            for what in list(ways)[:: 1 if number % 2 else -1]:
                destination.empty()
                spent[what].append(ways[what](source, destination, f"{what}/{number}", digest))
    return _measures({what: median(seconds) for what, seconds in spent.items()}, size)


def _set_up(server: Server, source: Local, destination: Local, digest: str) -> None:
    """Registries, a key, two environments, and a report on the image."""
    for host in (source.host, destination.host):
        _post(server, "registries", {"host": host, "uses_plain_http": True})
    _post(server, "signing-keys", {"name": "bench"})
    _post(server, "environments", {"name": "bench-build", "registry": source.host})
    _post(server, "environments", {"name": "bench-live", "registry": destination.host, "key_name": "bench"})
    image = {"reference": f"{source.host}/{_SOURCE}:1", "digest": digest}
    about = {"schema": "secguard-report/v1", "scanner": {"name": "bench"}, "image": image}
    server.post(json.dumps(about | {"covers": ["vulnerability"], "findings": []}).encode())


def _post(server: Server, what: str, body: dict[str, Any]) -> Any:
    return server.ask(f"/api/v1/{what}/", json.dumps(body).encode()).document


def promoted(server: Server, source: Local, destination: Local, path: str, digest: str) -> float:
    """Seconds from the request to the end that ``secguard promote --wait`` would be told."""
    begin = time.perf_counter()
    asked = {"image": f"{source.host}/{_SOURCE}@{digest}", "to": "bench-live", "tags": ["1"]}
    found = server.ask("/api/v1/promotions/?wait=1", json.dumps(asked).encode()).document
    while found["status"] == "running":
        found = server.ask(f"/api/v1/promotions/{found['id']}/?wait=1").document
    if found["status"] != "promoted":
        raise RuntimeError(f"The promotion is {found['status']}: {found['why']}")
    return time.perf_counter() - begin


def copied(source: Local, destination: Local, path: str, digest: str) -> float:
    """Seconds until all is at the destination and was read back."""
    begin = time.perf_counter()
    done = copy(Place(source.client, _SOURCE), Place(destination.client, path), digest)
    with destination.client() as client:
        verify(client, path, done.digests)
    return time.perf_counter() - begin


def by_skopeo(source: Local, destination: Local, path: str, digest: str) -> float:
    """Seconds of one run as anybody would run it."""
    of_both = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    names = [f"docker://{source.host}/{_SOURCE}@{digest}", f"docker://{destination.host}/{path}:1"]
    begin = time.perf_counter()
    subprocess.run(["skopeo", "copy", "--quiet", *of_both, *names], check=True)
    return time.perf_counter() - begin


def _measures(seconds: dict[str, float], size: int) -> list[Measure]:
    about = f"skopeo {seconds['skopeo']:.2f} s; medians of {ROUNDS}; {size / 10**6:.0f} MB in {LAYERS} layers"
    names = {
        "promotion": "an image promoted, from the request to the tag, to skopeo copy",
        "copy": "its copy by digest alone, read back, to skopeo copy",
    }
    return [
        Measure(
            PART,
            name,
            seconds[what] / seconds["skopeo"],
            "times",
            SKOPEO_TIMES,
            note=f"{seconds[what]:.2f} s; {about}",
        )
        for what, name in names.items()
    ]


# --- registries ---


@contextmanager
def registry(folder: Path) -> Iterator[Local]:
    """A docker-registry that keeps all in ``folder``."""
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    settings: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder)}},
        "http": {"addr": host, "secret": "benchmark"},
    }
    (folder / "config.yml").write_text(yaml.safe_dump(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        _wait(f"http://{host}/v2/", process)
        yield Local(host, folder)
    finally:
        process.terminate()
        process.wait(10)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    if urlsplit(url).hostname != "127.0.0.1":
        raise ValueError(f"{url} is not on this machine.")
    ends = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < ends:
        try:
            with urlopen(url, timeout=5):  # noqa: S310 - of this machine, see above
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("docker-registry did not start.")


# --- the image ---


def pushed(source: Local) -> tuple[str, int]:
    """Push the image; returns its digest and how many bytes its layers have."""
    layers = [_layer(number) for number in range(LAYERS)]
    config = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    with source.client() as client:
        rows = [_blob(client, config, _CONFIG), *(_blob(client, layer, _LAYER) for layer in layers)]
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": rows[0], "layers": rows[1:]}
        raw = json.dumps(document).encode()
        return client.push_manifest(_SOURCE, raw, OCI_MANIFEST, "1").digest, sum(map(len, layers))


def _layer(number: int) -> bytes:
    """About ``LAYER_BYTES`` of gzip: random bytes, or random text, of which gzip leaves three quarters."""
    source = random.Random(number)  # noqa: S311 - the same image each time
    if number % 2:
        return gzip.compress(base64.b64encode(source.randbytes(LAYER_BYTES)), 1, mtime=0)
    return gzip.compress(source.randbytes(LAYER_BYTES), 1, mtime=0)


def _blob(client: PushingClient, raw: bytes, media_type: str) -> dict[str, Any]:
    blob = Descriptor(media_type, f"sha256:{hashlib.sha256(raw).hexdigest()}", len(raw))
    client.push_blob(_SOURCE, blob, lambda: [raw])
    return described(blob)
