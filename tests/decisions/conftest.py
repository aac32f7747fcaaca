"""A small estate with real rows: repositories, images, findings, and the exposures that the product makes of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from secguard.accounts.models import Application, User
    from secguard.decisions.models import Control, Decision
    from secguard.findings.models import Risk
    from secguard.images.models import Image, Repository

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class Estate:
    """Makes the rows that decisions are about; every method goes through the tables as ingestion leaves them."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def repository(self, name: str, application: Application | None) -> Repository:
        from secguard.images.models import Registry, Repository

        registry, _ = Registry.objects.get_or_create(host="registry.example.org")
        return Repository.objects.create(
            registry=registry, path=name, name=f"registry.example.org/{name}", application=application
        )

    def risk(self, name: str = "", **columns: Any) -> Risk:
        from secguard.advisories.models import Vulnerability
        from secguard.findings.models import Risk

        number = next(self._numbers)
        name = name or f"CVE-2026-{number:05}"
        flaw, _ = Vulnerability.objects.get_or_create(name=name)
        values = {"severity": 4, "package": "pkg:deb/debian/openssl", "title": f"Flaw {number}"} | columns
        return Risk.objects.create(key=f"{number:064}", kind="vulnerability", vulnerability=flaw, **values)

    def image(
        self, repository: Repository, risks: list[Risk], *, severity: int | None = None, at: datetime = NOW
    ) -> Image:
        """A new image of ``repository``, its newest, with the risks open in it."""
        from secguard.findings.models import Finding
        from secguard.findings.services import refresh_exposures
        from secguard.images.models import Component, Image, ImageRepository

        digest = f"sha256:{next(self._numbers):064x}"
        image = Image.objects.create(digest=digest, first_seen_at=at)
        ImageRepository.objects.create(image=image, repository=repository, first_seen_at=at)
        repository.newest_image = image
        repository.save(update_fields=["newest_image"])
        purl = "pkg:deb/debian/openssl@1.1.1n"
        component, _ = Component.objects.get_or_create(
            purl=purl, package="pkg:deb/debian/openssl", type="deb", name="openssl", version="1.1.1n"
        )
        for risk in risks:
            Finding.objects.create(
                image=image,
                risk=risk,
                component=component,
                severity=severity or risk.severity,
                severity_source="debian",
                fixed_versions=["1.1.1w"] if risk.fix_available else [],
                first_seen_at=at,
            )
        refresh_exposures(repository, at=at)
        return image

    def control(
        self, application: Application | None, by: User, *, at: datetime = NOW, days: int = 60, **columns: Any
    ) -> Control:
        """A control that ``by`` proposed and somebody else confirmed, seen to hold at ``at`` and for ``days``."""
        from secguard.accounts.models import User
        from secguard.decisions.models import Control
        from secguard.decisions.services.controls import Evidence, note

        number = next(self._numbers)
        values = {"kind": "waf-or-ips-rule", "kept_alive_by": "heartbeat", "name": f"Rule {number}"} | columns
        control = Control.objects.create(
            application=application,
            every_hours=days * 24,
            proposed_by=by,
            proposed_at=at,
            status="confirmed",
            confirmed_by=User.objects.create(username=f"confirmer{number}"),
            confirmed_at=at,
            **values,
        )
        note(control, Evidence(), by=by, now=at)
        return control


@pytest.fixture
def estate(db: None) -> Estate:
    return Estate()


@pytest.fixture
def repository(estate: Estate, application: Application) -> Repository:
    return estate.repository("shop/api", application)


@pytest.fixture
def other_repository(estate: Estate, other_application: Application) -> Repository:
    return estate.repository("logistics/api", other_application)


@pytest.fixture
def risk(estate: Estate) -> Risk:
    return estate.risk("CVE-2026-0001")


@pytest.fixture
def image(estate: Estate, repository: Repository, risk: Risk) -> Image:
    return estate.image(repository, [risk])


@pytest.fixture
def ask(estate: Estate, repository: Repository, risk: Risk, image: Image) -> Callable[..., Decision]:
    """Asks, as ``actor``, for the risk to be accepted in the repository for 30 days from ``NOW``; to ``mitigate`` it by
    a control over everything."""
    from secguard.decisions import queries, services

    def make(actor: User, **changed: Any) -> Decision:
        now = changed.pop("now", NOW)
        values = {
            "risk_id": risk.pk,
            "kind": "accept",
            "scope": queries.find_scope(actor, "repository", repository.name)
            if "scope" not in changed
            else changed["scope"],
            "reason": "The flawed function is not called.",
            "expires_at": NOW + timedelta(days=30),
        } | changed
        if values["kind"] == "mitigate" and "controls" not in values:
            values["controls"] = [estate.control(None, actor, at=now).pk]
        return services.request_decision(services.Ask(**values), actor=actor, now=now)

    return make
