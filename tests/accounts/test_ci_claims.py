"""Tokens as GitHub, GitLab and Kubernetes make them, claim by claim, and what an attacker can have in them.

The shapes are those of: GitHub, "OpenID Connect reference"; GitLab, "OpenID Connect (OIDC) Authentication Using ID
Tokens"; Kubernetes, "Managing Service Accounts" (bound tokens).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.accounts import services
from secguard.accounts.models import CiIdentity, Team
from secguard.accounts.services import NewIdentity, create_ci_identity
from secguard.accounts.trust import NUMBERS, Kind, Trust, check_pattern, fits, value_of
from secguard.audit.models import AuditEntry
from secguard.errors import Invalid
from tests.accounts.issuing import AUDIENCE, GITHUB, PRIVATE, Issuer, jwk, running
from tests.accounts.test_ci_identities import ask

pytestmark = pytest.mark.django_db

OF_GITHUB = {
    "sub": "repo:acme/shop:ref:refs/heads/main",
    "ref": "refs/heads/main",
    "sha": "0d1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c",
    "repository": "acme/shop",
    "repository_owner": "acme",
    "repository_owner_id": "123456",
    "run_id": "19780012345",
    "run_number": "10",
    "run_attempt": "2",
    "repository_visibility": "private",
    "repository_id": "456789",
    "actor_id": "12",
    "actor": "alice",
    "workflow": "image",
    "head_ref": "",
    "base_ref": "",
    "event_name": "push",
    "ref_protected": "true",
    "ref_type": "branch",
    "workflow_ref": "acme/shop/.github/workflows/image.yml@refs/heads/main",
    "workflow_sha": "0d1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c",
    "job_workflow_ref": "acme/shop/.github/workflows/image.yml@refs/heads/main",
    "job_workflow_sha": "0d1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c",
    "runner_environment": "github-hosted",
    "check_run_id": "42",
}
PULL_REQUEST = {
    "sub": "repo:acme/shop:pull_request",
    "ref": "refs/pull/7/merge",
    "event_name": "pull_request",
    "head_ref": "main",
    "base_ref": "main",
    "ref_protected": "false",
    "workflow_ref": "acme/shop/.github/workflows/image.yml@refs/pull/7/merge",
    "job_workflow_ref": "acme/shop/.github/workflows/image.yml@refs/pull/7/merge",
}

OF_GITLAB = {
    "namespace_id": "72",
    "namespace_path": "acme",
    "project_id": "20",
    "project_path": "acme/shop",
    "user_id": "1",
    "user_login": "alice",
    "user_email": "alice@example.org",
    "user_access_level": "developer",
    "pipeline_id": "574",
    "pipeline_source": "push",
    "job_id": "302",
    "ref": "main",
    "ref_type": "branch",
    "ref_path": "refs/heads/main",
    "ref_protected": "true",
    "groups_direct": ["acme", "acme/platform"],
    "environment": "production",
    "environment_protected": "true",
    "deployment_tier": "production",
    "environment_action": "start",
    "runner_id": 1,
    "runner_environment": "self-hosted",
    "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
    "project_visibility": "private",
    "ci_config_ref_uri": "gitlab.example.org/acme/shop//.gitlab-ci.yml@refs/heads/main",
    "ci_config_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
    "sub": "project_path:acme/shop:ref_type:branch:ref:main",
}

OF_KUBERNETES = {
    "sub": "system:serviceaccount:ci:builder",
    "aud": [AUDIENCE],
    "kubernetes.io": {
        "namespace": "ci",
        "node": {"name": "worker-1", "uid": "517eb86e-b863-451b-bf70-86cb61439a3a"},
        "pod": {"name": "build-7f9c", "uid": "900f80ed-bafe-49f0-9ae2-c5f0a3ac2cbe"},
        "serviceaccount": {"name": "builder", "uid": "a709ef71-30e2-489a-bd19-ade97031b9db"},
        "warnafter": 1760000000,
    },
}
CLUSTER = "https://kubernetes.default.svc.cluster.local"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running() as found:
        yield found


def trusted(issuer: Issuer | str, kind: Kind, team: Team, claims: dict[str, str], **more: Any) -> CiIdentity:
    url = issuer if isinstance(issuer, str) else issuer.url
    trust = Trust(kind, url, AUDIENCE, claims)
    name = f"{kind} {CiIdentity.objects.count()}"
    return create_ci_identity(NewIdentity(name, trust, "developer", team, **more), actor=None)


def token(issuer: Issuer, shape: dict[str, Any], **changes: Any) -> str:
    """Only what the shape has: the issuer's own claims (``issuing.GITHUB``) are taken out."""
    return issuer.token(**(dict.fromkeys(GITHUB) | shape | changes))


