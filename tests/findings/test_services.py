"""What stands after any sequence of reports; exposures, risks and their followers; flaws that prove to be one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secguard.advisories.models import Alias, Vulnerability
from secguard.findings import services
from secguard.findings.changes import difference
from secguard.findings.models import CLOSED, OPEN, Exposure, Finding, Observation, Risk
from secguard.findings.services import refresh_exposures
from secguard.images.models import Image, Repository
from tests.fixtures_reports import digest, flaw, report

pytestmark = pytest.mark.django_db


# --- any sequence of reports ---

FLAWS = [("CVE-2024-0001", "a"), ("CVE-2024-0001", "b"), ("CVE-2024-0002", "a"), ("GHSA-x", "c")]
WORDS = st.dictionaries(st.sampled_from(FLAWS), st.sampled_from(["low", "high", "critical"]), max_size=4)
REPORTS = st.lists(st.tuples(st.sampled_from(["trivy", "grype", "snyk"]), WORDS, st.booleans()), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=REPORTS)
def test_a_finding_is_open_exactly_while_some_tool_s_latest_word_reports_it(post, row_counts, sequence):
    from django.db import transaction

    with transaction.atomic():
        _check_sequence(post, row_counts, sequence)
        transaction.set_rollback(True)


def _check_sequence(post, row_counts, sequence):
    latest: dict[str, dict] = {}
    known: dict[int, tuple] = {}
    for number, (scanner, words, is_complete) in enumerate(sequence):
        raw = report(
            *[flaw(name, package, severity=s) for (name, package), s in words.items()],
            scanner=scanner,
            complete=is_complete,
            generated_at=f"2026-01-01T00:00:{number:02}Z",
        )
        post(raw)
        latest[scanner] = words if is_complete else latest.get(scanner, {}) | words
        expected: dict = {}
        for said in latest.values():
            for where, severity in said.items():
                expected[where] = max(expected.get(where, 0), {"low": 2, "high": 4, "critical": 5}[severity])
        rows = Finding.objects.values_list("risk__vulnerability__name", "component__name", "severity", "status")
        assert {(n, c): s for n, c, s, status in rows if status == OPEN} == expected
        now = dict(Finding.objects.values_list("pk", "risk__key"))
        assert known.items() <= now.items(), "a finding was deleted, or became another one"
        known = now
        shown = dict(Exposure.objects.present().values_list("risk__key", "severity"))
        assert set(shown) == {
            key for key, status in Finding.objects.values_list("risk__key", "status") if status == OPEN
        }
        image = Image.objects.get()
        assert image.open_findings == len(expected) == sum(image.severity_counts.values())
        before = row_counts()
        post(raw)
        assert {t: n for t, n in row_counts().items() if t.startswith("findings_")} == {
            t: n for t, n in before.items() if t.startswith("findings_")
        }


# --- exposures ---


def exposures():
    rows = Exposure.objects.order_by("risk__vulnerability__name")
    return {name: resolved is None for name, resolved in rows.values_list("risk__vulnerability__name", "resolved_at")}


def test_the_newest_image_of_a_repository_is_what_it_is_exposed_to(post):
    post(report(flaw("CVE-2024-0001"), flaw("CVE-2024-0002"), image=1))
    post(report(flaw("CVE-2024-0002"), flaw("CVE-2024-0003"), image=2))
    assert exposures() == {"CVE-2024-0001": False, "CVE-2024-0002": True, "CVE-2024-0003": True}


def test_a_risk_that_returns_is_exposed_again_since_it_was_first_known(post):
    post(report(flaw("CVE-2024-0001"), image=1))
    since = Exposure.objects.get().since
    post(report(image=2))
    assert exposures() == {"CVE-2024-0001": False}
    post(report(flaw("CVE-2024-0001"), image=3))
    assert exposures() == {"CVE-2024-0001": True}
    assert Exposure.objects.get().since == since


def test_an_older_image_scanned_again_opens_nothing_but_is_known(post):
    post(report(image=1))
    post(report(image=2))
    post(report(flaw("CVE-2024-0001"), image=1))
    assert exposures() == {"CVE-2024-0001": False}
    assert Repository.objects.get().newest_image.digest == digest(2)


def test_an_exposure_has_its_team_and_its_deadline_from_the_start(post, developer, application):
    post(report(flaw("CVE-2024-0001", severity="critical")), developer)
    exposure = Exposure.objects.get()
    assert (exposure.application, exposure.team_id) == (application, application.team_id)
    assert exposure.due_at is not None
    assert exposure.due_at > exposure.since


def test_exposures_follow_a_repository_to_its_new_application(post, developer, application, other_application):
    post(report(flaw("CVE-2024-0001")), developer)
    repository = Repository.objects.get()
    repository.application = other_application
    repository.save(update_fields=["application"])
    refresh_exposures(repository, at=Exposure.objects.get().since + timedelta(days=1))
    assert Exposure.objects.get().team_id == other_application.team_id


def test_whoever_follows_exposures_is_told_once_of_what_is_new_or_changed(post):
    told = []
    services.EXPOSURES_CHANGED.append(lambda ids, at: told.append(list(ids)))
    try:
        post(report(flaw("CVE-2024-0001"), flaw("CVE-2024-0002")))
        post(report(flaw("CVE-2024-0001"), flaw("CVE-2024-0002", severity="low")))
        post(report(flaw("CVE-2024-0001"), flaw("CVE-2024-0002", severity="low")) + b" ")
    finally:
        services.EXPOSURES_CHANGED.pop()
    changed = Exposure.objects.get(risk__vulnerability__name="CVE-2024-0002").pk
    assert [sorted(ids) for ids in told] == [sorted(Exposure.objects.values_list("pk", flat=True)), [changed]]


# --- risks ---


def test_a_risk_has_the_worst_severity_that_stands_open_anywhere(post):
    post(report(flaw("CVE-2024-0001", severity="low"), image=1))
    post(report(flaw("CVE-2024-0001", severity="critical"), image=2))
    assert Risk.objects.get().severity == 5
    post(report(image=2))
    assert Risk.objects.get().severity == 2
    post(report(image=1))
    assert Risk.objects.get().severity == 2, "where nothing is open the last word stays"


def test_a_fix_that_appears_is_told_to_who_depends_on_it(post, run_jobs):
    told = []
    services.RISKS_CHANGED.append(lambda ids, at: told.extend(ids))
    try:
        post(report(flaw("CVE-2024-0001")))
        run_jobs()
        assert told == []
        post(report(flaw("CVE-2024-0001", fixed_versions=["1.1.2"])))
        run_jobs()
    finally:
        services.RISKS_CHANGED.pop()
    assert told == [Risk.objects.get().pk]
    assert Risk.objects.get().fix_available
    assert Exposure.objects.get().fix_available


def test_known_exploitation_reaches_the_risks_and_exposures_of_every_image(post, run_jobs):
    post(report(flaw("CVE-2024-0001"), image=1))
    other = {"reference": "reg.example/shop/other:1", "digest": digest(2)}
    post(report(flaw("CVE-2024-0001", known_exploited=True, epss=0.9), image=other))
    run_jobs()
    assert (Risk.objects.get().known_exploited, Risk.objects.get().epss) == (True, 0.9)
    assert set(Exposure.objects.values_list("known_exploited", flat=True)) == {True}


def test_an_epss_that_differs_by_rounding_is_no_news(post):
    post(report(flaw("CVE-2024-0001", epss=0.5)))
    post(report(flaw("CVE-2024-0001", epss=0.5004)))
    assert Vulnerability.objects.get().epss == 0.5


# --- two flaws that prove to be one ---


def test_flaws_that_prove_to_be_one_take_their_findings_along(post):
    post(report(flaw("GHSA-x"), flaw("GHSA-x", "zlib")))
    post(report(flaw("CVE-2024-0001"), scanner="grype"))
    assert Finding.objects.count() == 3
    zlib = Finding.objects.get(component__name="zlib")
    post(report(flaw("CVE-2024-0001", "curl", aliases=["GHSA-x"]), scanner="snyk"))
    assert set(Vulnerability.objects.values_list("name", flat=True)) == {"CVE-2024-0001"}
    assert set(Alias.objects.values_list("name", flat=True)) == {"CVE-2024-0001", "GHSA-x"}
    assert Finding.objects.count() == Risk.objects.count() == Exposure.objects.count() == 3
    both = Finding.objects.get(component__name="openssl")
    assert set(both.observations.values_list("scanner", flat=True)) == {"trivy", "grype"}
    zlib.refresh_from_db()
    assert (zlib.risk.vulnerability.name, zlib.status) == ("CVE-2024-0001", OPEN)
    assert Image.objects.get().open_findings == 3


def test_after_a_merge_each_tool_still_speaks_for_itself(post):
    post(report(flaw("GHSA-x")))
    post(report(flaw("CVE-2024-0001"), scanner="grype"))
    post(report(flaw("CVE-2024-0001", aliases=["GHSA-x"]), scanner="snyk"))
    finding = Finding.objects.get()
    for scanner in ("grype", "snyk"):
        post(report(scanner=scanner))
        assert Finding.objects.get().status == OPEN
    scan = post(report(flaw("GHSA-x")) + b" ")
    assert scan.counts["unchanged"] == 1
    post(report())
    assert (Finding.objects.get().pk, Finding.objects.get().status) == (finding.pk, CLOSED)


def test_a_flaw_without_a_cve_takes_the_name_when_one_is_given(post):
    post(report(flaw("GHSA-x")))
    before = (Finding.objects.get().pk, Risk.objects.get().pk)
    post(report(flaw("CVE-2024-0001", aliases=["GHSA-x"]), scanner="grype"))
    assert (Finding.objects.get().pk, Risk.objects.get().pk) == before
    assert Vulnerability.objects.get().name == "CVE-2024-0001"
    assert Observation.objects.count() == 2


def test_who_follows_merged_risks_is_told_before_the_one_goes(post):
    told = []

    def follow(gone, kept):
        assert Risk.objects.filter(pk__in=[gone, kept]).count() == 2
        told.append((gone, kept))

    post(report(flaw("GHSA-x")))
    gone = Risk.objects.get().pk
    post(report(flaw("CVE-2024-0001"), scanner="grype"))
    kept = Risk.objects.exclude(pk=gone).get().pk
    services.RISK_MERGED.append(follow)
    try:
        post(report(flaw("CVE-2024-0001", aliases=["GHSA-x"]), scanner="snyk"))
    finally:
        services.RISK_MERGED.pop()
    assert told == [(gone, kept)]
    assert Risk.objects.get().pk == kept


def test_two_cves_are_never_one_flaw_whatever_a_bundle_says(post):
    post(report(flaw("DSA-1", aliases=["CVE-2024-0001", "CVE-2024-0002"])))
    post(report(flaw("CVE-2024-0001", aliases=["DSA-9"]), flaw("CVE-2024-0002", aliases=["DSA-9"]), scanner="grype"))
    assert set(Vulnerability.objects.values_list("name", flat=True)) == {"DSA-1", "CVE-2024-0001", "CVE-2024-0002"}


# --- the difference between two images ---


def test_the_difference_between_two_images_of_a_repository(post):
    post(report(flaw("CVE-2024-0001"), flaw("CVE-2024-0002"), image=1))
    post(report(flaw("CVE-2024-0002"), flaw("CVE-2024-0003"), image=2))

    def risks(number):
        rows = Finding.objects.open().filter(image__digest=digest(number))
        return set(rows.values_list("risk__vulnerability__name", "component__package"))

    found = difference(risks(1), risks(2))
    package = "pkg:deb/debian/openssl"
    assert found == {
        "introduced": {("CVE-2024-0003", package)},
        "fixed": {("CVE-2024-0001", package)},
        "carried_over": {("CVE-2024-0002", package)},
    }
