"""What advisories say changes, and images' findings follow without a scan."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.utils import timezone

from secguard.findings.models import Finding, Observation
from secguard.images.models import Image
from secguard.policies.facts import Gate
from secguard.policies.services import document_of, verdict_of
from secguard.scans import services
from secguard.scans.models import BuildMatch, ChangedMatch, LayerResult, NewHit, Scan
from secguard.scans.services import matching, rematching, tidying
from tests.fixtures_reports import digest, report

pytestmark = pytest.mark.django_db

OPENSSL = {"purl": "pkg:deb/debian/libssl3@3.0.11-1~deb12u2?distro=debian-12&upstream=openssl"}
ZLIB = {"purl": "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1?distro=debian-12&upstream=zlib"}


def advisory(name: str = "DEBIAN-CVE-2026-10001", fixed: str = "3.0.11-1~deb12u3", **more: Any) -> dict[str, Any]:
    """As OSV's Debian feed writes it."""
    events = [{"introduced": "0"}, *([{"fixed": fixed}] if fixed else [])]
    affected = {
        "package": {"ecosystem": "Debian:12", "name": "openssl"},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    return {
        "schema_version": "1.7.0",
        "id": name,
        "modified": more.pop("modified", "2026-01-01T00:00:00Z"),
        "upstream": [name.removeprefix("DEBIAN-")],
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        "affected": [affected],
        **more,
    }


@pytest.fixture
def bring(administrator: Any, run_jobs: Any) -> Any:
    """Imports advisories over REST, and lets the workers do what follows."""

    def bring(*advisories: dict[str, Any]) -> None:
        raw = "\n".join(json.dumps(a) for a in advisories).encode()
        answer = administrator.api.post(
            "/api/v1/advisories/import/?name=feed.jsonl", raw, content_type="application/octet-stream"
        )
        assert answer.status_code in (200, 202), answer.content
        run_jobs()

    return bring


def bill(number: int, *components: dict[str, Any], repository: str = "shop/web") -> bytes:
    image = {"reference": f"reg.example/{repository}:{number}", "digest": digest(number)}
    found = [{**c, "name": "", "version": ""} for c in components]
    return report(scanner="syft", image=image, covers=[], components=[{"purl": c["purl"]} for c in found])


def words() -> list[tuple[str, str, str]]:
    rows = Finding.objects.order_by("image_id", "pk")
    return list(rows.values_list("image__digest", "risk__vulnerability__name", "status"))


def test_a_new_advisory_hits_images_without_a_scan(post, bring):
    post(bill(1, OPENSSL, ZLIB))
    post(bill(2, OPENSSL))
    post(bill(3, ZLIB))
    scans = Scan.objects.count()
    bring(advisory())
    assert words() == [(digest(1), "CVE-2026-10001", "open"), (digest(2), "CVE-2026-10001", "open")]
    finding = Finding.objects.first()
    assert (finding.severity, finding.fixed_versions) == (5, ["3.0.11-1~deb12u3"])
    assert set(Observation.objects.values_list("scanner", flat=True)) == {"secguard"}
    assert Image.objects.get(digest=digest(2)).open_findings == 1
    assert Scan.objects.count() == scans
    assert not ChangedMatch.objects.exists()
    assert not NewHit.objects.exists()


def test_the_verdict_follows_at_once(post, bring):
    post(bill(1, OPENSSL))
    image = Image.objects.get()
    before = verdict_of(image, Gate.BUILD)
    bring(advisory())
    after = verdict_of(image, Gate.BUILD)
    assert before.verdict != "block"
    assert after.verdict == "block"
    assert after.evaluation_id != before.evaluation_id


def test_a_verdict_says_how_old_its_data_is(post, bring):
    def data_of(image: Image) -> Any:
        return document_of(verdict_of(image, Gate.BUILD))["data_updated_at"]

    bring(advisory(modified="2026-01-01T00:00:00Z"))
    post(bill(1, OPENSSL))
    image = Image.objects.get()
    assert data_of(image) == "2026-01-01T00:00:00Z"
    # What makes the verdict anew is another one that hits.
    bring(advisory("DEBIAN-CVE-2026-10002", modified="2026-01-03T00:00:00Z"))
    assert data_of(image) == "2026-01-03T00:00:00Z"
    # Another ecosystem's data makes that of this one no younger.
    affected = [{"package": {"ecosystem": "PyPI", "name": "a"}, "versions": ["1"]}]
    bring({"id": "PYSEC-1", "modified": "2026-01-09T00:00:00Z", "affected": affected})
    bring(advisory("DEBIAN-CVE-2026-10004", modified="2026-01-02T00:00:00Z"))
    assert data_of(image) == "2026-01-03T00:00:00Z"


def test_an_image_that_comes_after_the_advisory_has_it_from_its_inventory(post, bring):
    bring(advisory())
    scan = post(bill(1, OPENSSL))
    assert words() == [(digest(1), "CVE-2026-10001", "open")]
    assert scan.covers == ["vulnerability"]


def test_a_package_without_advisories_is_no_clean_one(post, bring):
    bring(advisory())
    scan = post(bill(1, OPENSSL, {"purl": "pkg:npm/lodash@4.17.15"}))
    assert scan.covers == []
    assert any("npm" in w for w in scan.warnings)


def test_a_changed_advisory_changes_what_is_said(post, bring):
    post(bill(1, OPENSSL))
    bring(advisory(fixed=""))
    assert Finding.objects.get().fixed_versions == []
    bring(advisory(fixed="3.0.11-1~deb12u5", modified="2026-01-02T00:00:00Z"))
    assert Finding.objects.get().fixed_versions == ["3.0.11-1~deb12u5"]


def test_an_advisory_that_no_longer_hits_closes_with_its_reason(post, bring):
    post(bill(1, OPENSSL))
    bring(advisory())
    bring(advisory(fixed="3.0.11-1~deb12u2", modified="2026-01-02T00:00:00Z"))
    finding = Finding.objects.get()
    assert (finding.status, finding.closed_at is not None) == ("closed", True)
    assert finding.close_reason


def test_a_withdrawn_advisory_closes_and_a_returned_one_reopens(post, bring):
    post(bill(1, OPENSSL))
    bring(advisory())
    bring(advisory(withdrawn="2026-01-02T00:00:00Z", modified="2026-01-02T00:00:00Z"))
    assert words() == [(digest(1), "CVE-2026-10001", "closed")]
    bring(advisory(modified="2026-01-03T00:00:00Z"))
    assert words() == [(digest(1), "CVE-2026-10001", "open")]


def test_what_another_scanner_still_says_stays_open(post, bring):
    from tests.fixtures_reports import flaw

    post(bill(1, OPENSSL))
    image = {"reference": "reg.example/shop/web:1", "digest": digest(1)}
    package = {"purl": "pkg:deb/debian/libssl3@3.0.11-1~deb12u2"}
    post(report(flaw("CVE-2026-10001", package), image=image))
    bring(advisory())
    assert Observation.objects.count() == 2
    bring(advisory(withdrawn="2026-01-02T00:00:00Z", modified="2026-01-02T00:00:00Z"))
    assert words() == [(digest(1), "CVE-2026-10001", "open")]


def test_what_could_not_be_matched_is_said_and_counts_as_looked_for_once_it_can(post, bring):
    first = post(bill(1, OPENSSL))
    assert first.covers == []
    assert first.warnings == [matching.NO_ADVISORIES]
    assert verdict_of(Image.objects.get(), Gate.PROMOTE).verdict == "block"
    bring(advisory("DEBIAN-CVE-2026-10003", fixed="3.0.1"))
    # Nobody scanned or posted again, and nothing was found: it could be held against them by now.
    first.refresh_from_db()
    assert (first.covers, first.warnings) == (["vulnerability"], [])
    assert verdict_of(Image.objects.get(), Gate.PROMOTE).verdict == "pass"
    # The same content in other bytes, as a pipeline that runs again posts it.
    again = post(bill(1, OPENSSL) + b"\n")
    assert again.counts["introduced"] == 0
    assert again.covers == ["vulnerability"]
    assert again.warnings == []
    assert again.database_updated_at is not None
    assert verdict_of(Image.objects.get(), Gate.PROMOTE).verdict == "pass"


def test_only_what_can_all_be_held_against_advisories_counts_as_looked_for(post, bring):
    lodash = {"purl": "pkg:npm/lodash@4.17.15"}
    fedora = {"purl": "pkg:rpm/fedora/bash@5.2-1.fc40?distro=fedora-40"}
    for number, components in ((1, [OPENSSL, lodash]), (2, [OPENSSL, fedora]), (3, [OPENSSL])):
        post(bill(number, *components))
    bring(advisory())
    covers = dict(Scan.objects.values_list("image__digest", "covers"))
    assert covers == {digest(1): [], digest(2): [], digest(3): ["vulnerability"]}
    npm = {
        "id": "GHSA-npm",
        "modified": "2026-01-01T00:00:00Z",
        "affected": [{"package": {"ecosystem": "npm", "name": "other"}, "versions": ["1"]}],
    }
    bring(npm)
    covers = dict(Scan.objects.values_list("image__digest", "covers"))
    assert covers == {digest(1): ["vulnerability"], digest(2): [], digest(3): ["vulnerability"]}


def test_the_same_feed_again_writes_nothing(post, bring, row_counts):
    post(bill(1, OPENSSL))
    bring(advisory())
    before = {t: n for t, n in row_counts().items() if not t.startswith(("jobs_", "advisories_import", "audit_"))}
    bring(advisory())
    assert {
        t: n for t, n in row_counts().items() if not t.startswith(("jobs_", "advisories_import", "audit_"))
    } == before


def test_a_decision_on_the_risk_still_covers(post, bring, administrator):
    post(bill(1, OPENSSL))
    bring(advisory())
    post(bill(2, OPENSSL))
    assert Finding.objects.values("risk").distinct().count() == 1


def test_killed_between_matching_and_spreading_nothing_is_lost(post, bring, run_jobs, monkeypatch):
    post(bill(1, OPENSSL))
    spread = rematching._spread

    def die(*_: Any) -> None:
        raise OSError("killed")

    monkeypatch.setattr(rematching, "_spread", die)
    bring(advisory())
    assert BuildMatch.objects.exists()
    assert not Finding.objects.exists()
    monkeypatch.setattr(rematching, "_spread", spread)

    class Again:
        args: dict[str, Any] = {}

        def progress(self, *_: Any) -> None: ...

    rematching.rematch(Again())  # type: ignore[arg-type]
    assert words() == [(digest(1), "CVE-2026-10001", "open")]


def test_people_are_told_once_of_what_is_theirs(post, bring, developer, stranger, application):
    post(bill(1, OPENSSL), developer, application=application.slug)
    bring(advisory(), advisory("DEBIAN-CVE-2026-10002"))
    mine = developer.api.get("/api/v1/notifications/").json()["results"]
    assert [n["kind"] for n in mine] == ["new-flaw"]
    assert stranger.api.get("/api/v1/notifications/").json()["results"] == []
    bring(advisory(), advisory("DEBIAN-CVE-2026-10002"))
    assert len(developer.api.get("/api/v1/notifications/").json()["results"]) == 1


def test_tidying_keeps_what_is_needed(post, bring):
    from datetime import timedelta

    from secguard.scans.models import ChangedPackage

    post(bill(1, OPENSSL))
    bring(advisory(), advisory("DEBIAN-CVE-2026-10002"))
    old = timezone.now() - timedelta(days=40)
    ChangedPackage.objects.update(at=old)
    LayerResult.objects.create(diff_id="sha256:x", analyser="a", body=b"", used_at=old)
    LayerResult.objects.create(diff_id="sha256:y", analyser="a", body=b"")
    tidying.tidy(None)  # type: ignore[arg-type]
    assert ChangedPackage.objects.count() == 1
    assert LayerResult.objects.get().diff_id == "sha256:y"
    bring(advisory("DEBIAN-CVE-2026-10003"))
    assert Finding.objects.count() == 3


def test_who_is_hit_is_known_before_the_workers_are_told(post, administrator, developer, stranger, application):
    from secguard.workloads.models import Cluster, Workload

    post(bill(1, OPENSSL), developer, application=application.slug)
    post(bill(2, OPENSSL), developer, application=application.slug)
    post(bill(3, ZLIB), developer, application=application.slug)
    workload = Workload.objects.create(cluster=Cluster.objects.create(name="here"), name="api", application=application)
    workload.images.add(Image.objects.get(digest=digest(2)))
    import io

    from secguard.advisories.reading import items
    from secguard.advisories.services.storing import store

    store(list(items(io.BytesIO(json.dumps(advisory()).encode()), "a.json")))
    assert not Finding.objects.exists()
    found = developer.api.get("/api/v1/advisories/CVE-2026-10001/affected/?limit=1").json()
    assert [(r["digest"], r["workloads"][0]["name"]) for r in found["results"]] == [(digest(2), "api")]
    assert found["count"] == 2
    rest = developer.api.get(found["next"]).json()
    assert [(r["digest"], r["workloads"]) for r in rest["results"]] == [(digest(1), [])]
    assert rest["results"][0]["packages"] == ["pkg:deb/debian/libssl3@3.0.11-1~deb12u2"]
    assert rest["results"][0]["repositories"] == ["reg.example/shop/web"]
    assert stranger.api.get("/api/v1/advisories/CVE-2026-10001/affected/").json()["results"] == []
    assert developer.api.get("/api/v1/advisories/DEBIAN-CVE-2026-10001/affected/").json()["count"] == 2
    assert developer.api.get("/api/v1/advisories/CVE-1999-0001/affected/").status_code == 404


def test_our_own_word_is_withdrawn_beside_packages_without_advisories(bring, administrator):
    """What cannot be matched leaves nothing standing of what can."""
    bring(advisory())
    lodash = {"purl": "pkg:npm/lodash@4.17.15"}

    def look(*components: dict[str, Any]) -> None:
        raw = bill(1, *components)
        scan, _ = services.submit(services.Submission(raw), actor=administrator, max_bytes=10**6)
        Scan.objects.filter(pk=scan.pk).update(scanner="secguard")
        services.take_in(scan.pk, progress=lambda *_: None)

    look(OPENSSL, lodash)
    assert words() == [(digest(1), "CVE-2026-10001", "open")]
    look(lodash)
    assert words() == [(digest(1), "CVE-2026-10001", "closed")]


def test_flaws_that_become_one_are_matched_once(post, bring):
    post(bill(1, OPENSSL))
    bring(advisory("GHSA-aaaa-bbbb-cccc", upstream=[]), advisory())
    assert BuildMatch.objects.count() == 2
    bring(advisory("GHSA-aaaa-bbbb-cccc", upstream=[], aliases=["CVE-2026-10001"], modified="2026-01-02T00:00:00Z"))
    assert BuildMatch.objects.count() == 1
    assert words() == [(digest(1), "CVE-2026-10001", "open")]
    assert not ChangedMatch.objects.exists()
