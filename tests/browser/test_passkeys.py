"""A passkey in a real browser, with the browser's own software key: added, then both ways to sign in with it."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import PASSWORD, Installation, OpenAs, Watched

pytestmark = pytest.mark.browser
KEY = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def with_key(page: Page) -> Any:
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    return devtools.send("WebAuthn.addVirtualAuthenticator", {"options": KEY})


def sign_out(page: Page) -> None:
    page.locator(".sidebar-person").get_by_role("button").click()
    page.wait_for_url("**/sign-in/")


def test_a_passkey_is_made_and_signs_in(installation: Installation, open_as: OpenAs) -> None:
    if "kim" not in installation.links:
        installation.make_person("kim", "viewer")
    page, watched = open_as("kim").new_page(), Watched()
    watched.watch(page)
    with_key(page)
    page.goto("/account/security/passkey/")
    page.get_by_label("Name").fill("Work laptop")
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Make the passkey").click()
    page.get_by_role("heading", name="Recovery codes").wait_for()
    sign_out(page)
    # The second step, after the password.
    page.get_by_label("Name").fill("kim")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("button", name="Use your passkey").click()
    page.locator(".sidebar-person").wait_for()
    sign_out(page)
    # Alone, without a name or a password.
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.get_by_role("button", name="Choose a passkey").click()
    page.locator(".sidebar-person").wait_for()
    assert page.locator(".person-login").inner_text() == "kim"
    assert not watched.take()
