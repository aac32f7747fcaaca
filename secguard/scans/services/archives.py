"""Uploaded image archives: written to the data folder once, read by the workers, taken away when nobody needs them."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from secguard.errors import Invalid, NotFound, TooLarge, Unavailable
from secguard.scans.lifecycle import OPEN_STATUSES
from secguard.scans.models import Scan

_NAME = re.compile(r"[0-9a-f]{32}")
KEEP_SECONDS = 24 * 3600.0


def folder() -> Path:
    """Where they lie. Every host's workers must see it, so it is in the data folder."""
    path: Path = settings.DATA_DIR / "archives"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def scratch() -> Path:
    """For the one temporary file that reading a compressed archive needs."""
    path: Path = settings.DATA_DIR / "work"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def receive(parts: Iterator[bytes]) -> str:
    """Write an upload down; returns the name by which ``path_of`` finds it.

    Raises ``TooLarge`` past SECGUARD_MAX_ARCHIVE_BYTES and ``Unavailable`` where the disk is full; nothing stays then.
    """
    name = secrets.token_hex(16)
    path, size = folder() / name, 0
    try:
        with path.open("xb") as file:
            for part in parts:
                size += len(part)
                if size > settings.MAX_ARCHIVE_BYTES:
                    raise TooLarge(
                        f"The archive has more than {settings.MAX_ARCHIVE_BYTES:,} bytes "
                        "(SECGUARD_MAX_ARCHIVE_BYTES). Push the image to a registry and have it scanned there.",
                        code="archive-too-large",
                        where="body",
                    )
                file.write(part)
        if not size:
            raise Invalid("The body is empty; expected an image archive.", code="empty-archive", where="body")
    except OSError as error:
        path.unlink(missing_ok=True)
        raise Unavailable(f"The archive could not be kept: {error.strerror}.", code="disk-full") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return name


def path_of(name: str) -> Path:
    """The file of an upload; raises ``NotFound`` where it is gone."""
    path = folder() / name
    if not _NAME.fullmatch(name) or not path.is_file():
        raise NotFound("The uploaded archive is no longer there; upload it again.", code="archive-gone")
    return path


def discard_unneeded() -> int:
    """Take away uploads that no open scan reads and that are older than a day; returns how many."""
    needed = set(Scan.objects.filter(status__in=OPEN_STATUSES).exclude(archive="").values_list("archive", flat=True))
    gone = 0
    for path in folder().iterdir():
        with suppress(FileNotFoundError):
            if path.name not in needed and time.time() - path.stat().st_mtime > KEEP_SECONDS:
                path.unlink()
                gone += 1
    return gone
