"""The garbage collector's pace in long-running processes."""

from __future__ import annotations

import gc

THRESHOLDS = (50_000, 20, 50)


def pace() -> None:
    """Let the collector look less often, and never again at what was loaded at the start.

    Reading a report makes some ten objects a finding, all of them alive until it is taken in: with the interpreter's
    own pace (every 700) a third of the time goes into looking at them again and again, and nothing is ever found.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
