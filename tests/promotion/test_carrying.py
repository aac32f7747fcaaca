"""From the build registry to production, on real registries."""

from __future__ import annotations

from datetime import timedelta

import pytest

from secguard.admission.models import AdmissionDecision
from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.images.models import ImageRepository, Registry, Repository, Tag
from secguard.images.services import pusher_of
from secguard.promotion import services
from secguard.promotion.lifecycle import Step
from secguard.promotion.models import Environment, Promotion
from secguard.signing import statements
from secguard.signing.models import Attestation, Signature
from secguard.signing.services import look
from tests.fixtures_reports import flaw

pytestmark = pytest.mark.django_db
MALWARE = {
    "kind": "malware", "id": "Eicar-Test", "sha256": "0" * 64, "path": "/bin/x", "severity": "critical",
    "title": "Eicar-Test",
}  # fmt: skip


def shown(name, digest) -> set[tuple[str, str]]:
    """(standing, predicate type) of what lies beside a digest, as the registry answers."""
    place = Repository.objects.select_related("registry").get(name=name)
    with pusher_of(place.registry) as client:
        return {(j.standing.value, j.seen.predicate_type) for j in look(client, place, digest)}


def test_what_passes_lies_at_the_destination_signed_attested_and_under_its_tag(estate, promote, viewer, stranger):
    built = estate.scanned()
    made = promote(f"{estate.name}:1.4")
    assert (made.status, made.why) == ("promoted", ""), made.why
    assert estate.points(estate.staged, "1.4") == built.digest
    name = estate.staged
    found = shown(name, built.digest)
    assert {t for _, t in found} >= {"", statements.VERIFICATION_SUMMARY, statements.OPENVEX, statements.PROMOTION}
    assert {standing for standing, _ in found} == {"trusted"}
    place = Repository.objects.get(name=name)
    assert place.application == estate.application
    assert ImageRepository.objects.filter(repository=place, image__digest=built.digest).exists()
    assert Tag.objects.get(repository=place, name="1.4").image.digest == built.digest
    stated = Attestation.objects.get(digest=built.digest)
    assert (stated.environment, stated.repository, stated.withdrawn_at) == ("staging", place, None)
    assert Signature.objects.filter(digest=built.digest, repository=place, gone_at=None).count() >= 4
    told = viewer.api.get(f"/api/v1/promotions/{made.pk}/").json()
    assert (told["status"], told["digest"], told["destination"]) == ("promoted", built.digest, name)
    assert [one["step"] for one in told["steps"]] == [s.value for s in Step]
    assert stranger.api.get(f"/api/v1/promotions/{made.pk}/").status_code == 404
    assert [e.action for e in AuditEntry.objects.filter(subject_type="promotion").order_by("sequence")] == [
        "promotion:request", "promotion:finish",
    ]  # fmt: skip


def test_doing_it_again_sends_nothing_and_ends_the_same(estate, promote):
    built = estate.scanned()
    first, second = promote(f"{estate.name}:1.4"), promote(f"{estate.name}:1.4")
    assert (first.pk != second.pk, second.status) == (True, "promoted")
    assert first.copied_bytes > 0
    assert second.copied_bytes == 0
    assert Attestation.objects.standing(second.finished_at).filter(digest=built.digest).count() == 1


def test_an_index_goes_with_all_its_platforms(estate, promote):
    whole, platforms = estate.index()
    made = promote(f"{estate.name}:multi")
    assert made.status == "promoted", made.why
    assert made.digest == whole.digest
    assert estate.points(estate.staged, "multi") == whole.digest
    for one in (whole, *platforms):
        found = shown(estate.staged, one.digest)
        wanted = {"", statements.PROMOTION, statements.VERIFICATION_SUMMARY}
        assert wanted <= {kind for standing, kind in found if standing == "trusted"}, one.digest
    assert {a.digest for a in Attestation.objects.all()} == {whole.digest, *(p.digest for p in platforms)}
    assert Tag.objects.get(repository=made.destination, name="multi").index.digest == whole.digest


def test_a_platform_that_nobody_scanned_stops_it(estate, promote):
    _, platforms = estate.index(reported=1)
    made = promote(f"{estate.name}:multi")
    assert made.status == "refused"
    assert platforms[1].digest in made.why
    assert "secguard scan" in made.why
    assert estate.points(estate.staged, "multi") == ""


