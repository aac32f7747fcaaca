"""Tokens that are limited to repositories by pattern, alone or within applications; and what limited tokens may since:
their images' VEX and passport, and asking for decisions inside of their limit."""

from __future__ import annotations

import base64
import importlib
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from hypothesis import HealthCheck, example, given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from secguard import patterns
from secguard.accounts import services
from secguard.accounts.authentication import OPEN_TO_APPLICATIONS, OPEN_TO_READ, bearer
from secguard.accounts.limits import MAX_REPOSITORIES, Limit, check_repositories
from secguard.accounts.models import ApiToken, Application, CiIdentity, Team, User
from secguard.accounts.services import NewIdentity, create_ci_identity
from secguard.accounts.services.tokens import issue
from secguard.accounts.trust import Kind, Trust
from secguard.audit.models import AuditEntry
from secguard.decisions import queries
from secguard.decisions import services as decisions
from secguard.decisions.models import Decision
from secguard.errors import Invalid, NotAllowed
from secguard.images.models import Image, ImageRepository, Registry, Repository
from secguard.network.models import Peer
from secguard.promotion.services.recording import require_name, require_place
from secguard.scans.models import Scan
from secguard.workloads.models import Cluster, Workload
from tests.accounts.test_limited_tokens import api_of, report_on, send
from tests.decisions.conftest import Estate
from tests.fixtures_people import Person
from tests.fixtures_reports import report

pytestmark = pytest.mark.django_db
HOST = "registry.example.org"


@pytest.fixture
def sister(make_application: Callable[..., Application], team: Team) -> Application:
    return make_application("Ledger", team)


@pytest.fixture
def limited(developer: Person, team: Team) -> Callable[..., User]:
    """The developer, as a request has them whose token is limited as it is said."""

    def make(
        *names: str, applications: tuple[Application, ...] = (), role: str = "developer", of: User | None = None
    ) -> User:
        owner = of or developer
        _, raw = services.create_token(
            owner.pk, role, actor=None, name="x", team=team, applications=applications,
            repositories=[f"{HOST}/{name}" for name in names],
        )  # fmt: skip
        token = bearer(raw)
        assert token is not None
        token.user.raw = raw  # type: ignore[attr-defined]
        return token.user

    return make


# --- what lies in no repository ---


def test_what_belongs_to_a_workload_is_no_repositorys(
    limited: Callable[..., User], application: Application, developer: Person
) -> None:
    """A workload may have the number that a repository inside the limit has: its rows are not seen by that."""
    registry = Registry.objects.create(host=HOST)
    repository = Repository.objects.create(
        registry=registry, path="shop/web", name=f"{HOST}/shop/web", application=application
    )
    cluster = Cluster.objects.create(name="prod")
    workload = Workload.objects.create(pk=repository.pk, cluster=cluster, name="web", application=application)
    now = timezone.now()
    peer = Peer.objects.create(
        sort="workload", name="web", cluster="prod", workload=workload, first_at=now, last_at=now
    )
    assert list(Peer.objects.visible_to(developer)) == [peer]
    assert list(Repository.objects.visible_to(limited("shop/*"))) == [repository]
    assert not Peer.objects.visible_to(limited("shop/*")).exists()


# --- patterns ---


def test_patterns_are_those_of_the_product_and_say_a_registry() -> None:
    assert check_repositories([]) is None
    assert check_repositories([" a.example/x ", "a.example/x", ""]) == ["a.example/x"]
    for bad in ("**", "reg**/x", "shop", "a.example/X", "a.example/x?", "a.example/***", "^a.example/x$"):
        with pytest.raises(Invalid) as refused:
            check_repositories([bad])
        assert refused.value.where == "repositories"
    with pytest.raises(Invalid, match="at most 20"):
        check_repositories([f"a.example/x{n}" for n in range(MAX_REPOSITORIES + 1)])


NAMES = ("r.example:5000/shop/api", "r.example:5000/shop/api-old", "r.example/shop/api", "r.example/shop/a/b",
         "xr.example/shop/api", "r.example/shop", "r1example/shop/api", "r.example/zshop/api")  # fmt: skip