def taken(raw: str) -> bool:
    answer = ask(raw)
    assert answer.status_code in (200, 400), answer.content
    return bool(answer.status_code == 200)


# --- GitHub ---


def test_a_push_to_the_branch_is_taken_and_the_log_has_its_claims(issuer: Issuer, team: Team) -> None:
    trusted(issuer, Kind.GITHUB, team, {"repository": "acme/shop", "ref": "refs/heads/main"})
    assert taken(token(issuer, OF_GITHUB))
    claims = AuditEntry.objects.get(action="token:exchange").details["claims"]
    assert (claims["repository"], claims["ref"], claims["run_id"]) == ("acme/shop", "refs/heads/main", "19780012345")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(PULL_REQUEST, id="pull request, whose head is called main as well"),
        pytest.param(PULL_REQUEST | {"head_ref": "refs/heads/main"}, id="pull request from refs/heads/main"),
        pytest.param({"repository": "evil/shop", "repository_owner": "evil"}, id="the same name of another owner"),
        pytest.param({"repository": "acme/shop-evil"}, id="a longer name"),
        pytest.param({"repository": "evil/acme/shop"}, id="a name that ends so"),
        pytest.param({"ref": "refs/heads/main-evil"}, id="a longer branch"),
        pytest.param({"ref": "refs/heads/x/refs/heads/main"}, id="a branch that ends so"),
        pytest.param({"ref": "refs/tags/main", "ref_type": "tag"}, id="a tag of that name"),
        pytest.param({"ref": "refs/heads/main\nrefs/heads/x"}, id="two lines"),
        pytest.param({"ref": ["refs/heads/x", "refs/heads/mainly"]}, id="a list without it"),
        pytest.param({"ref": {"refs/heads/main": "refs/heads/main"}}, id="an object"),
        pytest.param({"aud": "https://github.com/acme"}, id="the audience that GitHub gives by default"),
        pytest.param({"aud": [AUDIENCE + "/"]}, id="almost the audience"),
        pytest.param({"aud": None}, id="no audience"),
    ],
)
def test_whatever_is_not_that_branch_of_that_repository_is_refused(
    issuer: Issuer, team: Team, changes: dict[str, Any]
) -> None:
    trusted(issuer, Kind.GITHUB, team, {"repository": "acme/shop", "ref": "refs/heads/main"})
    assert not taken(token(issuer, OF_GITHUB, **changes))


@pytest.mark.parametrize(
    ("ref", "fits_"),
    [
        ("refs/heads/main", True),
        ("refs/heads/release-7.1", True),
        ("refs/heads/feature/x", False),
        ("refs/heads/", True),
        ("refs/heads", False),
        ("refs/pull/7/merge", False),
        ("refs/tags/v1", False),
        ("xrefs/heads/main", False),
        ("refs/heads/a:b", False),
        ("refs/heads/main\n", False),
    ],
)
def test_a_pattern_of_branches_ends_where_a_part_does(ref: str, fits_: bool) -> None:
    assert fits(check_pattern("ref", "refs/heads/*"), ref) is fits_


