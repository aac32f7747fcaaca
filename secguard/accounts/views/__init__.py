"""The pages: ways in, one's own account, settings for everybody, and what teams own."""

from __future__ import annotations

from django.http import HttpRequest

from secguard.accounts.models import User
from secguard.errors import NotAllowed


def person_of(request: HttpRequest) -> User:
    """Who is signed in; the views that call it are behind ``login_required``."""
    if not isinstance(request.user, User):
        raise NotAllowed("Sign in first.")
    return request.user