def test_what_is_blocked_is_refused_at_once_with_its_reasons(estate, operator, run_jobs):
    built = estate.scanned(None, MALWARE)
    answer = operator.api.post("/api/v1/promotions/", {"image": f"{estate.name}:1.4", "to": "staging"})
    assert answer.status_code == 201, answer.content
    told = answer.json()
    assert (told["status"], told["digest"]) == ("refused", built.digest)
    assert told["reasons"][0]["findings"][0]["name"] == "Eicar-Test"
    assert "block" in told["why"]
    assert run_jobs() == 0 or Promotion.objects.get().steps == {}
    assert estate.points(estate.staged, "1.4") == ""


def test_a_verdict_that_turns_on_the_way_stops_it_and_what_was_signed_goes_again(
    estate, promote, monkeypatch, run_jobs
):
    built = estate.scanned()
    from secguard.promotion.services import carrying, undoing

    plain = carrying.read_back

    def meanwhile(*args):
        estate.report(built, MALWARE, scanner="clamav")
        return plain(*args)

    monkeypatch.setattr(carrying, "read_back", meanwhile)
    monkeypatch.setattr(undoing, "UNDO_AFTER", timedelta(0))
    made = promote(f"{estate.name}:1.4")
    assert made.status == "refused", made.why
    assert made.reasons[0]["findings"][0]["name"] == "Eicar-Test"
    assert estate.points(estate.staged, "1.4") == "", "no tag shows it"
    assert not Attestation.objects.exists()
    assert shown(estate.staged, built.digest) == set()


def test_environments_come_one_after_the_other(estate, promote, operator):
    built = estate.scanned()
    with pytest.raises(Conflict, match="does not stand in staging"):
        services.ask(services.Ask(f"{estate.name}:1.4", "production"), actor=operator)
    with pytest.raises(Invalid, match="first environment"):
        services.ask(services.Ask(f"{estate.name}:1.4", "build"), actor=operator)
    assert promote(f"{estate.name}:1.4").status == "promoted"
    made = promote(f"{estate.staged}@{built.digest}", "production", tags=["1.4", "latest"])
    assert (made.status, made.destination_name) == ("promoted", estate.live), made.why
    for tag in ("1.4", "latest"):
        assert estate.points(estate.live, tag) == built.digest


def test_a_tag_that_moved_since_the_scan_is_told(estate, promote):
    scanned = estate.scanned()
    other = estate.push()
    made = promote(f"{estate.name}:1.4")
    assert made.status == "refused"
    assert other.digest in made.why
    assert scanned.digest in made.why
    assert promote(f"{estate.name}:1.4@{scanned.digest}").status == "promoted", "the digest itself is no question"


def test_who_may_not_ask(estate, developer, stranger, viewer):
    estate.scanned()
    for actor, refusal in ((developer, NotAllowed), (viewer, NotAllowed), (stranger, NotFound)):
        with pytest.raises(refusal):
            services.ask(services.Ask(f"{estate.name}:1.4", "staging"), actor=actor)
    assert not Promotion.objects.exists()


def test_nothing_goes_over_another_teams_repository(estate, make_person, team, other_application, operator):
    from secguard.images.reference import parse
    from secguard.images.services import ensure_repository

    estate.scanned()
    name = estate.staged
    ensure_repository(parse(name), application=other_application)
    own = make_person("own", "operator", team=team)
    with pytest.raises(NotAllowed, match="another team"):
        services.ask(services.Ask(f"{estate.name}:1.4", "staging"), actor=own)


def test_the_same_asked_for_at_once_is_one(estate, operator):
    estate.scanned()
    asked = services.Ask(f"{estate.name}:1.4", "staging")
    first, second = (services.ask(asked, actor=operator) for _ in range(2))
    assert first.pk == second.pk
    with pytest.raises(Conflict, match="under the tags"):
        services.ask(services.Ask(f"{estate.name}:1.4", "staging", ["other"]), actor=operator)


def test_an_earlier_promotion_does_not_move_a_tag_back(estate, promote, operator, run_jobs):
    old = estate.scanned()
    first = services.ask(services.Ask(f"{estate.name}@{old.digest}", "staging", ["1.4"]), actor=operator)
    Promotion.objects.filter(pk=first.pk).update(status="failed")
    run_jobs()
    new = estate.scanned()
    assert promote(f"{estate.name}:1.4").status == "promoted"
    services.retry(first.pk, actor=operator)
    run_jobs()
    first.refresh_from_db()
    assert first.status == "promoted"
    assert estate.points(estate.staged, "1.4") == new.digest


