"""What the groups of the ``secguard`` command share: how a command is added, and how words on its line are read."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

Command = Callable[[argparse.Namespace], int]

ONLY_APPLICATION = "for this application of the team alone, and nothing else; once for each"
ONLY_REPOSITORY = "for repositories of the team alone whose names fit, like registry.example/shop/*; once for each"


def add_command(commands: Any, name: str, run: Command, words: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=words, description=words)
    command.set_defaults(run=run)
    return command


def wait_option(command: argparse.ArgumentParser, seconds: int) -> None:
    command.add_argument(
        "--wait",
        type=whole_seconds,
        default=seconds,
        metavar="SECONDS",
        help=f"how long it may take (default {seconds})",
    )


def whole_seconds(text: str) -> int:
    value = int(text) if text.isdigit() else -1
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r}: expected whole seconds, 0 to 86400")
    return value


def image_name(text: str) -> str:
    """An empty name comes from a pipeline's unset variable: it must never be answered with some other image."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; is the variable that names the image set?")
    return text.strip()


def listing_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--limit", type=int, default=50, choices=range(1, 10_001), metavar="N", help="default 50")
    command.add_argument("--json", action="store_true", help="the documents themselves, one a line")
    wait_option(command, 30)


def number(text: str) -> str:
    if text and not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a policy's number, as `secguard network policies` lists")
    return text


def json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("expected a JSON object")
    return value