PATTERNS = ("r.example/shop/api", "r.example/shop/*", "r.example/**", "r.example:5000/shop/*", "*.example/shop/api",
            "r.example/*shop/*", "r.example/shop**", "r.example:*/shop/api*", "r.example/**z")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_database_and_the_rule_mean_the_same(pattern: str, name: str, application: Application) -> None:
    limit = Limit(application.team_id, None, (pattern,))
    registry = Registry.objects.create(host=name.partition("/")[0])
    Repository.objects.create(registry=registry, path=name.partition("/")[2], name=name, application=application)
    assert Repository.objects.filter(name__regex=limit.name_regex).exists() is limit.has_name(name)
    assert limit.has_name(name) is patterns.matches(pattern, name)
    for rest in ("", ":1", ":z", "@sha256:" + "0" * 64, ":z@sha256:" + "0" * 64):
        scan = Scan.objects.create(reference=name + rest, scanner="x", dedup_key="x", status="failed")
        found = Scan.objects.filter(pk=scan.pk, reference__regex=limit.reference_regex).exists()
        assert found is limit.has_name(name), rest


@with_settings(max_examples=300)
@given(
    st.lists(st.from_regex(r"\Ar\.example/[a-z*./-]{1,12}\Z"), min_size=1, max_size=3),
    st.from_regex(r"\Ar\.example(:5)?/[a-z][a-z/-]{0,12}\Z"),
    st.sampled_from(["", ":t", ":a-z", "@sha256:ab", ":t@sha256:ab"]),
)
def test_a_tag_or_digest_is_no_part_of_a_name(given_: list[str], name: str, rest: str) -> None:
    try:
        limit = Limit(1, None, tuple(check_repositories(given_) or ()))
    except Invalid:
        return
    assert bool(re.search(limit.name_regex, name)) is limit.has_name(name)
    assert bool(re.search(limit.reference_regex, name + rest)) is limit.has_name(name)


# --- making one ---


def test_it_is_within_one_team_and_the_log_says_so(
    developer: Person, reviewer: Person, application: Application, other_team: Team, team: Team
) -> None:
    names = [f"{HOST}/mine/*"]
    with pytest.raises(Invalid, match="say which") as refused:
        services.create_token(developer.pk, "developer", actor=developer, name="x", repositories=names)
    assert refused.value.where == "team"
    with pytest.raises(Invalid, match="the whole team's"):
        services.create_token(reviewer.pk, "security-reviewer", actor=None, name="x", team=team, repositories=names)
    with pytest.raises(Invalid, match="does not hold developer in team"):
        services.create_token(developer.pk, "developer", actor=None, name="x", team=other_team, repositories=names)
    token, _ = services.create_token(
        developer.pk, "developer", actor=developer, name="x", applications=[application], repositories=names
    )
    assert (token.team, token.application_ids, token.repositories) == (team, [application.pk], names)
    details = AuditEntry.objects.get(action="token:create").details
    assert (details["applications"], details["repositories"]) == (["shop"], names)
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiToken.objects.filter(pk=token.pk).update(team=None, application_ids=None)


def test_rest_and_the_page_make_one(developer: Person, application: Application, team: Team) -> None:
    sent = {"name": "x", "role": "developer", "team": "payments", "repositories": [f"{HOST}/mine/*"]}
    made = developer.api.post("/api/v1/tokens/", sent)
    assert made.status_code == 201, made.content
    assert (made.json()["applications"], made.json()["repositories"]) == (None, [f"{HOST}/mine/*"])
    for bad in (["**"], ["x" * 301], [f"{HOST}/{n}" for n in range(21)], "x", [5, None]):
        assert developer.api.post("/api/v1/tokens/", sent | {"repositories": bad}).status_code in (400, 422), bad
    bearer_ = api_of(type("Bearer", (), {"raw": made.json()["token"]}))
    me = bearer_.get("/api/v1/me/").json()
    assert me["token"]["repositories"] == [f"{HOST}/mine/*"]
    assert me["roles"] == [{"role": "developer", "team": "payments"}]
    form = {"name": "y", "role": "developer", "team": team.pk, "days": 30, "repositories": f"{HOST}/mine/*\n\n{HOST}/b"}
    page = developer.client.post("/account/tokens/new/", form)
    assert page.status_code == 201
    assert f"for {HOST}/mine/*, {HOST}/b alone" in page.content.decode()
    assert "2 patterns of repositories alone" in developer.client.get("/account/").content.decode()
    refused = developer.client.post("/account/tokens/new/", form | {"repositories": "**"})
    assert refused.status_code == 422
    assert "is no pattern of repositories" in refused.content.decode() or "leaves the registry open" in (
        refused.content.decode()
    )


