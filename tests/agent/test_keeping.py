"""What the agent answered on its own: on the disk at once, sent once, bounded."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from secguard.agent.keeping import BATCH, Ledger, open_folder, write_whole
from secguard.client.rest import CouldNotTell


class Server:
    """Takes batches; ``fails_at`` the batch of that number it answers no more."""

    def __init__(self, fails_at: int = -1) -> None:
        self.batches: list[list[Any]] = []
        self.fails_at = fails_at

    def __call__(self, batch: Sequence[Any]) -> None:
        if len(self.batches) == self.fails_at:
            raise ConnectionError("away")
        self.batches.append(list(batch))

    @property
    def uids(self) -> list[str]:
        return [answer["uid"] for batch in self.batches for answer in batch]


def test_answers_are_sent_once_and_in_order(tmp_path: Path) -> None:
    ledger, server = Ledger(tmp_path), Server()
    assert not ledger.waits
    for n in range(3):
        ledger.add({"uid": f"u-{n}"})
    assert ledger.waits
    assert ledger.deliver(server) == 3
    assert (server.uids, ledger.waits, ledger.deliver(server)) == (["u-0", "u-1", "u-2"], False, 0)


def test_they_go_in_batches(tmp_path: Path) -> None:
    ledger, server = Ledger(tmp_path), Server()
    for n in range(BATCH + 1):
        ledger.add({"uid": str(n)})
    assert ledger.deliver(server) == BATCH + 1
    assert [len(b) for b in server.batches] == [BATCH, 1]


def test_what_could_not_be_sent_waits_and_another_agent_sends_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for n in range(BATCH + 1):
        ledger.add({"uid": str(n)})
    with pytest.raises(ConnectionError):
        ledger.deliver(Server(fails_at=1))
    ledger.add({"uid": "later"})
    again, server = Ledger(tmp_path), Server()
    assert again.waits
    again.deliver(server)
    assert server.uids == [*map(str, range(BATCH + 1)), "later"], "some twice over both: the server knows their uids"


def test_a_line_that_a_lost_disk_tore_is_left_out(tmp_path: Path) -> None:
    ledger, server = Ledger(tmp_path), Server()
    ledger.add({"uid": "whole"})
    with (tmp_path / "answers.jsonl").open("ab") as file:
        file.write(b'{"uid": "to')
    ledger.deliver(server)
    assert server.uids == ["whole"]


def test_it_is_bounded_and_says_what_is_left_out(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, most=60)
    assert [ledger.add({"uid": "x" * 20}) for _ in range(3)] == [True, False, False] or ledger.left_out
    assert (tmp_path / "answers.jsonl").stat().st_size <= 60
    assert ledger.left_out >= 1


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path)
    ledger.add({"uid": "1"})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        ledger.add({"uid": "2"})
    monkeypatch.undo()
    ledger.add({"uid": "3"})
    lines = (tmp_path / "answers.jsonl").read_text().splitlines()
    assert [json.loads(line)["uid"] for line in lines] == ["1", "3"]


def test_many_threads_write_whole_lines_while_some_are_sent(tmp_path: Path) -> None:
    ledger, server = Ledger(tmp_path), Server()

    def write(name: int) -> None:
        for n in range(50):
            ledger.add({"uid": f"{name}-{n}"})

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        ledger.deliver(server)
    ledger.deliver(server)
    assert len(server.uids) == len(set(server.uids)) == 400


def test_what_is_refused_lies_aside(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add({"uid": "1"})
    with pytest.raises(ConnectionError):
        ledger.deliver(Server(fails_at=0))
    assert ledger.set_aside().read_text() == '{"uid":"1"}\n'
    assert not ledger.waits


def test_files_are_the_agents_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    open_folder(folder)
    Ledger(folder).add({"uid": "1"})
    write_whole(folder / "snapshot.json", b"{}")
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == {"answers.jsonl": 0o600, "snapshot.json": 0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_crash_while_writing_leaves_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "snapshot.json"
    write_whole(path, b"old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("power lost")))
    with pytest.raises(OSError, match="power lost"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CouldNotTell, match="name one with --state"):
        open_folder(tmp_path / "file" / "state")
