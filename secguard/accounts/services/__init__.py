"""The use cases of people, teams and tokens: call them as ``accounts.services.<name>``."""

from secguard.accounts.services.ci_identities import (
    NewIdentity,
    create_ci_identity,
    exchange,
    prune_exchanged_tokens,
    withdraw_ci_identity,
)
from secguard.accounts.services.people import (
    create_user,
    deactivate,
    edit_user,
    grant,
    reactivate,
    revoke,
    role_named,
)
from secguard.accounts.services.permission import require
from secguard.accounts.services.second_factors import remove_all_second_factors, remove_second_factor
from secguard.accounts.services.sessions import end_session, end_sessions
from secguard.accounts.services.teams import (
    APPLICATION_FOLLOWERS,
    create_application,
    create_team,
    edit_application,
    rename_team,
    say_impact,
)
from secguard.accounts.services.tokens import (
    DAYS,
    MAX_APPLICATIONS,
    MAX_DAYS,
    create_token,
    create_token_on_server,
    revoke_token,
    rotate_token,
)
from secguard.accounts.services.ways_in import (
    create_owner,
    issue_sign_in_link,
    set_password,
    sign_in,
    use_sign_in_link,
)

__all__ = [
    "APPLICATION_FOLLOWERS",
    "DAYS",
    "MAX_APPLICATIONS",
    "MAX_DAYS",
    "NewIdentity",
    "create_application",
    "create_ci_identity",
    "create_owner",
    "create_team",
    "create_token",
    "create_token_on_server",
    "create_user",
    "deactivate",
    "edit_application",
    "edit_user",
    "end_session",
    "end_sessions",
    "exchange",
    "grant",
    "issue_sign_in_link",
    "prune_exchanged_tokens",
    "reactivate",
    "remove_all_second_factors",
    "remove_second_factor",
    "rename_team",
    "require",
    "revoke",
    "revoke_token",
    "role_named",
    "rotate_token",
    "say_impact",
    "set_password",
    "sign_in",
    "use_sign_in_link",
    "withdraw_ci_identity",
]
