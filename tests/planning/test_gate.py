"""What a gate asks of checklists: known, open, missing; at the instant, and nobody else's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.images.models import Image, ImageRepository, Registry, Repository
from secguard.planning import services
from secguard.planning.models import Checklist, RequirementAnswer
from secguard.planning.services import Said
from secguard.policies.facts import Gate, decode, encode
from secguard.policies.models import Verdict
from secguard.policies.queries import facts_of
from secguard.policies.services import activate_version, create_version, document_of, verdict_of

pytestmark = pytest.mark.django_db
OWN = """name: short
title: Short
requirements:
  - {id: threats, stage: plan, title: Model threats, about: Write them down., answer_days: 30}
  - {id: contacts, stage: log, title: Name contacts, about: Who is called.}
"""


def image_in(*applications: Any) -> Image:
    registry, _ = Registry.objects.get_or_create(host="reg.example")
    image = Image.objects.create(digest="sha256:" + "7" * 64)
    for application in applications:
        path = f"shop/{application.slug}"
        repository = Repository.objects.create(
            registry=registry, path=path, name=f"reg.example/{path}", application=application
        )
        ImageRepository.objects.create(image=image, repository=repository)
    return image


@pytest.fixture
def checklist(application: Any, developer: Any, reviewer: Any) -> Checklist:
    services.make_template(OWN, actor=reviewer)
    return services.choose_template(application.pk, "short", actor=developer)


def planning(image: Image) -> Any:
    return facts_of(image, Gate.BUILD, timezone.now()).image.planning


def test_without_a_checklist_nothing_is_known(application: Any) -> None:
    assert planning(image_in(application)) is None


def test_a_gate_reads_what_is_open_and_an_answer_closes_it(
    application: Any, checklist: Checklist, developer: Any
) -> None:
    image = image_in(application)
    assert (planning(image).open, planning(image).missing) == (2, ("contacts", "threats"))
    services.answer(application.pk, "threats", Said(is_kept=True, text="docs/threats.md"), actor=developer)
    found = planning(image)
    assert (found.open, found.missing, found.templates) == (1, ("contacts",), ("short",))
    assert found.turns_at == RequirementAnswer.objects.get().until


def test_an_answer_that_has_ended_counts_for_nothing_though_no_job_has_run(
    application: Any, checklist: Checklist, developer: Any
) -> None:
    image = image_in(application)
    services.answer(application.pk, "threats", Said(is_kept=True, text="docs/threats.md"), actor=developer)
    later = timezone.now() + timedelta(days=31)
    assert facts_of(image, Gate.BUILD, later).image.planning.open == 2  # type: ignore[union-attr]


def test_one_application_without_a_checklist_leaves_it_unknown(
    application: Any, other_application: Any, checklist: Checklist
) -> None:
    assert planning(image_in(application, other_application)) is None


def test_what_several_teams_share_names_nobodys_requirements(
    application: Any, other_application: Any, checklist: Checklist, stranger: Any
) -> None:
    services.choose_template(other_application.pk, "short", actor=stranger)
    found = planning(image_in(application, other_application))
    assert (found.open, found.missing) == (4, ())


def test_facts_that_were_stored_before_there_were_checklists_read_as_before() -> None:
    raw = b'{"stage":"build","image":{"digest":"sha256:00"}}'
    assert decode(raw).image.planning is None
    assert decode(encode(decode(raw))) == decode(raw)


def test_an_answer_lets_a_blocked_gate_pass_at_once_and_its_end_shuts_it(
    application: Any, checklist: Checklist, developer: Any, reviewer: Any
) -> None:
    image = image_in(application)
    source = (
        "name: asks\nrules:\n  - id: requirements\n    each: image\n    when: image.planning_open > 0\n"
        '    effect: block\n    message: "{planning_open} open: {planning_missing}."\n'
    )
    activate_version(create_version("asks", source, actor=reviewer).pk, actor=reviewer)
    blocked = verdict_of(image, Gate.BUILD)
    assert blocked.verdict == "block"
    assert "2 open: contacts, threats." in str(document_of(blocked))
    for one in ("threats", "contacts"):
        services.answer(application.pk, one, Said(is_kept=True, text="It is written down."), actor=developer)
    assert not Verdict.objects.filter(image=image, valid_until__gt=timezone.now()).exists(), "what stood is asked anew"
    passed = verdict_of(image, Gate.BUILD)
    assert passed.verdict == "pass"
    assert passed.valid_until <= RequirementAnswer.objects.order_by("until")[0].until
