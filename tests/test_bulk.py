"""Rows written in bulk read back through the ORM as they were given, on whatever database the suite runs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secguard import bulk
from secguard.advisories.models import Alias, Vulnerability

pytestmark = pytest.mark.django_db

COLUMNS = (
    "name",
    "title",
    "description",
    "references",
    "cvss_score",
    "cvss_vector",
    "epss",
    "known_exploited",
    "known_exploited_source",
    "published_at",
    "created_at",
)
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
ROWS = st.lists(
    st.tuples(
        st.uuids().map(str),
        WORDS,
        WORDS,
        st.lists(WORDS, max_size=3),
        st.none() | st.floats(0, 10),
        WORDS,
        st.none() | st.floats(0, 1),
        st.booleans(),
        WORDS,
        st.none() | MOMENTS,
        MOMENTS,
    ),
    max_size=8,
    unique_by=lambda row: row[0],
)
many = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def stored():
    return [tuple(row) for row in Vulnerability.objects.order_by("pk").values_list("pk", *COLUMNS)]


@many
@given(rows=ROWS)
def test_what_is_inserted_reads_back_the_same_in_the_order_of_its_ids(db, rows):
    with transaction.atomic():
        ids = bulk.insert(Vulnerability, COLUMNS, rows)
        assert stored() == [(pk, *row) for pk, row in zip(ids, rows, strict=True)]
        transaction.set_rollback(True)


@many
@given(rows=ROWS, others=ROWS)
def test_what_is_updated_reads_back_the_same(db, rows, others):
    with transaction.atomic():
        ids = bulk.insert(Vulnerability, COLUMNS, rows)
        new = [(pk, row[0], *other[1:]) for pk, row, other in zip(ids, rows, others, strict=False)]
        bulk.update(Vulnerability, COLUMNS, new)
        untouched = [(pk, *row) for pk, row in zip(ids, rows, strict=True)][len(new) :]
        assert stored() == new + untouched
        transaction.set_rollback(True)


def row(name, **changed):
    values = dict.fromkeys(COLUMNS, "") | {
        "name": name,
        "references": [],
        "cvss_score": None,
        "epss": None,
        "known_exploited": False,
        "published_at": None,
        "created_at": timezone.now(),
    }
    return tuple((values | changed).values())


def test_missing_rows_are_inserted_and_the_others_stay():
    Vulnerability.objects.create(name="CVE-2", title="first")
    bulk.insert_missing(Vulnerability, COLUMNS, [row(f"CVE-{n}", title="second") for n in range(4)])
    titles = dict(Vulnerability.objects.order_by("name").values_list("name", "title"))
    assert titles == {"CVE-0": "second", "CVE-1": "second", "CVE-2": "first", "CVE-3": "second"}


def test_rows_inserted_by_the_orm_afterwards_get_ids_of_their_own():
    ids = bulk.insert(Vulnerability, COLUMNS, [row("CVE-1"), row("CVE-2")])
    assert Vulnerability.objects.create(name="CVE-3").pk > max(ids)


def test_a_row_that_a_constraint_refuses_is_refused():
    with pytest.raises(IntegrityError), transaction.atomic():
        bulk.insert(Vulnerability, COLUMNS, [row("CVE-1"), row("CVE-1")])
    assert not Vulnerability.objects.exists()


def test_among_takes_any_number_of_values():
    kept = Vulnerability.objects.create(name="CVE-1")
    assert list(Vulnerability.objects.filter(name__in=bulk.among([f"CVE-{n}" for n in range(100_000)]))) == [kept]
    assert list(Vulnerability.objects.filter(pk__in=bulk.among(range(kept.pk, kept.pk + 100_000)))) == [kept]
    assert not Vulnerability.objects.filter(pk__in=bulk.among([])).exists()


def test_an_unknown_column_is_named():
    with pytest.raises(ValueError, match="vulnerability_id"):
        bulk.insert(Alias, ("name", "vulnerability"), [])


@pytest.mark.django_db(transaction=True)
def test_outside_of_a_transaction_nothing_is_written():
    with pytest.raises(transaction.TransactionManagementError):
        bulk.insert(Vulnerability, COLUMNS, [row("CVE-1")])


@many
@given(names=st.lists(WORDS, min_size=1, max_size=20, unique=True))
def test_among_finds_every_text_however_it_is_written(db, names):
    with transaction.atomic():
        for name in names:
            Vulnerability.objects.create(name=name)
        found = set(Vulnerability.objects.filter(name__in=bulk.among(names)).values_list("name", flat=True))
        transaction.set_rollback(True)
    assert found == set(names)


@pytest.mark.parametrize("text", ['a"b', "a\\b", "{a,b}", "NULL", "a,b", "", " ", "\\", '"', "a\nb"])
def test_among_takes_marks_for_texts(text):
    Vulnerability.objects.create(name=text)
    assert Vulnerability.objects.filter(name__in=bulk.among([text, "other"])).count() == 1


def test_missing_rows_tell_their_ids_or_are_looked_up():
    with transaction.atomic():
        ids = bulk.insert_missing(Vulnerability, COLUMNS, [row("a"), row("b")])
        stand = dict(Vulnerability.objects.values_list("name", "pk"))
        assert ids in (None, [stand["a"], stand["b"]])
        assert bulk.insert_missing(Vulnerability, COLUMNS, [row("b"), row("c")]) is None
    assert Vulnerability.objects.count() == 3
