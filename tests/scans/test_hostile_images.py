"""Hostile images through a real worker: refused in words, within bounds, and the next good one is scanned.

What the readers refuse, and where their limits are, ``tests/images`` tests one by one; here is what a worker makes of
it: one process gets all of them, one after the other.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import secrets
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import zstandard

from secguard.images import manifest
from tests.fixtures_installations import Installation, Ready
from tests.imagebuilding import BuiltImage, as_json, entry, image_of, sha256, tar_of
from tests.scans import conftest as corpora

pytestmark = [pytest.mark.processes, pytest.mark.enable_socket, pytest.mark.once]

MEMORY_BYTES = 450 * 2**20
"""Resident, at most, of the worker; it takes about 290 MB, of which 64 MB are the beginning of the largest file."""
ESCAPED = f"secguard-escaped-{secrets.token_hex(8)}"
"""The name of what must not come to be anywhere."""
STATUS = b"Package: zlib1g\nStatus: install ok installed\nVersion: 1:1.2.13\nArchitecture: amd64\n\n"
GOOD = image_of(tar_of({"etc/os-release": b'ID=debian\nVERSION_ID="12"\n', "var/lib/dpkg/status": STATUS}))
OTHER = image_of(tar_of({"app/other": b"other"}))
IMAGE = image_of(tar_of({"app/readme": b"hello"}))


def archive_of(image: BuiltImage, **changed: bytes | None) -> bytes:
    """An OCI layout as a tar; ``changed`` names blobs (``layer``, ``config``, ``manifest``), None takes one away."""
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    files["index.json"] = as_json({"schemaVersion": 2, "manifests": [image.described()]})
    blobs = {image.digest: image.raw, **image.blobs}
    if image.blobs:
        document = json.loads(image.raw)
        named = {"manifest": image.digest, "config": document["config"]["digest"]}
        named["layer"] = document["layers"][0]["digest"]
        blobs |= {named[what]: raw for what, raw in changed.items() if raw is not None}
        for what in (w for w, raw in changed.items() if raw is None):
            del blobs[named[what]]
    return tar_of({**files, **{f"blobs/sha256/{digest[7:]}": raw for digest, raw in blobs.items()}})


def with_layer(blob: bytes, suffix: str = "+gzip", diff_id: str = "") -> BuiltImage:
    """An image of one layer, whatever that is."""
    config = as_json({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id or sha256(b"unknown")]}})
    layer_type = f"application/vnd.oci.image.layer.v1.tar{suffix}"
    parts = [("application/vnd.oci.image.config.v1+json", config), (layer_type, blob)]
    config_part, layer_part = ({"mediaType": t, "digest": sha256(raw), "size": len(raw)} for t, raw in parts)
    document = {"schemaVersion": 2, "mediaType": manifest.OCI_MANIFEST, "config": config_part, "layers": [layer_part]}
    return BuiltImage(as_json(document), manifest.OCI_MANIFEST, {sha256(raw): raw for _, raw in parts})


def twice(archive: bytes, second: bytes) -> bytes:
    """The archive with its layer once more, and other bytes in it."""
    out = io.BytesIO(archive)
    with tarfile.open(fileobj=out, mode="a") as tar:
        info = tarfile.TarInfo(f"blobs/sha256/{sha256(_layer(IMAGE))[7:]}")
        info.size = len(second)
        tar.addfile(info, io.BytesIO(second))
    return out.getvalue()


def zeros(size: int, how: str) -> bytes:
    """A file of zeros in a tar, packed."""
    header = entry("bomb")
    header.size = size
    if how == "zstd":
        packer = zstandard.ZstdCompressor(level=1).compressobj()
        blocks = [packer.compress(header.tobuf()), *(packer.compress(bytes(2**24)) for _ in range(size // 2**24))]
        return b"".join([*blocks, packer.flush()])
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as packed:
        packed.write(header.tobuf())
        for _ in range(size // 2**24):
            packed.write(bytes(2**24))
    return out.getvalue()


def million_entries() -> bytes:
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    block = b"".join(entry(f"folder/file-{n}").tobuf() for n in range(1000))
    return b"".join([*(packer.compress(block) for _ in range(1000)), packer.flush()])


def sparse(folder: Path) -> bytes:
    """What GNU tar writes for a file of 10 GB with nothing in it."""
    subprocess.run(["truncate", "-s", "10G", folder / "sparse"], check=True)
    command = ["tar", "--sparse", "--format=gnu", "-C", folder, "-cf", "-", "sparse"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def escaping() -> bytes:
    """A layer that would write outside of wherever it is unpacked: by path, by link, through a link, as a device."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path in (f"../../../../../../../../tmp/{ESCAPED}", f"/tmp/{ESCAPED}", f"out/{ESCAPED}"):
            if path.startswith("out/"):
                tar.addfile(entry("out", tarfile.SYMTYPE, "/tmp"))
            info = tarfile.TarInfo(path)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"out"))
        tar.addfile(entry("passwd", tarfile.LNKTYPE, "../../../../../etc/passwd"))
        device = entry("dev/disk", tarfile.BLKTYPE)
        device.devmajor, device.devminor = 8, 0
        tar.addfile(device)
        tar.addfile(entry("dev/pipe", tarfile.FIFOTYPE))
    return out.getvalue()


