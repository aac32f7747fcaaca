"""The sample, loaded, and a count of every table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def loaded(db: None) -> str:
    """The whole sample, loaded by the system; the sentence that says so."""
    from secguard.sample import services

    return services.load(actor=None, progress=lambda text, done, total: None)


@pytest.fixture
def counts() -> Callable[[], dict[str, int]]:
    """Rows by table, without what stays for ever or is bookkeeping: the audit log and jobs."""
    from django.apps import apps

    def count() -> dict[str, int]:
        models: list[Any] = [m for m in apps.get_models(include_auto_created=True) if m._meta.app_label not in STAYS]
        return {m._meta.label: m._default_manager.count() for m in models}

    return count


STAYS = {"audit", "jobs", "sessions", "contenttypes", "auth"}
