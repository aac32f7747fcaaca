"""What of an image's surroundings somebody may see, read once for everything that is told of it."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q, QuerySet

from secguard.accounts.models import User
from secguard.decisions.models import Decision
from secguard.findings.models import Finding
from secguard.images.models import Image, IndexImage, Repository


@dataclass(frozen=True, slots=True)
class Sight:
    """An image as ``user`` sees it."""

    image: Image
    user: User
    repositories: dict[int, str]
    """Names of the places where it lies that they may see, by id."""
    digests: tuple[str, ...]
    """Its own, and those of the indexes that it is a platform of."""

    def decisions(self) -> QuerySet[Decision]:
        """Decisions that cover, or covered, something in the image; those of other teams are not among them."""
        here = Q(image=self.image) | Q(repository__in=list(self.repositories))
        here |= Q(application__repositories__in=list(self.repositories))
        here |= Q(scope_kind="organisation")
        risks = Finding.objects.filter(image=self.image).values("risk_id")
        found = Decision.objects.filter(here, risk_id__in=risks).values("pk")
        return Decision.objects.visible_to(self.user).filter(pk__in=found)


def sight_of(image: Image, user: User) -> Sight:
    """Two queries."""
    seen = Repository.objects.visible_to(user).filter(places__image=image)
    indexes = IndexImage.objects.filter(image=image).order_by("index__digest").values_list("index__digest", flat=True)
    return Sight(image, user, dict(seen.values_list("pk", "name")), (image.digest, *indexes[:100]))


def scope_words(decision: Decision) -> str:
    """The scope as it was called when it was asked for; the organisation is called by its kind alone."""
    kind, label = decision.scope_kind, decision.scope_label
    return kind if label == kind else f"{kind} {label}"
