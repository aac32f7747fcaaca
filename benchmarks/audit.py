"""The audit log at size: searching, filtering, proving and writing, in this process, middleware and all.

The log is generated, chained as ``audit.record`` does, and its words, tree and checkpoint are made by the product's own
jobs. Words are as frequent as in people's texts (Zipf); teams, people, actions and images are few that do much and many
that do little.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
import random
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import accumulate
from math import ceil
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import msgspec

from benchmarks.server import broker, fresh_database
from benchmarks.table import Measure

PART = "The audit log"
ROUNDS = 20
LIMIT = 200
TEAMS, PEOPLE, IMAGES, WORDS = 40, 500, 20_000, 20_000
APPENDED = 3_000
COPIED = 20_000
TAKEN_IN = 100_000
"""By the search's job, in the time that is told; those before it are written in bulk."""
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
    ("an image's name with its tag", "q=app7:1.7.7"),
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
    """Measure over a log of a database of its own, which a process of its own fills and asks. PostgreSQL alone: the log
    is written by its own means."""
    url, _ = fresh_database(Path())
    if not url.startswith("postgres"):
        return []
    with tempfile.TemporaryDirectory(prefix="secguard-audit-") as folder:
        env = {
            **os.environ,
            "SECGUARD_DATA_DIR": folder,
            "SECGUARD_DATABASE_URL": url,
            "SECGUARD_BROKER_URL": broker(url),
            "SECGUARD_SECRET_KEY": secrets.token_urlsafe(48),
            "SECGUARD_LOG_LEVEL": "warning",
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        }
        command = [sys.executable, "-m", "benchmarks.audit", str(entries)]
        done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return [Measure(**measure) for measure in json.loads(done.stdout.splitlines()[-1])]