def circle() -> bytes:
    """An index that names itself: its digest cannot be its own."""
    name = sha256(b"circle")
    child = {"mediaType": manifest.OCI_INDEX, "digest": name, "size": 300}
    document = as_json({"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": [child]})
    return tar_of({"index.json": document, f"blobs/sha256/{name[7:]}": document})


def _layer(image: BuiltImage) -> bytes:
    return image.blobs[json.loads(image.raw)["layers"][0]["digest"]]


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "a path that escapes": (lambda: tar_of({f"../../../../tmp/{ESCAPED}": b"x"}), "neither an index.json"),
    "a link that escapes": (lambda: tar_of({}, entry("index.json", tarfile.SYMTYPE, "/etc/passwd")), "index.json"),
    "links in a circle": (lambda: tar_of({}, entry("index.json", tarfile.SYMTYPE, "index.json")), "circle"),
    "a device": (lambda: tar_of({}, entry("index.json", tarfile.CHRTYPE)), "index.json"),
    "no archive": (lambda: b"<html>" * 200, "does not begin like one"),
    "an archive that is cut off": (lambda: archive_of(IMAGE)[:2000], "ends in the middle"),
    "an archive that is a bomb": (lambda: zeros(5 * 2**28, "zstd"), "decompression bomb"),
    "a layer that is a bomb": (lambda: archive_of(with_layer(zeros(5 * 2**28, "gzip"))), "decompression bomb"),
    "a million entries": (lambda: archive_of(with_layer(million_entries(), "+zstd")), "more than 500,000 entries"),
    "a wrong diff id": (lambda: archive_of(with_layer(gzip.compress(tar_of({"a": b"a"})))), "configuration names"),
    "an altered layer": (lambda: archive_of(IMAGE, layer=_layer(IMAGE)[:-1] + b"?"), "exactly that digest"),
    "a truncated layer": (lambda: archive_of(IMAGE, layer=_layer(IMAGE)[:-9]), "exactly that digest"),
    "a missing layer": (lambda: archive_of(IMAGE, layer=None), "cut off, or not all of it was written"),
    "a layer twice, and the last one is altered": (lambda: twice(archive_of(IMAGE), b"x" * 111), "exactly that digest"),
    "an altered manifest": (lambda: archive_of(IMAGE, manifest=IMAGE.raw + b" "), "altered or cut off"),
    "an index that contains itself": (circle, "altered or cut off"),
}


# --- a registry that lies ---


