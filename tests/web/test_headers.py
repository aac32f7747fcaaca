"""Every route answers with the headers that keep browsers and caches narrow, whatever kind of answer it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

pytestmark = [pytest.mark.django_db, pytest.mark.once]
EXPECTED = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
STRICT = ("object-src 'none'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'")


def paths(patterns: list[URLPattern | URLResolver], before: str = "") -> Iterator[str]:
    """One path of each route, with something that looks right for each parameter."""
    for pattern in patterns:
        here = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from paths(pattern.url_patterns, here)
        else:
            yield filled(here)


def filled(route: str) -> str:
    text = re.sub(r"<int:\w+>", "1", route)
    text = re.sub(r"<[^<>?]+>", "x", text)
    text = re.sub(r"\(\?P<digest>(?:[^()]|\([^()]*\))*\)", "sha256:" + "0" * 64, text)
    text = re.sub(r"\(\?P<\w+>(?:[^()]|\([^()]*\))*\)", "1", text)
    return "/" + re.sub(r"[\^$\\]|/\?", lambda found: "/" if found[0] == "/?" else "", text).lstrip("/")


ROUTES = sorted(set(paths(get_resolver("secguard.urls").url_patterns)))


def check(response: Any, path: str) -> None:
    for name, value in EXPECTED.items():
        assert response[name] == value, (path, name)
    policy = response["Content-Security-Policy"]
    assert "default-src 'self'" in policy or "default-src 'none'" in policy, path
    assert all(rule in policy for rule in STRICT) or "default-src 'none'" in policy, path
    assert "unsafe" not in policy, path
    assert "Cache-Control" in response, path


def test_every_route_to_nobody_and_to_an_administrator(administrator: Any) -> None:
    assert len(ROUTES) > 200
    for path in ROUTES:
        for client in (Client(), administrator.client, administrator.api):
            if path in ("/logout/", "/sign-out/"):
                continue
            check(client.get(path), path)


@pytest.mark.parametrize("path", ["/admission/v1/validate", "/hooks/registry/", "/api/v1/reports/", "/sign-in/", "/x/"])
def test_what_is_refused_has_them_too(path: str) -> None:
    check(Client().post(path, "{", content_type="application/json"), path)
    chunked = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}
    check(Client().post(path, "{", content_type="application/json", **chunked), path)
    check(Client().generic("PURGE", path), path)


@pytest.mark.parametrize("path", ["/account/", "/account/security/", "/settings/", "/api/v1/me/", "/api/v1/users/"])
def test_what_is_about_people_is_kept_nowhere(administrator: Any, path: str) -> None:
    client = administrator.api if path.startswith("/api/") else administrator.client
    response = client.get(path)
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize("path", ["/sign-in/", "/admission/v1/validate", "/healthz"])
def test_over_https_browsers_are_told_to_stay_there(path: str, settings: Any) -> None:
    settings.SECURE_HSTS_SECONDS = 31_536_000
    assert Client().get(path, secure=True)["Strict-Transport-Security"].startswith("max-age=31536000")
    assert "Strict-Transport-Security" not in Client().get(path)
