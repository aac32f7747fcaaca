"""The page where to begin: its commands are whole on the screen, and one click copies each as it is typed."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Installation, OpenAs

pytestmark = pytest.mark.browser


def test_each_command_is_whole_and_is_copied(installation: Installation, open_as: OpenAs) -> None:
    installation.make_person("beginner", "developer")
    context = open_as("beginner", viewport={"width": 1280, "height": 800})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto("/begin/")
    page.get_by_role("button", name="Make a token and fill it in").click()
    commands = page.locator("pre.command")
    assert commands.count() == 3
    for command in commands.all():
        assert command.evaluate("e => e.scrollWidth <= e.clientWidth"), command.inner_text()
    page.get_by_role("button", name="Copy the command with curl").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl --fail-with-body")
    assert copied.endswith(f'"{installation.url}/api/v1/reports/?image=registry.example/shop/app:1.0&wait=60"')