class Liar:
    """Answers by the repository that is asked for; and a second server, which nobody may ask."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.forbidden: list[str] = []
        self._turns = 0
        self._servers = [self._serve(self._answer), self._serve(self._note)]
        self.host, self.other = (f"127.0.0.1:{s.server_address[1]}" for s in self._servers)

    def _serve(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> ThreadingHTTPServer:
        class Handler(BaseHTTPRequestHandler):
            timeout = 30

            def do_GET(self) -> None:
                answer(self)

            do_HEAD = do_GET

            def log_message(self, *args: Any) -> None:
                return

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = False
        Thread(target=server.serve_forever, daemon=True).start()
        return server

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _note(self, request: BaseHTTPRequestHandler) -> None:
        self.forbidden.append(request.path)
        self._send(request, 200, b"secret")

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        found = re.fullmatch(r"/v2/([\w-]+)/(manifests|blobs)/(.+)", request.path)
        if found is None:
            return self._send(request, 404, b"")
        what, kind, name = found.groups()
        to = {"link-local": "http://169.254.169.254/latest/meta-data", "elsewhere": f"http://{self.other}/x"}
        if what in to and kind == "blobs":
            return self._send(request, 307, b"", Location=to[what])
        if kind == "blobs":
            image = next((i for i in (GOOD, OTHER, IMAGE) if name in i.blobs), None)
            return self._send(request, 200 if image else 404, image.blobs[name] if image else b"")
        return self._manifest(request, what, name)

    def _manifest(self, request: BaseHTTPRequestHandler, what: str, name: str) -> None:
        kind, raw, digest = manifest.OCI_MANIFEST, IMAGE.raw, IMAGE.digest
        if what == "web-page":
            kind, raw, digest = "text/html", b"<html>Sign in</html>", ""
        elif what == "too-much":
            raw, digest = b" " * (manifest.MAX_BYTES + 1), ""
        elif what == "other-digest":
            digest = OTHER.digest
        elif what == "moving" and not name.startswith("sha256:"):
            image = (GOOD, OTHER)[min(self._turns, 1)]
            self._turns += 1
            raw, digest = image.raw, image.digest
        elif what == "moving":
            raw = next(i.raw for i in (GOOD, OTHER) if i.digest == name)
            digest = name
        self._send(request, 200, raw, Content_Type=kind, Docker_Content_Digest=digest)

    def _send(self, request: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
        request.send_response(status)
        for name, value in {**headers, "Content_Length": str(len(body))}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)
        request.close_connection = True


LIES = {
    "link-local": "169.254.169.254",
    "elsewhere": "allow",
    "web-page": "web page",
    "too-much": "more than 4,194,304 bytes",
    "other-digest": "altered or cut off",
}

ASK = """
from pathlib import Path
from django.utils import timezone
from secguard.images.models import Registry
from secguard.scans.services import archives
from secguard.scans.services.asking import ScanRequest, ask
Registry.objects.create(host=values["host"], uses_plain_http=True, configured_at=timezone.now())
for name in values["repositories"]:
    ask(ScanRequest(image=values["host"] + "/" + name + ":v1"), actor=None)
for name, path in values["archives"].items():
    kept = archives.receive(iter([Path(path).read_bytes()]))
    ask(ScanRequest(image="uploads.local/" + name + ":v1", trigger="upload", archive=kept), actor=None)
