"""Tokens that are limited to some of their team's applications: a sister application of the same team is a stranger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.urls.exceptions import NoReverseMatch
from rest_framework.test import APIClient

from secguard.accounts import services
from secguard.accounts.authentication import OPEN_TO_LIMITED, bearer
from secguard.accounts.models import ApiToken, Application, CiIdentity, Team, User
from secguard.accounts.services import NewIdentity, create_ci_identity
from secguard.accounts.trust import Kind, Trust
from secguard.audit.models import AuditEntry
from secguard.errors import Invalid, NotAllowed, NotFound
from secguard.findings.models import Exposure, Finding
from secguard.images.models import Registry
from secguard.promotion.services.recording import require_place
from secguard.scans.models import Scan
from tests.decisions.conftest import Estate
from tests.fixtures_people import MakePerson, Person
from tests.fixtures_reports import flaw, report

pytestmark = pytest.mark.django_db


@pytest.fixture
def sister(make_application: Callable[..., Application], team: Team) -> Application:
    return make_application("Ledger", team)


@pytest.fixture
def limited(application: Application, developer: Person) -> Callable[..., User]:
    """The developer, as a request has them whose token is limited to the shop (or to what is said)."""

    def make(*chosen: Application, role: str = "developer", of: User | None = None) -> User:
        owner = of or developer
        _, raw = services.create_token(owner.pk, role, actor=None, name="x", applications=list(chosen) or [application])
        token = bearer(raw)
        assert token is not None
        token.user.raw = raw  # type: ignore[attr-defined]
        return token.user

    return make


def api_of(user: Any) -> APIClient:
    return APIClient(HTTP_AUTHORIZATION=f"Bearer {user.raw}")


# --- making one ---


def test_it_takes_its_team_from_the_application_and_the_log_says_so(
    developer: Person, application: Application, sister: Application, team: Team
) -> None:
    token, _ = services.create_token(
        developer.pk, "developer", actor=developer, name="x", applications=[sister, application]
    )
    assert token.team == team
    assert token.application_ids == sorted([application.pk, sister.pk])
    assert AuditEntry.objects.get(action="token:create").details["applications"] == ["ledger", "shop"]


def test_two_teams_at_once_and_a_person_s_role_are_refused(
    administrator: Person, reviewer: Person, application: Application, other_application: Application, other_team: Team
) -> None:
    with pytest.raises(Invalid, match=r"one team.*shop of Payments"):
        services.create_token(
            reviewer.pk, "viewer", actor=None, name="x", applications=[application, other_application]
        )
    with pytest.raises(Invalid, match="here Logistics"):
        services.create_token(reviewer.pk, "viewer", actor=None, name="x", team=other_team, applications=[application])
    for role, who in (("security-reviewer", reviewer), ("administrator", administrator)):
        with pytest.raises(Invalid, match="the whole team's"):
            services.create_token(who.pk, role, actor=None, name="x", applications=[application])


def test_the_database_holds_that_a_limit_is_in_a_team(developer: Person) -> None:
    token, _ = services.create_token(developer.pk, "developer", actor=None, name="x")
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiToken.objects.filter(pk=token.pk).update(application_ids=[1])


def test_rest_makes_and_shows_one_and_knows_no_stranger_s_application(
    developer: Person, application: Application, other_application: Application
) -> None:
    sent = {"name": "x", "role": "developer", "applications": ["shop"]}
    made = developer.api.post("/api/v1/tokens/", sent)
    assert made.status_code == 201, made.content
    assert (made.json()["team"], made.json()["applications"]) == ("payments", ["shop"])
    for slug in ("warehouse", "nothing"):
        refused = developer.api.post("/api/v1/tokens/", sent | {"applications": [slug]})
        assert refused.status_code in (400, 422)
        assert f"There is no application '{slug}' that you may see." in refused.content.decode()
    rows = developer.api.get("/api/v1/tokens/").json()["results"]
    assert sorted(str(row["applications"]) for row in rows) == ["None", "['shop']"]
    me = APIClient(HTTP_AUTHORIZATION=f"Bearer {made.json()['token']}").get("/api/v1/me/").json()
    assert me["roles"] == [{"role": "developer", "team": "payments"}]
    assert me["token"]["applications"] == ["shop"]
    assert "report:post" in me["permissions"]


def test_the_page_makes_one(developer: Person, application: Application) -> None:
    page = developer.client.post(
        "/account/tokens/new/", {"name": "x", "role": "developer", "days": 30, "applications": [application.pk]}
    )
    assert page.status_code == 201
    assert "for Shop alone" in page.content.decode()
    assert "1 application alone" in developer.client.get("/account/").content.decode()


# --- what it may ---


def test_whoever_asks_about_teams_alone_is_told_of_none(
    limited: Callable[..., User], application: Application, team: Team, make_person: MakePerson
) -> None:
    wide = make_person("wide", "operator")
    for user in (limited(), limited(role="operator", of=wide)):
        assert user.grants() == []
        assert not user.sees_everything
        assert user.team_ids == set()
        assert not user.can("report:post", team.pk)
        assert user.teams_with("report:post") == frozenset()
        assert user.limit is not None
        assert user.limit.applications == {application.pk}


def test_require_lets_it_pass_for_its_applications_alone(
    limited: Callable[..., User], application: Application, sister: Application, other_application: Application
) -> None:
    user = limited()
    services.require(user, "report:post", team_id=application.team_id, application=application)
    services.require(user, "report:post", anywhere=True)
    for more in (
        {"team_id": application.team_id},
        {"team_id": application.team_id, "application": sister},
        {"team_id": other_application.team_id, "application": other_application},
        {},
    ):
        with pytest.raises(NotAllowed, match="limited to some of its team's applications"):
            services.require(user, "report:post", **more)
    with pytest.raises(NotAllowed):
        services.require(user, "registry:edit", anywhere=True)


def test_an_application_that_went_to_another_team_is_out_of_reach(
    limited: Callable[..., User], application: Application, other_team: Team
) -> None:
    user = limited()
    assert Application.objects.visible_to(user).count() == 1
    Application.objects.filter(pk=application.pk).update(team=other_team)
    application.refresh_from_db()
    assert not Application.objects.visible_to(user).exists()
    assert not user.may_within("report:post", application)


def test_whose_owner_lost_the_role_reaches_nothing(
    limited: Callable[..., User], developer: Person, application: Application
) -> None:
    user = limited()
    developer.memberships.all().delete()
    user = User.objects.get(pk=user.pk)
    user.token = ApiToken.objects.get(user=user, application_ids__isnull=False)
    assert user.limit is not None
    assert user.limit.is_void
    assert not Application.objects.visible_to(user).exists()
    with pytest.raises(NotAllowed):
        services.require(user, "report:post", anywhere=True)


def test_it_makes_no_other_ends_no_other_and_rotates_itself_as_narrow(
    limited: Callable[..., User], developer: Person, application: Application
) -> None:
    user = limited()
    whole, _ = services.create_token(developer.pk, "developer", actor=None, name="whole")
    with pytest.raises(NotAllowed, match="makes no others"):
        services.create_token(developer.pk, "developer", actor=user, name="y")
    for call in (services.revoke_token, services.rotate_token):
        with pytest.raises(NotFound):
            call(whole.pk, actor=user)
    assert user.token is not None
    assert [t.pk for t in ApiToken.objects.visible_to(user)] == [user.token.pk]
    made, _ = services.rotate_token(user.token.pk, actor=user)
    assert (made.application_ids, made.team_id) == ([application.pk], application.team_id)


# --- reading ---


@pytest.fixture
def both(application: Application, sister: Application, developer: Person) -> dict[str, Any]:
    """An image with a flaw, a finished and a waiting scan and a decision in either application of the one team."""
    from django.utils import timezone

    from secguard.decisions import queries
    from secguard.decisions import services as decisions

    rows, made, now = Estate(), {}, timezone.now()
    for name, owner in (("mine", application), ("sister", sister)):
        repository = rows.repository(f"{name}/api", owner)
        risk = rows.risk(f"CVE-2026-{'1' if name == 'mine' else '2'}0000")
        image = rows.image(repository, [risk], at=now)
        scans = [
            Scan.objects.create(
                image=of, reference=repository.name, named=repository.name, scanner="trivy", application=owner,
                requested_by=developer, dedup_key=f"{name}{of is None}",
            )
            for of in (image, None)
        ]  # fmt: skip
        scope = queries.find_scope(developer, "repository", repository.name)
        end = now + timezone.timedelta(days=9)  # type: ignore[attr-defined]
        decision = decisions.request_decision(decisions.Ask(risk.pk, "accept", scope, "known", end), actor=developer)
        made[name] = {"repository": repository, "risk": risk, "image": image, "scans": scans, "decision": decision}
    Registry.objects.update(configured_at=now)
    return made


LISTS = ("images", "repositories", "findings", "risks", "exposures", "scans", "decisions", "applications", "promotions",
         "workloads")  # fmt: skip


@pytest.mark.parametrize("path", LISTS)
def test_a_list_shows_its_own_and_no_word_of_the_sister_s(
    path: str, both: dict[str, Any], limited: Callable[..., User]
) -> None:
    answer = api_of(limited()).get(f"/api/v1/{path}/")
    assert answer.status_code == 200, answer.content
    told = answer.content.decode()
    if path not in ("promotions", "workloads"):
        assert answer.json()["count"] == (2 if path == "scans" else 1), told
    for word in ("sister", "ledger", "Ledger", "CVE-2026-20000", both["sister"]["image"].digest):
        assert word not in told


def test_the_sister_s_rows_are_not_there(both: dict[str, Any], limited: Callable[..., User]) -> None:
    api = api_of(limited())
    for name, status in (("mine", 200), ("sister", 404)):
        its = both[name]
        digest = its["image"].digest
        for path in (
            f"images/{digest}", f"images/{digest}/findings", f"images/{digest}/components", f"images/{digest}/verdict",
            f"risks/{its['risk'].pk}", f"decisions/{its['decision'].pk}", f"scans/{its['scans'][0].pk}",
            f"scans/{its['scans'][1].pk}", f"repositories/{its['repository'].pk}",
            f"findings/{Finding.objects.get(image=its['image']).pk}",
            f"exposures/{Exposure.objects.get(repository=its['repository']).pk}",
        ):  # fmt: skip
            answer = api.get(f"/api/v1/{path}/" + ("?stage=build" if path.endswith("verdict") else ""))
            assert answer.status_code == status, (path, answer.content)
            assert "sister" not in answer.content.decode()


def test_an_image_in_both_shows_only_one_s_own_place(both: dict[str, Any], limited: Callable[..., User]) -> None:
    from secguard.images.models import ImageRepository

    image = both["mine"]["image"]
    ImageRepository.objects.create(image=image, repository=both["sister"]["repository"])
    told = api_of(limited()).get(f"/api/v1/images/{image.digest}/").content.decode()
    assert "mine/api" in told
    assert "sister" not in told


def test_every_open_address_is_there_and_all_others_are_closed(limited: Callable[..., User]) -> None:
    for name in OPEN_TO_LIMITED:
        assert any(_leads_somewhere(name, *args) for args in ([], ["1"], ["sha256:" + "0" * 64])), name
    api = api_of(limited())
    for path in ("audit", "channels", "notifications", "users", "teams", "policies", "forecast", "issues", "controls"):
        answer = api.get(f"/api/v1/{path}/")
        assert (answer.status_code, answer.json()["code"]) == (403, "token-limited"), path
    assert api.post("/api/v1/vex/", {}).status_code == 403


def _leads_somewhere(name: str, *args: str) -> bool:
    try:
        return bool(reverse(name, args=args))
    except NoReverseMatch:
        return False


def test_it_changes_nothing_of_the_team(both: dict[str, Any], limited: Callable[..., User], operator: Person) -> None:
    api, its = api_of(limited(role="operator", of=operator)), both["mine"]
    assert api.post("/api/v1/applications/", {"name": "New", "team": "payments"}).status_code == 422  # no such team
    assert api.patch("/api/v1/applications/shop/", {"is_exposed": True}).status_code == 403
    assert api.patch(f"/api/v1/repositories/{its['repository'].pk}/", {"application": None}).status_code in (403, 405)


# --- posting ---


def send(api: APIClient, raw: bytes, query: str = "") -> Any:
    return api.generic("POST", f"/api/v1/reports/{query}", raw, content_type="application/json")


def report_on(name: str, number: int = 7) -> bytes:
    return report(
        flaw("CVE-2026-70000"), image={"reference": f"registry.example.org/{name}:1", "digest": f"sha256:{number:064x}"}
    )


def test_reports_go_to_its_own_repositories(both: dict[str, Any], limited: Callable[..., User]) -> None:
    api = api_of(limited())
    assert send(api, report_on("mine/api")).status_code in (200, 201, 202)
    refused = send(api, report_on("sister/api", 8))
    assert (refused.status_code, "not one of your team's" in refused.content.decode()) == (404, True)
    assert send(api, report_on("new/api", 9), "?application=ledger").status_code == 404
    made = send(api, report_on("new/api", 9))  # the only application it knows
    assert made.status_code in (200, 201, 202)
    assert Scan.objects.get(pk=made.json()["id"]).application == Application.objects.get(slug="shop")


def test_it_speaks_for_no_image_that_the_sister_has_too(both: dict[str, Any], limited: Callable[..., User]) -> None:
    digest = both["sister"]["image"].digest
    image = {"reference": "registry.example.org/mine/api:1", "digest": digest}
    refused = send(api_of(limited()), report(image=image))
    assert (refused.status_code, refused.json()["code"]) == (403, "token-limited")


def test_scans_are_asked_for_in_its_own_repositories(both: dict[str, Any], limited: Callable[..., User]) -> None:
    api = api_of(limited())
    assert api.post("/api/v1/scans/", {"image": "registry.example.org/mine/api:1"}).status_code in (200, 201, 202)
    assert api.post("/api/v1/scans/", {"image": "registry.example.org/sister/api:1"}).status_code == 404


def test_promotions_start_and_end_in_its_own_repositories(
    both: dict[str, Any], limited: Callable[..., User], operator: Person
) -> None:
    user = limited(role="operator", of=operator)
    api = api_of(user)
    asked = {"image": f"registry.example.org/sister/api@{both['sister']['image'].digest}", "to": "live"}
    assert api.post("/api/v1/promotions/", asked).status_code == 404
    asked["image"] = f"registry.example.org/mine/api@{both['mine']['image'].digest}"
    assert "environment" in api.post("/api/v1/promotions/", asked).content.decode()  # past who may ask
    mine, theirs = both["mine"]["repository"], both["sister"]["repository"]
    require_place(user, mine, mine)
    require_place(operator, mine, theirs)
    with pytest.raises(NotAllowed, match="another application's"):
        require_place(user, mine, theirs)


def test_an_idempotency_key_of_the_owner_s_other_token_shows_nothing(
    both: dict[str, Any], limited: Callable[..., User], developer: Person
) -> None:
    raw = report_on("sister/api", 8)
    headers = {"HTTP_IDEMPOTENCY_KEY": "k" * 20}
    for api, status in ((developer.api, (200, 201, 202)), (api_of(limited()), (409,))):
        answer = api.generic("POST", "/api/v1/reports/", raw, content_type="application/json", **headers)
        assert answer.status_code in status, answer.content


# --- pipelines ---


def test_a_pipeline_s_token_is_as_narrow_as_its_identity(application: Application, sister: Application) -> None:
    from django.utils import timezone

    from secguard.accounts.services.tokens import issue

    trust = Trust(Kind.OTHER, "https://issuer.example", "here", {"sub": "shop"})
    identity = create_ci_identity(NewIdentity("Shop", trust, "developer", applications=[application]), actor=None)
    assert (identity.team_id, identity.application_ids) == (application.team_id, [application.pk])
    entry = AuditEntry.objects.get(action="ci-identity:create")
    assert entry.details["applications"] == ["shop"]
    token, raw = issue(
        identity.user, "Shop", services.role_named("developer"),
        ends=timezone.now() + timezone.timedelta(minutes=5), identity=identity, source="",  # type: ignore[attr-defined]
    )  # fmt: skip
    assert token.application_ids == [application.pk]
    slugs = [
        a["slug"] for a in APIClient(HTTP_AUTHORIZATION=f"Bearer {raw}").get("/api/v1/applications/").json()["results"]
    ]
    assert slugs == ["shop"]


def test_an_identity_is_limited_by_rest_and_page(administrator: Person, application: Application) -> None:
    sent = {
        "name": "Shop", "issuer": "https://issuer.example", "audience": "here", "claims": {"sub": "shop"},
        "role": "developer", "applications": ["shop"],
    }  # fmt: skip
    made = administrator.api.post("/api/v1/ci-identities/", sent)
    assert made.status_code == 201, made.content
    assert (made.json()["team"], made.json()["applications"]) == ("payments", ["shop"])
    form = sent | {
        "name": "Other",
        "kind": "other",
        "claims": "sub = shop",
        "minutes": 15,
        "applications": [application.pk],
    }
    assert administrator.client.post("/settings/ci-identities/new/", form).status_code == 302
    identity = CiIdentity.objects.get(name="Other")
    assert identity.application_ids == [application.pk]
    page = administrator.client.get(f"/settings/ci-identities/{identity.pk}/").content.decode()
    assert "limited to <strong>Shop</strong>" in page
