"""From a posted report to what stands: identity, repetition, replacement, teams, bad input."""

from __future__ import annotations

import json
from pathlib import PurePath

import pytest

from secguard.errors import Conflict, Invalid, NotFound, SecGuardError, TooLarge
from secguard.findings.models import CLOSED, OPEN, Exposure, Finding, Observation, Risk
from secguard.images.models import Image, Repository, TagMove
from secguard.jobs.models import Job
from secguard.scans import services
from secguard.scans.models import Report, Scan
from secguard.scans.services import Submission, submit
from tests.fixtures_reports import digest, flaw, report

pytestmark = pytest.mark.django_db


def standing(number=1):
    """(vulnerability, component, status) of an image's findings."""
    rows = Finding.objects.filter(image__digest=digest(number)).order_by("id")
    return list(rows.values_list("risk__vulnerability__name", "component__purl", "status"))


# --- identity ---


def test_two_tools_that_name_one_flaw_differently_make_one_finding_with_two_sources(post):
    post(report(flaw("CVE-2024-0001", aliases=["GHSA-aaaa-bbbb-cccc"])))
    post(report(flaw("GHSA-aaaa-bbbb-cccc", severity="critical"), scanner="grype"))
    assert standing() == [("CVE-2024-0001", "pkg:deb/debian/openssl@1.1.1", OPEN)]
    words = Observation.objects.order_by("scanner").values_list("scanner", "reported_id", "severity")
    assert list(words) == [("grype", "GHSA-aaaa-bbbb-cccc", 5), ("trivy", "CVE-2024-0001", 4)]
    assert Finding.objects.get().severity == 5


def test_qualifiers_and_the_place_of_the_epoch_do_not_make_another_component(post):
    post(report(flaw("CVE-2024-0001", package={"purl": "pkg:rpm/redhat/bash@5.1?epoch=1&arch=x86_64"})))
    post(report(flaw("CVE-2024-0001", package={"purl": "pkg:rpm/redhat/bash@1:5.1?distro=rhel-9"}), scanner="grype"))
    assert [purl for _, purl, _ in standing()] == ["pkg:rpm/redhat/bash@1:5.1"]


def test_a_tool_that_knows_no_more_than_name_and_version_means_the_image_s_own_package(post):
    post(report(flaw("CVE-2024-0001")))
    post(report(flaw("CVE-2024-0001", package={"name": "openssl", "version": "1.1.1"}), scanner="clair"))
    assert len(standing()) == 1
    assert Observation.objects.count() == 2


def test_a_precise_package_takes_over_the_finding_that_stood_under_a_mere_name(post):
    post(report(flaw("CVE-2024-0001", package={"name": "openssl", "version": "1.1.1"}), scanner="clair"))
    before = Finding.objects.get()
    post(report(flaw("CVE-2024-0001")))
    after = Finding.objects.get()
    assert after.pk == before.pk
    assert standing() == [("CVE-2024-0001", "pkg:deb/debian/openssl@1.1.1", OPEN)]
    assert after.risk.package == "pkg:deb/debian/openssl"
    assert Observation.objects.filter(finding=after).count() == 2
    assert Exposure.objects.present().get().risk == after.risk
    post(report(flaw("CVE-2024-0001", package={"name": "openssl", "version": "1.1.1"}), scanner="clair", complete=True))
    assert Finding.objects.count() == 1


# --- the same again ---


def test_the_same_bytes_are_one_scan_and_write_no_row(post, administrator, row_counts):
    raw = report(flaw("CVE-2024-0001"), flaw("CVE-2024-0002"))
    first = post(raw)
    before = row_counts()
    again, is_new = submit(Submission(raw), actor=administrator, max_bytes=10**6)
    assert (again.pk, is_new) == (first.pk, False)
    assert row_counts() == before


def test_the_same_content_in_other_bytes_writes_no_finding(post, row_counts):
    raw = report(flaw("CVE-2024-0001"), flaw("CVE-2024-0002"))
    post(raw)
    before = row_counts()
    written = dict(Observation.objects.values_list("pk", "scan_id"))
    scan = post(raw + b"\n")
    after = row_counts()
    tables = ("findings_finding", "findings_observation", "findings_risk", "findings_exposure", "images_component")
    assert {t: after[t] for t in tables} == {t: before[t] for t in tables}
    assert dict(Observation.objects.values_list("pk", "scan_id")) == written
    assert scan.counts["unchanged"] == 2


def test_bytes_that_another_scan_has_overtaken_are_a_new_scan(post):
    first = post(report(flaw("CVE-2024-0001")))
    post(report(flaw("CVE-2024-0002")))
    again = post(report(flaw("CVE-2024-0001")))
    assert again.pk != first.pk
    assert {name: status for name, _, status in standing()} == {"CVE-2024-0001": OPEN, "CVE-2024-0002": CLOSED}
    assert Report.objects.count() == 2