"""


@dataclass
class Ended:
    """What became of all scans."""

    installation: Installation
    liar: Liar
    scans: dict[str, tuple[str, dict[str, Any] | None]]
    """Status and problem by what was asked for, in the order in which they were."""
    digests: dict[str, str]
    warnings: dict[str, str]
    memory_bytes: int
    before: set[Path]


def _name(what: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", what.lower())


def _hostile_of_the_corpus() -> dict[str, bytes]:
    if not corpora._ARCHIVES.is_dir():
        return {}
    folder = corpora._unpacked("images") / "images/google+osv-scalibr/artifact/image"
    files = {"corpus-attack": "layerscanning/image/testdata/symlink-attack.tar"}
    files["corpus-depth"] = "layerscanning/image/testdata/symlink-depth-exceeded.tar"
    found = {name: (folder / path).read_bytes() for name, path in files.items()}
    layer = (folder / "unpack/testdata/escape.tar").read_bytes()
    return {**found, "corpus-escape": archive_of(with_layer(layer, "", sha256(layer)))}


@pytest.fixture(scope="module")
def ended(ready: Ready, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """All of them asked for at once, and the last a good one."""
    folder = tmp_path_factory.mktemp("hostile")
    raws = {_name(what): make() for what, (make, _) in REFUSED.items()} | _hostile_of_the_corpus()
    layer, wide = escaping(), sparse(tmp_path_factory.mktemp("sparse"))
    raws |= {"escaping-layer": archive_of(with_layer(layer, "", sha256(layer)))}
    raws |= {"sparse-layer": archive_of(with_layer(wide, "", sha256(wide))), "good": archive_of(GOOD)}
    given = tmp_path_factory.mktemp("given")
    for name, raw in raws.items():
        (given / name).write_bytes(raw)
    with ExitStack() as stack:
        liar = Liar()
        stack.callback(liar.close)
        url, _ = stack.enter_context(ready(folder))
        installation = Installation(folder, url)
        stack.callback(installation.close)
        archives = {name: str(given / name) for name in raws}
        repositories = [*LIES, "moving"]
        installation.run(ASK, host=liar.host, repositories=repositories, archives=archives)
        before = {p for p in folder.rglob("*") if not p.is_relative_to(installation.data)}
        worker = installation.worker()
        installation.until(installation.is_over, 900)
        status = Path(f"/proc/{worker.pid}/status").read_text()
        memory = int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024  # type: ignore[union-attr]
        assert worker.poll() is None, "the worker is alive"
        yield _ended(installation, liar, memory, before)


def _ended(installation: Installation, liar: Liar, memory: int, before: set[Path]) -> Ended:
    scans, digests, warnings = {}, {}, {}
    rows = installation.rows(
        "SELECT s.named, s.status, s.problem, i.digest, s.warnings FROM scans_scan s "
        "LEFT JOIN images_image i ON i.id = s.image_id ORDER BY s.id"
    )
    for named, status, problem, digest, warned in rows:
        name = named.rpartition("/")[2].partition(":")[0].partition("@")[0]
        scans[name] = (status, json.loads(problem) if isinstance(problem, str) else problem)
        digests[name], warnings[name] = digest or "", str(warned)
    return Ended(installation, liar, scans, digests, warnings, memory, before)


@pytest.mark.parametrize("what", REFUSED)
def test_a_hostile_archive_is_refused_in_words(ended, what):
    status, problem = ended.scans[_name(what)]
    assert status == "failed"
    assert re.search(REFUSED[what][1], problem["detail"]), problem


@pytest.mark.parametrize("what", LIES)
def test_a_registry_that_lies_is_refused_in_words(ended, what):
    status, problem = ended.scans[what]
    assert status == "failed"
    assert re.search(LIES[what], problem["detail"]), problem


def test_nobody_is_asked_whom_the_registrys_configuration_does_not_allow(ended):
    assert any(path.startswith("/v2/elsewhere/blobs/") for path in ended.liar.asked)
    assert ended.liar.forbidden == []


def test_a_tag_that_moves_in_the_middle_is_the_image_that_it_was_at_the_beginning(ended):
    assert ended.scans["moving"][0] == "finished"
    assert ended.digests["moving"] == GOOD.digest
    components = ended.installation.rows(
        "SELECT c.purl FROM images_imagecomponent m JOIN images_component c ON c.id = m.component_id "
        f"JOIN images_image i ON i.id = m.image_id WHERE i.digest = '{GOOD.digest}'"
    )
    assert any("zlib1g" in purl for (purl,) in components)


def test_a_layer_that_escapes_is_looked_at_and_not_followed(ended):
    assert ended.scans["escaping-layer"][0] == "finished"
    assert "leads out of the image" in ended.warnings["escaping-layer"]


def test_of_a_sparse_file_of_10_gb_the_beginning_is_looked_at_and_that_is_said(ended):
    assert ended.scans["sparse-layer"][0] == "finished"
    assert "/sparse has 10,737,418,240 bytes; the first 67,108,864 were looked at" in ended.warnings["sparse-layer"]


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["corpus-attack", "corpus-depth", "corpus-escape"])
def test_the_corpus_hostile_images_end(ended, name):
    if name not in ended.scans:
        pytest.skip("needs the folder ../shared/corpora beside the checkout")
    status, problem = ended.scans[name]
    assert status == "finished" or problem["detail"]


def test_the_next_good_image_is_scanned(ended):
    assert list(ended.scans)[-1] == "good"
    assert ended.scans["good"][0] == "finished"


def test_nothing_is_written_outside_of_its_own_folder(ended):
    folder, data = ended.installation.folder, ended.installation.data
    now = {p for p in folder.rglob("*") if not p.is_relative_to(data)}
    assert {p.name.partition(".")[0] for p in now - ended.before} <= {"worker-0", "db"}
    assert {p.name for p in data.iterdir()} <= {"archives", "layers", "spool", "work"}
    # What a transfer brought is kept, to be gone on from; of what was refused nothing is.
    left = ended.installation.leftovers()
    assert [path for path in left if not Path(path).is_file() or Path(path).stat().st_size] == []
    places = [folder.parent, Path("/tmp"), Path("/"), Path.home(), Path.cwd()]
    assert [p for place in places for p in place.glob(f"{ESCAPED}*")] == []
    assert list(data.rglob(f"*{ESCAPED}*")) == []


def test_the_workers_memory_is_bounded(ended):
    assert ended.memory_bytes < MEMORY_BYTES
