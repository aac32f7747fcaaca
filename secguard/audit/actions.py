"""What may be written into the audit log: one closed, alphabetical list, so that an auditor can know all of it.

A name is ``<subject>:<verb>``, the verb in the present tense and the subject a word of DESIGN section 2. A new use case
that changes who may do or run what adds its line here; a name, once released, is never given another meaning.
"""

from __future__ import annotations

from enum import StrEnum


class Action(StrEnum):
    ADVISORY_IMPORT = "advisory:import"
    APPETITE_ACTIVATE = "appetite:activate"
    APPETITE_CREATE = "appetite:create"
    APPLICATION_CREATE = "application:create"
    APPLICATION_DELETE = "application:delete"
    APPLICATION_EDIT = "application:edit"
    BREAK_GLASS_GRANT = "break-glass:grant"
    BREAK_GLASS_REFUSE = "break-glass:refuse"
    BREAK_GLASS_REQUEST = "break-glass:request"
    BREAK_GLASS_REVIEW = "break-glass:review"
    BREAK_GLASS_USE = "break-glass:use"
    BREAK_GLASS_WITHDRAW = "break-glass:withdraw"
    CLUSTER_CREATE = "cluster:create"
    CLUSTER_DELETE = "cluster:delete"
    CLUSTER_EDIT = "cluster:edit"
    DECISION_APPROVE = "decision:approve"
    DECISION_END = "decision:end"
    DECISION_REJECT = "decision:reject"
    DECISION_REQUEST = "decision:request"
    DECISION_REVOKE = "decision:revoke"
    DECISION_VOTE = "decision:vote"
    DECISION_WITHDRAW = "decision:withdraw"
    FEED_EDIT = "feed:edit"
    FEED_FETCH = "feed:fetch"
    IMAGE_ADD = "image:add"
    JOB_CANCEL = "job:cancel"
    MEMBERSHIP_GRANT = "membership:grant"
    MEMBERSHIP_REVOKE = "membership:revoke"
    PASSWORD_SET = "password:set"  # noqa: S105 - the name of an action, no password
    POLICY_ACTIVATE = "policy:activate"
    POLICY_CREATE = "policy:create"
    POLICY_EDIT = "policy:edit"
    PROMOTION_REQUEST = "promotion:request"
    REGISTRY_CREATE = "registry:create"
    REGISTRY_EDIT = "registry:edit"
    REPORT_POST = "report:post"
    REPOSITORY_ASSIGN = "repository:assign"
    SAMPLE_LOAD = "sample:load"
    SAMPLE_REMOVE = "sample:remove"
    SCANNER_EDIT = "scanner:edit"
    SCAN_REQUEST = "scan:request"
    SIGNATURE_REQUEST = "signature:request"
    SIGNING_KEY_CREATE = "signing-key:create"
    SIGNING_KEY_RETIRE = "signing-key:retire"
    SIGNING_KEY_REVOKE = "signing-key:revoke"
    SIGNING_KEY_ROTATE = "signing-key:rotate"
    SIGN_IN_LINK_CREATE = "sign-in-link:create"
    SIGN_IN_LINK_USE = "sign-in-link:use"
    TEAM_CREATE = "team:create"
    TEAM_DELETE = "team:delete"
    TEAM_RENAME = "team:rename"
    TOKEN_CREATE = "token:create"  # noqa: S105
    TOKEN_REVOKE = "token:revoke"  # noqa: S105
    TOKEN_ROTATE = "token:rotate"  # noqa: S105
    TRUSTED_KEY_CREATE = "trusted-key:create"
    TRUSTED_KEY_WITHDRAW = "trusted-key:withdraw"
    USER_CREATE = "user:create"
    USER_DEACTIVATE = "user:deactivate"
    USER_EDIT = "user:edit"
    USER_REACTIVATE = "user:reactivate"
    VEX_IMPORT = "vex:import"
