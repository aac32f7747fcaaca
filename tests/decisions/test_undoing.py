"""Taking back one's own vote within seconds: nothing is rubbed out, and nobody else's word is undone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from secguard.approvals.models import Vote
from secguard.audit.models import AuditEntry
from secguard.decisions import queries, services
from secguard.errors import Conflict, NotAllowed, NotFound

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SOON = NOW + timedelta(seconds=5)


def test_an_approval_is_revoked_and_the_request_stands_again(ask, developer, reviewer, image, risk):
    first = services.approve(ask(developer).pk, actor=reviewer, now=NOW)
    again = services.undo(first.pk, actor=reviewer, now=SOON)
    first.refresh_from_db()
    assert (first.status, first.end_reason) == ("revoked", "the vote was undone")
    assert queries.applicable_for_image(image.pk, SOON) == {}
    assert (again.status, again.requested_by, again.requested_at) == ("requested", developer, first.requested_at)
    assert (again.expires_at, again.reason, again.snapshot) == (first.expires_at, first.reason, first.snapshot)
    assert Vote.objects.get().request_id == first.approval_id, "the vote stays as it was cast"
    assert AuditEntry.objects.get(action="decision:undo").details["reopened_as"] == again.pk
    with pytest.raises(NotAllowed):
        services.approve(again.pk, actor=developer, now=SOON)
    assert services.approve(again.pk, actor=reviewer, now=SOON).status == "approved"
    assert queries.applicable_for_image(image.pk, SOON)[risk.pk].id == again.pk


def test_a_rejection_stays_and_the_request_stands_again(ask, developer, reviewer):
    first = services.reject(ask(developer).pk, actor=reviewer, comment="no", now=NOW)
    again = services.undo(first.pk, actor=reviewer, now=SOON)
    first.refresh_from_db()
    assert (first.status, again.status) == ("rejected", "requested")
    assert [w.decisions for w in queries.queue(reviewer, SOON)] == [(again,)]


def test_too_late_is_too_late(ask, developer, reviewer):
    first = services.approve(ask(developer).pk, actor=reviewer, now=NOW)
    assert services.last_vote(reviewer, SOON).request_id == first.approval_id
    late = NOW + services.UNDO + timedelta(seconds=1)
    assert services.last_vote(reviewer, late) is None
    with pytest.raises(Conflict) as refusal:
        services.undo(first.pk, actor=reviewer, now=late)
    assert refusal.value.code == "undo-late"


def test_nobody_undoes_what_others_said(ask, developer, reviewer, business_approver, stranger, administrator):
    source = services.active_appetite()[0].source
    both = "approvers: {security-reviewer: 1, business-approver: 1}"
    text = source.replace("approvers: {security-reviewer: 1}", both)
    services.create_appetite(text, actor=administrator, activate=True)
    decision = ask(developer)
    services.approve(decision.pk, actor=reviewer, now=NOW)
    services.approve(decision.pk, actor=business_approver, now=NOW)
    with pytest.raises(Conflict) as refusal:
        services.undo(decision.pk, actor=reviewer, now=SOON)
    assert refusal.value.code == "undo-others"
    assert services.last_vote(reviewer, SOON) is None
    for person, kind in ((developer, Conflict), (stranger, NotFound)):
        with pytest.raises(kind):
            services.undo(decision.pk, actor=person, now=SOON)
    decision.refresh_from_db()
    assert decision.status == "approved"


def test_twice_is_once(ask, developer, reviewer):
    first = services.approve(ask(developer).pk, actor=reviewer, now=NOW)
    services.undo(first.pk, actor=reviewer, now=SOON)
    assert services.last_vote(reviewer, SOON) is None
    with pytest.raises(Conflict):
        services.undo(first.pk, actor=reviewer, now=SOON)
