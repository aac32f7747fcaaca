"""What is the sample's says so on its own pages, and nothing else does."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.utils import timezone

from secguard.images.models import Image
from secguard.sample.organisation import REGISTRY
from tests.decisions.conftest import Estate

pytestmark = pytest.mark.django_db


def is_marked(person: Any, url: str) -> bool:
    """Whether the page's heading (and not the banner above all of it) carries the badge."""
    page = person.client.get(url).content.decode()
    found = re.search(r'<p class="page-pretitle">(.*?)</p>', page, re.S)
    assert found, page[:500]
    return '<span class="badge">sample</span>' in found[1]


@pytest.mark.parametrize("is_sample", [True, False])
def test_images_repositories_applications_and_teams_carry_it(
    administrator: Any, application: Any, team: Any, is_sample: bool
) -> None:
    estate = Estate()
    repository = estate.repository("shop/web", application)
    image = estate.image(repository, [], at=timezone.now())
    if is_sample:
        Image.objects.update(is_sample=True)
        type(repository.registry).objects.update(host=REGISTRY)
        type(repository).objects.update(name=f"{REGISTRY}/shop/web")
        for marked in (application, team):
            type(marked).objects.filter(pk=marked.pk).update(is_sample=True)
    urls = [f"/images/{image.digest}/", f"/repositories/{repository.pk}/", f"/applications/{application.slug}/"]
    for url in [*urls, f"/settings/teams/{team.slug}/"]:
        assert is_marked(administrator, url) is is_sample, url
    listed = administrator.client.get("/repositories/").content.decode()
    assert ('</a> <span class="badge">sample</span></th>' in listed) is is_sample
