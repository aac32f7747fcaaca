"""Other people's programs: bounded, without a network, and gone when nobody waits for them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from secguard.errors import TooLarge, Unavailable
from secguard.scans.adapters.confinement import Bounds, Outcome, run

ROOT = Path(__file__).parents[2]


def _run(
    folder: Path, script: str, *words: str, bounds: Bounds | None = None, check: Callable[[], None] = lambda: None
) -> Outcome:
    return run(
        [sys.executable, "-I", "-c", script, *words],
        name="the program",
        folder=folder,
        environment={},
        bounds=bounds or Bounds(seconds=60),
        check=check,
    )


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _gone(pid: int) -> bool:
    for _ in range(200):
        if not _is_alive(pid):
            return True
        time.sleep(0.05)
    return False


def _written(file: Path) -> int:
    for _ in range(400):
        if file.exists() and (text := file.read_text()).endswith("\n"):
            return int(text)
        time.sleep(0.05)
    raise AssertionError(f"{file} was not written")


def test_it_tells_how_it_ended_and_what_was_said(tmp_path: Path) -> None:
    outcome = _run(tmp_path, "import sys; print('\\033[31mno\\033[0m', file=sys.stderr); sys.exit(3)")
    assert (outcome.code, outcome.told) == (3, "no")
    assert outcome.seconds > 0


def test_only_the_end_of_what_it_says_is_kept(tmp_path: Path) -> None:
    outcome = _run(tmp_path, "import sys; sys.stderr.write('x' * 10**6 + 'the end')")
    assert outcome.told.endswith("the end")
    assert len(outcome.told) <= 16_384


def test_too_much_memory_ends_it(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="the program needed more than 100 MiB of memory"):
        _run(tmp_path, "x = b'x' * 2**28; import time; time.sleep(60)", bounds=Bounds(memory_bytes=100 * 2**20))


def test_too_much_on_disk_ends_it(tmp_path: Path) -> None:
    script = "open('big', 'wb').write(b'x' * 3 * 2**20); import time; time.sleep(60)"
    with pytest.raises(TooLarge, match="the program wrote more than 2 MiB to disk"):
        _run(tmp_path, script, bounds=Bounds(disk_bytes=2 * 2**20))


def test_one_file_is_bounded_by_the_kernel(tmp_path: Path) -> None:
    outcome = _run(tmp_path, "open('big', 'wb').write(b'x' * 2**20)", bounds=Bounds(file_bytes=2**16))
    assert outcome.code != 0
    assert (tmp_path / "big").stat().st_size <= 2**16


def test_too_long_ends_it(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="did not end within 0 seconds"):
        _run(tmp_path, "import time; time.sleep(60)", bounds=Bounds(seconds=0.2))


def test_a_cancelled_scan_ends_it_and_its_children(tmp_path: Path) -> None:
    class Cancelled(Exception):
        pass

    noted = tmp_path / "child"
    script = (
        "import subprocess, sys, time; p = subprocess.Popen(['/bin/sleep', '300']);"
        "open(sys.argv[1], 'w').write(f'{p.pid}\\n'); time.sleep(300)"
    )

    def check() -> None:
        if noted.exists() and noted.read_text().endswith("\n"):
            raise Cancelled

    with pytest.raises(Cancelled):
        _run(tmp_path, script, str(noted), check=check)
    assert _gone(_written(noted))


def test_it_dies_with_the_worker(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    script = "import os, sys, time; open(sys.argv[1], 'w').write(f'{os.getpid()}\\n'); time.sleep(300)"
    worker = (
        "import sys; from pathlib import Path; from secguard.scans.adapters.confinement import Bounds, run;"
        f"run([sys.executable, '-I', '-c', {script!r}, sys.argv[1]], name='x', folder=Path(sys.argv[2]),"
        "environment={}, bounds=Bounds(), check=lambda: None)"
    )
    process = subprocess.Popen([sys.executable, "-c", worker, str(noted), str(tmp_path)], cwd=ROOT)
    pid = _written(noted)
    assert _is_alive(pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert _gone(pid)


def test_it_has_no_network_where_the_kernel_allows_that(tmp_path: Path) -> None:
    """A server on this machine is the nearest there is; not even that can be reached."""
    script = (
        "import os, socket, sys; s = socket.socket(); s.settimeout(5)\n"
        "sys.stderr.write(os.readlink('/proc/self/ns/net') + ' ')\n"
        "try: s.connect(('127.0.0.1', int(sys.argv[1])))\n"
        "except OSError: sys.stderr.write('refused')\n"
        "else: sys.stderr.write('reached')"
    )
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        outcome = _run(tmp_path, script, str(server.getsockname()[1]))
    network, result = outcome.told.split()
    if network == os.readlink("/proc/self/ns/net"):
        pytest.skip("this kernel gives no process a network of its own here (unshare is refused)")
    assert result == "refused"
