"""The audit log at size: searching, filtering, proving and writing, in this process, middleware and all.

The log is generated, chained as ``audit.record`` does, and its words, tree and checkpoint are made by the product's own
jobs. Words are as frequent as in people's texts (Zipf); teams, people, actions and images are few that do much and many
that do little.
"""

from __future__ import annotations

import io
import json
import os
import random
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from math import ceil
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.table import Measure

PART = "The audit log"
ROUNDS = 20
LIMIT = 200
TEAMS, PEOPLE, IMAGES, WORDS = 40, 500, 20_000, 20_000
APPENDED = 3_000
COPIED = 20_000
RARE, OLD = "zanzibar", "bygone"
"""In one of 500,000 entries; in every second entry of the first twentieth and nowhere else."""

ACTIONS = (
    ("scan:request", "scan", 30),
    ("report:post", "report", 20),
    ("decision:request", "decision", 10),
    ("decision:vote", "decision", 10),
    ("decision:approve", "decision", 8),
    ("promotion:request", "promotion", 6),
    ("token:exchange", "token", 6),
    ("sign-in:external", "user", 4),
    ("incident:comment", "incident", 3),
    ("policy:edit", "policy", 1),
    ("membership:grant", "membership", 1),
    ("break-glass:use", "break-glass", 0.01),
)

SEARCHES = (
    ("a rare word", f"q={RARE}"),
    ("a frequent word", "q=decision"),
    ("a word that is nowhere", "q=xylophone"),
    ("a word of old entries alone", f"q={OLD}"),
    ("a beginning", "q=cve-2024-1"),
    ("a digest", "q=sha256:{digest}"),
    ("its first 12 digits", "q={short}"),
    ("an image's name with its tag", "q=app7:1.7.3"),
    ("a rare and a frequent word", f"q={RARE}+decision"),
    ("two frequent words that never meet", "q=scan:request+decision"),
    ("an action", "action=decision:approve"),
    ("an actor", "actor=person-17"),
    ("a subject's history", "subject_type=decision&subject_id=1234"),
    ("a subject's id alone", "subject_id=1234"),
    ("a type of subject", "subject_type=policy"),
    ("words of the subject", "subject=app7"),
    ("an actor and an action", "actor=person-17&action=decision:approve"),
    ("an actor and an action never done", "actor=person-499&action=break-glass:use"),
    ("a week", "from={week}&to={week_end}"),
    ("a week and a frequent word", "q=decision&from={week}&to={week_end}"),
    ("a week and a rare word", f"q={RARE}&from={{week}}&to={{week_end}}"),
    ("a week, an actor, an action and a word", "q=app7&actor=person-3&action=scan:request&from={week}&to={week_end}"),
)
"""What is asked for, as the page's query; REST calls ``q`` ``search``."""


def run(entries: int) -> list[Measure]:
    os.environ.setdefault("SECGUARD_SECRET_KEY", secrets.token_urlsafe(48))
    import django  # noqa: PLC0415 - the settings are known only now

    django.setup()
    readers, teams = _people()
    begin = perf_counter()
    _generate(entries, teams)
    measures = [_told("generated", begin, entries)]
    measures += _prepared(entries)
    measures += _searched(readers)
    return [*measures, *_proved(readers[0][1], entries), *_appended()]


def _told(what: str, begin: float, entries: int) -> Measure:
    seconds = perf_counter() - begin
    return Measure(PART, f"entries {what}", entries / seconds, "entries/s", note=f"{entries:,} in {seconds:,.0f} s")


# --- the log ---


def _people() -> tuple[list[tuple[str, Any]], list[int]]:
    from django.utils import timezone  # noqa: PLC0415

    from secguard.accounts.models import Membership, Team, User  # noqa: PLC0415

    stamp = f"{timezone.now().timestamp():.0f}"
    teams = [Team.objects.create(name=f"Log {stamp} {n}", slug=f"log-{stamp}-{n}").pk for n in range(TEAMS)]
    wide = User.objects.create(username=f"log-wide-{stamp}")
    Membership.objects.create(user=wide, role="security-reviewer")
    # Of a small team, and of two: one that is large and one that is small.
    one, two = (User.objects.create(username=f"log-{name}-{stamp}") for name in ("one", "two"))
    Membership.objects.create(user=one, role="operator", team_id=teams[-1])
    for team in (teams[0], teams[-1]):
        Membership.objects.create(user=two, role="operator", team_id=team)
    return [("all teams", wide), ("one small team", one), ("a large and a small team", two)], teams


def _zipf(count: int) -> list[float]:
    return list(accumulate(1 / (n + 1) for n in range(count)))


