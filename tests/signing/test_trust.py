"""Whose signatures count besides ours, and in which repositories."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from secguard import patterns
from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.signing import ecdsa, services
from secguard.signing.models import TrustedKey
from secguard.signing.queries import parties
from secguard.signing.services import Trust

VENDOR = ecdsa.generate()
PEM = VENDOR.public.pem


@pytest.mark.parametrize(
    ("pattern", "repository", "fits"),
    [
        ("reg.example/shop/api", "reg.example/shop/api", True),
        ("reg.example/shop/api", "reg.example/shop/api2", False),
        ("reg.example/shop/*", "reg.example/shop/api", True),
        ("reg.example/shop/*", "reg.example/shop/api/v2", False),
        ("reg.example/shop/*", "reg.example/shop", False),
        ("reg.example/**", "reg.example/shop/api/v2", True),
        ("reg.example/**", "reg.example.evil/shop", False),
        ("*.example/a", "reg.example/a", True),
        ("reg.example/a-*", "reg.example/a-b", True),
        ("reg.example/a.b", "reg.example/axb", False),
        ("**", "anything.example/at/all", True),
    ],
)
def test_which_repositories_a_pattern_means(pattern, repository, fits):
    assert patterns.matches(patterns.check(pattern), repository) is fits


@given(st.from_regex(r"[a-z]{1,8}\.example(/[a-z0-9]{1,8}){1,4}", fullmatch=True))
def test_a_name_means_itself_and_everything_means_it(name):
    assert patterns.matches(patterns.check(name), name)
    assert patterns.matches("**", name)
    assert patterns.matches(f"{name.partition('/')[0]}/**", name)
    assert not patterns.matches(name, name + "x")


@pytest.mark.parametrize(
    "pattern", ["", "shop", "Reg.example/a", "a b/c", "a/***", "a/*b*c*d*e*f", "x/" + "y" * 300, "a/(b)+"]
)
def test_a_pattern_that_is_none_is_refused(pattern):
    with pytest.raises(Invalid, match="no pattern"):
        patterns.check(pattern)


pytestmark = pytest.mark.django_db


def trust(actor, repositories="reg.example/base/*", **columns) -> TrustedKey:
    return services.trust_key(Trust("Base images", PEM, repositories, **columns), actor=actor)


def test_a_trusted_key_counts_where_it_was_said_and_nowhere_else(administrator, make_key):
    ours, theirs = make_key("production"), trust(administrator)
    now = timezone.now()
    assert [p.name for p in parties("reg.example/base/debian", now)] == ["production", "Base images"]
    assert [(p.is_ours, p.signing_key_id) for p in parties("reg.example/shop/api", now)] == [(True, ours.pk)]
    assert parties("reg.example/base/debian", now)[1].trusted_key_id == theirs.pk


def test_trust_ends_by_time_and_by_being_withdrawn(administrator):
    now = timezone.now()
    until = trust(administrator, valid_until=now + timedelta(days=1))
    assert len(parties("reg.example/base/debian", now)) == 1
    assert parties("reg.example/base/debian", now + timedelta(days=1)) == []
    services.withdraw_trust(until.pk, "The vendor lost it.", actor=administrator)
    assert parties("reg.example/base/debian", now) == []
    with pytest.raises(Conflict, match="withdrawn"):
        services.withdraw_trust(until.pk, "again", actor=administrator)
    assert trust(administrator).pk != until.pk


def test_one_trust_is_said_once(administrator):
    trust(administrator)
    with pytest.raises(Conflict, match="withdraw that first"):
        trust(administrator)
    trust(administrator, "reg.example/other/*")


@pytest.mark.parametrize(
    ("said", "where"),
    [
        (Trust("", PEM, "reg.example/*"), "name"),
        (Trust("x", "no PEM", "reg.example/*"), "public_key"),
        (Trust("x", VENDOR.pem, "reg.example/*"), "public_key"),
        (Trust("x", PEM, "nowhere"), "repositories"),
        (Trust("x", PEM, "reg.example/*", timezone.now() - timedelta(days=1)), "valid_until"),
    ],
    ids=["no-name", "no-key", "private-key", "no-pattern", "past"],
)
def test_a_trust_that_cannot_be_is_refused(said, where, administrator):
    with pytest.raises(Invalid) as refused:
        services.trust_key(said, actor=administrator)
    assert refused.value.where == where
    assert not TrustedKey.objects.exists()


def test_who_may_not_manage_keys_trusts_nobody(administrator, operator, stranger):
    made = trust(administrator)
    for actor in (operator, stranger):
        with pytest.raises(NotAllowed):
            trust(actor, "reg.example/mine/*")
        with pytest.raises(NotAllowed):
            services.withdraw_trust(made.pk, "x", actor=actor)
    with pytest.raises(NotFound):
        services.withdraw_trust(4711, "x", actor=administrator)
    with pytest.raises(Invalid, match="Say why"):
        services.withdraw_trust(made.pk, " ", actor=administrator)


def test_it_is_in_the_audit_log(administrator):
    made = trust(administrator)
    services.withdraw_trust(made.pk, "over", actor=administrator)
    entries = AuditEntry.objects.filter(subject_type="trusted-key").order_by("sequence")
    assert [(e.action, e.details["fingerprint"]) for e in entries] == [
        ("trusted-key:create", VENDOR.public.fingerprint),
        ("trusted-key:withdraw", VENDOR.public.fingerprint),
    ]


def test_over_rest_and_on_the_page(administrator, viewer):
    body = {"name": "Vendor", "public_key": PEM, "repositories": "reg.example/v/**"}
    made = administrator.api.post("/api/v1/trusted-keys/", body)
    assert made.status_code == 201, made.content
    path = f"/api/v1/trusted-keys/{made.json()['id']}/"
    assert viewer.api.get(path).json()["status"] == "trusted"
    form = {"name": "Page", "public_key": PEM, "repositories": "reg.example/p/*", "valid_until": "2036-01-31T12:00"}
    answer = administrator.client.post("/settings/trusted-keys/new/", form)
    assert answer.status_code == 302
    assert TrustedKey.objects.get(name="Page").valid_until.isoformat() == "2036-01-31T12:00:00+00:00"
    bad = administrator.client.post("/settings/trusted-keys/new/", form | {"repositories": "nowhere"})
    assert (bad.status_code, "no pattern of repositories" in bad.content.decode()) == (422, True)
    assert administrator.api.post(f"{path}withdraw/", {"reason": "over"}).json()["status"] == "withdrawn"
