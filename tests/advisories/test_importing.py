"""Files of advisories into the database: all that is sound goes in, the rest is named, the same again writes none."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile

import pytest
import zstandard
from django.db import connection
from django.test.utils import CaptureQueriesContext

from secguard.advisories import services
from secguard.advisories.models import Advisory, AffectedRange, Import, Vulnerability
from secguard.advisories.services.importing import file_of
from secguard.errors import Invalid, NotAllowed, TooLarge
from secguard.jobs.models import Job

pytestmark = pytest.mark.django_db


def osv(name, *aliases, fixed="2.0", ecosystem="npm", package="a", **members):
    return {
        "id": name,
        "modified": "2024-01-01T00:00:00Z",
        "aliases": list(aliases),
        "summary": f"Summary of {name}",
        "affected": [
            {
                "package": {"ecosystem": ecosystem, "name": package},
                "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
            }
        ],
        **members,
    }


def lines(*entries):
    return b"\n".join(json.dumps(e).encode() for e in entries)


@pytest.fixture
def imported(tmp_path):
    """``imported(raw, name)`` takes a file in and gives back what became of it."""

    def take(raw, name="feed.jsonl"):
        path = tmp_path / "file"
        path.write_bytes(raw)
        return services.take_in(path, name)

    return take


def cut(raw, packer):
    """Packed, and cut off three bytes before its end."""
    return packer(raw)[:-3]


@pytest.mark.parametrize(("packer", "ending"), [(gzip.compress, "gz"), (zstandard.compress, "zst")])
def test_a_packed_file_that_was_cut_off_is_no_whole_feed(imported, packer, ending):
    entries = [osv(f"GHSA-{i}", package=f"p{i}") for i in range(3000)]
    taken = imported(cut(lines(*entries), packer), f"feed.jsonl.{ending}")
    assert taken.counts["left_out"] == 1
    assert "read in part" in taken.reasons[0]


def counts(taken):
    return {k: v for k, v in taken.counts.items() if v}


def zipped(**members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in members.items():
            archive.writestr(name.replace("__", "/"), raw)
    return packed.getvalue()


def tarred(**members):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return packed.getvalue()


ONE = lines(osv("GHSA-a", "CVE-2024-0001"))
TWO = lines(osv("GHSA-b", "CVE-2024-0002"))


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (ONE + b"\n" + TWO, "feed.jsonl"),
        (ONE + b"\n\n" + TWO + b"\n", "feed"),
        (gzip.compress(ONE + b"\n" + TWO), "feed.jsonl.gz"),
        (gzip.compress(ONE + b"\n") + gzip.compress(TWO), "feed.jsonl.gz"),
        (zstandard.compress(ONE + b"\n" + TWO), "feed.jsonl.zst"),
        (b"[" + ONE + b"," + TWO + b"]", "feed.json"),
        (zipped(**{"a.json": ONE, "b__b.json": json.dumps(json.loads(TWO), indent=2).encode()}), "all.zip"),
        (tarred(**{"a.json": ONE, "b.json": TWO}), "feed.tar.gz"),
        (zipped(**{"a.yaml": json.dumps(json.loads(ONE)), "b.jsonl": TWO}), "all.zip"),
    ],
)
def test_every_packing_is_read(imported, raw, name):
    assert counts(imported(raw, name)) == {"read": 2, "added": 2}
    assert set(Vulnerability.objects.values_list("name", flat=True)) == {"CVE-2024-0001", "CVE-2024-0002"}
    row = AffectedRange.objects.get(advisory__name="GHSA-a")
    assert (row.ecosystem, row.name, row.ranges) == ("npm", "a", [[["introduced", "0"], ["fixed", "2.0"]]])


def test_the_same_again_writes_no_row(imported):
    imported(ONE + b"\n" + TWO)
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert counts(imported(b"[" + TWO + b"," + ONE + b"]")) == {"read": 2, "unchanged": 2}
    assert not [q for q in asked if q["sql"].startswith(("INSERT", "UPDATE", "DELETE"))]


def test_what_changed_is_written_anew_and_told(imported):
    told = []
    imported(ONE + b"\n" + TWO)
    services.ADVISORIES_CHANGED.append(told.append)
    try:
        changed = osv("GHSA-a", "CVE-2024-0001", package="b", modified="2024-02-01T00:00:00Z")
        assert counts(imported(lines(changed) + b"\n" + TWO)) == {"read": 2, "changed": 1, "unchanged": 1}
    finally:
        services.ADVISORIES_CHANGED.pop()
    flaw = Vulnerability.objects.get(name="CVE-2024-0001").pk
    assert told == [services.Changes(frozenset({("npm", "a"), ("npm", "b")}), frozenset({flaw}))]
    assert list(AffectedRange.objects.filter(advisory__name="GHSA-a").values_list("name", flat=True)) == ["b"]


def test_an_older_copy_changes_nothing(imported):
    imported(lines(osv("GHSA-a", modified="2024-06-01T00:00:00Z", fixed="3.0")))
    assert counts(imported(ONE)) == {"read": 1, "unchanged": 1}


def test_a_withdrawn_advisory_loses_its_flaws_and_joins_none(imported):
    imported(ONE)
    told = []
    services.ADVISORIES_CHANGED.append(told.append)
    try:
        gone = osv("GHSA-a", "CVE-2024-0001", "GHSA-z", withdrawn="2024-03-01T00:00:00Z")
        imported(lines(gone))
    finally:
        services.ADVISORIES_CHANGED.pop()
    advisory = Advisory.objects.get(name="GHSA-a")
    assert advisory.withdrawn_at is not None
    assert not advisory.flaws.exists()
    assert told[0].flaws == {Vulnerability.objects.get(name="CVE-2024-0001").pk}
    assert not Vulnerability.objects.filter(aliases__name="GHSA-z").exists()


def test_a_later_feed_that_joins_two_flaws_makes_them_one(imported):
    imported(lines(osv("GHSA-a"), osv("PYSEC-1", "CVE-2024-0001")))
    assert Vulnerability.objects.count() == 2
    imported(lines(osv("OSV-1", "GHSA-a", "CVE-2024-0001")))
    flaw = Vulnerability.objects.get()
    assert flaw.name == "CVE-2024-0001"
    assert {a.name for a in flaw.advisories.all()} == {"GHSA-a", "PYSEC-1", "OSV-1"}


def test_a_bundle_is_about_each_of_its_flaws_and_gives_them_no_text(imported):
    imported(lines(osv("USN-1", upstream=["CVE-2024-0001", "CVE-2024-0002"], ecosystem="Ubuntu:22.04:LTS")))
    assert {v.name: v.title for v in Vulnerability.objects.all()} == {"CVE-2024-0001": "", "CVE-2024-0002": ""}
    assert Advisory.objects.get().flaws.count() == 2


def test_ids_that_two_databases_use_stand_beside_each_other(imported):
    imported(lines(osv("CVE-2024-0001", ecosystem="DHI"), osv("CVE-2024-0001", ecosystem="Kubernetes")))
    assert set(Advisory.objects.values_list("source", flat=True)) == {"osv:DHI", "osv:Kubernetes"}


def test_one_package_of_one_advisory_is_one_row(imported):
    entry = osv("ALSA-1", related=["CVE-2024-0001"], ecosystem="AlmaLinux:8", package="ruby")
    entry["affected"].append(
        {**entry["affected"][0], "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}
    )
    imported(lines(entry))
    assert len(AffectedRange.objects.get().ranges) == 2


def test_bad_entries_are_counted_and_the_first_named_while_good_ones_go_in(imported):
    bad = [
        b'{"id": 7}',
        b"{",
        b'{"id": "A", "affected": [{"package": 1}]}',
        b'{"id": "N", "details": "a\\u0000b\\u0000", "summary": "x\\u0000"}',
    ]
    taken = imported(ONE + b"\n" + b"\n".join(bad * 5) + b"\n" + TWO)
    assert counts(taken) == {"read": 2, "added": 2, "left_out": 20}
    assert len(taken.reasons) == 10
    assert taken.reasons[0].startswith("feed.jsonl line 2: Expected `str`")
    assert "NUL" in taken.reasons[3]


def test_a_broken_archive_gives_what_it_holds(imported):
    packed = gzip.compress(b"\n".join(lines(osv(f"GHSA-{n}", details="x" * 5000)) for n in range(200)))
    taken = imported(packed[: len(packed) // 2], "feed.jsonl.gz")
    assert taken.counts["read"] > 10
    assert taken.counts["left_out"]
    assert any("read in part" in r for r in taken.reasons)


@pytest.mark.parametrize(
    ("raw", "name", "says"),
    [
        (b"PK\x03\x04 no zip", "all.zip", "cannot be unpacked"),
        (b"plain words", "x.txt", "neither JSON nor YAML"),
        (b'{"hello": "world"}', "x.json", "no OSV entry"),
        (b"[]", "x.json", "holds no entry"),
        (zipped(**{"a.txt": b"words"}), "all.zip", "a.txt"),
        (b"a: &x [1, 2]\nb: *x\n", "x.yaml", "refers to a part of itself"),
    ],
)
def test_a_file_of_something_else_is_refused_in_words(imported, raw, name, says):
    with pytest.raises(Invalid, match=says):
        imported(raw, name)


def test_a_bomb_is_not_unpacked(imported):
    with pytest.raises(TooLarge, match="250 times its packed size"):
        imported(zipped(**{"a.json": b"{" + b" " * (64 * 2**20)}), "all.zip")
    with pytest.raises(TooLarge, match="250 times its packed size"):
        imported(gzip.compress(b"{" + b"\n" * (64 * 2**20)), "a.jsonl.gz")


def test_what_a_file_unpacks_to_is_bounded(imported, settings):
    settings.MAX_FEED_UNPACKED_BYTES = 10_000
    with pytest.raises(TooLarge, match="10,000 bytes"):
        imported(zipped(**{f"{n}.json": ONE for n in range(100)}), "all.zip")


def test_statements_grow_with_batches_and_not_with_entries(imported, django_assert_max_num_queries):
    many = b"\n".join(lines(osv(f"GHSA-{n}", f"CVE-2024-{10000 + n}", package=f"p{n}")) for n in range(1500))
    with django_assert_max_num_queries(40):
        imported(many)
    assert Advisory.objects.count() == 1500
    with django_assert_max_num_queries(4):
        imported(many)


def test_secdb_and_debian_s_tracker_are_statements_too(imported):
    imported(
        json.dumps(
            {
                "distroversion": "v3.18",
                "reponame": "main",
                "packages": [
                    {"pkg": {"name": "xen", "secfixes": {"4.10-r2": ["CVE-2018-7540 XSA-252"], "0": ["CVE-2018-1"]}}}
                ],
            }
        ).encode(),
        "main.json",
    )
    imported(
        json.dumps(
            {
                "glibc": {
                    "CVE-2024-0001": {
                        "description": "Text",
                        "releases": {
                            "bookworm": {"status": "resolved", "fixed_version": "2.36-9+deb12u4", "urgency": "high**"},
                            "trixie": {"status": "open", "urgency": "unimportant"},
                            "sid": {"status": "undetermined", "urgency": "not yet assigned"},
                        },
                    }
                }
            }
        ).encode(),
        "json",
    )
    rows = {(r.ecosystem, r.name): (r.ranges, r.severity) for r in AffectedRange.objects.all()}
    assert rows["Debian:12", "glibc"] == ([[["introduced", "0"], ["fixed", "2.36-9+deb12u4"]]], "high")
    assert rows["Debian:13", "glibc"] == ([[["introduced", "0"]]], "unimportant")
    assert rows["Debian:sid", "glibc"] == ([], "")
    assert Advisory.objects.filter(name="CVE-2018-7540 in Alpine:v3.18 main", source="alpine-secdb").exists()


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("advisories/pypa+advisory-database/pypa-osv-yaml.shared.zip", {"read": 1599, "added": 1599}),
        ("advisories/alpinelinux+alpine-secdb/alpine-secdb.shared.zip", {"read": 6977, "added": 6977}),
        ("advisories/RustSec+advisory-db/rustsec-osv.shared.jsonl.zst", {"read": 432, "added": 432}),
    ],
)
def test_real_feeds_go_in_whole(corpus, imported, member, expected):
    assert counts(imported(corpus(member), member.rpartition("/")[2])) == expected


# The job, and who may ask for it.


def ask(raw, actor, name="feed.jsonl"):
    received = services.folder() / "received"
    received.write_bytes(raw)
    return services.request_import(received, name, actor=actor)


def test_an_import_is_a_job_and_its_file_is_gone_afterwards(operator, run_jobs):
    row = ask(ONE + b"\n{", operator)
    assert Job.objects.get(pk=row.job_id).queue == "interactive"
    run_jobs()
    row.refresh_from_db()
    assert (row.status, row.counts, row.kinds) == (
        "finished",
        {"read": 1, "added": 1, "changed": 0, "unchanged": 0, "left_out": 1},
        ["osv"],
    )
    assert row.reasons[0].startswith("feed.jsonl line 2")
    assert row.data_at.isoformat() == "2024-01-01T00:00:00+00:00"
    assert not file_of(row.pk).exists()


def test_an_import_of_nothing_fails_in_words(operator, run_jobs):
    row = ask(b"plain words", operator, "notes.txt")
    run_jobs()
    row.refresh_from_db()
    assert row.status == "failed"
    assert "neither JSON nor YAML" in row.error
    assert not file_of(row.pk).exists()


def test_an_import_that_was_broken_off_is_taken_up_again(operator, run_jobs, monkeypatch):
    row = ask(b"\n".join(lines(osv(f"GHSA-{n}")) for n in range(5)), operator)
    from secguard.advisories.services import importing

    def die(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(importing, "BATCH", 2)
    with monkeypatch.context() as patch:
        patch.setattr(importing, "finish", die)
        with pytest.raises(KeyboardInterrupt):
            run_jobs()
    assert Advisory.objects.count() == 5
    run_jobs()
    row.refresh_from_db()
    assert (row.status, row.counts["unchanged"]) == ("finished", 5)


def test_an_empty_file_and_who_may_not_are_refused(viewer, operator):
    with pytest.raises(Invalid, match="empty"):
        ask(b"", operator)
    with pytest.raises(NotAllowed, match="feed:edit"):
        ask(ONE, viewer)
    assert not Import.objects.exists()
