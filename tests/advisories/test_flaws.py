"""Names of flaws to flaws."""

from __future__ import annotations

import pytest

from secguard.advisories import services
from secguard.advisories.models import Alias, Vulnerability
from secguard.advisories.naming import Named, is_cve

pytestmark = pytest.mark.django_db


def named(canonical, *names, **more):
    return Named(canonical, {canonical, *names}, **more)


def flaws():
    found: dict[str, set[str]] = {}
    for name, flaw in Alias.objects.values_list("name", "vulnerability__name"):
        found.setdefault(flaw, set()).add(name)
    return found


def test_new_names_make_flaws_and_are_found_again():
    first = services.resolve([named("CVE-2024-0001", "GHSA-a"), named("DSA-1")])
    again = services.resolve([named("GHSA-a"), named("DSA-1"), named("CVE-2024-0001")])
    assert flaws() == {"CVE-2024-0001": {"CVE-2024-0001", "GHSA-a"}, "DSA-1": {"DSA-1"}}
    assert {n: f.id for n, f in first.items()} == {n: f.id for n, f in again.items()}


def test_within_one_report_the_order_of_entries_does_not_matter():
    services.resolve([named("GHSA-a"), named("CVE-2024-0001", "GHSA-a")])
    assert flaws() == {"CVE-2024-0001": {"CVE-2024-0001", "GHSA-a"}}


def test_an_entry_that_joins_two_flaws_makes_them_one_under_the_cve():
    services.resolve([named("GHSA-a"), named("CVE-2024-0001")])
    services.resolve([named("CVE-2024-0001", "GHSA-a")])
    assert flaws() == {"CVE-2024-0001": {"CVE-2024-0001", "GHSA-a"}}


def test_without_a_cve_the_older_flaw_is_kept():
    services.resolve([named("GHSA-a")])
    services.resolve([named("OSV-b")])
    services.resolve([named("OSV-b", "GHSA-a")])
    assert flaws() == {"GHSA-a": {"GHSA-a", "OSV-b"}}


def test_a_flaw_takes_its_cve_s_name_when_it_gets_one():
    services.resolve([named("GHSA-a", known_exploited=True, source="grype")])
    services.resolve([named("CVE-2024-0001", "GHSA-a")])
    assert flaws() == {"CVE-2024-0001": {"CVE-2024-0001", "GHSA-a"}}
    assert Vulnerability.objects.get().known_exploited


def test_two_cves_stay_two_and_a_bundle_s_id_stays_where_it_was_first():
    services.resolve([named("CVE-2024-0001", "DSA-1")])
    services.resolve([named("CVE-2024-0002", "DSA-1")])
    assert flaws() == {"CVE-2024-0001": {"CVE-2024-0001", "DSA-1"}, "CVE-2024-0002": {"CVE-2024-0002"}}


def test_what_was_empty_is_filled_and_what_is_known_stays():
    services.resolve([named("CVE-2024-0001", title="First")])
    services.resolve([named("CVE-2024-0001", title="Second", description="Text", cvss_score=7.5, references=("a",))])
    flaw = Vulnerability.objects.get()
    assert (flaw.title, flaw.description, flaw.cvss_score, flaw.references) == ("First", "Text", 7.5, ["a"])


def test_whoever_follows_facts_is_told_of_exploitation_and_probability_alone():
    told = []
    services.resolve([named("CVE-2024-0001", epss=0.1), named("CVE-2024-0002")])
    services.FACTS_CHANGED.append(told.extend)
    try:
        services.resolve([named("CVE-2024-0001", epss=0.1004, title="New"), named("CVE-2024-0002", title="New")])
        assert told == []
        services.resolve([named("CVE-2024-0001", epss=0.9), named("CVE-2024-0002", known_exploited=True)])
    finally:
        services.FACTS_CHANGED.pop()
    assert told == list(Vulnerability.objects.order_by("pk").values_list("pk", flat=True))


def test_the_number_of_statements_does_not_grow_with_the_report(django_assert_max_num_queries):
    many = [named(f"CVE-2024-{10000 + n}", f"GHSA-{n}", title="t") for n in range(2000)]
    with django_assert_max_num_queries(12):
        services.resolve(many)
    with django_assert_max_num_queries(6):
        services.resolve(many)
    assert Alias.objects.count() == 4000


@pytest.mark.parametrize(("name", "is_one"), [("CVE-2024-0001", True), ("CVE-2024-1", False), ("cve-2024-0001", False)])
def test_what_a_cve_looks_like(name, is_one):
    assert is_cve(name) is is_one
