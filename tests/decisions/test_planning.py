"""What decisions and the appetite say of checklists: kept, missing, not measured; never by another team's risks."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from tests.fixtures_people import MakePerson
from tests.measuring import (
    DAY,
    NOW,
    cover,
    find_in,
    image_in,
    outcome,
    outcomes,
    repository_of,
    rows_behind,
    scan_of,
)

pytestmark = pytest.mark.django_db


def _due(risk: Any, at: Any) -> None:
    from secguard.findings.models import Exposure

    Exposure.objects.filter(risk=risk).update(due_at=at)


@pytest.fixture
def image(application: Any) -> Any:
    """The newest image of a repository of the application, scanned."""
    made = image_in(repository_of(application))
    scan_of(made)
    return made


@pytest.fixture
def strange(other_application: Any) -> Any:
    made = image_in(repository_of(other_application))
    scan_of(made)
    return made


@pytest.mark.parametrize("name", ["deadlines-kept", "exploited-decided"])
def test_what_was_never_scanned_is_not_known(application: Any, strange: Any, viewer: Any, name: str) -> None:
    assert outcome(name, application).state == "unmeasured"
    unscanned = image_in(repository_of(application))
    found = outcome(name, application)
    assert found.state == "unmeasured"
    assert found.says.startswith("1 of 1 newest images: never scanned")
    ((_, path),) = found.links
    assert [row["Digest"] for row in rows_behind(viewer, path)] == [unscanned.digest]
    scan_of(unscanned)
    assert outcome(name, application).state == "kept"


def test_deadlines_are_kept_until_one_passes(application: Any, image: Any, strange: Any) -> None:
    _due(find_in(image, "vulnerability"), NOW + 2 * DAY)
    _due(find_in(image, "vulnerability"), None)
    _due(find_in(strange, "vulnerability"), NOW - DAY)
    ours, theirs = outcomes("deadlines-kept", [application, image and strange and _of(strange)])
    assert (ours.state, ours.changes_at) == ("kept", NOW + 2 * DAY)
    assert theirs.state == "missing"
    assert outcome("deadlines-kept", application, NOW + 2 * DAY).state == "missing"


def _of(image: Any) -> Any:
    return image.places.get().repository.application


def test_what_is_overdue_is_counted_and_shown(
    application: Any, image: Any, strange: Any, viewer: Any, stranger: Any
) -> None:
    late = timezone.now() - DAY
    first, second, covered = (find_in(image, "vulnerability") for _ in range(3))
    for risk in (first, second, covered, find_in(strange, "vulnerability")):
        _due(risk, late)
    cover(covered, timezone.now() + DAY)
    found = outcome("deadlines-kept", application, timezone.now())
    assert (found.state, found.says) == ("missing", "2 open risks are past their deadlines.")
    ((_, path),) = found.links
    assert {row["Risk"] for row in rows_behind(viewer, path)} == {first.name, second.name}
    assert rows_behind(stranger, path) == []


def test_a_covered_risk_is_overdue_again_when_the_decision_ends(application: Any, image: Any) -> None:
    risk = find_in(image, "vulnerability")
    _due(risk, NOW - DAY)
    cover(risk, NOW + DAY)
    found = outcome("deadlines-kept", application)
    assert (found.state, found.changes_at) == ("kept", NOW + DAY)
    assert outcome("deadlines-kept", application, NOW + DAY).state == "missing"


def test_what_is_resolved_has_no_deadline(application: Any, image: Any) -> None:
    from secguard.findings.models import Exposure

    _due(find_in(image, "vulnerability"), NOW - DAY)
    Exposure.objects.update(resolved_at=NOW)
    assert outcome("deadlines-kept", application).state == "kept"


# --- known to be exploited ---


def test_what_is_exploited_needs_a_decision(
    application: Any, image: Any, strange: Any, viewer: Any, stranger: Any
) -> None:
    now = timezone.now()
    find_in(image, "vulnerability")
    bare, covered = (find_in(image, "vulnerability", known_exploited=True) for _ in range(2))
    find_in(strange, "vulnerability", known_exploited=True)
    cover(covered, now + DAY)
    found = outcome("exploited-decided", application, now)
    assert found.state == "missing"
    assert found.says == "1 open risk is known to be exploited and without a decision."
    ((_, path),) = found.links
    assert [row["Risk"] for row in rows_behind(viewer, path)] == [bare.name]
    assert rows_behind(stranger, path) == []
    cover(bare, now + 2 * DAY)
    found = outcome("exploited-decided", application, now)
    assert (found.state, found.changes_at) == ("kept", now + DAY)
    assert outcome("exploited-decided", application, now + DAY).state == "missing"


# --- people and the appetite ---


def test_two_people_have_to_be_able_to_approve(
    application: Any, other_application: Any, team: Any, make_person: MakePerson
) -> None:
    make_person("ann", "security-reviewer", team=team)
    make_person("ops", "operator", "developer")
    assert [o.state for o in outcomes("approvers-enough", [application, other_application])] == ["missing", "missing"]
    assert outcome("approvers-enough", application).says == (
        "1 person holds a role that approves for its team. Expected are at least 2."
    )
    make_person("bob", "business-approver")
    assert [o.state for o in outcomes("approvers-enough", [application, other_application])] == ["kept", "missing"]


@pytest.mark.parametrize("gone", [{"is_active": False}, {"is_service": True}])
def test_who_left_and_what_is_no_person_approves_nothing(
    application: Any, make_person: MakePerson, gone: dict[str, bool]
) -> None:
    from secguard.accounts.models import User

    make_person("ann", "security-reviewer", "business-approver")
    bob = make_person("bob", "security-reviewer")
    assert outcome("approvers-enough", application).state == "kept"
    User.objects.filter(pk=bob.pk).update(**gone)
    assert outcome("approvers-enough", application).state == "missing"


def test_an_appetite_has_to_be_in_force(application: Any, viewer: Any) -> None:
    from secguard.decisions.models import RiskAppetite

    RiskAppetite.objects.update(is_active=False)
    assert outcome("appetite-in-force", application).state == "missing"
    made = RiskAppetite.objects.create(number=99, source="x", sha256="0" * 64, is_active=True)
    found = outcome("appetite-in-force", application)
    assert found.state == "kept"
    assert found.links == ((f"Risk appetite, version {made.number}", "/appetite/99/"),)