def test_an_idempotency_key_answers_with_its_scan_and_refuses_another_body(administrator):
    keyed = Submission(report(flaw("CVE-2024-0001")), idempotency_key="build-7")
    first, _ = submit(keyed, actor=administrator, max_bytes=10**6)
    again, is_new = submit(keyed, actor=administrator, max_bytes=10**6)
    assert (again.pk, is_new) == (first.pk, False)
    other = Submission(report(flaw("CVE-2024-0002")), idempotency_key="build-7")
    with pytest.raises(Conflict, match="build-7"):
        submit(other, actor=administrator, max_bytes=10**6)
    assert Scan.objects.count() == 1


def test_a_job_that_runs_twice_changes_nothing(post, row_counts):
    scan = post(report(flaw("CVE-2024-0001")))
    before = row_counts()
    services.take_in(scan.pk, progress=lambda *_: None)
    assert row_counts() == before


# --- replacing, closing, reopening ---


def test_a_rescan_replaces_what_the_same_tool_said(post):
    post(report(flaw("CVE-2024-0001"), flaw("CVE-2024-0002")))
    scan = post(report(flaw("CVE-2024-0002", severity="low"), flaw("CVE-2024-0003")))
    assert scan.counts | {"by_severity": None} == {
        "found": 2,
        "introduced": 1,
        "reopened": 0,
        "changed": 1,
        "closed": 1,
        "unchanged": 0,
        "components": 0,
        "by_severity": None,
    }
    closed = Finding.objects.get(status=CLOSED)
    assert closed.risk.vulnerability.name == "CVE-2024-0001"
    assert closed.closed_at is not None
    assert closed.close_reason == "no scanner reports it any more"
    image = Image.objects.get()
    assert (image.open_findings, image.worst_severity, image.severity_counts) == (2, 4, {"high": 1, "low": 1})


def test_another_tool_still_reporting_it_keeps_a_finding_open_with_that_tool_s_severity(post):
    post(report(flaw("CVE-2024-0001", severity="critical")))
    post(report(flaw("CVE-2024-0001", severity="low"), scanner="grype"))
    post(report())
    finding = Finding.objects.get()
    assert (finding.status, finding.severity) == (OPEN, 2)
    assert Risk.objects.get().severity == 2


def test_a_finding_that_comes_back_is_the_same_one(post):
    post(report(flaw("CVE-2024-0001")))
    first = Finding.objects.get()
    post(report())
    scan = post(report(flaw("CVE-2024-0001", severity="medium")))
    again = Finding.objects.get()
    assert scan.counts["reopened"] == 1
    assert (again.pk, again.status, again.severity, again.closed_at) == (first.pk, OPEN, 3, None)
    assert again.first_seen_at == first.first_seen_at
    assert Exposure.objects.get().resolved_at is None


def test_a_partial_scan_closes_nothing(post):
    post(report(flaw("CVE-2024-0001")))
    post(report(flaw("CVE-2024-0002"), complete=False))
    assert [status for *_, status in standing()] == [OPEN, OPEN]


def test_a_scan_closes_only_the_kinds_that_it_looked_for(post):
    secret = {"kind": "secret", "id": "aws-key", "path": "/root/.aws", "fingerprint": "a" * 32, "severity": "high"}
    post(report(flaw("CVE-2024-0001"), secret, covers=["vulnerability", "secret"]))
    post(report(covers=["vulnerability"]))
    assert dict(Finding.objects.values_list("risk__kind", "status")) == {"vulnerability": CLOSED, "secret": OPEN}


def test_an_inventory_alone_closes_nothing_and_lists_the_components(post):
    post(report(flaw("CVE-2024-0001")))
    listed = [{"purl": "pkg:deb/debian/openssl@1.1.1?arch=amd64", "licenses": ["Apache-2.0"]}]
    post(report(components=listed, covers=[], scanner="syft"))
    assert [status for *_, status in standing()] == [OPEN]
    row = Image.objects.get().components.get()
    assert (row.component.purl, row.licenses) == ("pkg:deb/debian/openssl@1.1.1", ["Apache-2.0"])


def test_a_scan_that_was_given_up_says_so_and_closes_nothing(post, administrator):
    post(report(flaw("CVE-2024-0001")))
    scan, _ = submit(Submission(report()), actor=administrator, max_bytes=10**6)
    services.failed({"scan": scan.pk}, "internal", "It broke.")
    scan.refresh_from_db()
    assert (scan.status, scan.problem) == ("failed", {"code": "internal", "detail": "It broke."})
    assert [status for *_, status in standing()] == [OPEN]


# --- images ---