def test_a_forks_pull_request_is_no_push_whatever_its_trust_forgot(issuer: Issuer, team: Team) -> None:
    """``pull_request_target`` runs for a fork on the branch that it is for: its ref is the branch's own."""
    target = {"event_name": "pull_request_target", "head_ref": "evil", "base_ref": "main"}
    trusted(issuer, Kind.GITHUB, team, {"repository": "acme/shop", "ref": "refs/heads/main", "event_name": "push"})
    assert not taken(token(issuer, OF_GITHUB, **target))
    assert not taken(token(issuer, OF_GITHUB | PULL_REQUEST, repository="acme/shop"))
    assert taken(token(issuer, OF_GITHUB))


def test_by_its_subject_a_pull_request_is_nothing_but_one(issuer: Issuer, team: Team) -> None:
    by_subject = {"sub": "repo:acme/*:ref:refs/heads/main", "repository": "acme/*", "ref": "refs/heads/**"}
    trusted(issuer, Kind.GITHUB, team, by_subject)
    assert taken(token(issuer, OF_GITHUB))
    # A job with an environment, whose name may hold what a branch's subject would: GitHub writes its colons as %3A, and
    # older GitHub Enterprise Servers as they are.
    for environment in ("x%3Aref%3Arefs/heads/main", "x:ref:refs/heads/main"):
        assert not taken(token(issuer, OF_GITHUB, sub=f"repo:acme/shop:environment:{environment}"))
    assert not taken(token(issuer, OF_GITHUB | PULL_REQUEST))
    # What new repositories have for a subject: names with their ids (since July 2026).
    immutable = "repo:acme@123456/shop@456789:ref:refs/heads/main"
    assert not taken(token(issuer, OF_GITHUB, sub=immutable))
    trusted(issuer, Kind.GITHUB, team, {"sub": immutable, "repository_id": "456789", "ref": "refs/heads/main"})
    assert taken(token(issuer, OF_GITHUB, sub=immutable))


def test_an_id_outlives_a_name(issuer: Issuer, team: Team) -> None:
    trusted(issuer, Kind.GITHUB, team, {"repository_id": "456789", "ref": "refs/heads/main"})
    assert taken(token(issuer, OF_GITHUB))
    renamed = {"repository": "acme/store", "sub": "repo:acme/store:ref:refs/heads/main"}
    assert taken(token(issuer, OF_GITHUB, **renamed))
    assert not taken(token(issuer, OF_GITHUB, repository_id="456790"))  # whoever took the name since
    assert not taken(token(issuer, OF_GITHUB, repository_id="4567890"))
    assert taken(token(issuer, OF_GITHUB, repository_id=456789))  # as a number


def test_half_an_id_is_refused() -> None:
    for claim in NUMBERS:
        assert check_pattern(claim, "456789") == "456789"
        for bad in ("4567*", "*", "4/*"):
            with pytest.raises(Invalid):
                check_pattern(claim, bad)


# --- GitLab ---


