"""Ask the policy that gates about the days to come, for whatever leads a repository or runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from secguard import bulk
from secguard.forecast.models import Turn
from secguard.forecast.turning import Turn as Foreseen
from secguard.forecast.turning import turns
from secguard.images.models import Image, ImageRepository
from secguard.policies.evaluation import PolicyRef
from secguard.policies.facts import Facts, Gate
from secguard.policies.models import PolicyVersion, Verdict
from secguard.policies.queries import facts_for, facts_of
from secguard.policies.services import active_version, rules_in_force
from secguard.workloads.models import Workload

DAYS = 14
"""How far it looks."""

CHUNK = 100
COMPUTE = "forecast.compute"
RUNNING = (Gate.ADMIT, Gate.RUN)
"""What still matters of an image that runs but no longer leads its repository."""


def compute(now: datetime | None = None) -> int:
    """Make the forecast anew; returns how many turns it holds. Safe to run twice.

    Read chunk by chunk without locks: whatever changes meanwhile is seen by the next one, and no gate reads this.
    """
    at = now or timezone.now()
    version = active_version()
    found = 0
    for images in _candidates(at):
        rows = [row for image in images for row in _rows(image, *images[image], version=version, now=at)]
        with transaction.atomic():
            Turn.objects.filter(image__in=[image.pk for image in images]).delete()
            Turn.objects.bulk_create(rows)
        found += len(rows)
    Turn.objects.filter(computed_at__lt=at).delete()
    return found


Subject = tuple[Facts, Mapping[int, tuple[Gate, ...]]]
"""(facts of now, {repository: the gates that matter there})."""


def _candidates(now: datetime) -> Iterator[dict[Image, Subject]]:
    """Images whose gates may turn: some answer rests on a decision, or is a warning already."""
    leads = Exists(ImageRepository.objects.filter(image=OuterRef("pk"), repository__newest_image=OuterRef("pk")))
    runs = Exists(Workload.objects.running().filter(images=OuterRef("pk")))
    leaning = ~Q(evaluation__decision_ids=[]) | Q(verdict="warn")
    may_turn = Verdict.objects.filter(leaning, image=OuterRef("pk")).exclude(verdict="block")
    rows = Image.objects.filter(leads | runs, Exists(may_turn)).order_by("pk")
    last = 0
    while images := list(rows.filter(pk__gt=last)[:CHUNK]):
        last = images[-1].pk
        places, facts = _places(images), facts_for(images, now)
        yield {image: (facts[image.pk], places[image.pk]) for image in images}


def _places(images: Sequence[Image]) -> dict[int, dict[int, tuple[Gate, ...]]]:
    ids = bulk.among([image.pk for image in images])
    running = set(Workload.objects.running().filter(images__in=ids).values_list("images", flat=True))
    found: dict[int, dict[int, tuple[Gate, ...]]] = defaultdict(dict)
    rows = ImageRepository.objects.filter(image__in=ids).order_by("pk")
    for image, repository, newest in rows.values_list("image_id", "repository_id", "repository__newest_image_id"):
        if newest == image:
            found[image][repository] = tuple(Gate)
        elif image in running:
            found[image][repository] = RUNNING
    return found


def _rows(
    image: Image, facts: Facts, places: Mapping[int, tuple[Gate, ...]], *, version: PolicyVersion, now: datetime
) -> Iterator[Turn]:
    foreseen = {turn.stage: turn for turn in _turns(image, facts, version, now)} if places else {}
    for repository, gates in places.items():
        for gate in gates:
            if (turn := foreseen.get(gate)) is not None:
                yield Turn(
                    repository_id=repository,
                    image=image,
                    stage=gate.value,
                    at=turn.at,
                    rules=[list(rule) for rule in turn.rules],
                    decision_ids=list(turn.decisions),
                    flaws=list(turn.flaws),
                    computed_at=now,
                )


def _turns(image: Image, facts: Facts, version: PolicyVersion, now: datetime) -> list[Foreseen]:
    @cache
    def reread(at: datetime) -> Facts:
        return facts_of(image, Gate.BUILD, at)

    rules = rules_in_force(version)
    ref = PolicyRef(name=version.policy.name, version=version.number)
    return turns(rules, ref, facts, Gate, now=now, until=now + timedelta(days=DAYS), reread=reread)
