"""KEV and EPSS: kept, and followed by the flaws that are known and those that come later."""

from __future__ import annotations

import gzip
import json

import pytest
import zstandard

from secguard.advisories import services
from secguard.advisories.entry import Malformed
from secguard.advisories.epss import rows
from secguard.advisories.kev import read
from secguard.advisories.models import EpssScore, KnownExploited, Vulnerability
from secguard.advisories.naming import Named
from secguard.errors import Invalid

pytestmark = pytest.mark.django_db


@pytest.fixture
def told():
    found = []
    services.FACTS_CHANGED.append(lambda ids: found.extend(ids))
    yield found
    services.FACTS_CHANGED.pop()


@pytest.fixture
def imported(tmp_path):
    def take(raw, name="feed"):
        (tmp_path / "file").write_bytes(raw)
        return services.take_in(tmp_path / "file", name)

    return take


def catalogue(*names, **members):
    entries = [
        {"cveID": n, "vendorProject": "V", "dateAdded": "2024-01-02", "knownRansomwareCampaignUse": "Known"}
        for n in names
    ]
    return json.dumps({"catalogVersion": "1", "count": len(entries), "vulnerabilities": entries, **members}).encode()


def flaw(name, **more):
    return services.resolve([Named(name, {name}, **more)])[name].id


def exploited():
    return set(Vulnerability.objects.filter(known_exploited=True).values_list("name", flat=True))


def test_flaws_follow_the_catalogue_both_ways(imported, told):
    known, later = flaw("CVE-2024-0001"), "CVE-2024-0002"
    imported(catalogue("CVE-2024-0001", later))
    assert (told, exploited()) == ([known], {"CVE-2024-0001"})
    flaw(later)
    assert exploited() == {"CVE-2024-0001", later}
    taken = imported(catalogue(later))
    assert taken.counts["removed"] == 1
    assert exploited() == {later}
    assert told == [known, known]


def test_a_scanner_s_word_outlives_the_catalogue_s(imported):
    flaw("CVE-2024-0001", known_exploited=True, source="grype")
    imported(catalogue("CVE-2024-0001", "CVE-2024-0002"))
    imported(catalogue("CVE-2024-0002"))
    assert exploited() == {"CVE-2024-0001"}


def test_a_flaw_follows_by_any_of_its_names(imported):
    services.resolve([Named("CVE-2024-0001", {"CVE-2024-0001", "GHSA-a"})])
    imported(catalogue("CVE-2024-0001"))
    assert exploited() == {"CVE-2024-0001"}


def test_a_catalogue_that_is_not_whole_takes_nothing_back(imported):
    imported(catalogue("CVE-2024-0001", "CVE-2024-0002"))
    taken = imported(catalogue("CVE-2024-0001", count=2))
    assert taken.reasons == ["KEV: says that it has 2 entries and has 1"]
    assert KnownExploited.objects.count() == 2
    table = b"cveID,vendorProject,dateAdded\r\nCVE-2024-0001,V,2024-01-02\r\n"
    assert imported(table, "kev.csv").counts["removed"] == 0
    with pytest.raises(Invalid, match="cut off"):
        imported(zstandard.compress(table * 50)[:-3], "kev.csv.zst")
    assert KnownExploited.objects.count() == 2
    with pytest.raises(Malformed, match="expected 1 to"):
        read({"catalogVersion": "1", "vulnerabilities": []})


def test_the_same_catalogue_again_changes_nothing(imported, told):
    flaw("CVE-2024-0001")
    imported(catalogue("CVE-2024-0001"))
    taken = imported(catalogue("CVE-2024-0001"))
    assert (taken.counts["unchanged"], len(told)) == (1, 1)


@pytest.mark.parametrize("ending", ["json", "csv"])
def test_the_real_catalogue_in_both_forms(corpus, imported, ending):
    raw = corpus(f"advisories/cisagov+kev-data/2025-03-03.known_exploited_vulnerabilities.{ending}.zst")
    taken = imported(raw, f"kev.{ending}.zst")
    assert (taken.counts["added"], taken.counts["left_out"], taken.kinds) == (1285, 0, {"kev"})
    row = KnownExploited.objects.get(name="CVE-2024-4885")
    assert (row.vendor, row.added_on.isoformat(), row.is_ransomware) == ("Progress", "2025-03-03", False)


CSV = b"#model_version:v2025.03.14,score_date:2025-12-26T12:55:00Z\ncve,epss,percentile\nCVE-2024-0001,0.5,0.9\n"


def epss_of(name):
    return Vulnerability.objects.get(name=name).epss


@pytest.mark.parametrize(
    "raw",
    [
        CSV,
        CSV.partition(b"\n")[2],
        CSV.replace(b"\n", b"\r\n"),
        gzip.compress(CSV),
        json.dumps(
            {
                "status": "OK",
                "data": [{"cve": "CVE-2024-0001", "epss": "0.5", "percentile": "0.9", "date": "2025-12-26"}],
            }
        ).encode(),
    ],
)
def test_scores_in_every_form_are_followed(imported, told, raw):
    known = flaw("CVE-2024-0001")
    imported(raw)
    assert (told, epss_of("CVE-2024-0001")) == ([known], 0.5)


def test_scores_change_only_where_they_are_news(imported, told):
    flaw("CVE-2024-0001")
    first = imported(CSV)
    assert first.data_at.isoformat() == "2025-12-26T12:55:00+00:00"
    assert imported(CSV).counts["unchanged"] == 1
    imported(CSV.replace(b"0.5,", b"0.5004,"))
    assert (EpssScore.objects.get().score, epss_of("CVE-2024-0001"), len(told)) == (0.5004, 0.5, 1)
    imported(CSV.replace(b"0.5,", b"0.8,"))
    assert (epss_of("CVE-2024-0001"), len(told)) == (0.8, 2)
    flaw("CVE-2024-0009")
    assert epss_of("CVE-2024-0009") is None


def test_a_flaw_met_later_has_its_score(imported):
    imported(CSV)
    flaw("CVE-2024-0001")
    assert epss_of("CVE-2024-0001") == 0.5


def test_rows_that_are_none_are_named():
    found = list(rows(["cve,epss,percentile", "CVE-2024-0001,1.5,0.9", "nonsense", "CVE-2024-0002,7e-05,0.1"]))
    assert [r if isinstance(r, str) else r.name for r in found] == [
        "line 2: 'CVE-2024-0001,1.5,0.9' is no CVE with two numbers from 0 to 1",
        "line 3: 'nonsense' is no CVE with two numbers from 0 to 1",
        "CVE-2024-0002",
    ]
    with pytest.raises(Malformed, match="heading"):
        list(rows(["invalid,header,format"]))
