from __future__ import annotations

import re

import pytest

from secguard.accounts.roles import APPROVERS, PERMISSIONS, Permission, Role, permissions_of

WRITES = {p for p in Permission if not p.endswith(":read")}


def test_names_are_resource_and_action_in_alphabetical_order():
    values = [p.value for p in Permission]
    assert values == sorted(values)
    assert all(re.fullmatch(r"[a-z-]+:[a-z]+", v) for v in values)


def test_every_role_has_a_row_and_reads():
    assert set(PERMISSIONS) == set(Role)
    assert all(Permission.IMAGE_READ in held for held in PERMISSIONS.values())


def test_a_viewer_changes_nothing_but_their_own_tokens():
    assert PERMISSIONS[Role.VIEWER] & WRITES == {Permission.OWN_TOKEN_MANAGE}


@pytest.mark.parametrize(
    ("permission", "roles"),
    [
        ("decision:approve", {"security-reviewer", "business-approver"}),
        ("decision:revoke", {"security-reviewer", "business-approver", "administrator"}),
        ("decision:request", {"developer", "operator", "security-reviewer", "administrator"}),
        ("report:post", {"developer", "operator", "security-reviewer", "administrator"}),
        ("policy:activate", {"security-reviewer", "administrator"}),
        ("appetite:edit", {"business-approver", "administrator"}),
        ("audit:read", {"operator", "security-reviewer", "business-approver", "administrator"}),
        ("user:manage", {"administrator"}),
        ("token:manage", {"administrator"}),
        ("promotion:request", {"operator", "administrator"}),
        ("cluster:edit", {"operator", "administrator"}),
        ("break-glass:grant", {"operator", "security-reviewer", "administrator"}),
    ],
)
def test_who_may(permission, roles):
    assert {r.value for r, held in PERMISSIONS.items() if Permission(permission) in held} == roles


def test_handing_out_roles_is_not_approving():
    """Nobody can both give themselves the vote and use it by one role alone."""
    for held in PERMISSIONS.values():
        assert not {Permission.USER_MANAGE, Permission.DECISION_APPROVE} <= held
    assert Role.ADMINISTRATOR not in APPROVERS


def test_permissions_of_several_roles_are_their_union():
    both = permissions_of(frozenset({Role.OPERATOR, Role.BUSINESS_APPROVER}))
    assert both == PERMISSIONS[Role.OPERATOR] | PERMISSIONS[Role.BUSINESS_APPROVER]
    assert permissions_of(frozenset()) == frozenset()
