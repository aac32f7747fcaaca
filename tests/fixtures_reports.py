"""Reports as pipelines post them, in SecGuard's own format, and their way into the database."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from secguard.accounts.models import User
    from secguard.scans.models import Scan


def digest(number: int) -> str:
    """A manifest digest that tells its number."""
    return f"sha256:{number:064x}"


def flaw(
    name: str, package: str | dict[str, str] = "openssl", *, version: str = "1.1.1", severity: str = "high", **more: Any
) -> dict[str, Any]:
    """A vulnerability in a Debian package, or in ``package`` as the format describes one."""
    where = package if isinstance(package, dict) else {"purl": f"pkg:deb/debian/{package}@{version}"}
    return {"kind": "vulnerability", "id": name, "package": where, "severity": severity, **more}


def report(*findings: dict[str, Any], scanner: str = "trivy", image: Any = 1, **more: Any) -> bytes:
    """``image``: a number for its digest in ``reg.example/shop/web:1``, or the whole ``image`` object."""
    where = {"reference": "reg.example/shop/web:1", "digest": digest(image)} if isinstance(image, int) else image
    document = {
        "schema": "secguard-report/v1",
        "scanner": {"name": scanner},
        "image": where,
        "covers": more.pop("covers", ["vulnerability"]),
        "findings": list(findings),
        **more,
    }
    return json.dumps(document).encode()


class Post(Protocol):
    def __call__(self, raw: bytes, actor: User | None = None, **submission: Any) -> Scan: ...


@pytest.fixture
def post(administrator: Any) -> Post:
    """Posts a report (as the administrator) and takes it in at once."""
    from secguard.scans import services

    def take(raw: bytes, actor: User | None = None, **submission: Any) -> Scan:
        given = services.Submission(raw, **submission)
        scan, _ = services.submit(given, actor=actor or administrator, max_bytes=10**8)
        return services.take_in(scan.pk, progress=lambda *_: None)

    return take


@pytest.fixture
def row_counts(db: None) -> Callable[[], dict[str, int]]:
    """Rows of every table of ours."""
    from django.apps import apps

    def count() -> dict[str, int]:
        models = [m for m in apps.get_models() if m.__module__.startswith("secguard.")]
        return {m._meta.db_table: m._base_manager.count() for m in models}

    return count
