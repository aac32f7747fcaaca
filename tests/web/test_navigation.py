"""The navigation shows where a person may go, where they are, and what waits."""

from __future__ import annotations

import pytest
from django.http import HttpRequest
from django.urls import include, path, resolve

from secguard.accounts.roles import Permission
from secguard.web import health, navigation

decisions = [path("", health.healthz, name="list"), path("queue", health.healthz, name="queue")]
urlpatterns = [
    path("", health.healthz, name="home"),
    path("decisions/", include((decisions, "decisions"))),
    path("decisions/5", include(([path("", health.healthz, name="detail")], "decisions"), namespace="decisions5")),
    path(
        "images/",
        include(([path("x", health.healthz, name="detail"), path("", health.healthz, name="list")], "images")),
    ),
]
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture(autouse=True)
def no_badges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what the apps above have registered."""
    monkeypatch.setattr(navigation, "_badges", {})


class Person:
    is_authenticated = True

    def __init__(self, *permissions: str) -> None:
        self.permissions = permissions

    def can(self, permission: str) -> bool:
        return Permission(permission) in self.permissions


def shown(path: str, *permissions: str) -> dict[str, navigation.Link]:
    request = HttpRequest()
    request.path = path
    request.user = Person(*permissions)  # type: ignore[assignment]
    request.resolver_match = resolve(path)
    return {link.label: link for _, group in navigation.links(request) for link in group}


def test_pages_that_do_not_exist_are_left_out() -> None:
    assert list(shown("/")) == ["Home", "Images", "Decisions"]


def test_what_a_person_may_not_do_is_left_out() -> None:
    assert "Review queue" in shown("/", "decision:approve")


def test_every_permission_in_the_list_exists() -> None:
    asked = {item.permission for _, items in navigation.GROUPS for item in items if item.permission}
    assert asked <= {str(permission) for permission in Permission}


@pytest.mark.parametrize(
    ("path", "current"),
    [("/", "Home"), ("/images/", "Images"), ("/images/x", "Images"), ("/decisions/", "Decisions"),
     ("/decisions/queue", "Review queue")],
)  # fmt: skip
def test_exactly_one_item_is_the_current_one(path: str, current: str) -> None:
    assert [link.label for link in shown(path, "decision:approve").values() if link.current] == [current]


def test_what_waits_is_counted_by_the_app_that_knows() -> None:
    navigation.register_badge("decisions:queue", lambda _request: 3)
    assert shown("/", "decision:approve")["Review queue"].badge == 3
    assert shown("/")["Decisions"].badge == 0


def test_nobody_signed_in_may_do_nothing() -> None:
    assert not navigation.may(HttpRequest(), "decision:approve")
