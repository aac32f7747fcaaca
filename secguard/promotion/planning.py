"""Whether images go through environments of their own, for checklists (``planning.checks``)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.urls import reverse

from secguard.images.queries import newest_images
from secguard.planning.checks import Check, Outcome
from secguard.promotion.models import Environment

LEAST: Final = 2
"""Where images are pushed to, and at least one that they are promoted to."""


def _separated(application_ids: Sequence[int], _now: datetime) -> dict[int, Outcome]:
    """The environments are the organisation's; they are nothing to an application without images."""
    rows = Environment.objects.order_by("position").values_list("name", "registry_id", "path_prefix")
    names, places = [name for name, _, _ in rows], {(registry, prefix) for _, registry, prefix in rows}
    link = (("Environments", reverse("environments:list")),)
    if len(names) < LEAST:
        said = f"{'There is one environment' if names else 'There is no environment'}; expected are at least {LEAST}."
    elif len(places) < len(names):
        said = f"Of the environments {', '.join(names)} some share a place in a registry."
    else:
        said = ""
    measured = Outcome(
        state="missing" if said else "kept",
        says=said or f"Images go through {', '.join(names)}, each with a place of its own.",
        links=link,
        changes_at=None,
    )
    says = "It has no image yet that could go through environments."
    nothing = Outcome(state="unmeasured", says=says, links=(), changes_at=None)
    images = newest_images(application_ids)
    return {pk: measured if images.get(pk) else nothing for pk in application_ids}


CHECKS: Final = (
    Check(
        name="environments-separated",
        about="There are at least two environments, each with a place of its own in a registry.",
        ask=_separated,
    ),
)