class Log:
    """The columns of as many entries as are asked for; the same for the same number."""

    def __init__(self, entries: int, teams: Sequence[int]) -> None:
        self.entries, self.teams = entries, teams
        self.choose = random.Random(11)  # noqa: S311 - the same log every time
        self.now = datetime.now(UTC)
        self.weights = {n: _zipf(n) for n in (TEAMS, PEOPLE, IMAGES, WORDS)}
        self.actions = [(action, kind) for action, kind, _ in ACTIONS]
        self.action_weights = list(accumulate(share for *_, share in ACTIONS))
        syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
        make = random.Random(5)  # noqa: S311
        self.words = ["".join(make.choices(syllables, k=make.randint(2, 4))) for _ in range(WORDS)]

    def _pick(self, count: int, k: int) -> list[int]:
        return self.choose.choices(range(count), cum_weights=self.weights[count], k=k)

    def drafts(self) -> Iterator[dict[str, Any]]:
        step, number = timedelta(days=730) / self.entries, 0
        while number < self.entries:
            k = min(COPIED, self.entries - number)
            kinds = self.choose.choices(self.actions, cum_weights=self.action_weights, k=k)
            people, teams, images = self._pick(PEOPLE, k), self._pick(TEAMS, k), self._pick(IMAGES, k)
            said = self._pick(WORDS, 8 * k)
            for n in range(k):
                at = self.now - step * (self.entries - number)
                yield self._draft(number, at, kinds[n], people[n], teams[n], images[n], said[8 * n : 8 * n + 8])
                number += 1

    def _draft(
        self, number: int, at: datetime, done: tuple[str, str], person: int, team: int, image: int, said: list[int]
    ) -> dict[str, Any]:
        action, kind = done
        name = f"registry.example/{self.words[image % 300]}/app{image % 900}:1.{image % 40}.{number % 9}"
        cve = f"CVE-{2016 + number % 10}-{1000 + (number * 7919) % 40_000}"
        reason = " ".join(self.words[n] for n in said)
        if number < self.entries // 20 and number % 2:
            reason += f" {OLD}"
        if number % 500_000 == 4_711:
            reason += f" {RARE}"
        return {
            "at": at,
            "actor": f"person-{person}",
            "actor_id": person + 1,
            "token": f"sgt_{person:08x}" if number % 3 else "",
            "action": action,
            "subject_type": kind,
            "subject_id": str(number // 4 if kind != "decision" else (number * 31) % 50_000),
            "subject": f"{cve} in {name}" if kind == "decision" else name,
            "team_id": self.teams[team],
            "details": {"reason": reason, "digest": f"sha256:{_digest(image)}", "number": number % 1_000},
            "request_id": f"{(number * 2_654_435_761) % 2**64:016x}",
        }


def _digest(image: int) -> str:
    return random.Random(image).randbytes(32).hex()  # noqa: S311


def _generate(entries: int, teams: Sequence[int]) -> None:
    """Write the log behind what there is, its rows as ``audit.record`` would have made them."""
    from django.db import connection, transaction  # noqa: PLC0415

    from secguard.audit import chain  # noqa: PLC0415
    from secguard.audit.models import AuditHead  # noqa: PLC0415

    head, _ = AuditHead.objects.get_or_create(id=1, defaults={"digest": chain.START})
    rows = _chained(head, Log(entries, teams).drafts())
    write = _copied if connection.vendor == "postgresql" else _inserted
    while batch := list(islice(rows, COPIED)):
        with transaction.atomic():
            write(batch)
            head.save(update_fields=["sequence", "digest", "at"])
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE audit_auditentry" if connection.vendor == "postgresql" else "ANALYZE")


def _chained(head: Any, drafts: Iterator[dict[str, Any]]) -> Iterator[list[Any]]:
    from secguard.audit import chain  # noqa: PLC0415

    for draft in drafts:
        entry = chain.Entry(sequence=head.sequence + 1, previous_digest=head.digest or chain.START, **draft)
        head.sequence, head.digest, head.at = entry.sequence, chain.digest_of(entry), entry.at
        columns = draft | {"details": json.dumps(draft["details"])}
        yield [entry.sequence, *columns.values(), entry.previous_digest, head.digest]


COLUMNS = (
    "sequence, at, actor, actor_id, token, action, subject_type, subject_id, subject, team_id, details, request_id, "
    "previous_digest, digest"
)


def _copied(rows: list[list[Any]]) -> None:
    from django.db import connection  # noqa: PLC0415

    text = io.StringIO()
    for row in rows:  # none holds a tab, a line's end or a backslash
        text.write("\t".join("\\N" if value is None else str(value) for value in row) + "\n")
    with connection.cursor() as cursor, cursor.copy(f"COPY audit_auditentry ({COLUMNS}) FROM STDIN") as copy:
        copy.write(text.getvalue())


def _inserted(rows: list[list[Any]]) -> None:
    from django.db import connection  # noqa: PLC0415

    marks = ", ".join(["%s"] * len(rows[0]))
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO audit_auditentry ({COLUMNS}) VALUES ({marks})", rows)  # noqa: S608


# --- what jobs make of it ---


def _prepared(entries: int) -> list[Measure]:
    from django.db import connection  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from secguard.audit import services  # noqa: PLC0415

    begin = perf_counter()
    services.index()
    measures = [_told("of before taken in by the search's job", begin, entries)]
    begin = perf_counter()
    services.grow()
    measures.append(_told("taken into the tree", begin, entries))
    begin = perf_counter()
    services.make_checkpoint(timezone.now(), is_asked=True)
    measures.append(Measure(PART, "a checkpoint signed", (perf_counter() - begin) * 1000, "ms", LIMIT))
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM audit_words")
            measures += [_size(cursor, *what) for what in SIZES]
    return measures


SIZES = (
    ("entries with their indexes", "pg_total_relation_size('audit_auditentry')"),
    ("words: rows", "pg_total_relation_size('audit_words') - pg_relation_size('audit_words_gin')"),
    ("words: the index that is searched", "pg_relation_size('audit_words_gin')"),
)


def _size(cursor: Any, what: str, size: str) -> Measure:
    cursor.execute(f"SELECT {size}")
    return Measure(PART, f"{what}: on disk", cursor.fetchone()[0] / 2**30, "GB")


# --- what people ask ---


def _searched(readers: list[tuple[str, Any]]) -> list[Measure]:
    now = datetime.now(UTC)
    week = now - timedelta(days=400)
    places = {
        "digest": _digest(IMAGES - 7),
        "short": _digest(IMAGES - 7)[:12],
        "week": f"{week:%Y-%m-%d}",
        "week_end": f"{week + timedelta(days=7):%Y-%m-%d}",
    }
    measures = []
    for who, user in readers:
        ask = _asking(user)
        for what, query in SEARCHES:
            query = query.format(**places)
            measures.append(_asked(ask, f"{what}, page, {who}", f"/audit/?{query}"))
            rest = f"/api/v1/audit/?{query.replace('q=', 'search=')}"
            measures.append(_asked(ask, f"{what}, REST, {who}", rest))
        measures.append(_asked(ask, f"a frequent word, the tenth page, {who}", _tenth(ask, "/audit/?q=decision")))
    return measures


def _asking(user: Any) -> Callable[[str], Any]:
    from django.conf import settings  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    settings.ALLOWED_HOSTS = ["*"]
    client = Client()
    client.force_login(user)
    return client.get


def _tenth(ask: Callable[[str], Any], path: str) -> str:
    for _ in range(9):
        path = ask(path).context["listing"].next_url or path
    return path


def _asked(ask: Callable[[str], Any], what: str, path: str) -> Measure:
    """The 95th percentile of ``ROUNDS``: the first, which nothing has read before, is one of them."""
    times = []
    for _ in range(ROUNDS):
        begin = perf_counter()
        answer = ask(path)
        times.append((perf_counter() - begin) * 1000)
    if answer.status_code != 200:
        raise RuntimeError(f"{path} answered {answer.status_code}: {answer.content[:500]!r}")
    times.sort()
    found, is_exact, further = _found(answer)
    note = f"median {median(times):.0f}, longest {times[-1]:.0f} ms; {found:,}{'' if is_exact else ' or more'} found"
    note += f", searched back to entry {further:,}" if further else ""
    return Measure(PART, what, times[ceil(ROUNDS * 0.95) - 1], "ms", LIMIT, note=note)


def _found(answer: Any) -> tuple[int, bool, int | None]:
    if answer["Content-Type"].startswith("application/json"):
        document = answer.json()
        return document["count"], document["count_is_exact"], (document.get("search") or {}).get("reached")
    listing = answer.context["listing"]
    return listing.count, listing.count_is_exact, listing.reached


# --- proofs and writing ---


def _proved(user: Any, entries: int) -> list[Measure]:
    ask = _asking(user)
    choose = random.Random(3)  # noqa: S311
    times = []
    for _ in range(100):
        begin = perf_counter()
        if ask(f"/api/v1/audit/{choose.randint(1, entries)}/proof/").status_code != 200:
            raise RuntimeError("There is no proof.")
        times.append((perf_counter() - begin) * 1000)
    times.sort()
    note = f"median {median(times):.0f}, longest {times[-1]:.0f} ms; of 100 entries anywhere in the log"
    return [Measure(PART, "an entry's proof, REST", times[94], "ms", LIMIT, note=note)]


def _appended() -> list[Measure]:
    """Entries written one a transaction, alone and while the search's job takes them in."""
    alone = _rate()
    job = subprocess.Popen([sys.executable, "-m", "benchmarks.audit"], cwd=Path(__file__).parent.parent)
    try:
        beside = _rate()
    finally:
        job.terminate()
        job.wait()
    note = f"{alone:,.0f} a second without it"
    return [Measure(PART, "entries written while the job takes them in", beside, "entries/s", 0.7 * alone, True, note)]


def _rate() -> float:
    from django.db import transaction  # noqa: PLC0415

    from secguard.audit import services  # noqa: PLC0415

    begin = perf_counter()
    for number in range(APPENDED):
        with transaction.atomic():
            services.record(
                "decision:vote", actor=None, subject_type="decision", subject_id=number, subject=f"CVE-2026-{number}"
            )
    return APPENDED / (perf_counter() - begin)


def _keep_indexing() -> None:
    """The job in a process of its own, without a pause."""
    import django  # noqa: PLC0415

    django.setup()
    from secguard.audit import services  # noqa: PLC0415

    while True:
        services.index()


if __name__ == "__main__":
    _keep_indexing()
