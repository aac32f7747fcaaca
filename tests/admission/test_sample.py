"""A cluster may ask about the sample organisation's images; the sample is removed all the same."""

from __future__ import annotations

from typing import Any

import pytest

from secguard.admission import services
from secguard.admission.models import AdmissionDecision, BreakGlass
from tests.admission.conftest import Ask, pod, review
from tests.sample.conftest import loaded  # noqa: F401 - the fixture


@pytest.mark.django_db
@pytest.mark.usefixtures("loaded")
def test_what_was_answered_stays_and_hinders_nobody(ask: Ask, gate: tuple[Any, str]) -> None:
    from secguard.accounts.models import User
    from secguard.images.models import Image, ImageRepository
    from secguard.sample import services as sample

    place = ImageRepository.objects.filter(image__is_sample=True).select_related("image", "repository").first()
    assert place is not None
    name = f"{place.repository.name}@{place.image.digest}"
    ask("validate", review(pod(name)))
    person = User.objects.filter(is_sample=True)[0]
    BreakGlass.objects.create(
        cluster=gate[0].cluster,
        namespace="shop",
        digest=place.image.digest,
        minutes=5,
        reason="Why.",
        requested_by=person,
    )
    told = sample.remove(actor=None)
    assert not Image.objects.filter(is_sample=True).exists()
    row = AdmissionDecision.objects.get()
    assert (row.reference, row.digest, row.image, row.evaluation) == (name, place.image.digest, None, None)
    assert person.username in told
    assert services.gate_of(gate[1]) == gate[0]
