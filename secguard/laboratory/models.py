"""Simulations: a draft replayed over the estate and over a period, and the verdicts that it would turn."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from secguard.accounts.models import Team, User
from secguard.decisions.models import Decision
from secguard.images.models import Image, Repository
from secguard.laboratory.lifecycle import Change, Origin, Status
from secguard.laboratory.redeciding import Ends, Needs, Reach, Votes
from secguard.policies.models import GATE_CHOICES, VERDICT_CHOICES, Evaluation, PolicyVersion

KIND_CHOICES = [("policy", "policy"), ("appetite", "risk appetite")]
STATUS_CHOICES = [(s.value, s.value) for s in Status]


class SimulationQuerySet(models.QuerySet["Simulation"]):
    def visible_to(self, user: User) -> SimulationQuerySet:
        """One's own, those over one of one's teams, and those over everything: of its rows each sees their part."""
        if user.sees_everything:
            return self
        through = Simulation.teams.through.objects.filter(simulation=OuterRef("pk"), team_id__in=user.team_ids)
        return self.filter(Q(asked_by_id=user.pk) | Q(is_for_everything=True) | Exists(through))


class Simulation(models.Model):
    """One draft of a policy or risk appetite, tried. Kept until ``expires_at``."""

    kind = models.CharField(max_length=8, choices=KIND_CHOICES)
    name = models.CharField(max_length=100, help_text="as the draft calls itself")
    source = models.TextField()
    against = models.ForeignKey(
        PolicyVersion, models.PROTECT, null=True, blank=True, related_name="+", help_text="what was in force then"
    )
    since = models.DateTimeField(null=True, blank=True, help_text="begin of the period; empty: only the estate")
    until = models.DateTimeField()
    is_for_everything = models.BooleanField(default=False, help_text="whoever asked sees everything")
    teams = models.ManyToManyField(Team, blank=True, related_name="+", help_text="otherwise: whose things were judged")
    status = models.CharField(max_length=10, default=Status.WAITING.value, choices=STATUS_CHOICES)
    job_id = models.BigIntegerField(null=True, blank=True)
    problem = models.TextField(blank=True)
    totals = models.JSONField(default=dict, blank=True, help_text="how much was judged, over all that was asked for")
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    asked_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()

    objects = SimulationQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=[s.value for s in Status]), name="simulation_status_known"),
        ]
        # What is old enough to be removed.
        indexes = [models.Index(fields=["expires_at"], name="simulation_expired")]

    def __str__(self) -> str:
        return f"simulation {self.pk} of {self.name}"


class TurnedQuerySet(models.QuerySet["Turned"]):
    def visible_to(self, user: User) -> TurnedQuerySet:
        """Those in a repository of the user's teams; what lies in none, to who sees everything."""
        return self if user.sees_everything else self.filter(repository__application__team_id__in=user.team_ids)


class Turned(models.Model):
    """A verdict that the draft would turn, once for each repository that holds the image. What stays is not kept."""

    simulation = models.ForeignKey(Simulation, models.CASCADE, db_index=False, related_name="turned")
    origin = models.CharField(max_length=10, choices=[(o.value, o.value) for o in Origin])
    change = models.CharField(max_length=10, choices=[(c.value, c.value) for c in Change])
    image = models.ForeignKey(Image, models.CASCADE, related_name="+")
    repository = models.ForeignKey(Repository, models.CASCADE, null=True, blank=True, related_name="+")
    stage = models.CharField(max_length=8, choices=GATE_CHOICES)
    was = models.CharField(max_length=5, choices=VERDICT_CHOICES)
    would = models.CharField(max_length=5, choices=VERDICT_CHOICES)
    reasons = models.JSONField(default=list, help_text="of the worse of the two answers")
    where = models.CharField(max_length=700, blank=True, help_text="the workload that asked, of an admission")
    environment = models.CharField(max_length=63, blank=True, help_text="where it was to go, of a promotion")
    outcome = models.CharField(
        max_length=12, blank=True, help_text="what the cluster was answered, or became of the promotion"
    )
    evaluation = models.ForeignKey(Evaluation, models.CASCADE, null=True, blank=True, related_name="+")
    at = models.DateTimeField(help_text="when it was judged; the last time, where it was more than once")
    times = models.PositiveBigIntegerField(default=1)

    objects = TurnedQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "turned"
        ordering = ["-id"]
        # The rows behind a number, and the numbers; deleting a simulation.
        indexes = [models.Index(fields=["simulation", "change", "origin", "-id"], name="turned_rows")]

    def __str__(self) -> str:
        return f"{self.change} {self.image_id} at {self.stage}"


class RedecidedQuerySet(models.QuerySet["Redecided"]):
    def visible_to(self, user: User) -> RedecidedQuerySet:
        """Those of decisions that the user may see."""
        return self if user.sees_everything else self.filter(decision__in=Decision.objects.visible_to(user))


class Redecided(models.Model):
    """A decision that waits or is in force, and would meet something else under the draft of a risk appetite."""

    simulation = models.ForeignKey(Simulation, models.CASCADE, db_index=False, related_name="redecided")
    decision = models.ForeignKey(Decision, models.CASCADE, related_name="+")
    needs = models.CharField(max_length=5, blank=True, choices=[(n.value, n.value) for n in Needs if n])
    ends = models.CharField(max_length=7, blank=True, choices=[(e.value, e.value) for e in Ends if e])
    is_short = models.BooleanField(default=False, help_text="in force with votes that would not be enough")
    votes = models.CharField(max_length=6, blank=True, choices=[(v.value, v.value) for v in Votes if v])
    reach = models.CharField(max_length=6, blank=True, choices=[(r.value, r.value) for r in Reach if r])
    missing = models.JSONField(default=dict, help_text="{role: seats that would be empty}, of the part that needs most")
    open_parts = models.PositiveIntegerField(default=0, help_text="teams whose part would have an empty seat")
    row_was = models.CharField(max_length=100, help_text="of the risk appetite that it was asked under")
    row_would = models.CharField(max_length=100)
    approvers_was = models.JSONField(help_text="{role: number of people}")
    approvers_would = models.JSONField(help_text="{role: number of people}")
    latest_end = models.DateTimeField(help_text="as late as the draft would let it end")

    objects = RedecidedQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "redecided"
        ordering = ["-id"]
        # The rows behind a number, and the numbers; deleting a simulation.
        indexes = [models.Index(fields=["simulation", "needs", "ends", "-id"], name="redecided_rows")]

    def __str__(self) -> str:
        return f"decision {self.decision_id} under simulation {self.simulation_id}"
