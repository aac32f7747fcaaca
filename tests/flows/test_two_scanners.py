"""Real reports of several scanners about one real image: the findings are those that a person would count."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from secguard.findings.models import Finding, Observation
from secguard.images.models import Image
from tests.fixtures_reports import digest, flaw, report
from tests.scans.conftest import corpus

__all__ = ["corpus"]

SCANCODE = Path("scanner/aboutcode-org+scancode.io/scanpipe/tests/data/integrations-sca")
TRIVY, GRYPE = (str(SCANCODE / f"{tool}-alpine-3.17-sbom.json") for tool in ("trivy", "anchore"))
ALPINE = "alpine@sha256:8914eb54f968791faf6a8638949e480fef81e697984fba772b3976835194c6d4"
VEXCTL = "scanner/openvex+vexctl/examples/sarif/nginx-{}.sarif.json"
NGINX = "nginx@sha256:13d22ec63300e16014d4a42aed735207a8b33c223cff19627dd3042e5a10a3a0"


def sources() -> Counter[tuple[str, ...]]:
    """How many findings each set of scanners reports."""
    said: dict[int, set[str]] = {}
    for finding, scanner in Observation.objects.values_list("finding", "scanner"):
        said.setdefault(finding, set()).add(scanner)
    return Counter(tuple(sorted(scanners)) for scanners in said.values())


@pytest.mark.corpus
@pytest.mark.parametrize("order", [(TRIVY, GRYPE), (GRYPE, TRIVY)])
def test_trivy_and_grype_agree_on_an_alpine_image(corpus, post, order):
    """Trivy says 70 findings, Grype the same 70 and 11 more that were published since (counted by hand)."""
    for member in order:
        post(corpus(member), image=ALPINE)
    assert Image.objects.get().open_findings == 81
    assert sources() == {("grype", "trivy"): 70, ("grype",): 11}
    assert Finding.objects.values("risk__vulnerability__name", "component__purl").distinct().count() == 81
    later = {"CVE-2022-48174", "CVE-2024-13176", "CVE-2024-58251", "CVE-2025-46394"}
    alone = Finding.objects.exclude(observations__scanner="trivy")
    assert set(alone.values_list("risk__vulnerability__name", flat=True)) == later


@pytest.mark.corpus
def test_a_report_that_tells_less_meets_the_findings_of_one_that_tells_more(corpus, post):
    """Trivy's SARIF names packages without their kind; the image's other report knows them."""
    post(corpus(VEXCTL.format("snyk")), image=NGINX)
    assert sources() == {("snyk",): 65}
    post(corpus(VEXCTL.format("trivy")), image=NGINX)
    found = sources()
    assert found["snyk", "trivy"] + found["snyk",] == 65
    assert found["snyk", "trivy"] + found["trivy",] == 99
    flaws = Finding.objects.filter(observations__scanner="snyk").values_list("risk__vulnerability__name", flat=True)
    assert all(name.startswith("CVE-") for name in flaws), sorted(flaws)[-5:]
    both = Finding.objects.filter(observations__scanner="snyk").filter(observations__scanner="trivy")
    assert both.filter(component__purl__startswith="pkg:deb/debian/").count() == found["snyk", "trivy"] > 30


def test_a_cve_and_its_ghsa_from_two_scanners_are_one_finding_whoever_comes_first(post):
    npm = {"purl": "pkg:npm/lodash@4.17.4"}
    by_cve = report(flaw("CVE-2018-16487", npm), scanner="trivy")
    by_ghsa = report(flaw("GHSA-4xc9-xhrj-v574", npm, aliases=["CVE-2018-16487"]), scanner="grype")
    bare = report(flaw("GHSA-4xc9-xhrj-v574", npm), scanner="docker-scout")
    for number, order in enumerate(((by_cve, by_ghsa, bare), (bare, by_cve, by_ghsa), (by_ghsa, bare, by_cve)), 1):
        for raw in order:
            post(raw.replace(digest(1).encode(), digest(number).encode()))
        image = Image.objects.get(digest=digest(number))
        assert image.findings.filter(status="open").count() == 1
        finding = image.findings.get(status="open")
        assert finding.risk.name == "CVE-2018-16487"
        assert set(finding.observations.values_list("scanner", flat=True)) == {"trivy", "grype", "docker-scout"}
