"""Reports posted over HTTP until their verdicts are stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import psycopg

from benchmarks.reports import trivy
from benchmarks.server import Server
from benchmarks.table import Measure

PART = "Report ingestion"
FINDINGS = 10_000
AGAIN = 5


def run(server: Server) -> list[Measure]:
    server.post(trivy("bench/warm", 1, 50, seed=9))  # imports, compiled policy, connections
    first = trivy("bench/app", 2, FINDINGS)
    written = Written(server.database_url)
    measures = [_rate("10,000 new findings", server, first, 5_000)]
    written.since()
    times = sorted(server.post(first).seconds * 1000 for _ in range(AGAIN))
    note = f"median of {AGAIN}; the longest {times[-1]:.0f} ms"
    measures.append(Measure(PART, "the same bytes again", median(times), "ms", 200, note=note))
    if written.is_known:
        measures.append(Measure(PART, "rows written by that", written.since(), "rows", 0, note=written.tables))
    measures.append(_rate("the same content scanned again", server, first + b"\n", 10_000))
    written.since()
    changed = trivy("bench/app", 2, FINDINGS, changed=0.05)
    measures.append(_rate("5 % of it changed", server, changed, None))
    if written.is_known:
        what = "rows written by that (some 500 findings differ)"
        measures.append(Measure(PART, what, written.since(), "rows", note=written.tables))
    measures.append(
        _rate("the next image of the repository, same findings", server, trivy("bench/app", 3, FINDINGS), None)
    )
    measures += _at_once(server)
    measures += _memory(server)
    return measures


def _rate(what: str, server: Server, raw: bytes, least: float | None) -> Measure:
    answer = server.post(raw)
    counts = answer.document["counts"]
    note = f"{answer.seconds:.2f} s, {len(raw) / 2**20:.1f} MB; {counts['introduced']:,} introduced, "
    note += f"{counts['changed']:,} changed, {counts['unchanged']:,} unchanged"
    return Measure(PART, what, FINDINGS / answer.seconds, "findings/s", least, more_is_better=True, note=note)


def _at_once(server: Server) -> list[Measure]:
    reports = [trivy(f"bench/at-once{n}", 1000 + n, 500) for n in range(20)]
    begin = time.perf_counter()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(server.post, reports))
    seconds = time.perf_counter() - begin
    wrong = sum(a.document["status"] != "finished" or a.document["counts"]["found"] != 500 for a in answers)
    return [
        Measure(
            PART, "20 pipelines post 500 findings each at once: errors", wrong, "", 0, note=f"all in {seconds:.2f} s"
        )
    ]


def _memory(server: Server) -> list[Measure]:
    before = server.peak_memory()
    answer = server.post(trivy("bench/huge", 5000, 50_000, seed=5))
    note = f"taken in in {answer.seconds:.1f} s"
    return [
        Measure(
            PART,
            f"resident at most, 50,000 findings: {role}",
            peak,
            "MB",
            500,
            note=f"{note}; {before[role]:.0f} MB before",
        )
        for role, peak in sorted(server.peak_memory().items())
        if role in before and role != "other"
    ]


class Written:
    """Rows inserted, updated and deleted in the product's tables, but those of jobs and of a token's last use."""

    QUERY = (
        "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables "
        "WHERE relname ~ '^(findings|images|advisories|scans|policies|decisions|audit)_'"
    )

    def __init__(self, url: str, *, but: Collection[str] = ()) -> None:
        self.url = url
        self.but = but
        self.is_known = url.startswith("postgres")
        self.last: dict[str, int] = {}
        self.tables = ""
        """In which tables it was, the most first."""

    def since(self) -> int:
        if not self.is_known:
            return 0
        now = _settled(self._read)
        found = {table: count - self.last.get(table, 0) for table, count in now.items()}
        self.last = now
        most = sorted((t for t in found if found[t]), key=lambda t: (-found[t], t))
        self.tables = ", ".join(f"{found[t]:,} in {t}" for t in most[:5]) + (" …" if most[5:] else "")
        return sum(found.values())

    def _read(self) -> dict[str, int]:
        with psycopg.connect(self.url) as connection:
            return {table: n for table, n in connection.execute(self.QUERY).fetchall() if table not in self.but}


def _settled(read: Callable[[], dict[str, int]]) -> dict[str, int]:
    """A session that idles tells its counts within ten seconds (PostgreSQL, "Cumulative Statistics"); jobs end too."""
    before = read()
    while True:
        time.sleep(11)
        now = read()
        if now == before:
            return now
        before = now
