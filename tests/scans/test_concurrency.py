"""Many pipelines at once: no error, no deadlock, no duplicate. Real transactions in threads of their own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection, connections

from secguard.advisories.models import Alias, Vulnerability
from secguard.findings.models import OPEN, Exposure, Finding, Observation, Risk
from secguard.images.models import Component, Image
from secguard.scans import services
from secguard.scans.models import Scan
from tests.fixtures_reports import digest, flaw, report

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor == "sqlite",
        reason="threads share the cache of SQLite's database in memory, as no server does",
    ),
]

PIPELINES = 20
FLAWS = 40


def at_once(actor, raws):
    """Post and take in every report at the same moment; the errors, if any."""
    ready = Barrier(len(raws))

    def one(raw):
        try:
            ready.wait(timeout=60)
            scan, _ = services.submit(services.Submission(raw), actor=actor, max_bytes=10**7)
            services.take_in(scan.pk, progress=lambda *_: None)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(raws)) as pool:
        return [error for future in [pool.submit(one, raw) for raw in raws] if (error := future.exception())]


def flaws(start, count=FLAWS, **more):
    return [flaw(f"CVE-2024-{10000 + n}", f"package{n % 7}", **more) for n in range(start, start + count)]


def image(number):
    return {"reference": f"reg.example/shop/app{number}:1", "digest": digest(number)}


def test_many_images_with_the_same_new_flaws(administrator):
    # Every second pipeline lists them backwards: the order of locks must not be the order of the report.
    raws = [
        report(*flaws(0)[:: -1 if n % 2 else 1], image=image(n + 1), scanner=f"tool{n % 3}") for n in range(PIPELINES)
    ]
    assert at_once(administrator, raws) == []
    assert Vulnerability.objects.count() == Alias.objects.count() == Risk.objects.count() == FLAWS
    assert Component.objects.count() == 7
    assert Image.objects.count() == PIPELINES
    assert Finding.objects.filter(status=OPEN).count() == Observation.objects.count() == PIPELINES * FLAWS
    assert Exposure.objects.present().count() == PIPELINES * FLAWS


def test_many_tools_on_one_image(administrator):
    raws = [report(*flaws(n), image=image(1), scanner=f"tool{n}") for n in range(PIPELINES)]
    assert at_once(administrator, raws) == []
    named = FLAWS + PIPELINES - 1
    assert (Finding.objects.count(), Risk.objects.count()) == (named, named)
    assert Observation.objects.count() == PIPELINES * FLAWS
    assert Image.objects.get().open_findings == named


def test_the_same_bytes_from_everybody_are_one_scan(administrator):
    assert at_once(administrator, [report(*flaws(0), image=image(1))] * PIPELINES) == []
    assert Scan.objects.count() == 1
    assert Finding.objects.count() == FLAWS


def test_severities_and_facts_that_rise_at_once(administrator):
    at_once(administrator, [report(*flaws(0), image=image(n + 1)) for n in range(PIPELINES)])
    raws = [
        report(
            *flaws(0, severity="critical", fixed_versions=["2"], epss=0.1 + n / 100)[:: -1 if n % 2 else 1],
            image=image(n + 1),
        )
        for n in range(PIPELINES)
    ]
    assert at_once(administrator, raws) == []
    assert set(Risk.objects.values_list("severity", "fix_available")) == {(5, True)}


def test_names_that_prove_to_be_one_while_others_still_post_them(administrator):
    loose = [flaw(f"GHSA-{n}", f"package{n % 7}") for n in range(10)]
    at_once(administrator, [report(*loose, image=image(n + 1)) for n in range(PIPELINES)])
    joining = [flaw(f"CVE-2024-{20000 + n}", f"package{n % 7}", aliases=[f"GHSA-{n}"]) for n in range(10)]
    raws = [report(*(joining if n % 2 else loose), image=image(n + 1), scanner="other") for n in range(PIPELINES)]
    assert at_once(administrator, raws) == []
    assert set(Vulnerability.objects.values_list("name", flat=True)) == {f"CVE-2024-{20000 + n}" for n in range(10)}
    assert Finding.objects.count() == PIPELINES * 10
    assert Observation.objects.count() == PIPELINES * 20
