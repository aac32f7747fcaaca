"""Folders for one piece of work: gone with it, and gone after a process that was killed in the middle of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from secguard.errors import Unavailable
from secguard.scans.adapters.workplace import clear, work_folder

HOLDER = """
import sys, time
from pathlib import Path
from secguard.scans.adapters.workplace import work_folder
with work_folder(Path(sys.argv[1])) as folder:
    (folder / "layer").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    time.sleep(60)
"""


def test_it_is_gone_afterwards_also_where_the_work_failed(tmp_path):
    with work_folder(tmp_path / "work") as folder:
        (folder / "deep").mkdir()
    with pytest.raises(RuntimeError):
        _fail_in(tmp_path / "work")
    assert not list((tmp_path / "work").iterdir())


def _fail_in(parent):
    with work_folder(parent) as folder:
        (folder / "file").write_text("x")
        raise RuntimeError


@pytest.mark.processes
def test_what_a_killed_process_left_is_taken_away_by_the_next_and_not_before(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        held = holder.stdout.readline().strip()
        assert clear(tmp_path) == 0
        with work_folder(tmp_path):
            assert os.listdir(held) == ["layer"]
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert os.path.isdir(held)
    with work_folder(tmp_path) as folder:
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_other_things_in_the_folder_stay(tmp_path):
    (tmp_path / "work-file").write_text("x")
    (tmp_path / "other").mkdir()
    assert clear(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_a_place_where_nothing_can_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(Unavailable, match="No folder could be made"), work_folder(tmp_path / "file" / "below"):
        raise AssertionError
