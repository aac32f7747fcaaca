"""``python -m benchmarks [PART ...] [--findings N]``: measure; write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import (
    admission,
    advisories,
    audit,
    gate,
    homes,
    ingest,
    laboratory,
    matching,
    pages,
    promotion,
    radius,
    scanning,
    sensors,
    table,
)
from benchmarks.server import fresh_database, serving

PARTS = (
    "ingest",
    "gate",
    "advisories",
    "scanning",
    "pages",
    "radius",
    "laboratory",
    "matching",
    "promotion",
    "admission",
    "sensors",
    "audit",
    "homes",
)

SERVED = {
    "ingest": ingest,
    "gate": gate,
    "advisories": advisories,
    "scanning": scanning,
    "promotion": promotion,
    "sensors": sensors,
}
"""What is measured over one server, in this order."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all where none is named")
    parser.add_argument("--findings", type=int, default=1_000_000, help="findings for the pages (default 1,000,000)")
    parser.add_argument("--events", type=int, default=10_000_000, help="events for the homes (default 10,000,000)")
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries of the audit log (default 1,000,000)")
    parser.add_argument("--print-only", action="store_true", help="leave docs/benchmarks.md as it is")
    args = parser.parse_args()
    unknown = set(args.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}")
    parts = args.parts or PARTS
    measures: list[table.Measure] = []
    with tempfile.TemporaryDirectory(prefix="secguard-bench-") as name:
        url, database = fresh_database(Path(name))
        with serving(Path(name), url) as server:
            for part, module in SERVED.items():
                if part in parts:
                    measures += _shown(module.run(server))
        if "pages" in parts:
            measures += _shown(pages.run(args.findings))
        if "radius" in parts:
            measures += _shown(radius.run(args.findings))
        if "laboratory" in parts:
            measures += _shown(laboratory.run(args.findings))
        if "matching" in parts:
            measures += _shown(matching.run())
        if "admission" in parts:
            measures += _shown(admission.run(Path(name), args.findings))
    if "audit" in parts:  # at last: these begin with databases of their own
        measures += _shown(audit.run(args.entries))
    if "homes" in parts:
        measures += _shown(homes.run(args.findings, args.events))
    if not args.print_only:
        table.write(
            measures, database, os.environ.get("SECGUARD_BROKER_URL", "").partition(":")[0] or "embedded (files)"
        )
    return 0


def _shown(measures: list[table.Measure]) -> list[table.Measure]:
    for measure in measures:
        print(measure.row, flush=True)  # noqa: T201 - a command's output
    return measures


if __name__ == "__main__":
    sys.exit(main())
