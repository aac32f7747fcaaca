"""``python -m benchmarks.snapshots GATE``: makes a cluster's snapshot in a process of its own; prints what it took."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from time import perf_counter


def megabytes(what: str) -> float:
    """``VmRSS``: what this process has resident; ``VmHWM``: what it had at most."""
    found = re.search(rf"{what}:\s*(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def main(gate_id: int) -> dict[str, float]:
    import django  # noqa: PLC0415 - only in a process of its own

    django.setup()
    from secguard.admission import services  # noqa: PLC0415
    from secguard.admission.models import ClusterGate  # noqa: PLC0415
    from secguard.admission.services import snapshots  # noqa: PLC0415

    gate = ClusterGate.objects.select_related("cluster").get(pk=gate_id)
    before, began = megabytes("VmRSS"), perf_counter()
    kept = services.snapshot(gate)
    seconds = perf_counter() - began
    size = sum(len(chunk) for chunk in snapshots.chunks(kept, packed=False))
    return {
        "seconds": seconds,
        "before": before,
        "peak": megabytes("VmHWM"),
        "megabytes": size / 2**20,
        "packed": kept.path.stat().st_size / 2**20,
    }


if __name__ == "__main__":
    json.dump(main(int(sys.argv[1])), sys.stdout)
