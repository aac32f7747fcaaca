"""An estate in production, written in bulk on PostgreSQL: workloads, what they were seen doing, whom they speak to."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction
from django.utils import timezone

from secguard.events import partitions
from secguard.events.record import Kind

DAYS: Final = 30
"""For so long events are kept."""
WORKLOADS: Final = 5_000
CLUSTERS: Final = 2
RULES: Final = 25
LIVE: Final = 200
"""Incidents that are still open."""

_KINDS: Final = {
    Kind.PROCESS: 60,
    Kind.FILE: 15,
    Kind.NETWORK: 10,
    Kind.AUDIT: 8,
    Kind.GATE: 4,
    Kind.ADMISSION: 3,
}
"""Of a hundred events."""

_OF_WORKLOAD = """
    (SELECT w.*, a.team_id, i.image_id, row_number() OVER (ORDER BY w.id) - 1 AS place, m.digest
     FROM workloads_workload AS w
     JOIN accounts_application AS a ON a.id = w.application_id
     JOIN LATERAL (SELECT image_id FROM workloads_workload_images WHERE workload_id = w.id LIMIT 1) AS i ON true
     JOIN images_image AS m ON m.id = i.image_id
     JOIN workloads_cluster AS c ON c.id = w.cluster_id AND c.name LIKE 'production-%%')
"""

_APPLICATIONS = """
    (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS many FROM accounts_application)
"""
_CLUSTERS = """
    (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM workloads_cluster WHERE name LIKE 'production-%%')
"""
_NUMBERED = "(SELECT n, random() AS random_at FROM generate_series(1, %(count)s) AS n)"


def seed(events: int) -> None:
    """Add ``events`` of the last month, a workload for each two thousand of them (``WORKLOADS`` for ten million), and
    what the homes show of them, to the estate that stands; then do once what jobs do."""
    now = timezone.now()
    workloads = max(100, WORKLOADS * events // 10_000_000)
    with transaction.atomic():
        _workloads(workloads, now)
    _partitions(now)
    with transaction.atomic():
        _events(events, workloads, now)
        _tallies(workloads, now)
        _edges(workloads, now)
        _incidents(workloads, now)
        _admissions(workloads, now)
    _days(now)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    _jobs(now)


def _insert(table: str, values: dict[str, str], source: str, settings: dict[str, object]) -> None:
    """``values``: {column: SQL over ``source``}. What is left out and needs a value gets the emptiest of its type."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
            "LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attnotnull "
            "AND attidentity = '' AND adbin IS NULL",
            [table],
        )
        empty = {name: _EMPTY[kind] for name, kind in cursor.fetchall() if name not in values}
        columns = {**empty, **values}
        names, asked = ", ".join(f'"{name}"' for name in columns), ", ".join(columns.values())
        cursor.execute(f"INSERT INTO {table} ({names}) SELECT {asked} FROM {source}", settings)  # noqa: S608 - our own


_EMPTY: Final = {
    "character varying": "''",
    "text": "''",
    "boolean": "false",
    "smallint": "0",
    "integer": "0",
    "bigint": "0",
    "jsonb": "'{}'::jsonb",
    "double precision": "0",
    "timestamp with time zone": "%(now)s",
    "date": "%(now)s::date",
}


def _workloads(count: int, now: datetime) -> None:
    settings: dict[str, object] = {"now": now, "count": count, "clusters": CLUSTERS}
    kinds = "(ARRAY['cloud', 'datacenter'])[1 + n %% 2]"
    named = {"name": "'production-' || n", "kind": kinds}
    _insert("workloads_cluster", named, "generate_series(1, %(clusters)s) AS n", settings)
    _insert(
        "workloads_workload",
        {
            "cluster_id": "c.id",
            "namespace": "'space-' || n %% 40",
            "kind": "'Deployment'",
            "name": "'service-' || n",
            "application_id": "a.id",
        },
        f"generate_series(0, %(count)s - 1) AS n JOIN {_APPLICATIONS} AS a ON a.place = n %% a.many "
        f"JOIN {_CLUSTERS} AS c ON c.place = n %% %(clusters)s",
        settings,
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO workloads_workload_images (workload_id, image_id) "
            "SELECT w.id, r.newest_image_id FROM workloads_workload AS w "
            "JOIN images_repository AS r ON r.application_id = w.application_id AND r.newest_image_id IS NOT NULL "
            "JOIN workloads_cluster AS c ON c.id = w.cluster_id AND c.name LIKE 'production-%'"
        )


