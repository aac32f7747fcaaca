"""What each reader finds is what plain JSON holds: every real report is counted anew here, by other means."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from secguard.errors import Invalid
from secguard.scans.readers import read_report
from secguard.scans.report import ScanReport

Triple = tuple[str, str, str]
"""Id, package and version of a vulnerability."""


def each(holder: Any, *path: str) -> Iterator[Any]:
    """What stands at the end of the path, through every list and every value of ``*`` on the way."""
    if isinstance(holder, list):
        for item in holder:
            yield from each(item, *path)
    elif not path:
        if holder is not None:
            yield holder
    elif isinstance(holder, dict):
        for inner in holder.values() if path[0] == "*" else [holder.get(path[0])]:
            yield from each(inner, *path[1:])


def triples(items: Iterable[dict[str, Any]], id_: str, name: str, version: str) -> set[Triple]:
    return {(str(v[id_]), str(v[name]), str(v.get(version) or "").strip()) for v in items if v.get(id_) and v.get(name)}


def trivy(d: Any) -> set[Triple] | None:
    results = d if isinstance(d, list) else d.get("Results")
    if (results is None and "SchemaVersion" not in d) or any(each(results, "kind")):
        return None  # a resource of trivy-operator, or of a cluster
    found = [*each(results, "Vulnerabilities"), *(m["Finding"] for m in each(results, "ExperimentalModifiedFindings"))]
    return triples(found, "VulnerabilityID", "PkgName", "InstalledVersion")


def grype(d: Any) -> set[Triple]:
    matches = [*each(d, "matches"), *each(d, "ignoredMatches")]
    return {(m["vulnerability"]["id"], m["artifact"]["name"], m["artifact"].get("version", "")) for m in matches}


def clair(d: Any) -> set[Triple]:
    found = set()
    for package, ids in (d.get("package_vulnerabilities") or {}).items():
        for i in ids:
            flaw, p = d["vulnerabilities"][i], d["packages"][package]
            found.add((flaw["name"], p["name"], p["version"]))
    return found


def clair_scanner(d: Any) -> set[Triple]:
    if "vulnerabilities" in d:
        return triples(each(d, "vulnerabilities"), "vulnerability", "featurename", "featureversion")
    return triples(each(d, "Vulnerabilities", "*"), "Name", "FeatureName", "FeatureVersion")


def snyk(d: Any) -> int:
    """Ids, once for each package that its path leads to."""
    found = [*each(d, "vulnerabilities"), *each(d, "applications", "vulnerabilities"), *each(d, "filtered", "ignore")]
    flaws = [v for v in found if v.get("type") != "license"]
    return len({(v["id"], (v.get("from") or [v.get("name")])[-1], v.get("version")) for v in flaws})


def harbor(d: Any) -> set[Triple]:
    return triples(
        each(d if "vulnerabilities" in d else list(d.values()), "vulnerabilities"), "id", "package", "version"
    )


def twistlock(d: Any) -> set[Triple]:
    found = triples(each(d, "results", "vulnerabilities"), "id", "packageName", "packageVersion")
    return {(id_, name.partition(" (used in ")[0], version) for id_, name, version in found}


def cyclonedx(d: Any) -> int:
    """How often a vulnerability affects something."""
    named = [v for v in each(d, "vulnerabilities") if v.get("id") or any(each(v, "references", "id"))]
    return len({(v.get("id"), a.get("ref")) for v in named for a in each(v, "affects")})


def aqua(d: Any) -> set[Triple]:
    if "result" in d:
        return {(v["name"], v["resource"]["name"], v["resource"]["version"]) for v in d["result"]}
    found = ((v["name"], r["resource"]) for r in each(d, "resources") for v in each(r, "vulnerabilities"))
    return {(n, r.get("name") or r["path"].rpartition("/")[2], r.get("version") or "") for n, r in found}


def stackrox(d: Any) -> set[Triple]:
    components = list(each(d, "scan", "components"))
    return {(v["cve"], c["name"], c["version"]) for c in components for v in each(c, "vulns")}


def neuvector(d: Any) -> set[Triple]:
    return triples(each(d, "report", "vulnerabilities"), "name", "package_name", "package_version")


def wiz(d: Any) -> set[Triple]:
    packages = [p for kind in ("osPackages", "libraries", "applications") for p in each(d, "result", kind)]
    return {(v["name"], p["name"], p["version"]) for p in packages for v in each(p, "vulnerabilities")}


def osv_scanner(d: Any) -> int:
    """Groups of names, once for each package."""
    packages = [p for p in each(d, "results", "packages") if p["package"].get("name")]
    return len(
        {(*g["ids"], p["package"]["name"], p["package"]["version"]) for p in packages for g in each(p, "groups")}
    )


def google(d: Any) -> int:
    return len(list(each(d, "package_vulnerability_summary", "vulnerabilities", "*", "vulnerability", "packageIssue")))


def gitlab(d: Any) -> int:
    return len(
        {
            (
                v["id"]
                if not (named := [i["value"] for i in v["identifiers"] if i["type"] in ("cve", "CVE")])
                else named[0]
            )
            + str(v["location"]["dependency"])
            for v in each(d, "vulnerabilities")
        }
    )


COUNTERS: dict[str, Callable[[Any], set[Triple] | int | None]] = {
    f.__name__: f
    for f in (
        *(trivy, grype, clair, clair_scanner, snyk, harbor, twistlock, cyclonedx, aqua, stackrox, neuvector, wiz),
        *(osv_scanner, google, gitlab),
    )
}
"""By the format's name. ``None`` where the document is of a shape that is not counted here."""


