"""Our own look at images in a real registry: once for a digest, platform by platform, layer by layer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings

from secguard.errors import Conflict, Invalid, NotFound
from secguard.findings.models import Finding
from secguard.images.models import Image, ImageComponent, Index, Registry, Tag
from secguard.images.services import RegistryEdit, add_registry
from secguard.jobs.models import Job
from secguard.scans.lifecycle import ScanStatus
from secguard.scans.models import LayerResult, Scan
from secguard.scans.services import asking, looking
from secguard.scans.services.asking import ScanRequest, ask
from tests.fixtures_registries import RunningRegistry
from tests.imagebuilding import image_of, index_of, tar_of

pytestmark = [pytest.mark.django_db, pytest.mark.processes]

STATUS = (
    b"Package: libc6\nStatus: install ok installed\nVersion: 2.36-9+deb12u3\nArchitecture: amd64\nSource: glibc\n\n"
    b"Package: openssl\nStatus: install ok installed\nVersion: 3.0.11-1~deb12u2\nArchitecture: amd64\n\n"
)
RELEASE = b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n'
BASE = tar_of({"etc/os-release": RELEASE, "var/lib/dpkg/status": STATUS, "bin/bash": b"\x7fELF shell"})
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-" + b"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@pytest.fixture
def registry(plain_registry: RunningRegistry, operator: Any) -> RunningRegistry:
    """A real one, set up here."""
    add_registry(plain_registry.host, RegistryEdit(uses_plain_http=True), actor=operator)
    return plain_registry


def wanted(actor: Any, image: str, **more: Any) -> Scan:
    return ask(ScanRequest(image=image, **more), actor=actor)[0]


def key(value: str) -> bytes:
    return f"TOKEN=ghp_{value * 36}\n".encode()


def test_an_image_is_scanned_from_its_tag(registry, administrator, run_jobs):
    image = image_of(BASE, tar_of({"app/.env": key("a"), "srv/x.com": EICAR}), config={"Env": ["DB_PASSWORD=hunter2!"]})
    digest = registry.push("shop/web", "1.0", image)
    scan = wanted(administrator, f"{registry.host}/shop/web:1.0")
    run_jobs()
    scan.refresh_from_db()
    assert (scan.status, scan.problem) == (ScanStatus.FINISHED, None)
    found = Image.objects.get()
    assert (found.digest, found.os_name, found.os_version, found.architecture) == (digest, "debian", "12", "amd64")
    assert found.layers.count() == 2
    assert found.size_bytes == sum(row.layer.size_bytes for row in found.layers.all())
    assert Tag.objects.get().image == found
    purls = set(ImageComponent.objects.values_list("component__purl", flat=True))
    assert "pkg:deb/debian/openssl@3.0.11-1~deb12u2" in purls
    rules = set(Finding.objects.values_list("risk__rule", flat=True))
    assert {"github-token", "image-environment", "EICAR-Test-File", "SG-CFG-001", "SG-CFG-002"} <= rules
    assert {"secret", "malware", "misconfiguration", "hygiene"} == set(scan.covers)


def test_builds_say_what_advisories_call_them(registry, administrator, run_jobs):
    registry.push("shop/web", "1.0", image_of(BASE))
    wanted(administrator, f"{registry.host}/shop/web:1.0")
    run_jobs()
    builds = ImageComponent.objects.values_list("build__ecosystem", "build__source_name", "build__source_version")
    assert ("Debian:12", "glibc", "2.36-9+deb12u3") in set(builds)


def test_what_a_later_layer_deletes_is_still_told_with_its_layer(registry, administrator, run_jobs):
    first, second = tar_of({"etc/key": key("b")}), tar_of({"etc/.wh.key": b""})
    registry.push("shop/web", "2", image_of(first, second))
    wanted(administrator, f"{registry.host}/shop/web:2")
    run_jobs()
    finding = Finding.objects.get(risk__rule="github-token")
    assert finding.path == "/etc/key"
    assert "in a layer below" in finding.risk.title
    layers = {row.layer.diff_id: row.position for row in Image.objects.get().layers.all()}
    assert layers[finding.layer] == 0


def test_no_secret_is_written_anywhere(registry, administrator, run_jobs):
    registry.push("shop/web", "3", image_of(tar_of({"app/.env": key("c")}), config={"Env": ["API_KEY=s3cr3t-value"]}))
    wanted(administrator, f"{registry.host}/shop/web:3")
    run_jobs()
    import zlib

    from secguard.scans.models import Report

    kept = [zlib.decompress(r.body) for r in Report.objects.all()]
    kept += [zlib.decompress(r.body) for r in LayerResult.objects.all()]
    assert not any(b"ccccccc" in body or b"s3cr3t-value" in body for body in kept)


def test_one_digest_asked_for_under_many_names_is_looked_at_once(registry, administrator, run_jobs, monkeypatch):
    from secguard.scans.services import examining

    image = image_of(BASE)
    for tag in ("a", "b", "c"):
        registry.push("shop/web", tag, image)
    registry.push("shop/other", "a", image)
    examined = []
    whole = examining.Examination.examine
    monkeypatch.setattr(examining.Examination, "examine", lambda *a: (examined.append(1), whole(*a))[1])
    scans = [wanted(administrator, f"{registry.host}/shop/web:{tag}") for tag in "abcab"]
    scans.append(wanted(administrator, f"{registry.host}/shop/other:a"))
    assert len({s.pk for s in scans}) == 4
    run_jobs()
    assert {s.status for s in Scan.objects.all()} == {ScanStatus.FINISHED}
    assert Image.objects.count() == 1
    assert Tag.objects.count() == 4
    assert LayerResult.objects.filter(analyser__startswith="look-").count() == 1


def test_a_second_scan_of_known_layers_pulls_nothing(registry, administrator, run_jobs):
    image = image_of(BASE, tar_of({"app/a": b"1"}))
    registry.push("shop/web", "1", image)
    wanted(administrator, f"{registry.host}/shop/web:1")
    run_jobs()
    import shutil

    shutil.rmtree(settings.DATA_DIR / "layers")
    again = wanted(administrator, f"{registry.host}/shop/web:1")
    run_jobs()
    again.refresh_from_db()
    assert again.status == ScanStatus.FINISHED
    assert not any((settings.DATA_DIR / "layers" / "blobs").rglob("*"))


def test_an_index_is_scanned_by_platform_and_shown_as_one(registry, administrator, run_jobs):
    images = [image_of(BASE, architecture=a) for a in ("arm64", "amd64")]
    registry.push("shop/web", "multi", index_of(*images))
    scan = wanted(administrator, f"{registry.host}/shop/web:multi")
    run_jobs()
    scan.refresh_from_db()
    assert (scan.status, scan.problem) == (ScanStatus.FINISHED, None)
    children = list(scan.children.order_by("pk"))
    assert [c.platform for c in children] == ["linux/amd64", "linux/arm64"]
    assert scan.counts["found"] == sum(c.counts["found"] for c in children)
    index = Index.objects.get()
    assert {(m.platform, m.image.architecture) for m in index.members.all()} == {
        ("linux/amd64", "amd64"),
        ("linux/arm64", "arm64"),
    }
    tag = Tag.objects.get()
    assert (tag.name, tag.image.architecture, tag.index) == ("multi", "amd64", index)
    assert tag.repository.newest_image == tag.image


def test_an_index_asked_for_under_many_names_at_once_ends_under_all_of_them(
    registry, administrator, run_jobs, monkeypatch
):
    index = index_of(*(image_of(BASE, architecture=a) for a in ("amd64", "arm64")))
    places = ("shop/web:a", "shop/web:b", "shop/other:a")
    for place in places:
        registry.push(*place.split(":"), index)
    scans = [wanted(administrator, f"{registry.host}/{place}") for place in places]
    run_jobs()
    for scan in scans:
        scan.refresh_from_db()
        assert (scan.status, scan.problem, scan.index.digest) == (ScanStatus.FINISHED, None, index.digest)
        assert [c.platform for c in scan.children.order_by("pk")] == ["linux/amd64", "linux/arm64"]
    pointed = Tag.objects.values_list("repository__path", "name", "image__architecture", "index__digest")
    assert sorted(pointed) == sorted((*place.split(":"), "amd64", index.digest) for place in places)
    assert Image.objects.count() == 2
    assert LayerResult.objects.filter(analyser__startswith="look-").count() == 1


def test_an_index_that_fails_fails_for_all_who_asked(registry, administrator, run_jobs):
    index = index_of(image_of(BASE), image_of(b"no tar at all" * 100, architecture="arm64"))
    for tag in ("a", "b"):
        registry.push("shop/web", tag, index)
    scans = [wanted(administrator, f"{registry.host}/shop/web:{tag}") for tag in "ab"]
    run_jobs()
    for scan in scans:
        scan.refresh_from_db()
        assert scan.status == ScanStatus.FAILED
        assert "1 of 2 platforms" in scan.problem["detail"]


def test_an_index_is_split_once_whatever_happens_to_its_worker(registry, administrator, run_jobs):
    registry.push("shop/web", "multi", index_of(*(image_of(BASE, architecture=a) for a in ("amd64", "arm64"))))
    scan = wanted(administrator, f"{registry.host}/shop/web:multi")
    run = SimpleNamespace(args={"scan": scan.pk}, progress=lambda *_: None)
    looking.look(run)
    first, _ = scan.children.order_by("pk")
    looking.look(SimpleNamespace(args={"scan": first.pk}, progress=lambda *_: None))
    looking.look(run)  # as after a kill, with one platform done
    assert scan.children.count() == 2
    run_jobs()
    scan.refresh_from_db()
    assert (scan.status, scan.children.count()) == (ScanStatus.FINISHED, 2)


def test_a_repository_whose_name_begins_alike_is_another(registry, administrator):
    image = f"sha256:{'ab' * 32}"
    other = wanted(administrator, f"{registry.host}/shop/web-admin@{image}")
    Scan.objects.filter(pk=other.pk).update(examines=image, status=ScanStatus.RUNNING)
    mine = wanted(administrator, f"{registry.host}/shop/web@{image}")
    assert mine.pk != other.pk
    assert wanted(administrator, f"{registry.host}/shop/web-admin:1@{image}").pk == other.pk


def test_one_bad_platform_fails_the_whole_and_says_which(registry, administrator, run_jobs):
    good = image_of(BASE)
    bad = image_of(b"no tar at all" * 100, architecture="arm64")
    registry.push("shop/web", "half", index_of(good, bad))
    scan = wanted(administrator, f"{registry.host}/shop/web:half")
    run_jobs()
    scan.refresh_from_db()
    assert scan.status == ScanStatus.FAILED
    assert "1 of 2 platforms" in scan.problem["detail"]
    assert "linux/arm64" in scan.problem["detail"]


def test_a_failed_look_says_why_and_closes_nothing(registry, administrator, run_jobs):
    registry.push("shop/web", "1", image_of(tar_of({"x": key("d")})))
    wanted(administrator, f"{registry.host}/shop/web:1")
    run_jobs()
    registry.push("shop/web", "1", image_of(b"broken"))
    scan = wanted(administrator, f"{registry.host}/shop/web:1")
    run_jobs()
    scan.refresh_from_db()
    assert scan.status == ScanStatus.FAILED
    assert scan.problem["detail"]
    assert Finding.objects.filter(risk__rule="github-token", status="open").exists()


@pytest.mark.parametrize("tag", ["nothing-here", "latest"])
def test_a_tag_that_is_not_there_is_said(registry, administrator, run_jobs, tag):
    scan = wanted(administrator, f"{registry.host}/shop/empty:{tag}")
    run_jobs()
    scan.refresh_from_db()
    assert scan.status == ScanStatus.FAILED
    assert tag in scan.problem["detail"]


def test_no_registry_that_nobody_set_up_is_spoken_to(administrator):
    Registry.objects.create(host="169.254.169.254")  # as a report may name it
    with pytest.raises(Invalid, match="nobody has set that registry up"):
        ask(ScanRequest(image="169.254.169.254/latest/meta-data:x"), actor=administrator)
    assert not Scan.objects.exists()


def test_a_stranger_asks_for_nothing_of_another_team(registry, developer, stranger, application, run_jobs):
    registry.push("shop/web", "1", image_of(BASE))
    name = f"{registry.host}/shop/web:1"
    scan = wanted(developer, name, application=application.slug)
    run_jobs()
    with pytest.raises(NotFound):
        wanted(stranger, name)
    assert not Scan.objects.visible_to(stranger).exists()
    with pytest.raises(NotFound):
        asking.cancel(scan.pk, actor=stranger)


def test_a_scan_can_be_called_off(registry, developer, application, run_jobs):
    registry.push("shop/web", "1", image_of(BASE))
    scan = wanted(developer, f"{registry.host}/shop/web:1", application=application.slug)
    cancelled = asking.cancel(scan.pk, actor=developer)
    assert cancelled.status == ScanStatus.CANCELLED
    assert Job.objects.get(pk=scan.job_id).status == "cancelled"
    run_jobs()
    scan.refresh_from_db()
    assert (scan.status, Image.objects.exists()) == (ScanStatus.CANCELLED, False)
    with pytest.raises(Conflict):
        asking.cancel(scan.pk, actor=developer)


def test_who_waits_for_a_scan_that_is_called_off_goes_on_without_it(registry, administrator, run_jobs):
    image = image_of(BASE)
    for tag in "ab":
        registry.push("shop/web", tag, image)
    first, second = (wanted(administrator, f"{registry.host}/shop/web:{t}") for t in "ab")
    Scan.objects.filter(pk=first.pk).update(status="running", examines=image.digest)
    Job.objects.filter(pk=first.job_id).update(status="cancelled", finished_at=first.created_at)
    run_jobs()
    second.refresh_from_db()
    assert (second.status, second.same_as_id) == (ScanStatus.RUNNING, first.pk)
    asking.cancel(first.pk, actor=administrator)
    run_jobs()
    second.refresh_from_db()
    assert second.status == ScanStatus.FINISHED


def test_a_shared_digest_tells_no_team_what_the_other_calls_it(
    registry, developer, stranger, application, other_application, run_jobs
):
    image = image_of(BASE)
    for path in ("payments/secret-project", "logistics/app"):
        registry.push(path, "1", image)
    ours = wanted(developer, f"{registry.host}/payments/secret-project:1", application=application.slug)
    theirs = wanted(stranger, f"{registry.host}/logistics/app:1", application=other_application.slug)
    run_jobs()
    listed = stranger.api.get("/api/v1/scans/").json()["results"]
    assert {row["id"]: row["image"] for row in listed} == {ours.pk: image.digest, theirs.pk: theirs.reference}
    for answer in (
        stranger.api.get(f"/api/v1/scans/{ours.pk}/"),
        stranger.client.get(f"/scans/{ours.pk}/"),
        stranger.api.get(f"/api/v1/images/{image.digest}/"),
    ):
        assert answer.status_code == 200
        assert "secret-project" not in answer.content.decode()


@pytest.mark.parametrize("how", ["taken in by another worker", "called off"])
def test_a_worker_that_comes_back_late_changes_nothing(registry, administrator, run_jobs, monkeypatch, how):
    from secguard.scans.services import taking_in

    registry.push("shop/web", "1", image_of(BASE, tar_of({"x": key("e")})))
    scan = wanted(administrator, f"{registry.host}/shop/web:1")
    late, before = [], taking_in.speaks_for

    def overtaken(found: Scan) -> Any:
        """The last that a worker does before its transaction."""
        if not late:
            late.append(found.pk)
            if how == "called off":
                asking.cancel(found.pk, actor=administrator)
            else:
                taking_in.take_in(found.pk, progress=lambda *_: None)
        return before(found)

    monkeypatch.setattr(taking_in, "speaks_for", overtaken)
    run_jobs()
    scan.refresh_from_db()
    assert late == [scan.pk]
    if how == "called off":
        assert (scan.status, Finding.objects.exists()) == (ScanStatus.CANCELLED, False)
    else:
        assert (scan.status, scan.counts["introduced"] > 0) == (ScanStatus.FINISHED, True)
