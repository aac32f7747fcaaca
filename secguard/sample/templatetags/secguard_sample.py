"""What pages show of the sample: a banner while it is loaded, with the way to remove it."""

from __future__ import annotations

from typing import Any

from django import template

from secguard.accounts.roles import Permission
from secguard.sample.organisation import REGISTRY
from secguard.sample.queries import Standing, open_job, standing

register = template.Library()


@register.filter
def is_sample_host(host: str) -> bool:
    """Whether images of this registry are the sample's: no host can have that name."""
    return host == REGISTRY


@register.inclusion_tag("sample/_banner.html", takes_context=True)
def sample_banner(context: dict[str, Any]) -> dict[str, Any]:
    """A line that says that sample data is loaded (or on its way), and leads who may to its removal."""
    user = context.get("user")
    may = user is not None and user.is_authenticated and user.can(Permission.SAMPLE_LOAD)
    job = open_job() if may else None
    return {"is_here": standing() is not Standing.ABSENT, "may": may, "job": job}