def main(entries: int) -> None:
    """Fill the database that the settings name, ask it, and print what was measured as JSON."""
    import django  # noqa: PLC0415 - the settings are known only now

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    readers, teams = _people()
    log = Log(entries, teams, datetime.now(UTC))
    _generate(log)
    measures = _prepared(log) + _searched(readers) + _proved(readers[0][1], entries) + _appended()
    print(json.dumps([asdict(measure) for measure in measures]))  # noqa: T201 - a command's output


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
    """The columns of as many entries as are asked for; the same for the same number, wherever one begins to read."""

    def __init__(self, entries: int, teams: Sequence[int], now: datetime) -> None:
        self.entries, self.teams, self.now = entries, teams, now
        self.step = timedelta(days=730) / entries
        self.weights = {n: _zipf(n) for n in (TEAMS, PEOPLE, IMAGES, WORDS)}
        self.actions = [(action, kind) for action, kind, _ in ACTIONS]
        self.action_weights = list(accumulate(share for *_, share in ACTIONS))
        syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
        make = random.Random(5)  # noqa: S311
        self.words = ["".join(make.choices(syllables, k=make.randint(2, 4))) for _ in range(WORDS)]

    def batches(self) -> Iterator[list[dict[str, Any]]]:
        for first in range(0, self.entries, COPIED):
            choose = random.Random(first)  # noqa: S311 - the same log every time
            k = min(COPIED, self.entries - first)
            picked = {n: choose.choices(range(n), cum_weights=self.weights[n], k=k) for n in (PEOPLE, TEAMS, IMAGES)}
            kinds = choose.choices(self.actions, cum_weights=self.action_weights, k=k)
            said = choose.choices(self.words, cum_weights=self.weights[WORDS], k=8 * k)
            columns = zip(kinds, picked[PEOPLE], picked[TEAMS], picked[IMAGES], strict=True)
            yield [self._draft(first + n, said[8 * n : 8 * n + 8], *chosen) for n, chosen in enumerate(columns)]

    def _draft(
        self, number: int, said: list[str], done: tuple[str, str], person: int, team: int, image: int
    ) -> dict[str, Any]:
        action, kind = done
        name = f"registry.example/{self.words[image % 300]}/app{image % 900}:1.{image % 40}.{image % 9}"
        if number < self.entries // 20 and number % 2:
            said.append(OLD)
        if number % 500_000 == 4_711:
            said.append(RARE)
        return {
            "at": self.now - self.step * (self.entries - number),
            "actor": f"person-{person}",
            "actor_id": person + 1,
            "token": f"sgt_{person:08x}" if number % 3 else "",
            "action": action,
            "subject_type": kind,
            "subject_id": str(number // 4 if kind != "decision" else (number * 31) % 50_000),
            "subject": f"CVE-{2016 + number % 10}-{1000 + number * 7919 % 40_000} in {name}"
            if kind == "decision"
            else name,
            "team_id": self.teams[team],
            "details": {"reason": " ".join(said), "digest": f"sha256:{_digest(image)}", "number": number % 1_000},
            "request_id": f"{number * 2_654_435_761 % 2**64:016x}",
        }


@cache
def _digest(image: int) -> str:
    return random.Random(image).randbytes(32).hex()  # noqa: S311


def _generate(log: Log) -> None:
    """Write the log, its rows as ``audit.record`` would have made them. Its indexes are made after."""
    from django.db import connection, transaction  # noqa: PLC0415

    from secguard.audit import chain  # noqa: PLC0415
    from secguard.audit.models import AuditEntry, AuditHead  # noqa: PLC0415

    if AuditEntry.objects.exists():
        raise RuntimeError("The audit log is not empty; this part needs a database of its own.")
    head = AuditHead.objects.create(id=1, digest=chain.START)
    with connection.schema_editor() as editor:
        for index in AuditEntry._meta.indexes:
            editor.remove_index(AuditEntry, index)
    for drafts in log.batches():
        with transaction.atomic():
            _copied("audit_auditentry", [*log_columns(), "previous_digest", "digest"], _chained(head, drafts))
            head.save(update_fields=["sequence", "digest", "at"])
    with connection.schema_editor() as editor:
        for index in AuditEntry._meta.indexes:
            editor.add_index(AuditEntry, index)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE audit_auditentry")


def log_columns() -> list[str]:
    from secguard.audit.chain import COLUMNS  # noqa: PLC0415

    return list(COLUMNS[:-2])


def _chained(head: Any, drafts: list[dict[str, Any]]) -> list[list[Any]]:
    """The rows, and ``head`` moved to the last. Their digests are held against the product's at every batch."""
    from secguard.audit import chain  # noqa: PLC0415

    rows = []
    for draft in drafts:
        head.sequence += 1
        previous, head.at = head.digest, draft["at"]
        document = {**draft, "at": chain.instant(head.at), "sequence": head.sequence, "previous_digest": previous}
        covered = msgspec.json.encode({**document, "version": chain.VERSION}, order="sorted")
        head.digest = hashlib.sha256(covered).hexdigest()
        rows.append(
            [head.sequence, *(draft | {"details": json.dumps(draft["details"])}).values(), previous, head.digest]
        )
    if head.digest != chain.digest_of(chain.Entry(sequence=head.sequence, previous_digest=previous, **drafts[-1])):
        raise RuntimeError("This is not how the product makes a digest.")
    return rows


def _copied(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """None of the values holds a tab, a line's end or a backslash."""
    from django.db import connection  # noqa: PLC0415

    text = "".join("\t".join(["\\N" if value is None else str(value) for value in row]) + "\n" for row in rows)
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
        copy.write(text)


def _index_in_bulk(log: Log, entries: int) -> None:
    """The words of the first ``entries`` into PostgreSQL's table at once, its index after: for size, not for time."""
    from django.db import connection  # noqa: PLC0415

    from secguard.audit.models import AuditSearch  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE audit_words")
        cursor.execute("DROP INDEX IF EXISTS audit_words_gin")
    for number, drafts in enumerate(log.batches()):
        _copied("audit_words", ["sequence", "words"], _said(1 + number * COPIED, drafts, entries))
    with connection.cursor() as cursor:
        cursor.execute("SET maintenance_work_mem = '1GB'")
        cursor.execute("CREATE INDEX audit_words_gin ON audit_words USING gin (words) WITH (fastupdate = off)")
    AuditSearch.objects.update_or_create(id=1, defaults={"covered": entries})


EPOCH = "\x01"
"""Stands in what is kept of a text's tokens for the epoch, which is put in at last."""


def _said(first: int, drafts: list[dict[str, Any]], entries: int) -> Iterator[tuple[int, str]]:
    """The tokens of a batch as ``words.tokens_of`` has them, made of what many entries have in common."""
    from secguard.audit.words import Text, epoch_of, tokens_of  # noqa: PLC0415

    for sequence, draft in enumerate(drafts, start=first):
        if sequence <= entries:
            yield sequence, _tokens(draft).replace(EPOCH, f"{epoch_of(sequence):x}")
    entry = Text(**{name: drafts[0][name] for name in Text.__dataclass_fields__})
    if set(_tokens(drafts[0]).split()) != {f"'{EPOCH}{token}'" for token in tokens_of(entry)}:
        raise RuntimeError("These are not the words that the product takes in.")


def _tokens(draft: dict[str, Any]) -> str:
    from secguard.audit.words import Kind, exact  # noqa: PLC0415

    details, number = draft["details"], draft["subject_id"]
    found = [_forms(word) for word in details["reason"].split(" ")]
    found += [_forms(draft[name]) for name in ("actor", "action", "subject_type", "token")]
    found += [_forms(word) for word in draft["subject"].split(" ")]
    found += [_forms(word, Kind.SUBJECT) for word in draft["subject"].split(" ")]
    found += [_forms(details["digest"]), _forms(str(details["number"]))]
    found += [_whole(draft["actor"], draft["action"], draft["subject_type"], draft["team_id"])]
    said = " ".join(filter(None, found))
    return f"{said} '{EPOCH}w{number}' '{EPOCH}w{draft['request_id']}' '{EPOCH}{exact(Kind.ID, number)}'"


@lru_cache(maxsize=1_000_000)
def _forms(text: str, kind: str = "w") -> str:
    from secguard.audit.words import forms_of  # noqa: PLC0415

    return " ".join(f"'{EPOCH}{kind}{form}'" for form in forms_of(text))


@lru_cache(maxsize=1_000_000)
def _whole(actor: str, action: str, subject_type: str, team: int) -> str:
    from secguard.audit.words import Kind, exact  # noqa: PLC0415

    columns = ((Kind.ACTOR, actor), (Kind.ACTION, action), (Kind.TYPE, subject_type), (Kind.TEAM, team))
    return " ".join(f"'{EPOCH}{exact(kind, value)}'" for kind, value in columns)


# --- what jobs make of it ---


def _prepared(log: Log) -> list[Measure]:
    from django.db import connection  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from secguard.audit import services  # noqa: PLC0415

    at_once = max(0, log.entries - TAKEN_IN)
    _index_in_bulk(log, at_once)
    begin = perf_counter()
    services.index()
    measures = [_told("taken in by the search's job, behind all others", begin, log.entries - at_once)]
    begin = perf_counter()
    services.grow()
    measures.append(_told("taken into the tree", begin, log.entries))
    begin = perf_counter()
    services.make_checkpoint(timezone.now(), is_asked=True)
    measures.append(Measure(PART, "a checkpoint signed", (perf_counter() - begin) * 1000, "ms", LIMIT))
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
        page = re.search(r'href="([^"]*)" rel="next"', ask(path).content.decode())
        path = html.unescape(page[1]) if page else path
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
    note = f"median {median(times):.0f}, longest {times[-1]:.0f} ms; {_found(answer)}"
    return Measure(PART, what, times[ceil(ROUNDS * 0.95) - 1], "ms", LIMIT, note=note)


def _found(answer: Any) -> str:
    """How many, in the answer's own words, and whether the search ended before it had seen all."""
    text = answer.content.decode()
    if answer["Content-Type"].startswith("application/json"):
        document = json.loads(text)
        count = f"{document['count']:,}{'' if document['count_is_exact'] else '+'} found"
        reached = (document["search"] or {}).get("reached")
        return f"{count}, so far back to entry {reached:,}" if reached else count
    count = re.search(r'listing-count"[^>]*>([^<]*)<', text)
    return (count[1] + " found" if count else "0 found") + (", so far" if "Search further" in text else "")


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


def keep_indexing() -> None:
    """The job in a process of its own, once a second: thirty times as often as workers do it."""
    import django  # noqa: PLC0415

    django.setup()
    from secguard.audit import services  # noqa: PLC0415

    while True:
        services.index()
        time.sleep(1)


if __name__ == "__main__":
    main(int(sys.argv[1])) if len(sys.argv) > 1 else keep_indexing()