def test_it_makes_no_other_and_rotates_itself_as_narrow(limited: Callable[..., User], developer: Person) -> None:
    user = limited("mine/*")
    for more in ({}, {"repositories": [f"{HOST}/mine/*"], "team": user.token.team if user.token else None}):
        with pytest.raises(NotAllowed, match="makes no others"):
            services.create_token(developer.pk, "developer", actor=user, name="y", **more)
    assert user.token is not None
    assert [t.pk for t in ApiToken.objects.visible_to(user)] == [user.token.pk]
    made, _ = services.rotate_token(user.token.pk, actor=user)
    assert (made.repositories, made.team_id) == ([f"{HOST}/mine/*"], user.token.team_id)


def test_a_pipeline_s_token_is_as_narrow_as_its_identity(
    administrator: Person, application: Application, team: Team
) -> None:
    trust = Trust(Kind.OTHER, "https://issuer.example", "here", {"sub": "shop"})
    new = NewIdentity("Shop", trust, "developer", team=team, repositories=[f"{HOST}/mine/*"])
    identity = create_ci_identity(new, actor=None)
    assert AuditEntry.objects.get(action="ci-identity:create").details["repositories"] == [f"{HOST}/mine/*"]
    ends = timezone.now() + timedelta(minutes=5)
    token, _ = issue(identity.user, "Shop", services.role_named("developer"), ends=ends, identity=identity, source="")
    assert (token.team, token.repositories) == (team, [f"{HOST}/mine/*"])
    sent = {
        "name": "By REST", "issuer": "https://issuer.example", "audience": "here", "claims": {"sub": "shop"},
        "role": "developer", "team": "payments", "repositories": [f"{HOST}/mine/*"],
    }  # fmt: skip
    made = administrator.api.post("/api/v1/ci-identities/", sent)
    assert (made.status_code, made.json()["repositories"]) == (201, [f"{HOST}/mine/*"])
    form = sent | {
        "name": "By page", "kind": "other", "claims": "sub = shop", "minutes": 15, "team": team.pk,
        "repositories": f"{HOST}/mine/*", "applications": [application.pk],
    }  # fmt: skip
    assert administrator.client.post("/settings/ci-identities/new/", form).status_code == 302
    identity = CiIdentity.objects.get(name="By page")
    assert (identity.application_ids, identity.repositories) == ([application.pk], [f"{HOST}/mine/*"])
    page = administrator.client.get(f"/settings/ci-identities/{identity.pk}/").content.decode()
    assert f"limited to <strong>Shop, {HOST}/mine/*</strong>" in page


@pytest.mark.django_db(transaction=True)
def test_back_where_nobody_knows_the_limit_it_ends(limited: Callable[..., User], developer: Person) -> None:
    """The limit's column is dropped: a token that had one would reach the whole team."""
    user = limited("mine/*")
    whole, _ = services.create_token(developer.pk, "developer", actor=None, name="whole")
    migration = importlib.import_module("secguard.accounts.migrations.0005_limit_tokens_to_repositories")
    state = MigrationExecutor(connection).loader.project_state([("accounts", "0005_limit_tokens_to_repositories")])
    migration.end_limited(state.apps, None)
    assert user.token is not None
    assert ApiToken.objects.get(pk=user.token.pk).revoked_at is not None
    assert ApiToken.objects.get(pk=whole.pk).revoked_at is None


# --- the world ---


class World:
    """One team's two applications and others' things, each repository with an image, a risk, a scan, a decision."""

    def __init__(self, people: dict[str, Person], shop: Application, ledger: Application, others: Application) -> None:
        estate, self.now = Estate(), timezone.now()
        owners = {
            "mine/api": shop, "mine/web": shop, "mine/deep/job": shop, "tools/cli": shop,
            "sister/api": ledger, "mine/ledger": ledger, "logistics/api": others, "mine/stolen": others,
            "mine/nobody": None,
        }  # fmt: skip
        self.owners, self.repositories, self.risks, self.images, self.decisions = owners, {}, {}, {}, {}
        for number, (name, owner) in enumerate(owners.items()):
            repository = estate.repository(name, owner)
            risk = estate.risk(f"CVE-2026-7{number:04}")
            image = estate.image(repository, [risk], at=self.now)
            for of in (image, None):
                Scan.objects.create(
                    image=of, reference=f"{repository.name}:1", named=f"{repository.name}:1", scanner="trivy",
                    application=owner, requested_by=people["developer"], dedup_key=f"{name}{of is None}",
                )  # fmt: skip
            asker = people["security"]
            scope = queries.find_scope(asker, "repository", repository.name)
            ask = decisions.Ask(
                risk.pk, "not_affected", scope, f"known of {name}", self.now + timedelta(days=5),
                justification="vulnerable_code_not_in_execute_path",
            )  # fmt: skip
            decision = decisions.request_decision(ask, actor=asker)
            decisions.approve(decision.pk, actor=people["reviewer"])
            self.repositories[name], self.risks[name], self.images[name] = repository, risk, image
            self.decisions[name] = decision
        # The same digest in both applications of the team.
        ImageRepository.objects.create(image=self.images["mine/api"], repository=self.repositories["sister/api"])
        Registry.objects.update(configured_at=self.now)

    def inside(self, limit: Limit) -> set[str]:
        return {
            name
            for name, owner in self.owners.items()
            if owner is not None and limit.has_application(owner.pk, owner.team_id) and limit.has_name(f"{HOST}/{name}")
        }

    def lies_in(self, name: str) -> set[str]:
        return {name} | ({"sister/api"} if name == "mine/api" else set())