def _partitions(now: datetime) -> None:
    for kind in Kind:
        branch = partitions.branch_of(kind)
        have = {day for _, day in partitions._days_of(branch)}
        for back in range(DAYS + 1):
            if (day := now.date() - timedelta(days=back)) not in have:
                partitions._make(branch, day)


def _events(count: int, workloads: int, now: datetime) -> None:
    """Three of four in full are of the last ten days; a kind at a time, as their partitions lie."""
    for kind, share in _KINDS.items():
        settings: dict[str, object] = {
            "now": now,
            "count": count * share // 100,
            "workloads": workloads,
            "rules": RULES,
            "kind": kind.value,
            "seconds": DAYS * 86_400,
        }
        at = "(%(now)s - make_interval(secs => power(random_at, 2) * %(seconds)s))"
        _insert(
            "events_event",
            {
                "day": f"({at} AT TIME ZONE 'UTC')::date",
                "at": at,
                "received_at": at,
                "kind": "%(kind)s",
                "source": "'falco'",
                "rule": "'Rule ' || n %% %(rules)s",
                "title": "'A process was started that is not of the image: /usr/bin/tool-' || n %% 50",
                "severity": "(n %% 5)::smallint",
                "cluster": "'production-' || 1 + w.place %% 2",
                "namespace": "w.namespace",
                "workload": "w.name",
                "workload_id": "w.id",
                "application_id": "w.application_id",
                "team_id": "w.team_id",
                "digest": "w.digest",
                "actor": "'root'",
                "story": "md5(w.place || ' ' || n %% %(rules)s || %(kind)s)",
                "detail": '\'{"process": {"command": "sh -c run", "user": "root"}}\'::jsonb',
                "count": "1",
                "txid": "pg_current_xact_id()::text::bigint",
            },
            f"{_NUMBERED} AS s JOIN {_OF_WORKLOAD} AS w ON w.place = (n * 7919::bigint) %% %(workloads)s",
            settings,
        )


def _tallies(workloads: int, now: datetime) -> None:
    """The hours of each story: ten stories of a workload, each heard in some twenty hours of the month."""
    settings: dict[str, object] = {"now": now, "workloads": workloads, "rules": RULES}
    hour = "date_trunc('hour', %(now)s - make_interval(hours => (h * 37 + w.place::int + r * 11) %% 720))"
    _insert(
        "events_tally",
        {
            "hour": hour,
            "story": "md5(w.place || ' ' || r || 'process')",
            "kind": "'process'",
            "source": "'falco'",
            "rule": "'Rule ' || r",
            "title": "'A process was started that is not of the image: /usr/bin/tool-' || r",
            "severity": "(r %% 5)::smallint",
            "cluster": "'production-' || 1 + w.place %% 2",
            "namespace": "w.namespace",
            "workload": "w.name",
            "workload_id": "w.id",
            "application_id": "w.application_id",
            "team_id": "w.team_id",
            "digest": "w.digest",
            "count": "1 + (h * 13) %% 40",
            "first_at": hour,
            "last_at": f"{hour} + interval '50 minutes'",
        },
        f"generate_series(0, 9) AS r CROSS JOIN generate_series(0, 19) AS h CROSS JOIN {_OF_WORKLOAD} AS w "
        "ON CONFLICT DO NOTHING",
        settings,
    )


def _edges(workloads: int, now: datetime) -> None:
    """Each workload asks eight others; one in fifty is asked from outside."""
    settings: dict[str, object] = {"now": now, "workloads": workloads}
    seen = {"first_at": "%(now)s - interval '30 days'", "last_at": "%(now)s - interval '1 hour'"}
    _insert(
        "network_peer",
        {
            **seen,
            "sort": "'workload'",
            "cluster": "'production-' || 1 + w.place %% 2",
            "namespace": "w.namespace",
            "kind": "w.kind",
            "name": "w.name",
            "workload_id": "w.id",
        },
        f"{_OF_WORKLOAD} AS w",
        settings,
    )
    _insert(
        "network_peer",
        {**seen, "sort": "'network'", "name": "'203.0.113.0/24'", "is_world": "true"},
        "generate_series(1, 1) AS n",
        settings,
    )
    ends = "(SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM network_peer WHERE sort = 'workload')"
    told = {"protocol": "'TCP'", "port": "8080", "verdict": "'forwarded'", "count": "1000", **seen}
    _insert(
        "network_edge",
        {**told, "source_id": "a.id", "destination_id": "b.id"},
        f"{ends} AS a CROSS JOIN generate_series(1, 8) AS k "
        f"JOIN {ends} AS b ON b.place = (a.place + k * k * 31) %% %(workloads)s ON CONFLICT DO NOTHING",
        settings,
    )
    _insert(
        "network_edge",
        {**told, "source_id": "(SELECT id FROM network_peer WHERE is_world)", "destination_id": "b.id"},
        f"{ends} AS b WHERE b.place %% 50 = 0",
        settings,
    )