def test_an_image_met_by_its_config_digest_takes_the_manifest_digest_later(post):
    config = digest(77)
    post(report(flaw("CVE-2024-0001"), image={"reference": "reg.example/shop/web:1", "image_id": config}))
    built = Image.objects.get()
    assert (built.digest, built.is_digest_asserted) == (config, False)
    where = {"reference": "reg.example/shop/web:1", "image_id": config, "digest": digest(1)}
    post(report(flaw("CVE-2024-0001"), image=where, scanner="grype"))
    pushed = Image.objects.get()
    assert (pushed.pk, pushed.digest, pushed.is_digest_asserted) == (built.pk, digest(1), True)
    assert Finding.objects.count() == 1


def test_a_report_that_knows_only_the_tag_is_about_what_the_tag_points_to(post):
    post(report(flaw("CVE-2024-0001")))
    post(report(flaw("CVE-2024-0001"), image={"reference": "reg.example/shop/web:1"}, scanner="grype"))
    assert Image.objects.count() == 1
    assert Observation.objects.count() == 2


def test_a_tag_that_moves_leaves_its_history(post):
    post(report(image=1))
    post(report(image=2))
    moves = TagMove.objects.order_by("pk").values_list("image__digest", flat=True)
    assert list(moves) == [digest(1), digest(2)]


def test_a_report_about_another_image_than_the_one_named_leaves_nothing(administrator, row_counts):
    before = row_counts()
    with pytest.raises(Invalid, match="They are different images"):
        submit(Submission(report(), image=f"reg.example/shop/web@{digest(2)}"), actor=administrator, max_bytes=10**6)
    assert row_counts() == before


def test_one_image_in_two_repositories_is_one_image(post):
    post(report(flaw("CVE-2024-0001")))
    where = {"reference": "prod.example/shop/web:1", "digest": digest(1)}
    post(report(flaw("CVE-2024-0001"), image=where, scanner="grype"))
    assert Image.objects.count() == 1
    assert Exposure.objects.present().count() == 2


# --- teams ---


def test_a_stranger_s_repository_is_refused_as_if_there_were_none(post, developer, stranger, application, row_counts):
    post(report(flaw("CVE-2024-0001")), developer)
    before = row_counts()
    with pytest.raises(NotFound) as refusal:
        submit(Submission(report()), actor=stranger, max_bytes=10**6)
    assert "Payments" not in refusal.value.detail
    assert row_counts() == before


def test_a_new_repository_goes_to_the_only_application_of_the_sender_s_team(post, developer, application):
    post(report(), developer)
    assert Repository.objects.get().application == application


def test_who_has_several_applications_is_asked_which(developer, application, team, make_application, other_application):
    make_application("Till", team)
    with pytest.raises(Invalid, match="application=SLUG"):
        submit(Submission(report()), actor=developer, max_bytes=10**6)
    with pytest.raises(NotFound):
        submit(Submission(report(), application=other_application.slug), actor=developer, max_bytes=10**6)
    scan, _ = submit(Submission(report(), application="till"), actor=developer, max_bytes=10**6)
    assert scan.application.slug == "till"


def test_who_does_not_speak_for_every_team_that_has_the_image_closes_nothing(
    post, developer, stranger, application, other_application
):
    post(report(flaw("CVE-2024-0001")), developer)
    theirs = {"reference": "reg.example/logistics/web:1", "digest": digest(1)}
    post(report(flaw("CVE-2024-0002"), image=theirs), stranger)
    assert [status for *_, status in standing()] == [OPEN, OPEN]
    assert Observation.objects.filter(withdrawn_at=None).count() == 2


# --- bad input ---


def test_a_report_above_the_bound_is_refused_before_it_is_read(administrator):
    with pytest.raises(TooLarge, match="SECGUARD_MAX_REPORT_BYTES"):
        submit(Submission(b"x" * 101), actor=administrator, max_bytes=100)


