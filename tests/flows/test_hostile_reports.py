"""What one team's pipeline says reaches its own images and decisions, and nobody else's."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from secguard.advisories.models import Vulnerability
from secguard.decisions.models import Decision
from secguard.errors import NotFound
from secguard.findings.models import Finding, Risk
from secguard.images.models import Image
from tests.fixtures_reports import digest, flaw, report

THEIRS = {"reference": "reg.example/theirs/web:1", "digest": digest(2)}
MINE = {"reference": "reg.example/shop/web:1", "digest": digest(1)}


@pytest.fixture
def decided(post, developer, application):
    """The team asked for an exception of a flaw in its repository."""
    post(report(flaw("CVE-2024-0001"), image=MINE), developer, application=application.slug)
    asked = developer.api.post(
        "/api/v1/decisions/",
        {
            "kind": "accept",
            "risk": Risk.objects.get().pk,
            "scope": {"repository": "reg.example/shop/web"},
            "reason": "Not reachable here.",
            "expires_at": (timezone.now() + timedelta(days=5)).isoformat(),
        },
        format="json",
    )
    assert asked.status_code == 201, asked.content
    return Decision.objects.get()


def names() -> set[str]:
    return set(Vulnerability.objects.values_list("name", flat=True))


@pytest.mark.parametrize(("who", "is_merged"), [("stranger", False), ("developer", True), ("administrator", True)])
def test_only_whoever_speaks_for_a_decision_makes_its_flaw_another(
    request, who, is_merged, decided, post, stranger, other_application
):
    post(report(flaw("GHSA-b"), image=THEIRS), stranger, application=other_application.slug)
    claim = report(
        flaw("CVE-2024-0001", aliases=["GHSA-b"]), scanner="grype", image=MINE if who != "stranger" else THEIRS
    )
    scan = post(claim, request.getfixturevalue(who))
    assert scan.status == "finished"
    assert names() == ({"CVE-2024-0001"} if is_merged else {"CVE-2024-0001", "GHSA-b"})
    decided.refresh_from_db()
    assert (decided.status, decided.risk.name) == ("requested", "CVE-2024-0001")


def test_a_decision_stays_with_its_flaw_when_strangers_name_it_after_another(
    decided, post, stranger, other_application
):
    Vulnerability.objects.update(name="GHSA-a")
    Vulnerability.objects.get().aliases.update(name="GHSA-a")
    claim = report(flaw("CVE-2025-0666", aliases=["GHSA-a"]), image=THEIRS)
    post(claim, stranger, application=other_application.slug)
    decided.refresh_from_db()
    assert decided.risk.name == "GHSA-a"


def test_a_digest_alone_reaches_no_image_of_another_team(decided, post, stranger, other_application):
    raw = report(flaw("CVE-2025-0666", severity="critical"), image={"digest": digest(1)})
    for named in ("", digest(1)):
        with pytest.raises(NotFound, match="None of your team's repositories holds sha256:"):
            post(raw, stranger, image=named, application=other_application.slug)
    assert Finding.objects.count() == 1


def test_a_digest_alone_is_enough_for_ones_own_image(decided, post, developer):
    post(report(flaw("CVE-2025-0666"), scanner="grype", image={"digest": digest(1)}), developer)
    assert Image.objects.get().open_findings == 2


def test_reading_everything_is_not_speaking_for_everybody(
    decided, post, make_person, team, other_team, other_application
):
    from secguard.accounts.models import Membership

    person = make_person("both", "developer", team=other_team)
    Membership.objects.create(user=person, team=None, role="viewer")
    person.refresh_from_db()
    shared = {"reference": "reg.example/theirs/web:1", "digest": digest(1)}
    scan = post(report(image=shared), person, application=other_application.slug)
    assert (scan.status, Finding.objects.get().status) == ("finished", "open")


@pytest.mark.parametrize("limit", ["team", "application"])
def test_a_token_of_one_team_closes_nothing_of_its_owner_s_other_team(
    decided, post, developer, team, other_team, other_application, limit
):
    """Without a token, as whose they are, the same person speaks for both teams."""
    from secguard.accounts.authentication import bearer
    from secguard.accounts.models import Membership
    from secguard.accounts.services import create_token

    Membership.objects.create(user=developer, team=other_team, role="developer")
    developer.refresh_from_db()
    applications = [other_application] if limit == "application" else []
    _, raw = create_token(developer.pk, "developer", actor=None, name="x", team=other_team, applications=applications)
    shared = {"reference": "reg.example/theirs/web:1", "digest": digest(1)}
    narrow = bearer(raw)
    scan = post(report(image=shared), narrow.user, application=other_application.slug)
    assert (scan.status, scan.speaks_for, Finding.objects.get().status) == ("finished", [other_team.pk], "open")
    scan = post(report(flaw("CVE-2025-0666"), image=shared), developer, application=other_application.slug)
    assert (scan.status, scan.speaks_for) == ("finished", None)
    assert Finding.objects.get(risk__vulnerability__name="CVE-2024-0001").status == "closed"