def _incidents(workloads: int, now: datetime) -> None:
    settings: dict[str, object] = {"now": now, "workloads": workloads, "rules": RULES, "live": LIVE}
    _insert(
        "incidents_incident",
        {
            "key": "md5('key ' || w.place)",
            "line": "md5('line ' || w.place %% %(rules)s)",
            "status": "CASE WHEN w.place < %(live)s THEN 'open' ELSE 'closed' END",
            "severity": "(1 + w.place %% 4)::smallint",
            "score": "(w.place %% 90)::smallint",
            "reasons": "'[[40, \"severity\"]]'::jsonb",
            "workload_id": "w.id",
            "application_id": "w.application_id",
            "image_id": "w.image_id",
            "digest": "w.digest",
            "cluster": "'production-' || 1 + w.place %% 2",
            "namespace": "w.namespace",
            "workload_name": "w.name",
            "workload_kind": "w.kind",
            "place": "w.namespace || '/' || w.name",
            "kind": "'process'",
            "technique": "'execution'",
            "rule": "'Rule ' || w.place %% %(rules)s",
            "title": "'A process was started that is not of the image'",
            "count": "100",
            "first_at": "%(now)s - interval '2 days'",
            "last_at": "%(now)s - make_interval(mins => (w.place %% 2000)::int)",
        },
        f"{_OF_WORKLOAD} AS w",
        settings,
    )


def _admissions(workloads: int, now: datetime) -> None:
    settings: dict[str, object] = {"now": now, "workloads": workloads}
    _insert(
        "admission_admissiondecision",
        {
            "key": "md5('one ' || w.place || ' ' || n) || md5('two ' || w.place || ' ' || n)",
            "cluster_id": "w.cluster_id",
            "namespace": "w.namespace",
            "workload_kind": "w.kind",
            "workload_name": "w.name",
            "reference": "'large.example/app@' || w.digest",
            "digest": "w.digest",
            "image_id": "w.image_id",
            "repository_id": "(SELECT min(id) FROM images_repository AS r WHERE r.application_id = w.application_id)",
            "outcome": "(ARRAY['denied', 'would-deny', 'allowed', 'warned'])[1 + n]",
            "mode": "'enforce'",
            "answered_by": "'server'",
            "count": "1 + w.place %% 9",
            "first_at": "%(now)s - interval '20 days'",
            "last_at": "%(now)s - make_interval(mins => (w.place * 9 %% 43200)::int)",
        },
        f"{_OF_WORKLOAD} AS w CROSS JOIN generate_series(0, 3) AS n",
        settings,
    )


def _days(now: datetime) -> None:
    """A year of each application's days."""
    settings: dict[str, object] = {"now": now}
    with transaction.atomic():
        _insert(
            "dashboards_applicationday",
            {
                "day": "(%(now)s - make_interval(days => n))::date",
                "application_id": "a.id",
                "fixed": "n %% 7",
                "fixed_seconds": "(n %% 7) * 400000",
                "kept": "n %% 6",
                "decided": "n %% 3",
                "decided_seconds": "(n %% 3) * 90000",
                "open": "900 - n",
                "overdue": "30",
            },
            "accounts_application AS a CROSS JOIN generate_series(1, 364) AS n",
            settings,
        )


def _jobs(now: datetime) -> None:
    """What the homes read, counted by the services that count it."""
    from secguard.dashboards import services  # noqa: PLC0415 - only where there is an estate

    services.keep_paces(now)
    services.count_all(now)
    services.keep(now)
    from secguard.dashboards.models import DailyFigure  # noqa: PLC0415

    kept = list(DailyFigure.objects.all())
    DailyFigure.objects.bulk_create(
        DailyFigure(day=row.day - timedelta(days=n), team_id=row.team_id, figures=row.figures)
        for row in kept
        for n in range(1, 365)
    )