LONG = "x" * 5000
ODD = {
    "no-id": flaw(""),
    "blank-id": flaw("  "),
    "long-id": flaw(LONG),
    "lower-case-id": flaw("cve-2024-1"),
    "nul": flaw("CVE-2024-0001", title="a\0b", description="\0", path="\0", suppressed="\0", severity_source="\0"),
    "long-texts": flaw(
        "CVE-2024-0001",
        title=LONG,
        description=LONG * 10,
        severity_source=LONG,
        fixed_versions=[LONG] * 100,
        references=[LONG] * 100,
        cvss_vector=LONG,
        path=LONG,
        layer=LONG,
        suppressed=LONG,
        aliases=[LONG, "GHSA-" + LONG],
    ),
    "long-purl": flaw("CVE-2024-0001", package=LONG),
    "long-generic": flaw("CVE-2024-0001", package={"name": LONG, "version": LONG}),
    "no-package": flaw("CVE-2024-0001", package={"name": "", "version": ""}),
    "odd-purl": flaw("CVE-2024-0001", package={"purl": "pkg:%00/\x01@\u202e#../..", "name": "x"}),
    "cvss": flaw("CVE-2024-0001", cvss_score=99),
    "epss": flaw("CVE-2024-0001", epss=1e308),
    "negative": flaw("CVE-2024-0001", epss=-1, cvss_score=-1),
    "date": flaw("CVE-2024-0001", published_at="0001-01-01T00:00:00+14:00"),
    "late-date": flaw("CVE-2024-0001", published_at="9999-12-31T23:59:59-14:00"),
    "markup": flaw("<script>alert(1)</script>", title="<img onerror=x>"),
    "many-names": flaw("CVE-2024-0001", aliases=[f"CVE-2024-{n}" for n in range(1000, 3000)]),
    "secret": {"kind": "secret", "id": LONG, "path": LONG, "fingerprint": "a" * 32, "severity": LONG},
    "check": {"kind": "hygiene", "id": LONG, "target": LONG, "description": LONG, "remediation": LONG, "title": LONG},
    "malware": {"kind": "malware", "id": LONG, "sha256": "a" * 64, "path": LONG},
}
KINDS = ["vulnerability", "secret", "malware", "misconfiguration", "hygiene"]


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_odd_values_are_refused_with_words_or_stored_bounded(post, odd, row_counts):
    before = row_counts()
    try:
        scan = post(report(odd, covers=KINDS))
    except SecGuardError as refusal:
        scan, words = None, refusal.detail
    if scan is None:
        assert words
        assert row_counts() == before
    else:
        assert scan.counts["found"] == 1
        assert Finding.objects.get().status == OPEN


def test_a_component_with_a_name_that_no_database_holds_is_refused_at_once(administrator, row_counts):
    before = row_counts()
    raw = report(components=[{"name": LONG, "version": "1"}])
    with pytest.raises(Invalid, match="700 are allowed"):
        submit(Submission(raw), actor=administrator, max_bytes=10**6)
    assert row_counts() == before


@pytest.mark.parametrize("text", [r"\ud800", r"\udfff\ud800", "\udcff"])
def test_half_a_surrogate_pair_is_refused(administrator, text):
    raw = report(flaw("CVE-2024-0001", title="MARK")).replace(b"MARK", text.encode("utf-8", "surrogatepass"))
    with pytest.raises(Invalid):
        submit(Submission(raw), actor=administrator, max_bytes=10**6)


def test_ten_times_more_entries_than_allowed_are_refused_at_once(administrator, row_counts, monkeypatch):
    from secguard.scans import readers

    monkeypatch.setattr(readers, "MAX_FINDINGS", 10)
    before = row_counts()
    with pytest.raises(Invalid, match="may have 10"):
        submit(Submission(report(*[flaw(f"CVE-2024-{n}") for n in range(100)])), actor=administrator, max_bytes=10**6)
    assert row_counts() == before


# --- the pipeline as a whole ---


def test_a_submitted_report_is_taken_in_by_a_worker(administrator, run_jobs):
    scan, is_new = submit(Submission(report(flaw("CVE-2024-0001"))), actor=administrator, max_bytes=10**6)
    assert is_new
    run_jobs()
    scan.refresh_from_db()
    assert (scan.status, scan.image.digest) == ("finished", digest(1))
    assert not Job.objects.exclude(status="succeeded").exists()


@pytest.mark.corpus
def test_real_reports_go_all_the_way_and_a_second_time_change_nothing(post, corpus, corpus_members, row_counts):
    """A few of each tool (every file is read in the readers' own tests)."""
    taken = 0
    for member in _some_of_each_tool(corpus_members("scanner")):
        raw = corpus(member)
        try:
            scan = post(raw, image=f"reg.example/real/image{taken}:1", is_renamed=True)
        except Invalid:
            continue
        before = row_counts()
        again = post(raw + b" ", image=f"reg.example/real/image{taken}:1", is_renamed=True)
        after = row_counts()
        assert again.counts["introduced"] == again.counts["closed"] == again.counts["changed"] == 0, member
        same = [t for t in before if t.startswith(("findings_", "images_", "advisories_"))]
        assert {t: after[t] for t in same} == {t: before[t] for t in same}, member
        assert scan.counts["found"] == Finding.objects.filter(image=scan.image, status=OPEN).count()
        taken += 1
    assert taken > 20


def _some_of_each_tool(members):
    chosen = {}
    for member in members:
        if member.endswith(".json"):
            chosen.setdefault(PurePath(member).parent, []).append(member)
    return [group[-1] for group in chosen.values()]


def test_json_of_a_report_is_kept_as_received(post):
    import zlib

    raw = report(flaw("CVE-2024-0001"))
    scan = post(raw)
    assert json.loads(zlib.decompress(scan.report.body)) == json.loads(raw)
