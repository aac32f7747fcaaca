"""Times as PostgreSQL's driver reads them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.backends.signals import connection_created


def read_fast() -> None:
    """Let new connections read ``timestamptz`` in one step.

    Django has the driver take each time apart in Python and puts its own zone on it: ten times as long, and a report's
    findings have thousands. Where all is UTC, as here, the text that PostgreSQL sends is read as it stands.
    """
    if settings.USE_TZ and settings.TIME_ZONE == "UTC":
        connection_created.connect(_read_fast, dispatch_uid="secguard.moments")


def _read_fast(connection: Any, **_sender: Any) -> None:
    if connection.vendor != "postgresql" or connection.timezone_name != "UTC":
        return
    from psycopg import adapters, pq  # noqa: PLC0415 - only where there is PostgreSQL

    oid = adapters.types["timestamptz"].oid
    of_django: Any = connection.connection.adapters.get_loader(oid, pq.Format.TEXT)

    def load(self: Any, data: Any) -> datetime:
        text = str(data, "ascii")
        if text.endswith("+00"):
            try:
                return datetime.fromisoformat(text)
            except ValueError:
                pass  # a year before 1 or after 9999: as the driver says
        found: datetime = of_django.load(self, data)
        return found

    loader = type("UtcLoader", (of_django,), {"load": load})
    connection.connection.adapters.register_loader(oid, loader)
