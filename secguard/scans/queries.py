"""How scans are shown to whom."""

from __future__ import annotations

from collections.abc import Iterable

from secguard.accounts.models import User
from secguard.images.models import Repository
from secguard.scans.models import Scan


def shown_references(reader: User, scans: Iterable[Scan]) -> dict[int, str]:
    """What each scan's image was called, by the scan's id; one query for all.

    A digest may lie in two teams' repositories: what one calls it is none of the other's business, who reads its
    digest instead. One's own scans, and those that have not found their image yet, show what was asked for.
    """
    rows = list(scans)
    if reader.sees_everything:
        return {s.pk: s.reference for s in rows}
    names = {s.repository_name for s in rows}
    seen = set(Repository.objects.visible_to(reader).filter(name__in=names).values_list("name", flat=True))
    return {s.pk: _shown(s, reader, seen) for s in rows}


def _shown(scan: Scan, reader: User, seen: set[str]) -> str:
    is_known = scan.image is None or scan.requested_by_id == reader.pk or scan.repository_name in seen
    return scan.reference if is_known or scan.image is None else scan.image.digest
