"""Verdicts as a source of events (``events.sources``): one line for each application that the image belongs to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from django.db.models import Q
from django.urls import reverse

from secguard import bulk
from secguard.events import sources
from secguard.events.record import Kind, Line, fingerprint_of, story_of
from secguard.events.sources import SOURCE, After, Pulled, Told
from secguard.findings.severity import Severity
from secguard.images.models import ImageRepository
from secguard.policies.models import Evaluation

NAME: Final = "gates"
SEVERITIES: Final[Mapping[str, Severity]] = {
    "block": Severity.HIGH,
    "warn": Severity.LOW,
    "pass": Severity.NEGLIGIBLE,
}
WORDS: Final = {"block": "Block", "warn": "Warn", "pass": "Pass"}
MAX_RULES: Final = 20


class Owner(NamedTuple):
    """Whose a place of an image is; nobody's: both ``None``."""

    application_id: int | None
    team_id: int | None


def pull(after: After, limit: int, now: datetime) -> Pulled:
    """``sources.register``: evaluations by their ids, and those of late transactions when they are read again."""
    after = after or sources.begin_at(_begin(now))
    read = sources.spans(after, limit, now)
    rows = Evaluation.objects.select_related("image", "policy_version__policy").order_by("pk")
    new = list(rows.filter(pk__gt=read.new_after)[:limit])
    spans = [Q(pk__gt=begin, pk__lte=end) for begin, end in read.again if end > begin]
    again = [row for span in spans for row in rows.filter(span)]
    told = {row.pk: row for row in (*again, *new)}
    places = _places({row.image_id for row in told.values()})
    lines = [line for row in told.values() for line in _lines(row, places.get(row.image_id, {}))]
    return Pulled(lines, sources.read_to(after, read, (row.pk for row in new), now))


def _begin(now: datetime) -> int:
    rows = Evaluation.objects.order_by("pk").values_list("pk", flat=True)
    first = rows.filter(evaluated_at__gte=now - sources.FIRST_DAYS).first()
    return first - 1 if first else rows.last() or 0


def _places(image_ids: Collection[int]) -> dict[int, dict[Owner, str]]:
    """{image: {whose: the first of their repositories}}; nobody's only where it is nobody else's. One query."""
    rows = ImageRepository.objects.filter(image__in=bulk.among(sorted(image_ids))).order_by("repository__name")
    columns = ("image_id", "repository__name", "repository__application_id", "repository__application__team_id")
    found: dict[int, dict[Owner, str]] = {}
    for image, name, application, team in rows.values_list(*columns):
        found.setdefault(image, {}).setdefault(Owner(application, team), name)
    nobody = Owner(None, None)
    return {image: {o: name for o, name in owners.items() if o != nobody} or owners for image, owners in found.items()}


def _lines(row: Evaluation, owners: Mapping[Owner, str]) -> Iterator[Line]:
    rules = _rules(row.kept_document["reasons"])
    for owner, name in (owners or {Owner(None, None): row.image.digest[:19]}).items():
        yield Line(
            kind=Kind.GATE,
            source=SOURCE,
            rule=f"{row.stage} gate",
            title=f"{WORDS[row.verdict]} at the {row.stage} gate: {name}",
            at=row.evaluated_at,
            severity=SEVERITIES[row.verdict],
            outcome=row.verdict,
            application_id=owner.application_id,
            team_id=owner.team_id,
            digest=row.image.digest,
            story=story_of("gate", row.image.digest, row.stage, row.verdict, *owner),
            fingerprint=fingerprint_of("gate", row.pk, owner.application_id),
            ref=f"evaluation:{row.pk}",
            detail=_detail(row, name, rules),
            keep=row.verdict == "block",
        )


def _rules(reasons: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Rules with what each does; not their messages, which may name what only others see."""
    return {reason["rule"]: reason["effect"] for reason in list(reasons)[:MAX_RULES]}


def _detail(row: Evaluation, name: str, rules: Mapping[str, str]) -> dict[str, Any]:
    version = row.policy_version
    told = {"repository": name, "gate": row.stage, "policy": f"{version.policy.name} version {version.number}"}
    return told | {"valid_until": row.valid_until.isoformat(timespec="seconds")} | ({"rules": rules} if rules else {})


def address(_pk: int, event: Told) -> str:
    """Where the image stood then: its history shows the verdict with all that it was made from."""
    then = urlencode({"at": event.at.isoformat(timespec="seconds")})
    return f"{reverse('history:image', args=[event.digest])}?{then}"
