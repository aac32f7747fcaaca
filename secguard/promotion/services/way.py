"""A promotion as a worker carries it out: what it stands on at every step, and how it may end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from secguard.images.adapters.pushing import PushingClient
from secguard.images.adapters.registry import RegistryClient
from secguard.images.adapters.source import Resolved
from secguard.images.models import Image, Repository
from secguard.jobs.registry import Run
from secguard.promotion.lifecycle import PromotionStatus, Step
from secguard.promotion.models import Promotion
from secguard.promotion.queries import Judged
from secguard.signing.models import SigningKey


class Refused(Exception):
    """The promotion ends here, for a reason that trying again does not change."""

    def __init__(self, why: str, judged: Judged | None = None) -> None:
        super().__init__(why)
        self.why, self.judged = why, judged


class Ended(Exception):
    """Somebody ended it meanwhile."""


@dataclass(frozen=True)
class Way:
    """One promotion as it is carried out."""

    promotion: Promotion
    run: Run
    reading: RegistryClient
    writing: PushingClient
    destination: Repository
    key: SigningKey

    @property
    def source(self) -> Repository:
        return self.promotion.source

    @property
    def is_in_place(self) -> bool:
        return self.destination.pk == self.source.pk


@dataclass(frozen=True)
class Found:
    """What the digest turned out to be at the source, and the images in it."""

    whole: Resolved
    images: tuple[Image, ...]

    @property
    def digests(self) -> list[str]:
        """What is signed and attested: the digest itself and each image in it."""
        return list(dict.fromkeys((self.whole.digest, *(image.digest for image in self.images))))


def begin(way: Way, step: Step) -> None:
    """Note the step, unless somebody ended the promotion meanwhile: its own row decides, in one statement."""
    way.run.require_lease()
    steps = {**way.promotion.steps, step.value: _at(way.promotion).isoformat()}
    running = Promotion.objects.filter(pk=way.promotion.pk, status=PromotionStatus.RUNNING)
    if not running.update(steps=steps):
        raise Ended
    way.promotion.steps = steps
    way.run.progress(step.value)


def _at(promotion: Promotion) -> datetime:
    """Now, and after what was begun before: the clock of the worker that began that may be ahead of this one's."""
    begun = [datetime.fromisoformat(at) + timedelta(microseconds=1) for at in promotion.steps.values()]
    return max([timezone.now(), *begun])
