"""``secguard admission agent``: its command line."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from secguard import environment, local

WORDS: Final = "Answer a cluster where it is, and go on from a signed snapshot while SecGuard is away."
MOST: Final = timedelta(days=7)
_Reader = Callable[[str], timedelta]
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--server", required=True, type=_url, metavar="URL", help="where SecGuard is")
    command.add_argument("--token-file", required=True, type=Path, metavar="FILE", help="the cluster's token, sgk_...")
    command.add_argument(
        "--key", required=True, type=Path, metavar="FILE", help="public keys, PEM: whose snapshots count"
    )
    command.add_argument(
        "--listen", type=_address, default=("127.0.0.1", 8443), metavar="HOST:PORT", help="default 127.0.0.1:8443"
    )
    command.add_argument("--tls-cert", type=Path, metavar="FILE", help="the certificate that the API server believes")
    command.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key")
    command.add_argument(
        "--state", type=Path, metavar="FOLDER", help="what survives the agent (default agent in SECGUARD_DATA_DIR)"
    )
    command.add_argument(
        "--refresh",
        type=_refresh,
        default=timedelta(seconds=30),
        metavar="TIME",
        help="between snapshots (default 30s)",
    )
    command.add_argument(
        "--max-age",
        type=_age,
        default=timedelta(hours=24),
        metavar="TIME",
        help="of a snapshot (default 24h; 7d at most)",
    )
    command.add_argument(
        "--timeout", type=_patience, default=timedelta(seconds=2), metavar="TIME", help="for SecGuard (default 2s)"
    )
    command.add_argument("--ca", type=Path, metavar="FILE", help="certificates that SecGuard's own is believed by, PEM")


def _timed(
    command: argparse.ArgumentParser, name: str, kind: Callable[[str], timedelta], usual: str, words: str
) -> None:
    command.add_argument(name, type=kind, default=kind(usual), metavar="TIME", help=f"{words} (default {usual})")


def run(args: argparse.Namespace) -> int:
    """Serves until it is told to stop; returns the exit code."""
    from secguard.agent import running  # noqa: PLC0415 - other commands need none of it

    options = running.Options(
        server=args.server,
        token_file=args.token_file,
        key=args.key,
        listen=args.listen,
        state=args.state or local.data_dir(os.environ) / "agent",
        refresh=args.refresh.total_seconds(),
        max_age=args.max_age,
        patience=args.timeout.total_seconds(),
        cert=args.tls_cert,
        cert_key=args.tls_key,
        ca=args.ca,
    )
    return running.run(options)


def _url(text: str) -> str:
    try:
        return environment.web_url({"--server": text}, "--server", "")
    except environment.BadEnvironment as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: expected an address and a port, like 0.0.0.0:8443 or [::]:8443")
    return host.strip("[]"), int(port)


def _age(text: str) -> timedelta:
    return _time(text, timedelta(minutes=1), MOST)


def _refresh(text: str) -> timedelta:
    return _time(text, timedelta(seconds=1), timedelta(hours=1))


def _patience(text: str) -> timedelta:
    return _time(text, timedelta(seconds=1), timedelta(seconds=25))


def _time(text: str, least: timedelta, most: timedelta) -> timedelta:
    """``90``, ``90s``, ``15m``, ``24h``, ``7d``."""
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", text)
    value = timedelta(**{_UNITS[found[2] or "s"]: int(found[1])}) if found else timedelta(0)
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a time from {least} to {most}, like 90s, 15m, 24h or 7d")
    return value
