"""A scan that finds what the last one found: nothing is compared, and everything is as if it had been."""

from __future__ import annotations

import pytest

from secguard.findings import services as finding_services
from secguard.findings.models import CLOSED, OPEN, Finding, Observation
from secguard.images.models import Image, ImageComponent
from secguard.policies.models import Evaluation
from secguard.scans import services
from secguard.scans.models import Report, Scan
from secguard.scans.services import Submission, submit
from tests.fixtures_reports import digest, flaw, report

pytestmark = pytest.mark.django_db

FLAWS = [flaw("CVE-2024-0001"), flaw("CVE-2024-0002", "zlib")]


@pytest.fixture
def compared(monkeypatch):
    """How often findings were compared."""
    calls = []
    real = finding_services.take_in

    def counting(*args, **kwargs):
        calls.append(kwargs["scan_id"])
        return real(*args, **kwargs)

    monkeypatch.setattr(finding_services, "take_in", counting)
    return calls


def test_the_same_content_is_not_compared_and_judged_all_the_same(post, compared):
    first = post(report(*FLAWS))
    again = post(report(*FLAWS) + b"\n")
    assert compared == [first.pk]
    assert again.counts == {**first.counts, "introduced": 0, "unchanged": 2}
    assert (again.status, again.is_complete, again.covers) == ("finished", True, ["vulnerability"])
    assert Image.objects.get().last_scanned_at == again.finished_at
    assert [s["id"] for s in Evaluation.objects.order_by("-id")[0].scans] == [again.pk]
    assert list(Scan.objects.exclude(content="").values_list("pk", flat=True)) == [again.pk]


def test_what_another_scan_said_in_between_is_compared(post, compared):
    post(report(*FLAWS))
    post(report(*FLAWS[:1]))
    assert Finding.objects.filter(status=CLOSED).count() == 1
    back = post(report(*FLAWS) + b"\n")
    assert len(compared) == 3
    assert (back.counts["reopened"], Finding.objects.filter(status=OPEN).count()) == (1, 2)


def test_another_tool_in_between_changes_nothing(post, compared):
    post(report(*FLAWS))
    post(report(*FLAWS, flaw("CVE-2024-0003"), scanner="grype"))
    again = post(report(*FLAWS) + b"\n")
    assert len(compared) == 2
    assert again.counts["unchanged"] == 2
    assert Observation.objects.filter(withdrawn_at=None).count() == 5


def test_an_image_that_is_new_in_a_repository_is_compared(post, compared):
    post(report(*FLAWS))
    post(report(*FLAWS, image={"reference": "reg.example/shop/copy:1", "digest": digest(1)}))
    assert len(compared) == 2


def test_an_image_without_findings_is_compared(post, compared):
    post(report())
    post(report() + b"\n")
    assert len(compared) == 2


def test_flaws_that_became_one_are_compared(post, compared):
    post(report(flaw("GHSA-aaaa-bbbb-cccc")))
    other = {"reference": "reg.example/shop/other:1", "digest": digest(2)}
    post(report(flaw("CVE-2024-0001", aliases=["GHSA-aaaa-bbbb-cccc"]), image=other))
    assert not Scan.objects.filter(image__digest=digest(1)).exclude(content="").exists()
    post(report(flaw("GHSA-aaaa-bbbb-cccc")) + b"\n")
    assert len(compared) == 3
    assert Finding.objects.filter(image__digest=digest(1)).get().risk.vulnerability.name == "CVE-2024-0001"


def test_who_may_close_more_is_compared(post, compared, developer, stranger, application, other_application):
    post(report(*FLAWS), developer)
    theirs = {"reference": "reg.example/logistics/web:1", "digest": digest(1)}
    post(report(FLAWS[0], image=theirs, scanner="grype"), stranger)
    assert post(report(FLAWS[0]), developer).counts["closed"] == 0
    post(report(FLAWS[0]) + b"\n", developer)
    assert len(compared) == 3
    assert post(report(FLAWS[0]) + b"\n\n").counts["closed"] == 1


def test_the_inventory_is_brought_to_what_it_says(post, compared):
    packages = [{"purl": "pkg:deb/debian/openssl@1.1.1"}, {"purl": "pkg:deb/debian/zlib@1.2"}]
    whole = report(*FLAWS, components=packages)
    post(whole)
    post(report(components=packages[:1], scanner="syft", covers=[]))
    assert ImageComponent.objects.count() == 1
    post(whole + b"\n")
    assert len(compared) == 2
    assert ImageComponent.objects.count() == 2


def test_the_condensed_report_is_kept_until_it_is_taken_in(administrator, compared):
    scan, _ = submit(Submission(report(*FLAWS)), actor=administrator, max_bytes=10**6)
    assert Report.objects.get().condensed
    services.take_in(scan.pk, progress=lambda *_: None)
    assert Report.objects.get().condensed is None


def test_a_worker_without_the_condensed_report_reads_the_kept_one(administrator):
    scan, _ = submit(Submission(report(*FLAWS)), actor=administrator, max_bytes=10**6)
    Report.objects.update(condensed=None)
    taken = services.take_in(scan.pk, progress=lambda *_: None)
    assert taken.counts["introduced"] == 2


def test_a_report_that_was_given_up_keeps_nothing_but_its_bytes(administrator):
    scan, _ = submit(Submission(report(*FLAWS)), actor=administrator, max_bytes=10**6)
    services.failed({"scan": scan.pk}, "internal", "It broke.")
    assert Report.objects.get().condensed is None


def test_the_same_empty_list_of_two_tools_is_each_tool_s_own(administrator):
    scans = [
        submit(Submission(b"[]", image="reg.example/shop/web:1", scanner=name), actor=administrator, max_bytes=10**6)[0]
        for name in ("hadolint", "gitleaks")
    ]
    covered = [services.take_in(s.pk, progress=lambda *_: None).covers for s in scans]
    assert covered == [["hygiene", "misconfiguration"], ["secret"]]
