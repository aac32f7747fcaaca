"""Who may do what: the roles, the permissions, and the one table between them (DESIGN sections 4 and 5)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    VIEWER = "viewer"
    DEVELOPER = "developer"
    OPERATOR = "operator"
    SECURITY_REVIEWER = "security-reviewer"
    BUSINESS_APPROVER = "business-approver"
    ADMINISTRATOR = "administrator"


class Permission(StrEnum):
    """``<resource>:<action>``, alphabetised. ``own-…`` reaches only what the person asked for or made."""

    APPETITE_EDIT = "appetite:edit"
    APPETITE_READ = "appetite:read"
    APPLICATION_EDIT = "application:edit"
    APPLICATION_IMPACT = "application:impact"
    APPLICATION_READ = "application:read"
    AUDIT_READ = "audit:read"
    BREAK_GLASS_GRANT = "break-glass:grant"
    BREAK_GLASS_REQUEST = "break-glass:request"
    CHANNEL_EDIT = "channel:edit"
    CI_IDENTITY_MANAGE = "ci-identity:manage"
    CLUSTER_EDIT = "cluster:edit"
    COMPLIANCE_READ = "compliance:read"
    CONTROL_CONFIRM = "control:confirm"
    DECISION_APPROVE = "decision:approve"
    DECISION_READ = "decision:read"
    DECISION_REQUEST = "decision:request"
    DECISION_REVOKE = "decision:revoke"
    DECISION_WITHDRAW = "decision:withdraw"
    ENVIRONMENT_EDIT = "environment:edit"
    EVENT_READ = "event:read"
    EXPORT_EDIT = "export:edit"
    FEED_EDIT = "feed:edit"
    FINDING_READ = "finding:read"
    IMAGE_READ = "image:read"
    IMAGE_RECALL = "image:recall"
    INCIDENT_CONTAIN = "incident:contain"
    INCIDENT_HANDLE = "incident:handle"
    INCIDENT_READ = "incident:read"
    OWN_TOKEN_MANAGE = "own-token:manage"  # noqa: S105 - a permission's name
    POLICY_ACTIVATE = "policy:activate"
    POLICY_EDIT = "policy:edit"
    POLICY_READ = "policy:read"
    PROMOTION_READ = "promotion:read"
    PROMOTION_REQUEST = "promotion:request"
    REGISTRY_EDIT = "registry:edit"
    REPORT_POST = "report:post"
    SAMPLE_LOAD = "sample:load"
    SCAN_REQUEST = "scan:request"
    SENSOR_EDIT = "sensor:edit"
    SETTINGS_EDIT = "settings:edit"
    SIGNATURE_REQUEST = "signature:request"
    SIGNING_KEY_MANAGE = "signing-key:manage"
    SIGNING_KEY_READ = "signing-key:read"
    TEAM_MANAGE = "team:manage"
    TOKEN_MANAGE = "token:manage"  # noqa: S105
    USER_MANAGE = "user:manage"
    VEX_IMPORT = "vex:import"
    WORKLOAD_EDIT = "workload:edit"
    WORKLOAD_READ = "workload:read"


P = Permission

_READS: Final = frozenset(
    {
        P.APPETITE_READ,
        P.APPLICATION_READ,
        P.COMPLIANCE_READ,
        P.DECISION_READ,
        P.EVENT_READ,
        P.FINDING_READ,
        P.IMAGE_READ,
        P.INCIDENT_READ,
        P.OWN_TOKEN_MANAGE,
        P.POLICY_READ,
        P.PROMOTION_READ,
        P.SIGNING_KEY_READ,
        P.WORKLOAD_READ,
    }
)
_GLASS: Final = frozenset({P.BREAK_GLASS_GRANT, P.BREAK_GLASS_REQUEST})
"""Held together: whoever may ask may grant what somebody else asks for."""
_ASKS: Final = frozenset({P.DECISION_REQUEST, P.DECISION_WITHDRAW, P.REPORT_POST, P.SCAN_REQUEST, P.VEX_IMPORT})

PERMISSIONS: Final[dict[Role, frozenset[Permission]]] = {
    Role.VIEWER: _READS,
    Role.DEVELOPER: _READS | _ASKS | {P.INCIDENT_HANDLE},
    Role.OPERATOR: _READS
    | _ASKS
    | _GLASS
    | {P.APPLICATION_EDIT, P.AUDIT_READ, P.CHANNEL_EDIT, P.CLUSTER_EDIT, P.EXPORT_EDIT, P.FEED_EDIT}
    | {P.IMAGE_RECALL, P.INCIDENT_CONTAIN, P.INCIDENT_HANDLE, P.PROMOTION_REQUEST, P.REGISTRY_EDIT}
    | {P.SENSOR_EDIT, P.SIGNATURE_REQUEST, P.WORKLOAD_EDIT},
    Role.SECURITY_REVIEWER: _READS
    | _ASKS
    | _GLASS
    | {P.APPLICATION_IMPACT, P.AUDIT_READ, P.CONTROL_CONFIRM, P.DECISION_APPROVE, P.DECISION_REVOKE}
    | {P.FEED_EDIT, P.IMAGE_RECALL, P.INCIDENT_CONTAIN, P.INCIDENT_HANDLE, P.POLICY_ACTIVATE, P.POLICY_EDIT},
    Role.BUSINESS_APPROVER: _READS
    | {P.APPETITE_EDIT, P.AUDIT_READ, P.DECISION_APPROVE, P.DECISION_REVOKE, P.DECISION_WITHDRAW},
    # Whoever hands out the roles must not be able to approve by that alone: the rest is theirs, the vote is not.
    Role.ADMINISTRATOR: frozenset(Permission) - {P.DECISION_APPROVE},
}

APPROVERS: Final = frozenset(role for role, held in PERMISSIONS.items() if P.DECISION_APPROVE in held)
"""The roles that a risk appetite may name."""


def permissions_of(roles: frozenset[Role]) -> frozenset[Permission]:
    """Everything that somebody who holds all of ``roles`` may do."""
    return frozenset().union(*(PERMISSIONS[r] for r in roles))
