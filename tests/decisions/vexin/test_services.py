"""What is asked for because of a document, by whom, and that people who are somebody else decide."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from secguard.decisions import services
from secguard.decisions.services import vexin as taking
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound, TooLarge
from tests.decisions.conftest import NOW, Estate

if TYPE_CHECKING:
    from secguard.accounts.models import Application, User
    from secguard.findings.models import Risk
    from secguard.images.models import Image, Repository

pytestmark = pytest.mark.django_db
AUTHOR = "Example Security <psirt@example.org>"


def document(*products: dict[str, Any], **changed: Any) -> bytes:
    statement = {
        "vulnerability": {"name": "CVE-2026-0001"},
        "products": list(products),
        "status": "not_affected",
        "justification": "vulnerable_code_not_in_execute_path",
        "impact_statement": "<script>alert(1)</script> is never called.",
    }
    statement |= changed.pop("statement", {})
    base = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://example.org/vex/1",
        "author": AUTHOR,
        "timestamp": "2026-01-02T03:04:05Z",
        "version": 1,
        "statements": [statement],
    }
    return json.dumps(base | changed).encode()


@pytest.fixture
def trusted(db: None) -> None:
    taking.trust_author(AUTHOR, actor=None)


def of(image: Image) -> dict[str, Any]:
    return {"@id": f"pkg:oci/api@{image.digest}"}


def take(raw: bytes, actor: User, **changed: Any) -> taking.Taken:
    return taking.take_in(raw, actor=actor, now=changed.pop("now", NOW), **changed)


def outcomes(taken: taking.Taken) -> list[str]:
    return [p.outcome for p in taken.proposed]


@pytest.mark.usefixtures("trusted")
def test_a_statement_becomes_a_request_that_counts_for_nothing_yet(developer: User, image: Image, risk: Risk) -> None:
    taken = take(document(of(image)), developer)
    (one,) = taken.proposed
    assert one.decision is not None
    assert (one.outcome, one.decision.status, one.decision.kind) == ("requested", "requested", "not_affected")
    assert (one.decision.risk_id, one.decision.image_id, one.decision.requested_by) == (risk.pk, image.pk, developer)
    assert "is never called" in one.decision.reason
    assert f"VEX document {taken.stored.pk}" in one.decision.reason
    assert one.decision.vex_proposal.document == taken.stored


@pytest.mark.usefixtures("trusted")
def test_whoever_posted_it_does_not_approve_it(developer: User, image: Image) -> None:
    (one,) = take(document(of(image)), developer).proposed
    assert one.decision is not None
    with pytest.raises((NotAllowed, Conflict)):
        services.approve(one.decision.pk, actor=developer, comment="", now=NOW)


@pytest.mark.usefixtures("trusted")
def test_asking_twice_names_the_open_request(developer: User, image: Image) -> None:
    first, again = (take(document(of(image)), developer) for _ in range(2))
    assert outcomes(again) == ["open"]
    assert again.proposed[0].decision == first.proposed[0].decision
    assert again.stored == first.stored


@pytest.mark.usefixtures("trusted")
def test_what_was_rejected_is_not_asked_again_by_the_same_document(
    developer: User, reviewer: User, image: Image
) -> None:
    (one,) = take(document(of(image)), developer).proposed
    assert one.decision is not None
    services.reject(one.decision.pk, actor=reviewer, comment="It is called.", now=NOW)
    assert outcomes(take(document(of(image)), developer)) == ["decided"]


@pytest.mark.usefixtures("trusted")
def test_a_stranger_gets_nothing_out_of_it(stranger: User, image: Image) -> None:
    taken = take(document(of(image)), stranger)
    assert taken.proposed == []
    assert [t.why for t in taken.told] == ["nobody here has this vulnerability open in an image that you may ask about"]


@pytest.mark.usefixtures("trusted")
def test_a_document_is_seen_by_the_team_it_asked_for(developer: User, stranger: User, image: Image) -> None:
    from secguard.decisions.models import VexDocument

    stored = take(document(of(image)), developer).stored
    assert VexDocument.objects.visible_to(developer).get() == stored
    assert not VexDocument.objects.visible_to(stranger).exists()


@pytest.mark.usefixtures("trusted")
def test_a_viewer_may_not(viewer: User, image: Image, row_counts: Callable[[], dict[str, int]]) -> None:
    before = row_counts()
    with pytest.raises(NotAllowed):
        take(document(of(image)), viewer)
    assert row_counts() == before


@pytest.mark.parametrize("author", ["Somebody", "Example Security", AUTHOR + "\u200b", "x" + AUTHOR])
@pytest.mark.usefixtures("trusted")
def test_an_author_who_is_not_trusted_asks_for_nothing(
    developer: User, image: Image, author: str, row_counts: Callable[[], dict[str, int]]
) -> None:
    before = row_counts()
    with pytest.raises(NotAllowed, match="POST /api/v1/vex-authors/") as caught:
        take(document(of(image), author=author), developer)
    assert caught.value.code == "vex-author"
    assert row_counts() == before


def test_trust_in_one_application_reaches_no_other(
    developer: User, image: Image, application: Application, other_application: Application
) -> None:
    made = taking.trust_author(AUTHOR, actor=None, application=other_application)
    assert outcomes(take(document(of(image)), developer)) == []
    taking.withdraw_author(made.pk, "mistaken", actor=None)
    taking.trust_author(AUTHOR, actor=None, application=application)
    assert outcomes(take(document(of(image)), developer)) == ["requested"]


@pytest.mark.usefixtures("trusted")
def test_an_older_edition_is_refused(developer: User, image: Image) -> None:
    take(document(of(image)), developer)
    with pytest.raises(Conflict) as caught:
        take(document(of(image), timestamp="2025-01-02T03:04:05Z"), developer)
    assert caught.value.code == "vex-older"


@pytest.mark.usefixtures("trusted")
def test_it_ends_as_late_as_the_appetite_allows_or_as_asked(developer: User, image: Image) -> None:
    end = NOW + timedelta(days=7)
    (one,) = take(document(of(image)), developer, expires_at=end).proposed
    assert one.decision is not None
    assert one.decision.expires_at == end
    with pytest.raises(Invalid):
        take(document(of(image)), developer, expires_at=NOW)


def test_an_own_ignore_list_needs_no_author(developer: User, image: Image) -> None:
    (one,) = take(b"CVE-2026-0001 exp:2026-12-01 # not reachable\n", developer, image=image).proposed
    assert one.decision is not None
    assert (one.decision.kind, one.decision.expires_at.date().isoformat()) == ("accept", "2026-12-01")
    assert "not reachable" in one.decision.reason


def test_an_ended_rule_is_told(developer: User, image: Image) -> None:
    taken = take(b"CVE-2026-0001 exp:2026-01-01\n", developer, image=image)
    assert (outcomes(taken), [t.why for t in taken.told]) == ([], ["it ended on 2026-01-01"])


@pytest.mark.usefixtures("trusted")
def test_a_repository_without_version_is_asked_for_as_a_repository(
    developer: User, image: Image, repository: Repository
) -> None:
    (one,) = take(document({"@id": f"pkg:oci/api?repository_url={repository.name}"}), developer).proposed
    assert one.decision is not None
    assert one.decision.repository == repository


@pytest.mark.usefixtures("trusted")
def test_too_many_at_once_are_refused_whole(
    developer: User, estate: Estate, repository: Repository, risk: Risk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from secguard.decisions.models import VexDocument
    from secguard.decisions.services import requesting

    images = [estate.image(repository, [risk]) for _ in range(3)]
    monkeypatch.setattr(requesting, "MAX_BULK", 2)
    with pytest.raises(TooLarge):
        take(document(*map(of, images)), developer)
    assert not VexDocument.objects.exists()


def test_authors_are_managed_as_keys_are(developer: User, administrator: User) -> None:
    with pytest.raises(NotAllowed):
        taking.trust_author(AUTHOR, actor=developer)
    made = taking.trust_author(AUTHOR, actor=administrator)
    with pytest.raises(Conflict):
        taking.trust_author(AUTHOR, actor=administrator)
    with pytest.raises(NotAllowed):
        taking.withdraw_author(made.pk, "gone", actor=developer)
    with pytest.raises(Invalid):
        taking.withdraw_author(made.pk, " ", actor=administrator)
    assert taking.withdraw_author(made.pk, "gone", actor=administrator).withdrawn_at
    with pytest.raises(Conflict):
        taking.withdraw_author(made.pk, "gone", actor=administrator)
    with pytest.raises(NotFound):
        taking.withdraw_author(0, "gone", actor=administrator)


@pytest.mark.parametrize("pattern", ["", "*", "***", "a*", "x" * 301, "Exam\u200bple", "a*b*c*d*e"])
def test_a_pattern_that_could_name_anybody_is_refused(pattern: str) -> None:
    with pytest.raises(Invalid):
        taking.trust_author(pattern, actor=None)


@pytest.mark.usefixtures("trusted")
def test_the_number_of_queries_of_reading_does_not_grow(
    developer: User, estate: Estate, repository: Repository, risk: Risk, django_assert_max_num_queries: Any
) -> None:
    from secguard.decisions import vexin
    from secguard.decisions.queries import vexin as queries

    for _ in range(5):
        estate.image(repository, [risk])
    read = vexin.read(document({"@id": "pkg:deb/debian/openssl"}))
    with django_assert_max_num_queries(5):
        assert len(queries.stands_of(read, developer, None, None)) == 5
