"""Images, their repositories and components over REST: found by every name, and only by who may see them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from secguard.images.models import Image, Index, IndexImage, Repository, Tag
from tests.fixtures_people import Person
from tests.fixtures_reports import digest, flaw, report

NAME = "reg.example/shop/web"


@pytest.fixture
def two(post: Any, developer: Person, application: Any) -> None:
    """Two images of one repository, the second under another tag."""
    post(report(flaw("CVE-2026-1"), flaw("CVE-2026-2", "zlib")), developer, application=application.slug)
    post(report(flaw("CVE-2026-2", "zlib"), image={"reference": f"{NAME}:2", "digest": digest(2)}), developer)


def found(person: Person, path: str) -> list[dict[str, Any]]:
    answer = person.api.get(path)
    assert answer.status_code == 200, answer.content
    rows: list[dict[str, Any]] = answer.json()["results"]
    return rows


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", {1, 2}),
        (f"?reference={NAME}:1", {1}),
        (f"?reference={quote(NAME + '@' + digest(2))}", {2}),
        (f"?reference={digest(2)}", {2}),
        (f"?reference={NAME}:none", set()),
        (f"?repository={NAME}", {1, 2}),
        ("?repository=reg.example/shop", set()),
        ("?application=shop&newest=true", {2}),
        ("?team=payments", {1, 2}),
        ("?team=logistics", set()),
        ("?search=shop/we", {1, 2}),
        (f"?search={NAME}:2", {2}),
        (f"?search={digest(1)[7:]}", {1}),
        ("?search=nothing", set()),
    ],
)
def test_images_are_found_as_people_name_them(two: None, developer: Person, query: str, numbers: set[int]) -> None:
    assert {row["digest"] for row in found(developer, f"/api/v1/images/{query}")} == {digest(n) for n in numbers}


@pytest.mark.django_db
def test_a_stranger_finds_nothing_by_any_name(two: None, stranger: Person) -> None:
    for query in ("", f"?reference={NAME}:1", f"?repository={NAME}", "?team=payments", f"?search={digest(1)}"):
        assert found(stranger, f"/api/v1/images/{query}") == []
    assert stranger.api.get(f"/api/v1/images/{digest(1)}/components/").status_code == 404


@pytest.mark.django_db
def test_an_image_in_two_teams_shows_each_its_own_places(
    two: None, post: Any, stranger: Person, developer: Person, administrator: Person, other_application: Any
) -> None:
    theirs = {"reference": "reg.example/depot/copy:9", "digest": digest(1)}
    post(report(image=theirs), stranger, application=other_application.slug)
    path = f"/api/v1/images/{digest(1)}/"

    def places(person: Person) -> set[str]:
        return {place["repository"] for place in person.api.get(path).json()["repositories"]}

    assert places(developer) == {NAME}
    assert places(stranger) == {"reg.example/depot/copy"}
    assert places(administrator) == {NAME, "reg.example/depot/copy"}
    assert [tag["name"] for tag in stranger.api.get(path).json()["tags"]] == ["9"]


@pytest.mark.django_db
def test_the_difference_to_the_image_before(two: None, developer: Person) -> None:
    document = developer.api.get(f"/api/v1/images/{digest(2)}/difference/").json()
    assert document["against"] == digest(1)
    assert [f["name"] for f in document["fixed"]] == ["CVE-2026-1"]
    assert (document["introduced"], document["carried_over"]) == ([], 1)
    first = developer.api.get(f"/api/v1/images/{digest(1)}/difference/").json()
    assert first["against"] is None
    assert len(first["introduced"]) == 2


@pytest.mark.django_db
def test_a_stored_verdict_is_one_query_more_than_who_asks(
    two: None, developer: Person, administrator: Person, django_assert_num_queries: Any
) -> None:
    """Who asks (the token, its owner's roles), and the answer, where it is theirs to see."""
    path = f"/api/v1/images/{digest(1)}/verdict/"
    first = developer.api.get(path)
    for person in (administrator, developer):
        person.api.get(path)
        with django_assert_num_queries(3):
            assert person.api.get(path).content == first.content


@pytest.mark.django_db
def test_a_repository_given_to_another_team_takes_its_images_along(
    two: None, developer: Person, stranger: Person, administrator: Person, other_application: Any
) -> None:
    from secguard.audit.models import AuditEntry
    from secguard.findings.models import Exposure

    (repository,) = found(administrator, f"/api/v1/repositories/?name={NAME}")
    path = f"/api/v1/repositories/{repository['id']}/"
    assert developer.api.patch(path, {"application": other_application.slug}).status_code == 404
    moved = administrator.api.patch(path, {"application": other_application.slug})
    assert (moved.status_code, moved.json()["application"]) == (200, other_application.slug)
    assert found(developer, "/api/v1/images/") == []
    assert len(found(stranger, "/api/v1/images/")) == 2
    assert found(developer, "/api/v1/exposures/") == []
    assert set(Exposure.objects.values_list("team_id", flat=True)) == {other_application.team_id}
    assert AuditEntry.objects.get(action="repository:assign").details["after"] == other_application.slug
    verdict = stranger.api.get(f"/api/v1/images/{digest(2)}/verdict/")
    assert verdict.status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("who", ["viewer", "developer", "reviewer"])
def test_who_may_not_edit_applications_assigns_nothing(two: None, who: str, request: Any) -> None:
    from secguard.images.models import Repository

    person: Person = request.getfixturevalue(who)
    answer = person.api.patch(f"/api/v1/repositories/{Repository.objects.get().pk}/", {"application": None})
    assert answer.status_code == 403
    assert Repository.objects.get().application is not None


@pytest.mark.django_db
def test_a_tag_of_an_index_names_each_of_its_platforms(two: None, developer: Person, stranger: Person) -> None:
    first, second = (Image.objects.get(digest=digest(n)) for n in (1, 2))
    index = Index.objects.create(digest=digest(9))
    for platform, image in (("linux/amd64", first), ("linux/arm64", second)):
        IndexImage.objects.create(index=index, image=image, platform=platform)
    repository = Repository.objects.get(name=NAME)
    Tag.objects.create(repository=repository, name="multi", image=first, index=index)
    foreign = Repository.objects.create(registry=repository.registry, path="x", name="reg.example/x")
    Tag.objects.create(repository=foreign, name="hidden", image=first, index=index)
    tags = {row["digest"]: {t["name"] for t in row["tags"]} for row in found(developer, "/api/v1/images/")}
    assert tags == {digest(1): {"1", "multi"}, digest(2): {"2", "multi"}}
    assert len(developer.api.get(f"/api/v1/images/{digest(1)}/").json()["tags"]) == 2, "each tag once"
    assert "<code>multi</code>" in developer.client.get(f"/images/{digest(2)}/").text
