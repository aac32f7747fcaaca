"""Prisma Cloud Compute's reports: counts checked by hand."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.scans.document import Document
from secguard.scans.readers.twistlock import read

DOJO = "scanner/DefectDojo+django-DefectDojo/unittests/scans/twistlock"
PRISMA = "scanner/jenkinsci+analysis-model/src/test/resources/edu/hm/hafner/analysis/parser/prisma-cloud-report.json"

# Severities of the vulnerabilities in their order, and the number of compliance checks, counted with plain json.
TABLE = [
    (f"{DOJO}/one_vuln.json", ["critical"], 1),
    (f"{DOJO}/findings_include_packages.json", ["critical", "high", "high", "low"], 2),
    (f"{DOJO}/no_vuln.json", [], 0),
    (f"{DOJO}/no_cvss.json", ["low", "low"], 1),
    (f"{DOJO}/packagename.json", ["critical"], 0),
    (PRISMA, ["critical", "high", "medium"], 2),
]


@pytest.mark.corpus
@pytest.mark.parametrize(("member", "severities", "checks"), TABLE, ids=lambda v: str(v)[-40:])
def test_real_reports_have_the_counts_checked_by_hand(corpus, member, severities, checks):
    report = read(Document.parse(corpus(member)))
    assert [v.severity.label for v in report.vulnerabilities] == severities
    assert (report.scanner, len(report.checks)) == ("twistlock", checks)


@pytest.mark.corpus
def test_image_distribution_and_fix_are_told(corpus):
    report = read(Document.parse(corpus(f"{DOJO}/packagename.json")))
    assert report.subject.digest == "sha256:f7b40a71d2d16e91c35d32b10dbadab5ee8c1575b5216dedb11c841bed42eb0b"
    assert (report.subject.reference, report.subject.os_name) == ("some-docker-image", "rocky")
    assert report.vulnerabilities[0].fixed_versions == ("4.1.3", "4.0.9", "3.6.8")
    named = read(Document.parse(corpus(f"{DOJO}/findings_include_packages.json"))).vulnerabilities
    assert named[1].purl == "pkg:deb/debian/glibc@2.24-11%2Bdeb9u4"
    assert named[0].purl == "pkg:generic/pycrypto@2.6.1"  # the report does not say of what kind


@pytest.mark.corpus
def test_several_images_are_refused_by_name(corpus):
    document = json.loads(corpus(f"{DOJO}/no_cvss.json"))
    document["results"] *= 2
    with pytest.raises(Invalid, match="somename:v8") as caught:
        read(Document.parse(json.dumps(document).encode()))
    assert caught.value.code == "several-images"


@pytest.mark.parametrize("raw", [b"{}", b"[]", b'{"results": []}', b'{"results": [{"vulnerabilities": []}]}', b"[1]"])
def test_other_documents_are_not_claimed(raw):
    assert read(Document.parse(raw)) is None


@pytest.mark.corpus
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_broken_reports_raise_invalid_and_nothing_else(corpus, mutate, data):
    member = data.draw(st.sampled_from([TABLE[0][0], TABLE[3][0], PRISMA]))
    with suppress(Invalid):
        report = read(Document.parse(mutate(corpus(member), data)))
        assert report is None or report.scanner == "twistlock"
