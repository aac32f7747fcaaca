"""Blocked, accepted, passing, past its end: asked later, each instant has its own answer from what was stored."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.history.conftest import REFERENCE, timeline_of, verdict_at

pytestmark = pytest.mark.django_db


@pytest.fixture
def story(clock: Any, post: Any, accept: Any, developer: Any) -> dict[str, Any]:
    """Instants before, while and after the decision, with the digest and the decision."""
    image = post()
    blocked = clock(minutes=10)
    clock(minutes=20)
    decision = accept(clock(minutes=20) + timedelta(hours=1))
    passing = clock(minutes=30)
    assert developer.api.get(f"/api/v1/images/{image}/verdict/").json()["verdict"] != "block"
    over = clock(hours=2)
    assert developer.api.get(f"/api/v1/images/{image}/verdict/").json()["verdict"] == "block"
    clock(hours=3)
    return {"image": image, "decision": decision, "blocked": blocked, "passing": passing, "over": over}


def test_three_instants_have_three_answers(story: dict[str, Any], developer: Any) -> None:
    blocked, passing, over = (
        verdict_at(developer, story["image"], story[when]) for when in ("blocked", "passing", "over")
    )
    assert [a["document"]["verdict"] for a in (blocked, over)] == ["block", "block"]
    assert passing["document"]["verdict"] != "block"
    assert [d["id"] for d in passing["document"]["decisions"]] == [story["decision"]]
    for answer in (blocked, passing, over):
        assert answer["held"] is True, answer["why_not"]
        assert answer["replayed"] is True, answer["differences"]
        assert answer["is_whole"] is True


def test_past_its_end_without_a_question_nothing_held(story: dict[str, Any], developer: Any, clock: Any) -> None:
    answer = verdict_at(developer, story["image"], story["over"] - timedelta(minutes=20))
    assert answer["held"] is False
    assert "nobody had asked again" in answer["why_not"]
    assert answer["document"]["verdict"] != "block"


def test_before_anybody_asked_there_is_no_answer(story: dict[str, Any], developer: Any) -> None:
    answer = verdict_at(developer, story["image"], story["blocked"] - timedelta(days=1))
    assert (answer["held"], answer["evaluation"], answer["document"]) == (False, None, None)
    assert answer["replayed"] is None


def test_a_withdrawn_decision_ends_what_it_let_pass(clock: Any, post: Any, accept: Any, developer: Any) -> None:
    image = post()
    decision = accept(clock(minutes=1) + timedelta(hours=1))
    clock(minutes=5)
    assert developer.api.get(f"/api/v1/images/{image}/verdict/").json()["verdict"] != "block"
    clock(minutes=10)
    assert (
        developer.api.post(f"/api/v1/decisions/{decision}/revoke/", {"reason": "The fix is there."}).status_code == 200
    )
    answer = verdict_at(developer, image, clock(minutes=11))
    assert answer["held"] is False
    assert "A decision that it rests on ended" in answer["why_not"]


def test_a_changed_input_is_told(story: dict[str, Any], developer: Any) -> None:
    from secguard.policies.models import EvaluationInput

    for kept in EvaluationInput.objects.all():
        facts = json.loads(zlib.decompress(kept.body))
        facts["findings"] = []
        kept.body = zlib.compress(json.dumps(facts).encode())
        kept.save()
    answer = verdict_at(developer, story["image"], story["blocked"])
    assert answer["replayed"] is False
    assert answer["differences"][0] == "the stored input is not what its SHA-256 says"
    assert any("stored verdict is block" in words for words in answer["differences"])
    page = developer.client.get(f"/images/{story['image']}/history/?at={story['blocked']:%Y-%m-%dT%H:%M}")
    assert "Not what was stored" in page.content.decode()


@pytest.mark.parametrize("body", [b"", b"no zlib", zlib.compress(b"{}"), zlib.compress(b"[1")])
def test_a_broken_input_is_told_and_breaks_nothing(story: dict[str, Any], developer: Any, body: bytes) -> None:
    from secguard.policies.models import EvaluationInput

    EvaluationInput.objects.update(body=body)
    answer = verdict_at(developer, story["image"], story["passing"])
    assert answer["replayed"] is False
    assert "cannot be computed again" in " ".join(answer["differences"])


def test_a_changed_policy_is_told(story: dict[str, Any], developer: Any) -> None:
    from secguard.policies.models import PolicyVersion

    version = PolicyVersion.objects.get()
    PolicyVersion.objects.filter(pk=version.pk).update(source=version.source + "\n# quietly\n")
    answer = verdict_at(developer, story["image"], story["passing"])
    assert answer["replayed"] is False
    assert "the stored policy is not what its SHA-256 says" in answer["differences"]


def test_a_document_that_cannot_be_read_is_told(story: dict[str, Any], developer: Any) -> None:
    from secguard.policies.models import Evaluation

    Evaluation.objects.update(document=b"no zlib")
    answer = verdict_at(developer, story["image"], story["passing"])
    assert (answer["replayed"], answer["document"]) == (False, None)


def test_the_timeline_tells_the_life(story: dict[str, Any], developer: Any) -> None:
    told = timeline_of(developer, story["image"])
    kinds = [e["kind"] for e in reversed(told)]
    assert [kinds.index(k) for k in ("seen", "scanned", "asked", "voted")] == sorted(
        kinds.index(k) for k in ("seen", "scanned", "asked", "voted")
    )
    by_kind = {e["kind"]: e for e in told}
    assert by_kind["asked"]["who"] == "developer"
    assert by_kind["voted"]["who"] == "reviewer"
    assert "CVE-2026-0001" in by_kind["decided"]["words"]
    assert "until the fix" in by_kind["voted"]["words"]
    assert by_kind["scanned"]["who"] == "developer"
    assert any(e["kind"] == "ended" and "came to its end" in e["words"] for e in told)
    verdicts = [e["words"].split()[0] for e in reversed(told) if e["kind"] == "judged" and " build " in e["words"]]
    assert verdicts[0] == verdicts[2] == "Block"
    assert verdicts[1] in ("Pass", "Warn")
    times = [datetime.fromisoformat(e["at"]) for e in told]
    assert times == sorted(times, reverse=True)
    for event in told:
        if event["link"]:
            assert developer.client.get(event["link"]).status_code == 200, event


def test_its_pages_are_the_whole(story: dict[str, Any], developer: Any) -> None:
    whole = timeline_of(developer, story["image"], "?limit=200")
    found, url = [], f"/api/v1/images/{story['image']}/history/?limit=2"
    while url:
        answer = developer.api.get(url).json()
        found += answer["results"]
        url = answer["next"]
    assert found == whole
    assert len(whole) > 6


def test_a_span_narrows_it(story: dict[str, Any], developer: Any) -> None:
    moment = {k: story[k].isoformat().replace("+00:00", "Z") for k in ("blocked", "passing")}
    told = timeline_of(developer, story["image"], f"?from={moment['blocked']}&to={moment['passing']}")
    assert {e["kind"] for e in told} >= {"asked", "voted", "decided", "judged"}
    assert not {"scanned", "seen"} & {e["kind"] for e in told}


@pytest.mark.parametrize("query", ["?cursor=x", "?from=yesterday", "?limit=0", "?limit=1000", "?cursor=" + "A" * 300])
def test_an_odd_question_is_refused_in_words(story: dict[str, Any], developer: Any, query: str) -> None:
    answer = developer.api.get(f"/api/v1/images/{story['image']}/history/{query}")
    assert answer.status_code == 400
    assert answer.json()["where"] in ("cursor", "from", "limit")


def test_the_future_is_not_told(story: dict[str, Any], developer: Any) -> None:
    path = f"/api/v1/images/{story['image']}/verdict/?at=2999-01-01T00:00:00Z"
    assert developer.api.get(path).status_code == 400


def test_the_page_shows_each_instant(story: dict[str, Any], developer: Any) -> None:
    path = f"/images/{story['image']}/history/"
    page = developer.client.get(f"{path}?at={story['passing']:%Y-%m-%dT%H:%M}").content.decode()
    assert f"decision {story['decision']}" in page
    assert "Computed again from what was stored: the same." in page
    assert "came to its end" not in page
    now = developer.client.get(path)
    assert now.status_code == 200
    assert "came to its end" in now.content.decode()
    assert developer.client.get(f"{path}?at=then").status_code == 400
    assert f'href="{path}"' in developer.client.get(f"/images/{story['image']}/").content.decode()


def test_a_stranger_meets_nothing(story: dict[str, Any], stranger: Any) -> None:
    image = story["image"]
    for path in (f"{image}/history/", f"{image}/verdict/?at=2026-01-01T00:00:00Z", f"{image}/passport/"):
        assert stranger.api.get(f"/api/v1/images/{path}").status_code == 404
    assert stranger.client.get(f"/images/{image}/history/").status_code == 404


def test_a_shared_image_tells_each_team_its_own(
    story: dict[str, Any], clock: Any, post: Any, stranger: Any, developer: Any, other_application: Any
) -> None:
    """The same digest lies with another team since: they read nothing of the first team's from before."""
    post(1, reference="reg.example/depot/copy", by=stranger)
    clock(hours=4)
    told = json.dumps(timeline_of(stranger, story["image"], "?limit=200"))
    for word in (REFERENCE, "shop/web", "developer", "reviewer", f"Decision {story['decision']}", "reachable"):
        assert word not in told
    then = verdict_at(stranger, story["image"], story["passing"])
    assert then["is_whole"] is False
    assert (then["document"]["reference"], then["document"]["decisions"]) == ("", [])
    assert "shop/web" not in json.dumps(then)
    assert (
        "shop/web"
        not in stranger.client.get(
            f"/images/{story['image']}/history/?at={story['passing']:%Y-%m-%dT%H:%M}"
        ).content.decode()
    )
    assert "depot" not in json.dumps(timeline_of(developer, story["image"], "?limit=200"))
    assert verdict_at(developer, story["image"], story["passing"])["is_whole"] is True


