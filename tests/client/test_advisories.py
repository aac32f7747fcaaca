"""``secguard advisories``: what is sent for a file, a folder and an address, and what is said of the import."""

from __future__ import annotations

import gzip
import io
import os
import zipfile

import httpx
import pytest
import zstandard

from secguard.client.advisories import bring
from secguard.client.rest import CouldNotTell, Deadline, Server


class Fake:
    """A server that takes an import and then tells ``states`` of it, one after another."""

    def __init__(self, *states):
        self.states = list(states)
        self.sent = []

    def __call__(self, request):
        if request.method == "POST":
            self.sent.append((dict(request.url.params), request.read(), request.headers["Content-Length"]))
            return httpx.Response(202, json={"id": 7, "status": "queued"})
        return httpx.Response(200, json={"id": 7, **self.states.pop(0)})

    @property
    def server(self):
        return Server(httpx.Client(base_url="http://server", transport=httpx.MockTransport(self)), "http://server")


def go(fake, source, seconds=30.0):
    return bring(fake.server, str(source), Deadline(seconds, sleep=lambda _: None), lambda *_: None)


def test_a_file_is_sent_as_it_is_and_waited_for(tmp_path):
    (tmp_path / "feed.jsonl").write_bytes(b"{}\n")
    fake = Fake({"status": "running"}, {"status": "finished", "counts": {"read": 1}})
    assert go(fake, tmp_path / "feed.jsonl")["counts"] == {"read": 1}
    assert fake.sent == [({"name": "feed.jsonl"}, b"{}\n", "3")]


def test_a_folder_is_packed_without_what_is_no_advisory(tmp_path):
    folder = tmp_path / "vulns"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.json").write_bytes(b"{}")
    (folder / "deep" / "b.yaml").write_bytes(b"id: b")
    (folder / "README.md").write_bytes(b"words")
    os.utime(folder / "a.json", (0, 0))
    fake = Fake({"status": "finished"})
    go(fake, folder)
    ((query, raw, _),) = fake.sent
    assert query == {"name": "vulns.zip"}
    assert sorted(zipfile.ZipFile(io.BytesIO(raw)).namelist()) == ["a.json", "deep/b.yaml"]


def test_packed_files_of_a_folder_are_unpacked_for_the_server_opens_no_archive_inside_another(tmp_path):
    lines = b'{"id": "A"}\n' * 1000
    frames = zstandard.compress(lines) + zstandard.compress(b'{"id": "B"}\n')
    (tmp_path / "a.jsonl.zst").write_bytes(frames)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"cve,epss"))
    fake = Fake({"status": "finished"})
    go(fake, tmp_path)
    sent = zipfile.ZipFile(io.BytesIO(fake.sent[0][1]))
    assert {name: sent.read(name) for name in sent.namelist()} == {
        "a.jsonl": lines + b'{"id": "B"}\n',
        "b.csv": b"cve,epss",
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv.gz", b"no such thing"),
        ("a.csv.gz", gzip.compress(b"cve,epss" * 100)[:-12]),
        ("a.jsonl.zst", b"no such thing"),
        ("a.jsonl.zst", zstandard.compress(b"{}\n" * 1000)[:-3]),
    ],
)
def test_a_packed_file_that_is_not_whole_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CouldNotTell, match=rf"{name} cannot be unpacked"):
        go(Fake({"status": "finished"}), tmp_path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: p / "missing.zip", "no file or folder"),
        (lambda p: p, "holds no file that ends in"),
    ],
)
def test_what_is_not_there_is_said(tmp_path, make, says):
    with pytest.raises(CouldNotTell, match=says):
        go(Fake(), make(tmp_path))


def test_an_import_that_failed_is_told_in_its_own_words(tmp_path):
    (tmp_path / "a.json").write_bytes(b"x")
    with pytest.raises(CouldNotTell, match="neither JSON nor YAML"):
        go(Fake({"status": "failed", "error": "neither JSON nor YAML"}), tmp_path / "a.json")


def test_an_import_that_takes_longer_is_left_to_itself(tmp_path):
    (tmp_path / "a.json").write_bytes(b"x")
    with pytest.raises(CouldNotTell, match="is running still"):
        go(Fake(*[{"status": "running"}] * 5), tmp_path / "a.json", seconds=0)


def test_an_empty_file_is_not_sent(tmp_path):
    (tmp_path / "a.json").write_bytes(b"")
    with pytest.raises(CouldNotTell, match="is empty"):
        go(Fake(), tmp_path / "a.json")
