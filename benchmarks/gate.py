"""The gate's answer from a stored verdict, beside an empty view behind the same authentication."""

from __future__ import annotations

from statistics import median

from benchmarks.reports import trivy
from benchmarks.server import Server
from benchmarks.table import Measure

PART = "The gate"
ROUNDS = 300


def run(server: Server) -> list[Measure]:
    scan = server.post(trivy("bench/gate", 7000, 1_000)).document
    gate, empty = f"/api/v1/images/{scan['digest']}/verdict/?stage=build", "/benchmark/empty/"
    times = _alternately(server, [gate, empty])
    note = f"median of {ROUNDS}: {times[gate]:.2f} ms; the empty view {times[empty]:.2f} ms"
    return [
        Measure(
            PART,
            "verdict on an image with 1,000 findings, to the empty view",
            times[gate] / times[empty],
            "times",
            1.5,
            note=note,
        )
    ]


def _alternately(server: Server, paths: list[str]) -> dict[str, float]:
    """Median milliseconds by path, asked in turns over one connection, so that both meet the same machine."""
    line = server.connection()
    seconds: dict[str, list[float]] = {path: [] for path in paths}
    for number in range(ROUNDS + 20):
        for path in paths:
            answer = server.ask(path, connection=line)
            if number >= 20:
                seconds[path].append(answer.seconds * 1000)
    line.close()
    return {path: median(values) for path, values in seconds.items()}
