"""Queries as PostgreSQL runs them best here."""

from __future__ import annotations

from typing import Any

from django.db.backends.signals import connection_created


def compile_nothing() -> None:
    """Let new connections run queries without compiling them first (PostgreSQL manual, "Just-in-Time Compilation").

    It pays where one query reads for seconds. Pages ask many that take milliseconds; where tables are large the
    planner takes some of them for expensive, and compiling takes longer than what they read.
    """
    connection_created.connect(_compile_nothing, dispatch_uid="secguard.compiling")


def _compile_nothing(connection: Any, **_sender: Any) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET jit = off")
