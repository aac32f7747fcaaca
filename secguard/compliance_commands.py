"""``secguard compliance``: for those who keep frameworks in git."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from secguard.client.formats.cleaning import line
from secguard.client.rest import CouldNotTell, Deadline, connect
from secguard.client.verdict import Exit
from secguard.compliance.framework import MAX_BYTES, FrameworkError, load

CHECKS: Final = "/api/v1/compliance/checks/"


def check(args: argparse.Namespace) -> int:
    """Exit codes: 0 the file is a framework, 1 it has faults, 2 it cannot be read.

    Without a server, unless its checks are to be looked up there.
    """
    names = _names(Deadline(args.wait)) if args.server else None
    try:
        found = load(_read(args.file), names)
    except FrameworkError as error:
        for problem in error.problems:
            sys.stdout.write(line(f"{args.file}: {problem}", 4000) + "\n")
        return Exit.BLOCKED
    unmeasured = sum(not control.checks for control in found.controls)
    asked = "" if names is not None else " That there are such checks was not looked up; --server does."
    sys.stdout.write(
        line(
            f"{found.name} {found.version}: {len(found.controls)} controls, {unmeasured} of them not measured, by "
            f"{len(found.checks)} checks.{asked}",
            4000,
        )
        + "\n"
    )
    return Exit.PASSED


def _names(deadline: Deadline) -> set[str]:
    return {str(row["name"]) for row in connect().get(CHECKS, deadline)["results"]}


def _read(file: str) -> str:
    try:
        with Path(file).open("rb") as opened:
            raw = opened.read(MAX_BYTES + 1)
        return raw.decode("utf-8").replace("\r\n", "\n")
    except OSError as error:
        raise CouldNotTell(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CouldNotTell(f"{file} is no UTF-8 text: {error.reason} at byte {error.start}.") from error
