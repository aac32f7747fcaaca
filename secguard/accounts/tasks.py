"""Jobs that need people: writing to them, and forgetting what they have read long ago."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secguard.accounts import services
from secguard.audit import services as audit
from secguard.jobs.registry import Run
from secguard.notifications import services as notifications


def deliver(_run: Run) -> Mapping[str, Any]:
    """Write to people what waits for them."""
    return notifications.deliver()


def index_audit_log(run: Run) -> Mapping[str, Any]:
    """Take the words of what was written into the audit log in, so that they are found."""
    return {"covered": audit.index(lambda done, total: run.progress("Taking words of entries in", done, total))}


def prune_notices(_run: Run) -> Mapping[str, Any]:
    """The handler of the daily pruning of inboxes."""
    return {"deleted": notifications.prune()}


def prune_exchanged_tokens(_run: Run) -> Mapping[str, Any]:
    """The handler of the daily pruning of pipelines' tokens that ended long ago."""
    return {"deleted": services.prune_exchanged_tokens()}
