"""What is spoken to from outside is exposed: once, in the log, and until a person says otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from secguard.accounts.models import Application
from secguard.accounts.services import edit_application
from secguard.audit.models import AuditEntry
from secguard.network import edges
from secguard.network.edges import Peer, Sort
from secguard.network.models import Exposed
from secguard.network.services import exposing

pytestmark = pytest.mark.django_db


def test_an_application_that_is_spoken_to_from_outside_is_exposed(
    shop: dict[str, Any], application: Application, other_application: Application, operator: Any
) -> None:
    assert exposing.note(timezone.now()) == 1
    application.refresh_from_db()
    other_application.refresh_from_db()
    assert (application.is_exposed, other_application.is_exposed) == (True, False)
    assert Exposed.objects.get().workload == "shop/web"
    entry = AuditEntry.objects.filter(action="application:edit").latest("pk")
    assert (entry.actor_id, entry.details["after"]) == (None, {"is_exposed": "True"})
    # A person's word stands.
    edit_application(application.pk, actor=operator, is_exposed=False)
    assert exposing.note(timezone.now()) == 0
    application.refresh_from_db()
    assert not application.is_exposed


def test_a_denied_or_private_one_exposes_nothing(estate: Any, application: Application) -> None:
    web = estate.workload("shop/web", application)
    estate.edge(estate.outside("203.0.113.0/24"), web, verdict="denied")
    estate.edge(estate.outside("10.1.0.0/24"), web)
    estate.edge(web, estate.outside("mail.example.org"))
    assert exposing.note(timezone.now()) == 0


@pytest.mark.parametrize(
    ("sort", "name", "outside"),
    [
        (Sort.NETWORK, "203.0.113.0/24", True),
        (Sort.NETWORK, "8.8.8.0/24", True),
        (Sort.NETWORK, "10.0.0.0/24", False),
        (Sort.NETWORK, "fd00::/64", False),
        (Sort.NETWORK, "2001:4860::/64", True),
        (Sort.NETWORK, "224.0.0.0/24", False),
        (Sort.NAME, "api.example.org", True),
        (Sort.NAME, "db.shop.svc.cluster.local", False),
        (Sort.NAME, "host", False),
        (Sort.IDENTITY, "world", True),
        (Sort.IDENTITY, "kube-apiserver", False),
        (Sort.WORKLOAD, "web", False),
    ],
)
def test_what_is_outside(sort: Sort, name: str, outside: bool) -> None:
    assert edges.is_world(Peer(sort, name)) is outside
