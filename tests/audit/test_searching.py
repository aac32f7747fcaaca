"""Finding entries: both databases answer as ``words`` says, page by page, whatever part of the log is taken in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction

from secguard.accounts.models import Team
from secguard.audit import queries, services, words
from secguard.audit.models import AuditEntry, AuditSearch
from secguard.audit.queries import searching
from secguard.audit.services import indexing
from secguard.audit.words import Kind, Text, answers, tokens_of, wanted_column, wanted_words
from secguard.web import keyset
from tests.fixtures_people import MakePerson, Person

pytestmark = pytest.mark.django_db

URL = "/api/v1/audit/"
DIGEST = "sha256:9f0c" + "ab" * 30
PLAIN = "CREATE TABLE audit_words (rowid INTEGER PRIMARY KEY, words TEXT NOT NULL)"


@pytest.fixture(params=["as compiled", "without FTS5"])
def _words_of_either_kind(request: pytest.FixtureRequest, db: None) -> None:
    """On SQLite, with the table that there is where FTS5 is not compiled in as well."""
    if request.param == "without FTS5":
        if connection.vendor != "sqlite":
            pytest.skip("PostgreSQL has one kind of table")
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE audit_words")
            cursor.execute(PLAIN)


@pytest.fixture
def _small_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a log of eighty entries is one of many epochs, each looked up in time of its own."""
    monkeypatch.setattr(words, "EPOCH", 16)
    monkeypatch.setattr(indexing, "BATCH", 5)
    monkeypatch.setattr(searching, "WALK", 4)


def write(count: int = 1, action: str = "team:create", **changes: Any) -> None:
    line = {"subject_type": "team", "subject_id": 1, "subject": "Payments"} | changes
    with transaction.atomic():
        services.record_many(action, [line] * count, actor=None)


def write_log(*teams: int) -> None:
    """Eighty entries in which every word, column and pair of them is somewhere and none is everywhere."""
    subjects = itertools.cycle(
        ["accept CVE-2026-1234", "reg.example/shop/web:1.2.3", "Straße 7", f"app@{DIGEST}", "файрвол", "web"]
    )
    actions = itertools.cycle(["decision:approve", "team:create", "team:create", "scan:request", "token:create"])
    owners = itertools.cycle([*teams, None, None])
    for number in range(80):
        write(
            action=next(actions),
            subject_type=("image", "decision")[number % 7 == 0],
            subject_id=number % 9,
            subject=next(subjects),
            team_id=next(owners),
            details={"why": "rare" if number in (3, 77) else "often", "n": number},
        )


QUERIES = (
    *("often", "rare", "nowhere", "web", "shop/web:1", "cve-2026", DIGEST, "9f0cab", "strasse", "ФАЙР", "77"),
    *("web often", "rare often", "approve cve", "approve create", "sys", "team:create", "!?"),
)
NARROWED: tuple[dict[Kind, list[Any]], ...] = (
    {},
    {Kind.ACTION: ["team:create"]},
    {Kind.ACTION: ["team:create", "scan:request"], Kind.TYPE: ["image"]},
    {Kind.ACTOR: ["system"], Kind.ID: ["3"]},
    {Kind.ACTOR: ["sys"], Kind.TYPE: ["image"]},
)
ASKED = [(query, {}) for query in QUERIES] + list(itertools.product(("", "web often"), NARROWED))


def expected(query: str, columns: dict[Kind, list[Any]], span: tuple[int, int]) -> list[int]:
    """What must be found, by reading all of the log."""
    wanted = wanted_words(query) if query else ()
    for kind, values in columns.items():
        wanted += wanted_column(kind, values)
    rows = AuditEntry.objects.order_by("-sequence").values_list("sequence", *indexing.COLUMNS)
    return [at for at, *entry in rows if span[0] <= at <= span[1] and answers(tokens_of(Text(*entry)), wanted)]


def found(query: str, columns: dict[Kind, list[Any]], span: tuple[int, int]) -> queries.Search:
    entries = AuditEntry.objects.all().since(span[0]).until(span[1])
    for kind, values in columns.items():
        entries = entries.having(kind, values)
    return queries.Search(entries, query)


