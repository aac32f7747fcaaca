"""The API's lists and documents: the same number of queries whatever the number of rows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dashboards.conftest import Organisation, organisation  # noqa: F401 - the fixture
from tests.dashboards.test_queries import assert_constant_queries
from tests.fixtures_reports import digest

pytestmark = pytest.mark.django_db

IMAGE = digest(12)
LISTS = (
    "images/", "repositories/", "findings/", "risks/", "scans/", "decisions/", "policies/", "policy-versions/",
    "absences/",
    "workloads/", "users/", "memberships/", "teams/", "applications/", "tokens/", "audit/", "appetite/",
    "ci-identities/", "sessions/", "second-factors/",
    "registries/", "signing-keys/", "trusted-keys/", "feeds/", "imports/", "advisories/", "exposures/", "evaluations/",
    f"images/{IMAGE}/", f"images/{IMAGE}/findings/", f"images/{IMAGE}/components/", f"images/{IMAGE}/difference/",
    f"images/{IMAGE}/verdict/", f"images/{IMAGE}/signatures/", "images/?search=service", "risks/?search=openssl",
    "notifications/", "advisories/PYSEC-2026-1/affected/", "clusters/", "admission-decisions/", "break-glass/",
    "trackers/", "issues/",
    "channels/", "forecast/", "environments/", "promotions/", f"images/{IMAGE}/history/", f"images/{IMAGE}/passport/",
    "simulations/", "vex-documents/", "vex-authors/", f"images/{IMAGE}/verdict/?at=2026-01-01T00:00:00Z",
)  # fmt: skip


@pytest.mark.parametrize("path", LISTS)
def test_the_api_asks_the_same_number_of_queries_at_any_size(
    path: str,
    organisation: Organisation,  # noqa: F811
    application: Any,
) -> None:
    api = organisation.people["reviewer" if path == "notifications/" else "administrator"].api
    assert_constant_queries(lambda: organisation.grow(application), [f"/api/v1/{path}"], api.get)