@pytest.mark.parametrize(
    ("asked", "changes", "fits_"),
    [
        ({"project_path": "acme/shop", "ref_protected": "true"}, {}, True),
        ({"project_path": "acme/shop", "ref": "main", "ref_type": "branch"}, {}, True),
        ({"project_path": "acme/shop", "ref": "main", "ref_type": "branch"}, {"ref_type": "tag"}, False),
        ({"project_path": "acme/shop", "ref_protected": "true"}, {"ref_protected": "false"}, False),
        ({"project_path": "acme/shop", "ref_protected": "true"}, {"ref_protected": True}, True),
        ({"project_path": "acme/shop", "ref_protected": "true"}, {"ref_protected": None}, False),
        ({"project_path": "acme/*", "ref_protected": "true"}, {"project_path": "acme/platform/shop"}, False),
        ({"project_path": "acme/**", "ref_protected": "true"}, {"project_path": "acme/platform/shop"}, True),
        ({"project_path": "acme/**", "ref_protected": "true"}, {"project_path": "acme-evil/shop"}, False),
        ({"project_id": "20", "ref_protected": "true"}, {"project_path": "acme/store"}, True),
        ({"project_id": "20", "ref_protected": "true"}, {"project_id": "201"}, False),
        ({"project_path": "acme/shop", "ref": "main", "pipeline_source": "push"}, {"pipeline_source": "web"}, False),
        ({"project_path": "acme/shop", "ref": "main", "environment": "production"}, {}, True),
        ({"project_path": "acme/shop", "ref": "main", "environment": "production"}, {"environment": None}, False),
        ({"project_path": "acme/shop", "ref": "main", "groups_direct": "acme/platform"}, {}, True),
        ({"project_path": "acme/shop", "ref": "main", "runner_id": "1"}, {}, True),
        ({"project_path": "acme/shop", "ref": "main", "user_login": "alice", "namespace_path": "acme"}, {}, True),
        (
            {"project_path": "acme/shop", "ref": "main"},
            # A merge request's pipeline that runs for a fork says the fork's project.
            {"project_path": "evil/shop", "namespace_path": "evil", "project_id": "66", "ref_protected": "false",
             "pipeline_source": "merge_request_event", "sub": "project_path:evil/shop:ref_type:branch:ref:main"},
            False,
        ),
    ],
)  # fmt: skip
def test_gitlab_s_claims(
    issuer: Issuer, team: Team, asked: dict[str, str], changes: dict[str, Any], fits_: bool
) -> None:
    trusted(issuer, Kind.GITLAB, team, asked)
    assert taken(token(issuer, OF_GITLAB, **changes)) is fits_


# --- Kubernetes ---


def of_cluster(**changes: Any) -> str:
    """Signed by the cluster's key, whose public part was entered; nobody asks the cluster."""
    issuer = Issuer()
    issuer.url = CLUSTER
    return token(issuer, {"iss": CLUSTER} | OF_KUBERNETES, **({"key_id": "cluster"} | changes))


@pytest.fixture
def builder(team: Team) -> CiIdentity:
    claims = {
        "sub": "system:serviceaccount:ci:builder",
        "kubernetes.io.namespace": "ci",
        "kubernetes.io.serviceaccount.name": "builder",
        "kubernetes.io.pod.name": "build-*",
    }
    return trusted(CLUSTER, Kind.KUBERNETES, team, claims, keys={"keys": [jwk("RS256", "cluster")]})


def test_a_projected_token_is_taken_by_the_keys_that_were_entered(builder: CiIdentity) -> None:
    assert taken(of_cluster())
    claims = AuditEntry.objects.get(action="token:exchange").details["claims"]
    assert claims["kubernetes.io.pod.name"] == "build-7f9c"
    assert taken(of_cluster(aud=["https://kubernetes.default.svc", AUDIENCE]))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"sub": "system:serviceaccount:evil:builder"}, id="another namespace"),
        pytest.param(
            {"kubernetes.io": OF_KUBERNETES["kubernetes.io"] | {"namespace": "evil"}},  # type: ignore[operator]
            id="another namespace inside",
        ),
        pytest.param({"sub": "system:serviceaccount:ci:builder:x"}, id="a longer subject"),
        pytest.param({"sub": "system:serviceaccount:ci:other"}, id="another account"),
        pytest.param({"kubernetes.io": None}, id="nothing inside"),
        pytest.param({"kubernetes.io": "ci"}, id="a text inside"),
        pytest.param({"kubernetes.io": {"namespace": {"ci": "ci"}}}, id="an object inside"),
        pytest.param({"kubernetes": {"io": {"namespace": "ci"}}, "kubernetes.io": None}, id="parts of the name"),
        pytest.param({"aud": ["https://kubernetes.default.svc.cluster.local"]}, id="the API server's own audience"),
        pytest.param({"aud": []}, id="no audience"),
        pytest.param({"iss": "https://kubernetes.default.svc"}, id="almost the issuer"),
        pytest.param({"private": PRIVATE["ES256"], "algorithm": "ES256"}, id="a key that nobody entered"),
        pytest.param({"key_id": "other"}, id="another key's name"),
    ],
)
def test_other_namespaces_accounts_audiences_and_keys_are_refused(builder: CiIdentity, changes: dict[str, Any]) -> None:
    assert not taken(of_cluster(**changes))