def walked(search: queries.Search, sort: str, limit: int) -> Iterator[int]:
    """All pages forwards; back from the last one the same rows stand there in the same order."""
    keys, cursor, seen = keyset.keys_for(AuditEntry, [sort]), None, []
    while True:
        page = search.page(keys, cursor, limit)
        seen += [row.sequence for row in page.rows]
        if page.next is None:
            break
        cursor = page.next
    back: list[int] = []
    while page.previous is not None:
        page = search.page(keys, page.previous, limit)
        back = [row.sequence for row in page.rows] + back
    assert back == seen[: len(back)]
    return iter(seen)


@pytest.mark.usefixtures("_words_of_either_kind", "_small_epochs")
@pytest.mark.parametrize("seconds", [60.0, 0.0])
def test_every_question_is_answered_as_the_words_say(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """With no time, every page ends after one epoch, and the pages together still have each entry once."""
    monkeypatch.setattr(searching, "SECONDS", seconds)
    write_log(1, 2)
    services.index()
    write_more = [{"subject": "web of the tail", "details": {"why": "often"}}, {"subject": "CVE-2026-9 rare"}]
    for line in write_more:
        write(**line)
    for query, columns in ASKED:
        whole = expected(query, columns, (1, 999))
        assert list(walked(found(query, columns, (1, 999)), "-sequence", 7)) == whole, (query, columns)
        assert list(walked(found(query, columns, (1, 999)), "sequence", 50)) == whole[::-1], (query, columns)
        assert list(walked(found(query, columns, (20, 75)), "-sequence", 9)) == expected(query, columns, (20, 75))


@pytest.mark.usefixtures("_small_epochs")
def test_a_team_s_reader_finds_what_the_team_may_see(make_person: MakePerson, team: Team, other_team: Team) -> None:
    reader = make_person("reader", "operator", team=team)
    write_log(team.pk, other_team.pk)
    services.index()
    own = set(AuditEntry.objects.filter(team_id=team.pk).values_list("sequence", flat=True))
    for query in ("", "often", "web", "rare", "sys"):
        page = reader.api.get(URL, {"search": query, "limit": 500}).json()
        whole = [at for at in expected(query, {}, (1, 999)) if at in own]
        assert [row["sequence"] for row in page["results"]] == whole
        assert page["count"] == len(whole)
    assert own != set()


def test_who_reads_in_no_team_finds_nothing(reviewer: Person) -> None:
    write(3)
    services.index()
    search = queries.Search(AuditEntry.objects.all().having(Kind.TEAM, []), "payments")
    assert search.count() == (0, True)


@pytest.mark.usefixtures("_small_epochs")
def test_entries_are_taken_in_from_wherever_that_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    write(12)
    seen: list[tuple[int, int]] = []
    assert services.index(lambda done, total: seen.append((done, total))) == 12
    assert seen == [(5, 12), (10, 12), (12, 12)]
    write(9, subject="Logistics")

    def fail(rows: Any) -> None:
        write_rows(rows)
        raise OSError

    write_rows = indexing._write
    with monkeypatch.context() as patch:
        patch.setattr(indexing, "_write", fail)
        with pytest.raises(OSError), transaction.atomic():
            services.index()
    assert AuditSearch.objects.get().covered == 12
    assert services.index() == 21
    assert services.index() == 21
    assert queries.Search(AuditEntry.objects.all(), "logistics").count() == (9, True)


@pytest.mark.usefixtures("_words_of_either_kind")
def test_words_are_made_anew(reviewer: Person) -> None:
    write(3)
    services.index()
    with connection.cursor() as cursor:
        place = "sequence" if connection.vendor == "postgresql" else "rowid"
        if place == "sequence" or not indexing.is_fts5():
            cursor.execute(f"DELETE FROM audit_words WHERE {place} = 2")
    AuditSearch.objects.update(covered=0)
    services.index()
    assert queries.Search(AuditEntry.objects.all(), "payments").count() == (3, True)


def test_what_is_not_taken_in_yet_is_found_too_and_a_gap_is_told(
    reviewer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(2)
    services.index()
    write(4)
    assert reviewer.api.get(URL, {"search": "payments"}).json()["search"] == {
        "covered": 2,
        "newest": 3,
        "reached": None,
    }
    assert "entries up to" not in reviewer.client.get("/audit/?q=payments").content.decode()
    monkeypatch.setattr(searching, "TAIL", 1)
    document = reviewer.api.get(URL, {"search": "payments"}).json()
    assert [row["sequence"] for row in document["results"]] == [6, 2, 1]
    assert (document["count_is_exact"], document["search"]["newest"]) == (False, 6)
    assert "entries up to 2 and from 6 on" in reviewer.client.get("/audit/?q=payments").content.decode()
    # Without words the rows themselves are asked: nothing is missing.
    assert len(reviewer.api.get(URL, {"subject_type": "team", "actor": "system"}).json()["results"]) == 6


@pytest.mark.usefixtures("_small_epochs")
def test_a_search_that_took_its_time_says_so_and_goes_on(reviewer: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "SECONDS", 0.0)
    write(3, subject="old")
    write(30)
    services.index()
    page = reviewer.client.get("/audit/?q=old").content.decode()
    assert "Nothing so far" in page
    assert "Search further" in page
    document = reviewer.api.get(URL, {"search": "old"}).json()
    assert document["results"] == []
    assert document["search"]["reached"] in (17, 33)  # where PostgreSQL ends, which reads a few first, and SQLite
    while document["next"]:
        document = reviewer.api.get(document["next"]).json()
    assert [row["sequence"] for row in document["results"]] == [3, 2, 1]
    export = b"".join(reviewer.api.get(URL, {"format": "ndjson", "search": "old"}).streaming_content)
    assert export.count(b"\n") == 3
    rows = b"".join(reviewer.client.get("/audit/?q=old&format=csv").streaming_content)  # type: ignore[attr-defined]
    assert rows.count(b"old") == 3


def test_words_of_the_subject_are_looked_up_there_alone(reviewer: Person) -> None:
    write(subject="Payments", details={"why": "logistics"})
    write(subject="Logistics LTD")
    services.index()
    for text in ("logi", "LTD logistics"):
        document = reviewer.api.get(URL, {"subject": text}).json()
        assert [row["sequence"] for row in document["results"]] == [2]


def test_a_time_at_which_there_was_nothing_leaves_nothing(reviewer: Person) -> None:
    write(3)
    services.index()
    document = reviewer.api.get(URL, {"search": "payments", "to": "2001-01-01T00:00:00Z"}).json()
    assert (document["results"], document["count"]) == ([], 0)


def test_a_search_is_bounded(reviewer: Person) -> None:
    answer = reviewer.api.get(URL, {"search": "x" * 201})
    assert answer.status_code in (400, 422)
    assert "at most 200" in answer.json()["detail"]
    assert reviewer.api.get(URL, {"search": "' OR 1=1 -- \\ \" :* & |"}).status_code == 200


def test_a_search_counts_no_further_than_it_must(reviewer: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "COUNT_BOUND", 5)
    write(9)
    services.index()
    document = reviewer.api.get(URL, {"search": "payments", "limit": 2}).json()
    assert (document["count"], document["count_is_exact"], len(document["results"])) == (5, False, 2)


def test_a_search_takes_as_many_queries_whatever_it_finds(reviewer: Person, django_assert_num_queries: Any) -> None:
    write(3)
    services.index()
    for count in (0, 40):
        write(count)
        services.index()
        with django_assert_num_queries(4 if connection.vendor == "postgresql" else 5):
            search = queries.Search(AuditEntry.objects.all(), "payments")
            search.page(keyset.keys_for(AuditEntry, ["-sequence"]), None, 20)
            search.count()


def test_the_job_is_registered(reviewer: Person) -> None:
    from secguard.jobs import registry

    assert registry.handler("audit.search")
    assert any(periodic.kind == "audit.search" for periodic in registry.periodic())