@pytest.fixture
def world(
    developer: Person, reviewer: Person, security_asker: Person, application: Application, sister: Application,
    other_application: Application,
) -> World:  # fmt: skip
    people = {"developer": developer, "security": security_asker, "reviewer": reviewer}
    return World(people, application, sister, other_application)


@pytest.fixture
def security_asker(make_person: Any) -> Person:
    person: Person = make_person("asker", "developer")
    return person


LISTS = ("repositories", "images", "findings", "risks", "exposures", "scans", "decisions", "vex")
CHOSEN = st.none() | st.sets(st.sampled_from(["shop", "ledger"]), min_size=1)
GLOBS = st.none() | st.sets(
    st.sampled_from(["mine/*", "mine/**", "mine/api", "sister/*", "*/api", "**", "tools/cli", "logistics/*", "m*/w*"]),
    min_size=1,
    max_size=3,
)


@with_settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(chosen=CHOSEN, globs=GLOBS)
@example(chosen=None, globs={"mine/*"})
@example(chosen={"shop"}, globs={"*/api"})
@example(chosen={"ledger"}, globs={"mine/**"})
@example(chosen={"shop"}, globs=None)
def test_a_limited_token_never_reads_nor_writes_what_its_limit_excludes(
    world: World, limited: Callable[..., User], chosen: set[str] | None, globs: set[str] | None
) -> None:
    if chosen is None and globs is None:
        return
    with transaction.atomic():
        applications = tuple(Application.objects.select_related("team").filter(slug__in=chosen or ()))
        user = limited(*sorted(globs or ()), applications=applications)
        assert user.limit is not None
        inside = world.inside(user.limit)
        reads(world, api_of(user), inside)
        writes(world, api_of(user), inside)
        transaction.set_rollback(True)


def reads(world: World, api: Any, inside: set[str]) -> None:
    seen = {name for name in world.owners if world.lies_in(name) & inside}
    hidden = [f"{HOST}/{name}" for name in world.owners if name not in inside]
    hidden += [world.images[name].digest for name in world.owners if name not in seen]
    hidden += [world.risks[name].name for name in world.owners if name not in seen]
    hidden += [f"known of {name}" for name in world.owners if not world.lies_in(name) & inside]
    expected = {"repositories": inside, "images": seen, "findings": seen}
    paths = [f"{name}/" for name in LISTS] + [f"vex/?repository={HOST}/{name}" for name in inside]
    paths += [f"images/{world.images[n].digest}/{page}/" for n in seen for page in ("", "findings", "vex", "passport",
                                                                                  "verdict")]  # fmt: skip
    for path in (p.replace("//", "/") for p in paths):
        answer = api.get(f"/api/v1/{path}")
        assert answer.status_code == 200, (path, answer.content)
        told = answer.content.decode()
        if "passport" in path:
            told = base64.b64decode(answer.json()["payload"]).decode()
        for word in hidden:
            assert word not in told, (path, word)
        if (rows := expected.get(path.rstrip("/"))) is not None:
            assert answer.json()["count"] == len(rows), path
    for name in world.owners.keys() - seen:
        digest = world.images[name].digest
        for path in (f"images/{digest}/", f"images/{digest}/vex/", f"images/{digest}/passport/",
                     f"risks/{world.risks[name].pk}/", f"decisions/{world.decisions[name].pk}/"):  # fmt: skip
            assert api.get(f"/api/v1/{path}").status_code == 404, path
        assert api.get(f"/api/v1/vex/?repository={HOST}/{name}").status_code == 404


