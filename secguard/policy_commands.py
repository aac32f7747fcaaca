"""``secguard policy``: for those who keep the policy in git. Tests run here, without a server; the rest asks one."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from secguard.client.formats.cleaning import line
from secguard.client.rest import CouldNotTell, Deadline, NoSuchThing, Server, connect
from secguard.client.showing import progress
from secguard.client.verdict import Exit
from secguard.policies import policytests
from secguard.policies.differences import differences
from secguard.policies.language import Policy, PolicyError, parse_policy
from secguard.policies.policytests import Outcome, TestsError

MAX_BYTES: Final = 256 * 1024
VERSIONS: Final = "/api/v1/policy-versions/"
TESTS_SUFFIX: Final = ".tests.yaml"


class Files(NamedTuple):
    """A policy as it is kept in files."""

    source: str
    policy: Policy
    tests: str
    """Empty where there is no file of tests."""


# --- without a server ---


def test(args: argparse.Namespace) -> int:
    """Exit codes: 0 every test passes, 1 some do not, 2 policy or tests cannot be read."""
    files = _files(args)
    if not files.tests:
        raise CouldNotTell(f"There are no tests: neither --tests nor {_beside(args.file)}. Nothing was run.")
    return _say_outcomes(_run(files), quiet=False)


def _run(files: Files) -> list[Outcome]:
    try:
        return policytests.run(files.policy, policytests.parse_tests(files.tests, files.policy))
    except TestsError as error:
        raise CouldNotTell("\n".join(["The tests cannot be read:", *map(str, error.problems)])) from error


def _say_outcomes(outcomes: list[Outcome], *, quiet: bool) -> int:
    failed = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in failed if quiet else outcomes:
        sys.stdout.write(line(f"{'ok' if outcome.passed else 'FAILED'}  {outcome}", 2000) + "\n")
    sys.stdout.write(f"{len(outcomes) - len(failed)} passed, {len(failed)} failed.\n")
    return Exit.BLOCKED if failed else Exit.PASSED


def _files(args: argparse.Namespace) -> Files:
    source = _read(args.file)
    tests_file = args.tests or (_beside(args.file) if _beside(args.file).is_file() else None)
    tests = _read(tests_file) if tests_file else ""
    try:
        return Files(source, parse_policy(source), tests)
    except PolicyError as error:
        raise CouldNotTell("\n".join([f"{args.file} cannot be used:", *map(str, error.problems)])) from error


def _beside(file: str) -> Path:
    """``policy.yaml`` to ``policy.tests.yaml``."""
    path = Path(file)
    return path.with_name(path.name.removesuffix(path.suffix) + TESTS_SUFFIX)


def _read(file: str | Path) -> str:
    try:
        with Path(file).open("rb") as opened:
            raw = opened.read(MAX_BYTES + 1)
        text = raw.decode("utf-8").replace("\r\n", "\n")
    except OSError as error:
        raise CouldNotTell(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CouldNotTell(f"{file} is no UTF-8 text: {error.reason} at byte {error.start}.") from error
    if len(raw) > MAX_BYTES:
        raise CouldNotTell(f"{file} has more than {MAX_BYTES:,} bytes, which is what is taken.")
    return text


# --- with a server ---


def diff(args: argparse.Namespace) -> int:
    """Exit codes: 0 the file says what is in force, 1 it differs, 2 could not tell."""
    files = _files(args)
    version = _version(connect(), Deadline(args.wait), args.name)
    found = differences(parse_policy(str(version["source"])), files.policy)
    sys.stdout.write(f"{_named(version)} and {args.file}:\n")
    for difference in found:
        sys.stdout.write(line(str(difference), 4000) + "\n")
    if files.tests and files.tests != version["tests"]:
        sys.stdout.write("the tests differ\n")
        return Exit.BLOCKED
    sys.stdout.write("" if found else "they mean the same\n")
    return Exit.BLOCKED if found else Exit.PASSED


def apply(args: argparse.Namespace) -> int:
    """Exit codes: 0 it is kept (or was) and gates where asked for, 1 its tests fail, 2 could not tell."""
    files = _files(args)
    outcomes = _run(files) if files.tests else []
    if any(not outcome.passed for outcome in outcomes):
        return _say_outcomes(outcomes, quiet=True)
    server, deadline = connect(), Deadline(args.wait)
    name = args.name or files.policy.name
    version = _newest(server, deadline, name)
    if version is None or version["source"] != files.source or (files.tests and version["tests"] != files.tests):
        version = _keep(server, deadline, name, files, args.comment)
        sys.stdout.write(f"{_named(version)} is kept.\n")
    else:
        sys.stdout.write(f"{_named(version)} says exactly this already.\n")
    if args.activate and (not version["gates"] or modes(version) != modes_asked(args)):
        version = server.post(f"{VERSIONS}{version['id']}/activate/", deadline, {"modes": modes_asked(args)})
        sys.stdout.write(f"{_named(version)} gates from now on.\n")
    return Exit.PASSED


def modes(version: dict[str, Any]) -> dict[str, str]:
    """What a version does at each gate where it is not enforced."""
    return {gate: str(stage.get("mode")) for gate, stage in version["staging"].items()}


def modes_asked(args: argparse.Namespace) -> dict[str, str]:
    found = dict(pair.partition("=")[::2] for pair in args.at)
    return {gate: mode for gate, mode in found.items() if mode != "enforce"}


def _keep(server: Server, deadline: Deadline, name: str, files: Files, comment: str) -> dict[str, Any]:
    document = {"name": name, "source": files.source, "comment": comment}
    return server.post("/api/v1/policies/", deadline, document | ({"tests": files.tests} if files.tests else {}))


def export(args: argparse.Namespace) -> int:
    """Writes the version in force, and its tests beside it; without ``--output`` the policy to the standard output."""
    version = _version(connect(), Deadline(args.wait), args.name)
    if not args.output:
        sys.stdout.write(str(version["source"]))
        return Exit.PASSED
    written = {Path(args.output): str(version["source"])}
    if version["tests"]:
        written[_beside(args.output)] = str(version["tests"])
    for path, text in written.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CouldNotTell(f"{path} cannot be written: {error.strerror}.") from error
        sys.stdout.write(f"{_named(version)} to {path}\n")
    return Exit.PASSED


def simulate(args: argparse.Namespace) -> int:
    """Exit codes: 0 nothing would be blocked that is not, 1 something would, 2 could not tell."""
    server, deadline = connect(), Deadline(args.wait)
    asked: dict[str, Any] = {"appetite" if args.appetite else "source": _read(args.file), "estate": True}
    if args.since:
        asked["since"] = args.since
    begun = server.post("/api/v1/policies/simulate/", deadline, asked)
    path = f"/api/v1/simulations/{begun['id']}/"
    with progress() as show:
        for _ in deadline.pauses():
            begun = server.get(path, deadline)
            if begun["status"] != "waiting":
                break
            job = begun.get("progress") or {}
            show(job.get("text") or "waiting to start", job.get("done", 0), job.get("total", 0))
    if begun["status"] != "done":
        raise CouldNotTell(f"Simulation {begun['id']} is {begun['status']}. {begun.get('problem') or ''}".strip())
    sys.stdout.write(json.dumps(begun) + "\n" if args.json else _numbers(begun))
    return Exit.BLOCKED if any(n.get("blocked") for n in begun["numbers"].values()) else Exit.PASSED


def _numbers(simulation: dict[str, Any]) -> str:
    words = {
        "estate": "images as they are",
        "gate": "gates of the period",
        "promotion": "promotions of the period",
        "admission": "admissions of the period",
    }
    rows = [
        f"{words.get(origin, origin)}: " + ", ".join(f"{n} {change}" for change, n in sorted(numbers.items()))
        for origin, numbers in simulation["numbers"].items()
    ]
    decided = simulation.get("decisions") or {}
    moved = {**decided.get("needs", {}), **decided.get("ends", {})}
    if any(moved.values()):
        rows.append("decisions: " + ", ".join(f"{n} {name}" for name, n in moved.items() if n))
    told = rows or ["nothing would be answered otherwise"]
    return "".join(line(text) + "\n" for text in (*told, f"simulation {simulation['id']}"))


def _version(server: Server, deadline: Deadline, name: str) -> dict[str, Any]:
    """The version in force, or the newest of policy ``name``; raises ``NoSuchThing``."""
    if name:
        found = _newest(server, deadline, name)
        if found is None:
            raise NoSuchThing(f"There is no policy {name!r}.")
        return found
    rows = server.pages(VERSIONS, deadline, most=1, gates="true")
    if not rows:
        raise NoSuchThing("No policy is in force.")
    return rows[0]


def _newest(server: Server, deadline: Deadline, name: str) -> dict[str, Any] | None:
    rows = server.pages(VERSIONS, deadline, most=1, policy=name)
    return rows[0] if rows else None


def _named(version: dict[str, Any]) -> str:
    return line(f"{version['policy']} version {version['number']}")
