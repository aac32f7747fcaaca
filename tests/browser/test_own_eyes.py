"""An image is pushed: its registry tells of it, a worker scans it while somebody looks on, and an advisory that comes
later adds a finding to it without another scan."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Installation, OpenAs, Watched
from tests.browser.test_pages import faults_of
from tests.fixtures_registries import RunningRegistry, Start, free_port
from tests.imagebuilding import docker_archive, image_of, index_of, tar_of

pytestmark = [pytest.mark.browser, pytest.mark.processes]

STATUS = b"Package: openssl\nStatus: install ok installed\nVersion: 3.0.11-1~deb12u2\nArchitecture: amd64\n\n"
BASE = tar_of(
    {
        "etc/os-release": b'ID=debian\nVERSION_ID="12"\n',
        "var/lib/dpkg/status": STATUS,
        # Something to pull and to look into, so that there is progress to see.
        **{f"usr/share/filler/{i}": bytes([i]) * 200_000 for i in range(200)},
    }
)
APPLICATION = tar_of({"app/settings.env": f"TOKEN=ghp_{'x' * 36}\n".encode()})
ADVISORY = {
    "schema_version": "1.7.0",
    "id": "DEBIAN-CVE-2026-40001",
    "modified": "2026-11-01T00:00:00Z",
    "upstream": ["CVE-2026-40001"],
    "summary": "A flaw that became known afterwards",
    "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
    "affected": [
        {
            "package": {"ecosystem": "Debian:12", "name": "openssl"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.0.11-1~deb12u9"}]}],
        }
    ],
}


@pytest.fixture(scope="module")
def registry(installation: Installation, start_registry: Start) -> RunningRegistry:
    """A real registry that tells the installation of pushes."""
    port = free_port()
    made = installation.api("POST", "registries/", json={"host": f"127.0.0.1:{port}", "uses_plain_http": True})
    assert made.status_code == 201, made.text
    token = installation.api("POST", f"registries/{made.json()['id']}/webhook-token/").json()["token"]
    endpoint = {
        "name": "secguard",
        "url": f"{installation.url}/hooks/registry/",
        "headers": {"Authorization": [f"Bearer {token}"]},
        "timeout": "5s",
        "threshold": 5,
        "backoff": "1s",
    }
    return start_registry(notifications={"endpoints": [endpoint]}, port=port)


def test_a_pushed_image_is_scanned_and_a_later_advisory_hits_it(
    installation: Installation, registry: RunningRegistry, open_as: OpenAs, tmp_path: Path
) -> None:
    page = _open(installation, open_as).new_page()
    digest = registry.push("shop/eyes", "1.0", image_of(BASE, APPLICATION))

    scan = _scan_of(installation, "shop/eyes:1.0")
    page.goto(f"/scans/{scan}/")
    card = page.locator("#scan")
    # The page itself asks again each second; nothing reloads it here.
    expect(card.get_by_role("heading", name="Finished")).to_be_visible(timeout=120_000)

    page.goto(f"/images/{digest}/")
    layers = page.locator("section", has=page.get_by_role("heading", name="Layers"))
    rows = layers.locator("tbody tr")
    expect(rows).to_have_count(2)
    rows.nth(1).get_by_role("link").click()
    expect(page).to_have_url(re.compile("layer=sha256"))
    findings = page.get_by_role("table", name="Findings of this image")
    expect(findings).to_contain_text("github-token")
    expect(findings).not_to_contain_text("SG-CFG-001")
    expect(page.locator("body")).not_to_contain_text("xxxxxxxx")

    scans = len(_scans(installation))
    feed = tmp_path / "feed.json"
    feed.write_text(json.dumps(ADVISORY))
    done = installation.run("advisories", "import", str(feed))
    assert done.returncode == 0, done.stderr
    for _ in range(100):
        page.goto(f"/images/{digest}/")
        if "CVE-2026-40001" in page.content():
            break
        page.wait_for_timeout(200)
    row = page.get_by_role("row").filter(has_text="CVE-2026-40001").first
    expect(row).to_contain_text("3.0.11-1~deb12u9")
    assert len(_scans(installation)) == scans


def test_an_archive_is_uploaded_and_followed(installation: Installation, open_as: OpenAs, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    archive.write_bytes(docker_archive(image_of(BASE, tar_of({"app/other": b"1"}))))
    watched = Watched()
    page = _open(installation, open_as).new_page()
    watched.watch(page)
    page.goto("/scans/new/")
    form = page.get_by_role("region", name="An archive")
    form.get_by_label("Archive").set_input_files(archive)
    form.get_by_label("What it is called").fill("made.example/shop/archive:1")
    form.get_by_role("button", name="Upload and scan it").click()
    expect(
        page.get_by_role("button", name="Call it off").or_(page.get_by_role("link", name="See the image"))
    ).to_be_visible()
    expect(page.locator("#scan").get_by_role("heading", name="Finished")).to_be_visible(timeout=120_000)
    assert page.locator("#scan").get_attribute("hx-get") is None, "it asks no more once it has ended"
    assert watched.take() == []


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_of_our_own_scans(
    theme: str, width: int, installation: Installation, registry: RunningRegistry, open_as: OpenAs
) -> None:
    """A repository on an old base, what a newer one changes, an index, a failed scan: nothing serious found by axe."""
    ids = _scanned_estate(installation, registry)
    context = _open(installation, open_as, color_scheme=theme, viewport={"width": width, "height": 900})
    page, watched = context.new_page(), Watched()
    watched.watch(page)
    paths = (
        f"/images/{ids['image']}/", f"/images/{ids['image']}/?brought=base#findings",
        f"/images/{ids['image']}/rebuild/?change=after", f"/repositories/{ids['repository']}/",
        f"/scans/{ids['index']}/", f"/scans/{ids['failed']}/", "/scans/",
    )  # fmt: skip
    faults = {path: found for path in paths if (found := faults_of(page, path, watched, path))}
    assert not faults


def _open(installation: Installation, open_as: OpenAs, **options: Any) -> Any:
    if "olga" not in installation.links:
        installation.make_person("olga", "operator")
    return open_as("olga", **options)


def _scanned_estate(installation: Installation, registry: RunningRegistry) -> dict[str, Any]:
    """Made once; the registry's webhook has everything scanned, and asking again waits for it."""
    old = tar_of({"etc/old": f"TOKEN=ghp_{'o' * 36}\n".encode()})
    registry.push("base/os", "1", image_of(old))
    _ended(installation, f"{registry.host}/base/os:1")
    image = registry.push("shop/built", "1", image_of(old, APPLICATION))
    _ended(installation, f"{registry.host}/shop/built:1")
    registry.push("base/os", "2", image_of(tar_of({"etc/new": b"1"})))
    _ended(installation, f"{registry.host}/base/os:2")
    registry.push("shop/many", "1", index_of(*(image_of(old, architecture=a) for a in ("amd64", "arm64"))))
    index = _ended(installation, f"{registry.host}/shop/many:1")
    failed = _ended(installation, f"{registry.host}/shop/built:gone", status="failed")
    repositories = installation.api("GET", "repositories/?search=shop/built").json()["results"]
    return {"image": image, "index": index, "failed": failed, "repository": repositories[0]["id"]}


def _ended(installation: Installation, image: str, *, status: str = "finished") -> int:
    # Whoever asks again while it is looked at waits for the same scan.
    for _ in range(4):
        scan = installation.api("POST", "scans/?wait=50", json={"image": image}).json()
        if scan["status"] not in ("queued", "running"):
            break
    assert scan["status"] == status, scan
    return int(scan["id"])


def _scans(installation: Installation) -> list[Any]:
    return list(installation.api("GET", "scans/?origin=worker").json()["results"])


def _scan_of(installation: Installation, name: str) -> int:
    import time

    for _ in range(100):
        found = [row for row in _scans(installation) if f"/{name}" in row["image"]]
        if found:
            return int(found[0]["id"])
        time.sleep(0.1)
    raise AssertionError("The registry told of no push.")
