"""Who approves when things change in between: the role goes, the page is old, the request is over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.accounts.models import Membership
from secguard.approvals.models import Vote
from secguard.decisions.models import Decision
from tests.flows.test_exception_story import CRITICAL, ask, pipeline

__all__ = ["pipeline"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def asked(pipeline: Any, developer: Any) -> int:
    """Of a critical flaw that is exploited: security and the business both have to say yes."""
    document = pipeline(1, CRITICAL | {"known_exploited": True})
    risk = next(r for r in document["reasons"] if r["effect"] == "block")["findings"][0]["risk"]
    answer = ask(developer, risk, expires_at=(timezone.now() + timedelta(days=7)).isoformat())
    assert answer.status_code == 201, answer.content
    found: int = answer.json()["id"]
    return found


def lose(person: Any) -> None:
    Membership.objects.filter(user=person).delete()


def test_a_page_that_was_loaded_with_the_role_votes_without_it_for_nothing(
    asked: int, reviewer: Any, row_counts: Any
) -> None:
    page = reviewer.client.get(f"/decisions/{asked}/").content.decode()
    assert f'action="/decisions/{asked}/vote/"' in page
    lose(reviewer)
    before = row_counts()
    answer = reviewer.client.post(f"/decisions/{asked}/vote/", {"choice": "approve"})
    assert answer.status_code in (403, 404)
    assert reviewer.api.post(f"/api/v1/decisions/{asked}/approve/", {}).status_code in (401, 403, 404)
    bulk = {"choice": "approve", "decisions": [asked]}
    assert reviewer.api.post("/api/v1/decisions/bulk-vote/", bulk).status_code in (401, 403, 404, 200)
    assert row_counts() == before
    assert Decision.objects.get(pk=asked).status == "requested"


def test_a_role_lost_between_the_vote_and_the_quorum_leaves_it_open(
    asked: int, reviewer: Any, make_person: Any, business_approver: Any
) -> None:
    document = reviewer.api.get(f"/api/v1/decisions/{asked}/").json()
    assert document["status"] == "requested"
    first = reviewer.client.post(f"/decisions/{asked}/vote/", {"choice": "approve"})
    assert first.status_code == 303
    lose(reviewer)
    second = business_approver.client.post(f"/decisions/{asked}/vote/", {"choice": "approve"})
    assert second.status_code in (303, 403)
    assert Decision.objects.get(pk=asked).status == "requested"
    again = make_person("another", "security-reviewer")
    assert again.client.post(f"/decisions/{asked}/vote/", {"choice": "approve"}).status_code == 303
    assert Decision.objects.get(pk=asked).status == "approved"


def test_an_old_page_of_what_is_over_says_so_and_changes_nothing(asked: int, developer: Any, reviewer: Any) -> None:
    assert developer.client.post(f"/decisions/{asked}/withdraw/").status_code == 303
    answer = reviewer.client.post(f"/decisions/{asked}/vote/", {"choice": "approve"})
    assert answer.status_code == 409
    assert "withdrawn" in answer.content.decode()
    assert (Vote.objects.count(), Decision.objects.get(pk=asked).status) == (0, "withdrawn")


def test_a_session_that_is_switched_off_votes_for_nothing(asked: int, reviewer: Any) -> None:
    reviewer.is_active = False
    reviewer.save(update_fields=["is_active"])
    answer = reviewer.client.post(f"/decisions/{asked}/vote/", {"choice": "approve"})
    assert answer.status_code in (302, 401, 403)
    assert reviewer.api.post(f"/api/v1/decisions/{asked}/approve/", {}).status_code in (401, 403)
    assert not Vote.objects.exists()