def writes(world: World, api: Any, inside: set[str]) -> None:
    for number, name in enumerate(world.owners):
        posted = send(api, report_on(name, 5000 + number)).status_code
        assert (posted in (200, 201, 202)) is (name in inside), (name, posted)
        assert posted in (200, 201, 202, 404)
        scan = api.post("/api/v1/scans/", {"image": f"{HOST}/{name}:2"})
        assert (scan.status_code in (200, 201, 202)) is (name in inside), (name, scan.content)
        asked = api.post("/api/v1/decisions/", ask_for(world, name, {"repository": f"{HOST}/{name}"}))
        assert (asked.status_code == 201) is (name in inside), (name, asked.content)
    shared = send(api, report(image={"reference": f"{HOST}/mine/api:1", "digest": world.images["mine/api"].digest}))
    assert (shared.status_code in (200, 201, 202)) is ({"mine/api", "sister/api"} <= inside), shared.content


def ask_for(world: World, name: str, scope: dict[str, Any]) -> dict[str, Any]:
    ends = (world.now + timedelta(days=3)).isoformat()
    return {"kind": "accept", "risk": world.risks[name].pk, "scope": scope, "reason": "known", "expires_at": ends}


# --- what is open, and how far ---


def test_what_lies_in_no_repository_is_closed_to_a_limit_by_repositories(
    world: World, limited: Callable[..., User], application: Application
) -> None:
    assert {f"api:workload-{page}" for page in ("list", "detail")} == OPEN_TO_APPLICATIONS
    assert api_of(limited(applications=(application,))).get("/api/v1/workloads/").status_code == 200
    refused = api_of(limited("mine/*")).get("/api/v1/workloads/")
    assert (refused.status_code, refused.json()["code"]) == (403, "token-limited")


def test_vex_and_passport_are_read_and_never_written(world: World, limited: Callable[..., User]) -> None:
    api, digest = api_of(limited("mine/*")), world.images["mine/api"].digest
    assert {"api:vex", "api:image-vex", "api:image-passport"} == OPEN_TO_READ
    for path in ("/api/v1/vex/", f"/api/v1/images/{digest}/vex/"):
        assert api.get(path).status_code == 200
        refused = api.post(path, {"@context": "https://openvex.dev/ns/v0.2.0"})
        assert (refused.status_code, refused.json()["code"]) == (403, "token-limited")
    for verb in ("approve", "reject", "withdraw", "revoke", "undo"):
        path = f"/api/v1/decisions/{world.decisions['mine/api'].pk}/{verb}/"
        assert api.post(path, {"comment": "x"}).json()["code"] == "token-limited"
    for path in ("bulk/", "bulk-vote/", "blast-radius/"):
        assert api.post(f"/api/v1/decisions/{path}", {}).json()["code"] == "token-limited"


def test_words_of_a_decision_go_along_with_no_image_that_lies_elsewhere_too(
    world: World, limited: Callable[..., User]
) -> None:
    both, one = (world.images[name].digest for name in ("mine/api", "mine/web"))
    api = api_of(limited("mine/*"))
    assert "known of mine/web" in api.get(f"/api/v1/images/{one}/vex/").content.decode()
    told = api.get(f"/api/v1/images/{both}/vex/").content.decode()
    assert world.risks["mine/api"].name in told
    assert "known of" not in told


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ({"organisation": True}, "everything outside of the token's team"),
        ({"application": "shop"}, "every repository of Shop, those to come too"),
        ({"image": "mine/api"}, "1 of the 2 repositories that the image lies in"),
    ],
)
def test_a_scope_that_reaches_beyond_is_refused_and_the_part_is_said(
    world: World, limited: Callable[..., User], scope: dict[str, Any], words: str
) -> None:
    if "image" in scope:
        scope = {"image": world.images[scope["image"]].digest}
    refused = api_of(limited("mine/*")).post("/api/v1/decisions/", ask_for(world, "mine/api", scope))
    assert (refused.status_code, refused.json()["code"]) == (403, "token-limited")
    assert words in refused.json()["detail"]
    assert "sister" not in refused.content.decode()


