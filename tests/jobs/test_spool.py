"""The embedded broker under readers and writers at once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty

import pytest
from kombu import Connection

from secguard.jobs.adapters import spool


@pytest.fixture
def channel(tmp_path: Path):
    for name in ("messages", "control"):
        (tmp_path / name).mkdir()
    options = {
        "data_folder_in": str(tmp_path / "messages"),
        "data_folder_out": str(tmp_path / "messages"),
        "control_folder": str(tmp_path / "control"),
    }
    with Connection("filesystem://localhost", transport=spool.Transport, transport_options=options) as connection:
        yield connection.channel()


def take_all(channel, queue="q"):
    while True:
        try:
            yield channel._get(queue)["n"]
        except Empty:
            return


def test_messages_come_in_order_and_by_queue(channel):
    for n in range(3):
        channel._put("q", {"n": n})
        channel._put("other", {"n": -1})
    assert list(take_all(channel)) == [0, 1, 2]
    assert list(take_all(channel, "other")) == [-1, -1, -1]


def test_each_message_is_taken_once_while_others_write(channel):
    def write(start):
        for n in range(start, start + 100):
            channel._put("q", {"n": n})

    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(write, start) for start in (0, 100, 200)]
        readers = [pool.submit(lambda: [n for _ in range(30) for n in take_all(channel)]) for _ in range(4)]
        taken = [n for reader in readers for n in reader.result()]
        for writer in writers:
            writer.result()
    taken += take_all(channel)
    assert Counter(taken) == Counter(range(300))


def test_an_unreadable_message_is_skipped_and_nothing_is_left_behind(channel, tmp_path):
    (tmp_path / "messages" / "0_x.q.msg").write_text("{")
    channel._put("q", {"n": 1})
    assert list(take_all(channel)) == [1]
    assert list((tmp_path / "messages").iterdir()) == []