def test_the_token_that_every_pod_has_by_itself_is_refused(builder: CiIdentity) -> None:
    """It is for the API server, and lives for a year; the ones of Secrets never end."""
    now = int(timezone.now().timestamp())
    answer = ask(of_cluster(exp=now + int(timedelta(days=365).total_seconds())))
    assert (answer.status_code, "lives longer than 24 hours" in answer.json()["detail"]) == (400, True)
    legacy = {"kubernetes.io/serviceaccount/namespace": "ci", "kubernetes.io": None, "exp": None, "aud": None}
    assert not taken(of_cluster(**legacy))


def test_an_identity_of_a_cluster_is_limited_like_any(team: Team) -> None:
    claims = {"sub": "system:serviceaccount:ci:builder"}
    keys = {"keys": [jwk("RS256", "cluster")]}
    trusted(CLUSTER, Kind.KUBERNETES, team, claims, keys=keys, repositories=["registry.example.org/shop/*"])
    made = ask(of_cluster()).json()["access_token"]
    from rest_framework.test import APIClient

    me = APIClient(HTTP_AUTHORIZATION=f"Bearer {made}").get("/api/v1/me/").json()
    assert me["token"]["repositories"] == ["registry.example.org/shop/*"]
    assert me["roles"] == [{"role": "developer", "team": team.slug}]


# --- claims inside of claims ---


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("kubernetes.io.namespace", ["ci"]),
        ("kubernetes.io/namespace", ["ci"]),
        ("kubernetes.io.pod.name", ["build-7f9c"]),
        ("kubernetes.io/pod/name", ["build-7f9c"]),
        ("kubernetes.io.warnafter", ["1760000000"]),
        ("kubernetes.io", []),
        ("kubernetes.io.", []),
        ("kubernetes.io.pod", []),
        ("kubernetes.io.pod.name.x", []),
        ("kubernetes", []),
        (".kubernetes.io.namespace", []),
    ],
)
def test_a_claim_inside_of_one_whose_name_holds_a_dot(name: str, found: list[str]) -> None:
    assert value_of(OF_KUBERNETES, name) == found


def test_the_whole_name_goes_first_then_the_longest_and_nothing_else_is_tried() -> None:
    claims = {"a": {"b.c": "short", "d": "x"}, "a.b": {"c": "long"}, "a.b.c": "whole", "e.f": "text", "e": {"f.g": "y"}}
    assert value_of(claims, "a.b.c") == ["whole"]
    del claims["a.b.c"]
    assert value_of(claims, "a.b.c") == ["long"]
    assert value_of(claims, "a.b.x") == []
    assert value_of(claims, "a.d") == ["x"]
    assert value_of(claims, "e.f.g") == []  # e.f is a text, and e is not asked instead


def test_what_is_listed_twice_needs_a_name(issuer: Issuer, team: Team) -> None:
    one = trusted(issuer, Kind.GITHUB, team, {"repository": "acme/shop", "ref": "refs/heads/main"})
    trusted(issuer, Kind.GITHUB, team, {"repository_id": "456789", "ref": "refs/heads/*"})
    raw = token(issuer, OF_GITHUB)
    assert ask(raw).json()["code"] == "several-identities"
    assert ask(raw, scope=one.name).status_code == 200
    services.withdraw_ci_identity(one.pk, actor=None)
    assert taken(raw)