def test_inside_of_its_limit_it_asks_for_the_team_and_approves_nothing(
    world: World, limited: Callable[..., User], application: Application, team: Team, developer: Person
) -> None:
    by_name = api_of(limited("mine/*"))
    made = by_name.post("/api/v1/decisions/", ask_for(world, "mine/web", {"image": world.images["mine/web"].digest}))
    assert made.status_code == 201, made.content
    decision = Decision.objects.get(pk=made.json()["id"])
    assert (decision.team_id, decision.requested_by_id) == (team.pk, developer.pk)
    assert made.json()["covers"]["images"] == 1
    by_application = api_of(limited(applications=(application,)))
    made = by_application.post("/api/v1/decisions/", ask_for(world, "mine/web", {"application": "shop"}))
    assert made.status_code == 201, made.content
    assert by_application.post(f"/api/v1/decisions/{made.json()['id']}/approve/").status_code == 403
    elsewhere = by_application.post("/api/v1/decisions/", ask_for(world, "mine/web", {"application": "ledger"}))
    assert elsewhere.status_code == 404


def test_a_viewer_s_token_asks_for_nothing(world: World, limited: Callable[..., User], make_person: Any) -> None:
    viewer = make_person("reader", "viewer")
    api = api_of(limited("mine/*", role="viewer", of=viewer))
    asked = ask_for(world, "mine/web", {"repository": f"{HOST}/mine/web"})
    assert api.get("/api/v1/decisions/").status_code == 200
    assert api.post("/api/v1/decisions/", asked).status_code == 403


def test_a_new_repository_is_made_where_its_name_and_its_application_are_inside(
    world: World, limited: Callable[..., User], application: Application
) -> None:
    api = api_of(limited("fresh/*", applications=(application,)))
    assert send(api, report_on("fresh/api", 91)).status_code in (200, 201, 202)
    assert Scan.objects.get(reference__startswith=f"{HOST}/fresh/api").application == application
    for name in ("stale/api", "sister/api"):  # there or not, in the same words
        refused = send(api, report_on(name, 92))
        assert (refused.status_code, "not one of your team's" in refused.content.decode()) == (404, True)
    assert send(api_of(limited("fresh/*")), report_on("fresh/web", 93)).status_code in (404, 422)  # whose?


def test_promotions_start_and_lead_inside(world: World, limited: Callable[..., User], operator: Person) -> None:
    user = limited("mine/*", role="operator", of=operator)
    mine, theirs = world.repositories["mine/api"], world.repositories["tools/cli"]
    require_place(user, mine, world.repositories["mine/web"])
    with pytest.raises(NotAllowed):
        require_place(user, mine, theirs)
    require_name(user, f"{HOST}/mine/new")
    for name in (f"{HOST}/tools/new", "production.example.org/mine/api"):
        with pytest.raises(NotAllowed, match="where this leads"):
            require_name(user, name)
    require_name(operator, f"{HOST}/tools/new")
    asked = {"image": f"{HOST}/tools/cli@{world.images['tools/cli'].digest}", "to": "live"}
    assert api_of(user).post("/api/v1/promotions/", asked).status_code == 404


def test_a_scan_of_another_place_is_not_its_own_to_call_off(world: World, limited: Callable[..., User]) -> None:
    """One digest, two places: what was asked for by the sister's name stays hers, and unnamed."""
    image = world.images["mine/api"]
    hers = Scan.objects.create(
        image=image, reference=f"{HOST}/sister/api:9", named=f"{HOST}/sister/api:9", scanner="secguard",
        origin="worker", application=world.owners["sister/api"], requested_by=limited("mine/*"), dedup_key="hers",
    )  # fmt: skip
    api = api_of(limited("mine/*"))
    told = api.get(f"/api/v1/scans/{hers.pk}/")
    assert told.status_code == 200
    assert "sister" not in told.content.decode()
    refused = api.post(f"/api/v1/scans/{hers.pk}/cancel/")
    assert (refused.status_code, refused.json()["code"]) == (403, "token-limited")


def test_whose_owner_lost_the_role_reaches_nothing(
    world: World, limited: Callable[..., User], developer: Person
) -> None:
    user = limited("mine/**")
    developer.memberships.all().delete()
    user = User.objects.get(pk=user.pk)
    user.token = ApiToken.objects.get(user=user, repositories__isnull=False)
    for model in (Repository, Application, Image):
        assert not model.objects.visible_to(user).exists()  # type: ignore[attr-defined]
    assert not Scan.objects.visible_to(user).exists()
    with pytest.raises(NotAllowed):
        services.require(user, "report:post", anywhere=True)
