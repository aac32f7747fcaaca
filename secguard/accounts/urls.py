from django.urls import include, path

from secguard.accounts.views import (
    account,
    applications,
    external,
    identities,
    second_factor,
    security,
    settings,
    sign_in,
)

account_patterns = [
    path("account/", account.profile, name="profile"),
    path("account/password/", sign_in.password, name="password"),
    path("account/security/", security.security, name="security"),
    path("account/security/app/", security.app_new, name="app-new"),
    path("account/security/passkey/", security.passkey_new, name="passkey-new"),
    path("account/security/recovery-codes/", security.recovery_codes, name="recovery-codes"),
    path("account/security/factors/<int:pk>/remove/", security.factor_remove, name="factor-remove"),
    path("account/security/sessions/end/", security.sessions_end, name="sessions-end"),
    path("account/security/sessions/<int:pk>/end/", security.session_end, name="session-end"),
    path("account/tokens/new/", account.token_new, name="token-new"),
    path("account/tokens/<int:pk>/rotate/", account.token_rotate, name="token-rotate"),
    path("account/tokens/<int:pk>/revoke/", account.token_revoke, name="token-revoke"),
]
settings_patterns = [
    path("settings/", settings.people, name="home"),
    path("settings/people/new/", settings.person_new, name="person-new"),
    path("settings/people/<int:pk>/", settings.person, name="person"),
    path("settings/people/<int:pk>/deactivate/", settings.person_deactivate, name="person-deactivate"),
    path("settings/people/<int:pk>/reactivate/", settings.person_reactivate, name="person-reactivate"),
    path("settings/people/<int:pk>/sign-in-link/", settings.person_link, name="person-link"),
    path("settings/people/<int:pk>/end-sessions/", settings.person_end_sessions, name="person-end-sessions"),
    path(
        "settings/people/<int:pk>/remove-second-factors/",
        settings.person_remove_second_factors,
        name="person-remove-second-factors",
    ),
    path("settings/roles/<int:pk>/revoke/", settings.role_revoke, name="role-revoke"),
    path("settings/teams/", settings.teams, name="teams"),
    path("settings/teams/new/", settings.team_new, name="team-new"),
    path("settings/teams/<slug:slug>/", settings.team, name="team"),
    path("settings/ci-identities/", identities.ci_identities, name="ci-identities"),
    path("settings/ci-identities/new/", identities.ci_identity_new, name="ci-identity-new"),
    path("settings/ci-identities/<int:pk>/", identities.ci_identity, name="ci-identity"),
    path("settings/ci-identities/<int:pk>/withdraw/", identities.ci_identity_withdraw, name="ci-identity-withdraw"),
    path("settings/tokens/", settings.tokens, name="tokens"),
]
application_patterns = [
    path("applications/", applications.application_list, name="list"),
    path("applications/new/", applications.application_new, name="new"),
    path("applications/<slug:slug>/", applications.application_detail, name="detail"),
    path("applications/<slug:slug>/edit/", applications.application_edit, name="edit"),
    path("applications/<slug:slug>/impact/", applications.application_impact, name="impact"),
]

urlpatterns = [
    path("sign-in/", sign_in.sign_in, name="login"),
    path("sign-in/link/", sign_in.sign_in_link, name="sign-in-link"),
    path("sign-in/second-factor/", second_factor.check, name="second-factor"),
    path("sign-in/passkey/", second_factor.passkey, name="passkey"),
    path("sign-in/<slug:name>/", external.begin, name="external-begin"),
    path("sign-in/<slug:name>/callback/", external.callback, name="external-callback"),
    path("sign-in/<slug:name>/acs/", external.acs, name="external-acs"),
    path("sign-in/<slug:name>/metadata/", external.metadata, name="external-metadata"),
    path("sign-out/", sign_in.sign_out, name="logout"),
    path("", include((account_patterns, "accounts"))),
    path("", include((settings_patterns, "settings"))),
    path("", include((application_patterns, "applications"))),
]
