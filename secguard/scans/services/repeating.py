"""A scan that says what the scanner's last one said: known by a fingerprint, and not read a second time.

``Scan.content`` stands on the one scan whose words are its scanner's present ones on the image. Whatever changes those
words by another way than a scan of that scanner takes it away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.findings.models import Finding
from secguard.images.models import Image
from secguard.scans.condensed import Condensed
from secguard.scans.lifecycle import ScanOrigin
from secguard.scans.models import Scan


def content_of(report: Condensed, *, is_complete: bool) -> str:
    """The fingerprint of what a scan says, and of whether it closes what it does not say; "" where equal words may
    mean something else the next time."""
    if not report.head.is_plain:
        return ""
    return hashlib.sha256(f"{report.fingerprint} {is_complete}".encode()).hexdigest()


def said_before(scan: Scan, image: Image, content: str) -> Scan | None:
    """The scan whose words stand, where they are these. They hold only as long as the image is locked."""
    if not content or not image.severity_counts:
        return None
    return Scan.objects.filter(image=image, scanner=scan.scanner, content=content).first()


def stands(scan: Scan, image: Image, content: str) -> None:
    """From now on the scan's words are its scanner's present ones; the caller saves the scan."""
    Scan.objects.filter(image=image, scanner=scan.scanner).exclude(content="").update(content="")
    scan.content = content


def forget_contents(pairs: Sequence[tuple[int, int]]) -> None:
    """``advisories.services.ON_MERGE``: where two flaws became one, what was said is not what stands any more.

    Called after the findings moved, with their images locked.
    """
    flaws = [pk for pair in pairs for pk in pair]
    touched = Finding.objects.filter(risk__vulnerability__in=flaws).values("image_id")
    Scan.objects.exclude(content="").filter(image__in=touched).update(content="")


def speaks_for_all_places(scan: Scan, image: Image) -> bool:
    """Whether the sender may post for every team that holds the image.

    A digest that lies in two teams' repositories is one image: whoever speaks for one of them may add findings, and
    their name stands on the scan, but may not make the other team's findings go away.
    """
    teams = speaks_for(scan)
    if teams is None:
        return True
    owners = image.places.values_list("repository__application__team_id", flat=True).distinct()
    return all(team in teams for team in owners)


def speaks_for(scan: Scan) -> frozenset[int] | None:
    """The teams for which the sender may post, and could by the token that the report came with; ``None``: for the
    whole organisation, as our own workers always do: what they say of a digest is what is in it, whoever asked them."""
    if scan.origin == ScanOrigin.WORKER:
        return None
    may = scan.requested_by.teams_with(Permission.REPORT_POST) if scan.requested_by else None
    if scan.speaks_for is None:
        return may
    could = frozenset(scan.speaks_for)
    return could if may is None else may & could


def reach_of(sender: User) -> list[int] | None:
    """``Scan.speaks_for`` of a report that comes in now: a token may do less than its owner. One that is limited
    speaks for its team where all of the team's places are within the limit, which the caller has seen."""
    if sender.token is None:
        return None
    if sender.limit is not None:
        return [] if sender.limit.is_void else [sender.limit.team]
    teams = sender.teams_with(Permission.REPORT_POST)
    return None if teams is None else sorted(teams)
