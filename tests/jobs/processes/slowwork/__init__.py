"""Work for worker processes under test: it notes in a file when it begins and when it is done."""

from __future__ import annotations

import os
import time

urlpatterns: list[object] = []


def note(line: str) -> None:
    # One write of one line with O_APPEND: lines of several processes never mix.
    descriptor = os.open(os.environ["SLOWWORK_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def slow(run):
    seconds = float(run.args["seconds"])
    note(f"begin {run.args['n']}")
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        run.progress("working", int((seconds - left) * 1000), int(seconds * 1000))
        time.sleep(min(left, 0.02))
    note(f"done {run.args['n']}")
    return {"n": run.args["n"]}
