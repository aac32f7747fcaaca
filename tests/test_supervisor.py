"""The process tree with children that do odd things; real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.processes, pytest.mark.once]

PARENT = """
import sys
from secguard.supervisor import Child, Supervisor
commands = {commands!r}
children = [Child(name, [sys.executable, "-u", "-c", code]) for name, code in commands.items()]
sys.exit(Supervisor(children, {env!r}, lambda line: print(line, flush=True), patience={patience}).run())
"""

PATIENT = "import time\nprint('here', flush=True)\nwhile True: time.sleep(0.1)"
POLITE = """
import signal, sys, time
def finish(*_):
    time.sleep(0.3); print("finished my work", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, finish)
print("here", flush=True)
while True: time.sleep(0.1)
"""
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("here", os.getpid(), flush=True)
while True: time.sleep(0.1)
"""


class Tree:
    def __init__(self, folder: Path, commands: dict[str, str], patience: float = 10.0) -> None:
        self.output = folder / "output"
        code = PARENT.format(commands=commands, env=dict(os.environ), patience=patience)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code], cwd=Path(__file__).parent.parent, stdout=output, stderr=output
            )

    def lines(self) -> list[str]:
        return self.output.read_text().splitlines()

    def until(self, what, seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not what(self.lines()):
            assert time.monotonic() < end, self.lines()
            time.sleep(0.02)

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 20.0) -> int:
        self.process.send_signal(number)
        return self.process.wait(seconds)


@pytest.fixture
def tree(tmp_path):
    trees = []

    def start(commands, **options):
        trees.append(Tree(tmp_path, commands, **options))
        return trees[-1]

    yield start
    for started in trees:
        if started.process.poll() is None:
            started.process.kill()
            started.process.wait()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_lets_each_child_finish_and_shows_what_it_says(tree, number):
    started = tree({"web": POLITE, "worker": POLITE})
    started.until(lambda lines: {"web: here", "worker: here"} <= set(lines))
    assert started.stop(number) == 0
    assert {"web: finished my work", "worker: finished my work"} <= set(started.lines())
    assert started.lines()[-1] == "Stopped."


def test_a_child_that_dies_is_started_again_with_growing_pauses(tree):
    started = tree({"web": PATIENT, "worker": "print('no newline', end=''); raise SystemExit(3)"})
    started.until(lambda lines: sum("starting it again in 1 s" in line for line in lines) == 1)
    restarts = [line for line in started.lines() if "stopped unexpectedly" in line]
    assert restarts == [
        "worker: stopped unexpectedly (exit code 3); starting it again in 0.5 s.",
        "worker: stopped unexpectedly (exit code 3); starting it again in 1 s.",
    ]
    assert "worker: no newline" in started.lines()
    assert started.stop() == 0


def test_a_child_that_does_not_stop_is_killed_in_the_end(tree):
    started = tree({"stubborn": STUBBORN}, patience=0.5)
    started.until(lambda lines: any("here" in line for line in lines))
    pid = int(started.lines()[0].split()[-1])
    assert started.stop() == 1
    assert not alive(pid)
    assert "Killed: stubborn." in started.lines()[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_no_child_outlives_a_parent_that_was_killed(tree):
    started = tree({"web": "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)"})
    started.until(lambda lines: any(line.startswith("web: ") for line in lines))
    pid = int(started.lines()[0].split()[-1])
    assert started.stop(signal.SIGKILL) == -signal.SIGKILL
    end = time.monotonic() + 10
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert not alive(pid)


def test_odd_bytes_from_a_child_pass_through(tree):
    started = tree(
        {"web": "import sys, time; sys.stdout.buffer.write(b'\\xff\\xfe ok\\n'); sys.stdout.flush(); time.sleep(9)"}
    )
    started.until(lambda lines: any("ok" in line for line in lines))
    assert started.stop() == 0
