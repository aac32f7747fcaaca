"""``python -m benchmarks.load``: connections that stay open, each sending requests, in a process of its own.

Reads a plan as JSON (``Plan``'s fields) from the standard input, and writes what it measured to the standard output.
With ``rate`` requests are sent at their times whether answers come or not (an open loop), and a latency is counted from
the time at which the request was due: a server that stalls is not asked less. Without, each connection sends its next
request when it has its answer (a closed loop).
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Plan:
    """``requests`` are (path, body) sent in turns; ``rate`` is of all connections together, a second."""

    port: int
    ca: str
    token: str
    requests: list[tuple[str, str]]
    connections: int
    seconds: float
    warm_up: float = 2.0
    rate: float = 0.0


@dataclass
class Measured:
    """Of the time after the warm-up. Latencies in milliseconds."""

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    denied: int = 0
    late: float = 0.0
    """How late this process itself sent the latest of its requests, in milliseconds."""


class Load:
    def __init__(self, plan: Plan) -> None:
        self.plan, self.measured = plan, Measured()
        self._turn = count()
        self._raw = [_request(plan, path, body) for path, body in plan.requests]

    async def run(self) -> Measured:
        began = time.perf_counter()
        self._from, self._until = began + self.plan.warm_up, began + self.plan.warm_up + self.plan.seconds
        context = ssl.create_default_context(cafile=self.plan.ca)
        await asyncio.gather(*(self._send(context, n, began) for n in range(self.plan.connections)))
        self.measured.seconds = time.perf_counter() - self._from
        return self.measured

    async def _send(self, context: ssl.SSLContext, number: int, began: float) -> None:
        """One connection, opened with its first request: nobody opens one to say nothing."""
        line: Line | None = None
        for due in self._times(number, began):
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            if due >= self._until or time.perf_counter() >= self._until:
                break
            sent = time.perf_counter()
            line = line or await asyncio.open_connection("localhost", self.plan.port, ssl=context)
            await self._ask(line, due if self.plan.rate else sent, sent)
        if line is not None:
            line[1].close()

    def _times(self, number: int, began: float) -> Iterator[float]:
        """When a connection sends: spread evenly over the interval, or at once."""
        if not self.plan.rate:
            while True:
                yield began
        interval = self.plan.connections / self.plan.rate
        first = began + interval * number / self.plan.connections
        for n in count():
            yield first + n * interval

    async def _ask(self, line: Line, due: float, sent: float) -> None:
        reader, writer = line
        writer.write(self._raw[next(self._turn) % len(self._raw)])
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        body = await reader.readexactly(length)
        done = time.perf_counter()
        if due < self._from:
            return
        self.measured.latencies.append((done - due) * 1000)
        self.measured.late = max(self.measured.late, (sent - due) * 1000)
        status = head[9:12].decode()
        self.measured.statuses[status] = self.measured.statuses.get(status, 0) + 1
        self.measured.denied += b'"allowed": false' in body


def _request(plan: Plan, path: str, body: str) -> bytes:
    raw = body.encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {plan.token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of the sorted values are at or below."""
    return values[min(len(values) - 1, max(0, round(share * len(values)) - 1))]


def read(plan: Mapping[str, Any]) -> Plan:
    return Plan(**{**plan, "requests": [tuple(r) for r in plan["requests"]]})


if __name__ == "__main__":
    found = asyncio.run(Load(read(json.load(sys.stdin))).run())
    json.dump(asdict(found), sys.stdout)