def test_stored_judgements_tell_each_team_its_own(
    story: dict[str, Any], clock: Any, post: Any, stranger: Any, developer: Any, other_application: Any
) -> None:
    """``/api/v1/evaluations/`` keeps whole documents from before another team had the digest, and shows it its part."""
    post(1, reference="reg.example/depot/copy", by=stranger)
    clock(hours=4)
    listed = stranger.api.get(f"/api/v1/evaluations/?image={story['image']}&limit=100").json()["results"]
    assert listed
    wholes = []
    for row in listed:
        path = f"/api/v1/evaluations/{row['id']}/"
        seen, own = stranger.api.get(path).json(), developer.api.get(path).json()
        told = json.dumps(seen)
        for word in ("shop/web", "developer", "reviewer", f"Decision {story['decision']}", "Nothing of it"):
            assert word not in told
        assert [d["id"] for d in seen["document"]["decisions"]] == []
        assert seen["document"]["verdict"] == own["document"]["verdict"]
        wholes.append(seen["is_whole"])
        assert own["is_whole"] is True
    assert False in wholes
    assert story["decision"] in {
        d["id"]
        for row in listed
        for d in developer.api.get(f"/api/v1/evaluations/{row['id']}/").json()["document"]["decisions"]
    }


def test_more_rows_cost_no_more_queries(
    clock: Any, post: Any, accept: Any, developer: Any, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from tests.fixtures_reports import flaw

    image = post()
    paths: list[Callable[[], Any]] = [
        lambda: developer.api.get(f"/api/v1/images/{image}/history/?limit=200"),
        lambda: developer.api.get(f"/api/v1/images/{image}/passport/"),
        lambda: developer.client.get(f"/images/{image}/history/"),
    ]

    def counted() -> list[int]:
        found = []
        for ask in paths:
            ask()  # what is stale is judged anew once
            with CaptureQueriesContext(
                connection,
            ) as queries:
                assert ask().status_code == 200
            found.append(len(queries))
        return found

    flaws = [flaw(f"CVE-2026-100{n}", f"pkg{n}", severity="critical", fixed_versions=["2"]) for n in range(3)]
    post(1, *flaws[:1])
    accept(clock(minutes=1) + timedelta(hours=5), "CVE-2026-1000")
    clock(minutes=5)
    few = counted()
    for n, name in enumerate(("CVE-2026-1001", "CVE-2026-1002")):
        clock(minutes=10 + 10 * n)
        post(1, *flaws)
        accept(clock(minutes=11 + 10 * n) + timedelta(hours=4), name)
    clock(minutes=40)
    assert counted() == few
