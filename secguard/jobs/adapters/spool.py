"""The embedded broker: kombu's filesystem transport, made safe for several processes.

Kombu's own creates a message's file under its final name and fills it afterwards, so that a reader may take it empty
and stop on it; and it moves taken messages through the system's temporary folder. Here a message appears complete
(rename) and is taken by a rename inside of the spool, which exactly one reader wins.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem


class Channel(filesystem.Channel):
    def _put(self, queue: str, payload: Any, **_kwargs: Any) -> None:  # type: ignore[override]
        folder = Path(self.data_folder_out)
        name = f"{time.time_ns()}_{uuid.uuid4()}.{queue}.msg"
        draft = folder / f"{name}.draft"
        draft.write_text(json.dumps(payload), encoding="utf-8")
        draft.rename(folder / name)

    def _get(self, queue: str, timeout: Any = None) -> Any:
        folder = Path(self.data_folder_in)
        for name in sorted(folder.glob(f"*.{queue}.msg")):
            taken = name.with_suffix(".taken")
            try:
                name.rename(taken)
            except FileNotFoundError:
                continue  # another worker won it
            text = taken.read_text(encoding="utf-8")
            taken.unlink()
            with contextlib.suppress(ValueError):  # an unreadable wake-up is a lost one
                return json.loads(text)
        raise Empty


class Transport(filesystem.Transport):
    Channel = Channel