@pytest.fixture(scope="module")
def reports(corpus, corpus_members) -> list[tuple[str, ScanReport, Any]]:
    """Every real report that is read, with its plain JSON."""
    found = []
    for member in (*corpus_members("scanner"), *corpus_members("sbom")):
        raw = corpus(member)
        with suppress(Invalid):
            found.append((member, read_report(raw), json.loads(raw.decode("utf-8-sig"))))
    return found


@pytest.mark.corpus
def test_every_report_holds_the_vulnerabilities_that_plain_json_holds(reports):
    differ, compared = {}, Counter[str]()
    for member, report, plain in reports:
        counted = COUNTERS[report.format](plain) if report.format in COUNTERS else None
        if counted is None:
            continue
        compared[report.format] += 1
        triples_read = {(v.id, v.name, v.version) for v in report.vulnerabilities}
        if counted != (len(report.vulnerabilities) if isinstance(counted, int) else triples_read):
            differ[member] = (len(report.vulnerabilities), counted if isinstance(counted, int) else len(counted))
    assert differ == {}
    assert compared.keys() == COUNTERS.keys()


def cyclonedx_components(d: Any) -> list[dict[str, Any]]:
    waiting, found = list(d.get("components") or []), []
    while waiting:
        found.append(component := waiting.pop())
        waiting.extend(component.get("components") or [])
    return [c for c in found if c.get("type") in ("library", "framework", "application", "firmware")]


def spdx_packages(d: Any) -> set[str]:
    """The package URLs."""
    refs = each(d.get("sbom", d), "packages", "externalRefs")
    purls = {r["referenceLocator"] for r in refs if r["referenceType"].rpartition("/")[2].lower() == "purl"}
    return {bare(p) for p in purls if p.startswith("pkg:") and not p.startswith(("pkg:oci/", "pkg:docker/"))}


def bare(purl: str) -> str:
    """Without qualifiers: one package may have several URLs that differ only there."""
    return purl.partition("#")[0].partition("?")[0]


def syft_packages(d: Any) -> set[tuple[str, str]]:
    return {(a["name"], a["version"]) for a in each(d, "artifacts")}


@pytest.mark.corpus
def test_every_bill_of_materials_holds_the_packages_that_plain_json_holds(reports):
    differ, compared = {}, Counter[str]()
    for member, report, plain in reports:
        purls = {bare(c.purl) for c in report.components}
        if report.format == "cyclonedx":
            ours, theirs = (
                purls,
                {bare(c["purl"]) for c in cyclonedx_components(plain) if c.get("purl") and c.get("name")},
            )
        elif report.format == "spdx":
            ours, theirs = purls, spdx_packages(plain)
        elif report.format == "syft":
            ours, theirs = {(c.name, c.version) for c in report.components}, syft_packages(plain)
        else:
            continue
        compared[report.format] += 1
        # What is no package URL is not taken for one.
        if missing := {t for t in theirs if isinstance(t, tuple) or t.startswith("pkg:")} - ours:
            differ[member] = sorted(missing)[:3]
    assert differ == {}
    assert min(compared.values()) >= 5
