"""Beside a deadline in a verdict's document stands the row that gave it."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest

from secguard.decisions.queries.deadlines import deadlines_of
from secguard.findings.models import Exposure
from secguard.policies import services
from secguard.policies.models import Evaluation, Verdict
from tests.flows.test_exception_story import CRITICAL, REFERENCE, pipeline, verdict

__all__ = ["pipeline"]

pytestmark = pytest.mark.django_db


def finding(document: dict[str, Any]) -> dict[str, Any]:
    (reason,) = [r for r in document["reasons"] if r["effect"] == "block"]
    (found,) = reason["findings"]
    return dict(found)


def test_the_row_stands_beside_the_date(pipeline: Any, developer: Any) -> None:
    found = finding(pipeline(1))
    exposure = Exposure.objects.get(risk=found["risk"], repository__name=REFERENCE)
    said = deadlines_of([exposure.pk])[exposure.pk]
    assert found["due_at"] is not None
    assert found["due_by"] == {"appetite": 1, "row": said.label, "words": said.words}
    assert found["due_by"]["row"].startswith("row ")
    assert developer.client.get(f"/images/{verdict(developer, 1)['image']}/").status_code == 200


def test_no_row_is_named_that_did_not_give_the_date(pipeline: Any, developer: Any) -> None:
    pipeline(1)
    exposure = Exposure.objects.get()
    assert exposure.due_at is not None
    Exposure.objects.update(due_at=exposure.due_at.replace(year=exposure.due_at.year + 1))
    services.forget([Verdict.objects.values_list("image_id", flat=True)[0]])
    found = finding(verdict(developer, 1))
    assert "due_by" not in found
    Exposure.objects.update(due_at=None)
    services.forget([Verdict.objects.values_list("image_id", flat=True)[0]])
    found = finding(verdict(developer, 1))
    assert (found["due_at"], "due_by" in found) == (None, False)


def test_what_was_kept_before_is_the_same_when_played_again(pipeline: Any) -> None:
    """As it was stored when facts did not hold the row yet."""
    pipeline(1, CRITICAL)
    evaluation = Evaluation.objects.filter(stage="build").latest("id")
    assert services.replay(evaluation) == zlib.decompress(evaluation.document)
    kept = json.loads(zlib.decompress(evaluation.input.body))
    for fact in kept["findings"]:
        assert fact.pop("due_by")
    evaluation.input.body = zlib.compress(json.dumps(kept).encode())
    document = json.loads(zlib.decompress(evaluation.document))
    for reason in document["reasons"]:
        for one in reason["findings"]:
            del one["due_by"]
    assert json.loads(services.replay(evaluation)) == document
