"""Frameworks over REST: standings, a control's applications, own frameworks, and reports that say the same."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import zlib
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.compliance import services
from secguard.compliance.models import FrameworkVersion
from tests.compliance.texts import SMALL
from tests.fixtures_people import Person
from tests.measuring import find_in, image_in, repository_of, scan_of

pytestmark = pytest.mark.django_db
ALL = "/api/v1/compliance/frameworks/"
ONE = f"{ALL}own-rules/"
HOSTILE = "=HYPERLINK(1) <b>\u202e"


@pytest.fixture
def estate(application: Any, other_application: Any, reviewer: Person) -> Any:
    text = SMALL.replace("Know what is inside", f'"{HOSTILE}"').replace("sbom-known]", "sbom-known, no-secrets]", 1)
    services.make_framework(text, actor=reviewer)
    image = image_in(repository_of(application))
    scan_of(image, "vulnerability", "secret", finished_at=timezone.now())
    services.measure_due()
    services.keep_days()
    return image


def test_a_standing_and_its_rows(estate: Any, application: Any, viewer: Person, stranger: Person) -> None:
    rows = {row["name"]: row for row in viewer.api.get(ALL).json()["results"]}
    assert rows["own-rules"]["standing"] == {"pass": 0, "exception": 0, "not_measured": 1, "fail": 2}
    found = viewer.api.get(ONE).json()
    first = found["sections"][0]["controls"][0]
    assert (first["state"], first["counts"]) == ("fail", {"pass": 0, "exception": 0, "not_measured": 0, "fail": 1})
    assert stranger.api.get(ONE).json()["standing"]["fail"] == 0
    answer = viewer.api.get(f"{ONE}controls/1.1/applications/", {"state": "fail"}).json()
    (row,) = answer["results"]
    assert (row["application"], row["state"]) == (application.slug, "fail")
    measure = {m["check"]: m for m in row["measures"]}["sbom-known"]
    assert (measure["lacking"], measure["evidence"]["lacking"]) == (1, [estate.digest])
    assert application.slug not in stranger.api.get(f"{ONE}controls/1.1/applications/").content.decode()
    for query in ({"on": "soon"}, {"on": "2999-01-01"}, {"state": "good"}, {"onn": "2026-01-01"}):
        assert viewer.api.get(f"{ONE}controls/1.1/applications/", query).status_code == 400, query
    for path in (f"{ALL}nothing/", f"{ONE}controls/9.9/applications/"):
        assert viewer.api.get(path).status_code == 404
    assert stranger.api.get(ONE, {"application": application.slug}).status_code == 404
    nothing = viewer.api.get(ONE, {"on": "2020-01-01"}).json()["standing"]
    assert nothing == {"pass": 0, "exception": 0, "not_measured": 3, "fail": 0}


def test_own_frameworks(reviewer: Person, developer: Person) -> None:
    sent = {"source": SMALL}
    for refused in (developer.api.post(ALL, sent), developer.api.put(ONE, sent), developer.api.delete(ONE)):
        assert refused.status_code == 403
    assert reviewer.api.put(f"{ALL}another/", sent).json()["code"] == "framework-name"
    made = reviewer.api.put(ONE, sent).json()
    assert (made["number"], made["digest"]) == (1, f"sha256:{hashlib.sha256(SMALL.encode()).hexdigest()}")
    assert reviewer.api.put(ONE, sent).json()["number"] == 1
    faulty = reviewer.api.post(ALL, {"source": SMALL.replace("sbom-known", "nothing-such")})
    assert [error["line"] for error in faulty.json()["errors"]] == [14, 18]
    checked = developer.api.post("/api/v1/compliance/check/", sent).json()
    assert checked == {"name": "own-rules", "controls": ["1.1", "1.2", "2.1"]}
    assert "sbom-known" in {row["name"] for row in developer.api.get("/api/v1/compliance/checks/").json()["results"]}
    assert developer.api.get(f"{ONE}source/").content.decode() == SMALL
    assert reviewer.api.delete(ONE).status_code == 204
    assert reviewer.api.get(ONE).json()["code"] == "framework-ended"
    assert FrameworkVersion.objects.filter(name="own-rules", valid_until=None).count() == 0


def report(person: Person, kind: str, **query: str) -> bytes:
    answer = person.api.get(f"{ONE}report/", {"format": kind, **query})
    assert answer.status_code == 200, answer.content
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


def printed(raw: bytes) -> bytes:
    """Everything in a PDF's streams."""
    parts = re.findall(rb"stream\r?\n(.*?)endstream", raw, re.DOTALL)
    return b"\n".join(_inflated(part) for part in parts)


def _inflated(part: bytes) -> bytes:
    import base64

    text = part.strip().removesuffix(b"~>")
    try:
        return zlib.decompress(base64.a85decode(text))
    except (ValueError, zlib.error):
        return part


def test_the_three_forms_of_a_report_say_the_same(
    estate: Any, application: Any, other_application: Any, reviewer: Person, viewer: Person
) -> None:
    find_in(estate, "secret")
    services.measure([application.pk, other_application.pk], timezone.now())
    services.keep_days()
    made = json.loads(report(reviewer, "json"))
    content = made["content"]
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(canonical.encode()).hexdigest() == made["sha256"]
    assert [(c["id"], c["state"]) for c in content["controls"]] == [
        ("1.1", "fail"),
        ("1.2", "fail"),
        ("2.1", "not-measured"),
    ]
    named = {m["check"]: m for m in content["measures"] if m["application"] == application.slug}
    assert named["no-secrets"]["evidence"]["lacking"] == [estate.digest]
    rows = list(csv.DictReader(io.StringIO(report(reviewer, "csv").decode("utf-8-sig"))))
    assert {(r["control"], r["state"]) for r in rows} == {(c["id"], c["state"]) for c in content["controls"]}
    assert {int(r["measure"]) for r in rows if r["measure"]} == {m["id"] for m in content["measures"]}
    assert all(r["title"].startswith("'=") for r in rows if r["control"] == "1.1")
    attached = printed(report(reviewer, "pdf"))
    start = attached.index(b'{"content"')
    inside, _ = json.JSONDecoder().raw_decode(attached[start:].decode("utf-8", "replace"))
    assert [c["state"] for c in inside["content"]["controls"]] == [c["state"] for c in content["controls"]]
    assert {m["id"] for m in inside["content"]["measures"]} == {m["id"] for m in content["measures"]}
    assert other_application.slug not in report(viewer, "json").decode()


def test_a_report_of_a_past_day_is_the_same_whenever_it_is_made(
    estate: Any, application: Any, other_application: Any, reviewer: Person
) -> None:
    now = timezone.now()
    FrameworkVersion.objects.update(valid_from=now - timedelta(days=9))
    type(application).objects.update(created_at=now - timedelta(days=9))
    from secguard.compliance.models import MeasuredApplication, MeasureStanding

    MeasureStanding.objects.update(since=now - timedelta(days=3))
    MeasuredApplication.objects.update(measured_at=now - timedelta(days=2))
    day = f"{now - timedelta(days=2):%Y-%m-%d}"
    first = json.loads(report(reviewer, "json", on=day))
    assert first["content"]["standing"]["fail"] == 2
    find_in(estate, "secret")
    services.measure_due()
    services.keep_days()
    again = json.loads(report(reviewer, "json", on=day))
    assert again["sha256"] == first["sha256"]
    assert json.loads(report(reviewer, "json"))["sha256"] != first["sha256"]
