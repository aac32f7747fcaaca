"""Why something is not affected: asked for, kept from documents, and told in each format's own words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from secguard.decisions import services
from secguard.decisions.justifications import TO_CYCLONEDX, Justification, checked, understood
from secguard.decisions.lifecycle import DecisionKind
from secguard.decisions.services import vexin as taking
from secguard.decisions.vex import Ruling
from secguard.decisions.vex.writers import csaf, cyclonedx, openvex
from secguard.errors import Invalid
from tests.decisions.test_api import URL, body
from tests.decisions.test_vex_writers import API, ONE, told
from tests.decisions.vexin.test_services import AUTHOR, document, of


def test_the_five_are_those_of_openvex_and_csaf() -> None:
    assert list(Justification) == [
        "component_not_present",
        "vulnerable_code_not_present",
        "vulnerable_code_not_in_execute_path",
        "vulnerable_code_cannot_be_controlled_by_adversary",
        "inline_mitigations_already_exist",
    ]
    assert len({j.words for j in Justification}) == 5


@pytest.mark.parametrize("one", list(Justification))
def test_what_is_written_for_cyclonedx_means_the_same_when_it_is_read(one: Justification) -> None:
    assert understood(TO_CYCLONEDX[one]) is understood(one) is understood(f" {one.upper()} ") is one


@pytest.mark.parametrize("word", ["", "protected_at_perimeter", "because", "not_affected"])
def test_other_words_mean_none_of_the_five(word: str) -> None:
    assert understood(word) is None


@pytest.mark.parametrize("kind", [k for k in DecisionKind if k is not DecisionKind.NOT_AFFECTED])
def test_only_not_affected_has_one(kind: DecisionKind) -> None:
    assert checked("", kind) == ""
    with pytest.raises(Invalid, match=f"the kind asked for is {kind.value}"):
        checked(Justification.CODE_NOT_PRESENT, kind)
    with pytest.raises(Invalid, match="'because' is no justification; expected one of component_not_present"):
        checked("because", DecisionKind.NOT_AFFECTED)


def test_each_format_tells_it_in_its_own_words() -> None:
    said = told(Ruling(API, replace(ONE, justification="vulnerable_code_not_in_execute_path")))
    (statement,) = json.loads(openvex.document(said))["statements"]
    (flaw,) = json.loads(csaf.document(said))["vulnerabilities"]
    (analysis,) = (v["analysis"] for v in json.loads(cyclonedx.document(said))["vulnerabilities"])
    assert statement["justification"] == flaw["flags"][0]["label"] == "vulnerable_code_not_in_execute_path"
    assert flaw["flags"][0]["product_ids"] == flaw["threats"][0]["product_ids"]
    assert analysis["justification"] == "code_not_reachable"


@pytest.mark.django_db
def test_it_is_asked_for_kept_and_told(developer: Any, reviewer: Any, risk: Any, repository: Any, image: Any) -> None:
    because = "vulnerable_code_not_present"
    answer = developer.api.post(URL, body(risk, repository, kind="not_affected", justification=because))
    assert answer.status_code == 201, answer.content
    pk = answer.json()["id"]
    assert answer.json()["justification"] == because
    page = developer.client.get(f"/decisions/{pk}/").content.decode()
    assert "The component is in it without the vulnerable code." in page
    assert reviewer.api.post(f"{URL}{pk}/approve/", {}).status_code == 200
    (statement,) = developer.api.get(f"/api/v1/images/{image.digest}/vex/").json()["statements"]
    assert (statement["status"], statement["justification"]) == ("not_affected", because)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "wrong", [{"justification": "because"}, {"kind": "accept", "justification": "component_not_present"}]
)
def test_one_that_does_not_fit_is_refused(developer: Any, risk: Any, repository: Any, image: Any, wrong: Any) -> None:
    answer = developer.api.post(URL, body(risk, repository, **({"kind": "not_affected"} | wrong)))
    assert answer.status_code in (400, 422)
    assert "justification" in answer.content.decode()
    assert developer.api.get(URL).json()["results"] == []


@pytest.mark.django_db
def test_the_form_asks_for_it_and_forgets_it_beside_another_kind(
    developer: Any, risk: Any, repository: Any, image: Any
) -> None:
    from secguard.decisions.models import Decision

    path = f"/decisions/new/?risk={risk.pk}"
    page = developer.client.get(path).content.decode()
    assert "The vulnerable code is never run" in page
    sent = {
        "risk": risk.pk,
        "scope": f"repository:{repository.pk}",
        "reason": "Never called.",
        "until": f"{timezone.now():%Y-%m-%d}",
        "justification": "vulnerable_code_not_in_execute_path",
    }
    assert developer.client.post(path, {**sent, "kind": "not_affected"}).status_code == 303
    assert Decision.objects.get().justification == "vulnerable_code_not_in_execute_path"
    assert developer.client.post(path, {**sent, "kind": "accept", "risk": risk.pk}).status_code == 422  # open already
    services.withdraw(Decision.objects.get().pk, actor=developer)
    assert developer.client.post(path, {**sent, "kind": "accept"}).status_code == 303
    assert Decision.objects.get(kind="accept").justification == ""


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("said", "kept"),
    [("inline_mitigations_already_exist", "inline_mitigations_already_exist"), ("", "")],
)
def test_a_document_s_is_kept(developer: Any, image: Any, said: str, kept: str) -> None:
    taking.trust_author(AUTHOR, actor=None)
    raw = document(of(image), statement={"justification": said})
    (item,) = developer.api.generic("POST", "/api/v1/vex/", raw, content_type="application/json").json()["results"]
    decision = developer.api.get(f"{URL}{item['decision']}/").json()
    assert (decision["kind"], decision["justification"]) == ("not_affected", kept)