def test_a_registry_that_is_away_is_tried_again_and_told(estate, promote, operator, run_jobs):
    built = estate.scanned()
    host = Environment.objects.get(name="staging").registry
    Registry.objects.filter(pk=host.pk).update(username="nobody", uses_plain_http=False)
    made = promote(f"{estate.name}:1.4")
    assert made.status in ("running", "failed")
    told = operator.api.get(f"/api/v1/promotions/{made.pk}/").json()
    assert told["why"] or told["progress"]["error"], told
    Registry.objects.filter(pk=host.pk).update(username="", uses_plain_http=True)
    if made.status == "failed":
        services.retry(made.pk, actor=operator)
    from secguard.jobs.models import Job

    Job.objects.filter(status="queued").update(run_after=made.requested_at)
    run_jobs()
    made.refresh_from_db()
    assert made.status == "promoted", made.why
    assert estate.points(estate.staged, "1.4") == built.digest


def test_withdrawn_before_its_tags_move_it_leaves_nothing(estate, operator, run_jobs):
    estate.scanned()
    made = services.ask(services.Ask(f"{estate.name}:1.4", "staging"), actor=operator)
    services.withdraw(made.pk, actor=operator)
    run_jobs()
    made.refresh_from_db()
    assert (made.status, made.steps) == ("withdrawn", {})
    assert estate.points(estate.staged, "1.4") == ""
    with pytest.raises(Conflict, match="is withdrawn"):
        services.withdraw(made.pk, actor=operator)


def test_a_decision_for_the_repository_holds_at_the_destination_too(estate, promote, developer, reviewer, run_jobs):
    """What let it pass follows the lineage: the same digest in two places of one team has one verdict."""
    from datetime import timedelta

    from django.utils import timezone

    from secguard.decisions import queries
    from secguard.decisions import services as decisions
    from secguard.findings.models import Risk
    from secguard.policies.facts import Gate
    from secguard.policies.services import verdict_of

    built = estate.scanned(None, flaw("CVE-2026-1", severity="critical", fixed_versions=["1.1.2"]))
    assert promote(f"{estate.name}:1.4").status == "refused"
    scope = queries.find_scope(developer, "repository", estate.name)
    asked = decisions.Ask(Risk.objects.get().pk, "accept", scope, "known here", timezone.now() + timedelta(days=5))
    decisions.approve(decisions.request_decision(asked, actor=developer).pk, actor=reviewer)
    made = promote(f"{estate.name}:1.4")
    assert made.status == "promoted", made.why
    run_jobs()
    image = ImageRepository.objects.filter(image__digest=built.digest).first().image
    assert verdict_of(image, Gate.ADMIT).verdict != "block"
    assert not AdmissionDecision.objects.exists()


def test_whoever_asked_must_still_be_allowed_when_it_is_carried_out(estate, make_person, run_jobs):
    from secguard.accounts.models import Membership

    estate.scanned()
    leaving = make_person("leaving", "operator")
    made = services.ask(services.Ask(f"{estate.name}:1.4", "staging"), actor=leaving)
    Membership.objects.filter(user=leaving).delete()
    run_jobs()
    made.refresh_from_db()
    assert made.status == "refused"
    assert "may not promote this any more" in made.why


def test_a_destination_that_became_another_teams_meanwhile_is_left_alone(
    estate, make_person, team, other_application, run_jobs
):
    from secguard.images.reference import parse
    from secguard.images.services import ensure_repository

    estate.scanned()
    own = make_person("own", "operator", team=team)
    made = services.ask(services.Ask(f"{estate.name}:1.4", "staging"), actor=own)
    ensure_repository(parse(estate.staged), application=other_application)
    run_jobs()
    made.refresh_from_db()
    assert made.status == "refused"
    assert "another team's" in made.why
    assert estate.points(estate.staged, "1.4") == ""


def test_the_rule_goes_over_nobody_elses_repository(estate, environment, run_jobs, other_application):
    from secguard.images.reference import parse
    from secguard.images.services import ensure_repository

    environment("staging", is_automatic=True)
    ensure_repository(parse(estate.staged), application=other_application)
    estate.scanned()
    run_jobs()
    assert not Promotion.objects.exists()
