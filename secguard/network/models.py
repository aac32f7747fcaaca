"""Who spoke to whom, which policies are proposed, and which ones a cluster says it applies.

Names are texts, since a sensor tells of what no list of pods has told yet; ``Peer.workload`` ties them to what runs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from secguard.accounts.models import Application, Team, User, owner_filter
from secguard.approvals.models import APPROVED, OPEN, ApprovalRequest
from secguard.events.models import Sensor
from secguard.network import edges, segmentation
from secguard.network.flow import Verdict
from secguard.network.lifecycle import ProposalState
from secguard.network.policy import Form
from secguard.network.segmentation import Effect, Ref, Stance, Standing
from secguard.workloads.models import Workload

SORTS = [(s.value, s.value) for s in edges.Sort]
VERDICTS = [(v.value, {"forwarded": "allowed"}.get(v.value, v.value)) for v in Verdict]
FORMS = [(Form.KUBERNETES.value, "NetworkPolicy"), (Form.CILIUM.value, "CiliumNetworkPolicy")]
ANOMALIES = [("ports", "many ports"), ("volume", "more than usual")]


class Heard(models.Model):
    """Since when flows of a cluster have come: until that is a while ago, nothing of it counts as new."""

    cluster = models.CharField(max_length=100, unique=True)
    since = models.DateTimeField()
    last_at = models.DateTimeField()
    policies_at = models.DateTimeField(null=True, help_text="when it last told which policies it applies")

    def __str__(self) -> str:
        return self.cluster


class SegmentQuerySet(models.QuerySet["Segment"]):
    def visible_to(self, user: User) -> SegmentQuerySet:
        """Those of the whole organisation, and those of the user's teams."""
        if user.sees_everything:
            return self
        return self.none() if user.limit is not None else self.filter(Q(team=None) | Q(team__in=user.team_ids))

    def live(self) -> SegmentQuerySet:
        return self.filter(ended_at=None)


class Segment(models.Model):
    """Ends that are spoken of together. A team's holds what is the team's own, and nothing else."""

    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    team = models.ForeignKey(
        Team, models.PROTECT, null=True, blank=True, related_name="+", help_text="empty: of the whole organisation"
    )
    members: Any = models.JSONField(help_text="as segmentation.Member has it: one of them is enough")
    stance = models.CharField(max_length=7, default=Stance.OBSERVE.value, choices=[(s.value, s.value) for s in Stance])
    closed_at = models.DateTimeField(null=True, help_text="since when it takes nothing but what a rule allows")
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    made_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = SegmentQuerySet.as_manager()

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            models.CheckConstraint(condition=Q(stance__in=[s.value for s in Stance]), name="networksegment_stance"),
            models.CheckConstraint(
                condition=Q(stance=Stance.OBSERVE.value) | Q(closed_at__isnull=False),
                name="networksegment_closed_since",
            ),
            models.UniqueConstraint(
                fields=["team", "name"], condition=Q(ended_at=None), name="networksegment_once_in_team"
            ),
            models.UniqueConstraint(
                fields=["name"], condition=Q(ended_at=None, team=None), name="networksegment_once_wide"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def as_segment(self) -> segmentation.Segment:
        return segmentation.Segment(self.pk, segmentation.members_of(self.members), self.team_id, Stance(self.stance))


class RuleQuerySet(models.QuerySet["SegmentRule"]):
    def visible_to(self, user: User) -> RuleQuerySet:
        """Those of which either end is the user's teams', and those between segments of the whole organisation."""
        if user.sees_everything:
            return self
        found = owner_filter(user, "source_application") | owner_filter(user, "destination_application")
        if user.limit is None:
            for side in ("source", "destination"):
                found |= Q(**{f"{side}_segment__team__in": user.team_ids})
            wide = Q(source_segment__isnull=False, destination_segment__isnull=False)
            found |= wide & Q(source_segment__team=None, destination_segment__team=None)
        return self.filter(found)

    def waiting(self) -> RuleQuerySet:
        return self.filter(ended_at=None, request__status=OPEN)

    def in_force(self, now: datetime) -> RuleQuerySet:
        """By the clock alone: a rule past its end counts for nothing (DESIGN rule 5)."""
        return self.filter(Q(ends_at=None) | Q(ends_at__gt=now), ended_at=None, request__status=APPROVED)


class SegmentRule(models.Model):
    """Who may speak to whom, or may not. It never changes: another one is asked for, and this one is ended."""

    source_segment = models.ForeignKey(Segment, models.PROTECT, null=True, blank=True, related_name="rules_from")
    source_application = models.ForeignKey(Application, models.CASCADE, null=True, blank=True, related_name="+")
    destination_segment = models.ForeignKey(Segment, models.PROTECT, null=True, blank=True, related_name="rules_to")
    destination_application = models.ForeignKey(Application, models.CASCADE, null=True, blank=True, related_name="+")
    source_told = models.BooleanField(help_text="who asked knew it: it is named to whoever sees the rule")
    destination_told = models.BooleanField()
    ports: Any = models.JSONField(default=list, help_text="[[protocol, first, last]]; none: every one")
    effect = models.CharField(max_length=5, choices=[(e.value, e.value) for e in Effect])
    reason = models.TextField()
    ends_at = models.DateTimeField(null=True, blank=True)
    request = models.OneToOneField(ApprovalRequest, models.PROTECT, related_name="segment_rule")
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    asked_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True, help_text="withdrawn, rejected, or ended before its time")
    ended_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    end_reason = models.TextField(blank=True)

    objects = RuleQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(effect__in=[e.value for e in Effect]), name="networkrule_effect_known"),
            *(
                models.CheckConstraint(
                    condition=Q(**{f"{side}_segment": None}, **{f"{side}_application__isnull": False})
                    | Q(**{f"{side}_segment__isnull": False}, **{f"{side}_application": None}),
                    name=f"networkrule_one_{side}",
                )
                for side in ("source", "destination")
            ),
        ]

    def __str__(self) -> str:
        return f"rule {self.pk}"

    @property
    def as_rule(self) -> segmentation.Rule:
        source, destination = (
            Ref(segmentation.SEGMENT, segment) if segment else Ref(segmentation.APPLICATION, application or 0)
            for segment, application in (
                (self.source_segment_id, self.source_application_id),
                (self.destination_segment_id, self.destination_application_id),
            )
        )
        ports = tuple(segmentation.Ports(*one) for one in self.ports)
        return segmentation.Rule(self.pk, source, destination, Effect(self.effect), ports)


class PeerQuerySet(models.QuerySet["Peer"]):
    def visible_to(self, user: User) -> PeerQuerySet:
        """Workloads of the user's teams; what is tied to none only to who sees everything."""
        return self.filter(owner_filter(user, "workload__application"))


class Peer(models.Model):
    """One end of edges: a workload, something of a cluster's own, or a name or network outside."""

    sort = models.CharField(max_length=8, choices=SORTS)
    cluster = models.CharField(max_length=100, blank=True)
    namespace = models.CharField(max_length=100, blank=True)
    kind = models.CharField(max_length=50, blank=True)
    name = models.CharField(max_length=253, blank=True)
    is_world = models.BooleanField(default=False, help_text="outside, and of no private network")
    workload = models.ForeignKey(Workload, models.SET_NULL, null=True, related_name="peers")
    labels: Any = models.JSONField(null=True, help_text="of its pods, as flows told; null: not told")
    networks: Any = models.JSONField(default=list, help_text="in which its addresses lay")
    segments = models.ManyToManyField(Segment, related_name="peers", help_text="to which it belongs, by their members")
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    objects = PeerQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cluster", "namespace", "name", "kind", "sort"], name="networkpeer_once"),
            models.CheckConstraint(condition=Q(sort__in=[s.value for s in edges.Sort]), name="networkpeer_sort_known"),
        ]

    def __str__(self) -> str:
        return str(self.end)

    @property
    def end(self) -> edges.Peer:
        return edges.Peer(edges.Sort(self.sort), self.name, self.cluster, self.namespace, self.kind)


class EdgeQuerySet(models.QuerySet["Edge"]):
    def visible_to(self, user: User) -> EdgeQuerySet:
        """Those of which either end is a workload that the user may see."""
        source, destination = (owner_filter(user, f"{end}__workload__application") for end in ("source", "destination"))
        return self.filter(source | destination)

    def passed(self) -> EdgeQuerySet:
        """What was not denied; of some sources it is not known whether it was let through, only that it was seen."""
        return self.exclude(verdict=Verdict.DENIED.value)

    def from_outside(self) -> EdgeQuerySet:
        """What came in from outside the organisation."""
        return self.filter(verdict=Verdict.FORWARDED.value, source__is_world=True, destination__sort="workload")


class Edge(models.Model):
    """One end asked another at a port, and what became of it; all such flows together."""

    source = models.ForeignKey(Peer, models.CASCADE, related_name="outgoing")
    destination = models.ForeignKey(Peer, models.CASCADE, related_name="incoming")
    protocol = models.CharField(max_length=16, blank=True)
    port = models.PositiveIntegerField(default=0, help_text="0: not told, or very many")
    verdict = models.CharField(max_length=9, choices=VERDICTS)
    count = models.PositiveBigIntegerField()
    bytes = models.PositiveBigIntegerField(default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    new_until = models.DateTimeField(null=True, help_text="until when it counts as new")
    anomaly = models.CharField(max_length=6, blank=True, choices=ANOMALIES)
    anomaly_at = models.DateTimeField(null=True)
    standing = models.CharField(
        max_length=11,
        blank=True,
        db_default="",
        choices=[(s.value, s.value) for s in Standing],
        help_text="what the rules say of it; empty: not judged yet",
    )
    rule = models.ForeignKey(SegmentRule, models.SET_NULL, null=True, related_name="edges", help_text="which says so")
    broke_at = models.DateTimeField(null=True, help_text="since when it is seen to break the rules")

    objects = EdgeQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["source", "destination", "protocol", "port", "verdict"], name="networkedge_once"
            ),
            models.CheckConstraint(
                condition=Q(verdict__in=[v.value for v in Verdict]), name="networkedge_verdict_known"
            ),
        ]
        # None of what every batch changes: PostgreSQL then writes a row anew beside itself, and no index (HOT).
        indexes = [
            # What breaks the rules: few of very many.
            models.Index(fields=["-broke_at"], condition=Q(broke_at__isnull=False), name="networkedge_breaking"),
            # The list, newest first: when one was first seen stays.
            models.Index(fields=["-first_at", "-id"], name="networkedge_first"),
        ]

    def __str__(self) -> str:
        return f"{self.source} -> {self.destination} {self.where}"

    @property
    def where(self) -> str:
        return f"{self.protocol or 'any'}/{self.port}" if self.port else f"{self.protocol or 'any'}, any port"

    @property
    def as_edge(self) -> edges.Edge:
        return edges.Edge(
            self.source.end, self.destination.end, self.protocol, self.port or None, Verdict(self.verdict)
        )


class Hour(models.Model):
    """How many flows of an edge an hour had."""

    edge = models.ForeignKey(Edge, models.CASCADE, related_name="hours")
    hour = models.DateTimeField()
    count = models.PositiveBigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["edge", "hour"], name="networkhour_once")]
        indexes = [models.Index(fields=["hour"], name="networkhour_hour")]

    def __str__(self) -> str:
        return f"{self.edge_id} {self.hour}: {self.count}"


class Loss(models.Model):
    """A source's word that it saw more than it told."""

    sensor = models.ForeignKey(Sensor, models.SET_NULL, null=True, related_name="+")
    cluster = models.CharField(max_length=100, blank=True)
    node = models.CharField(max_length=253, blank=True)
    reason = models.CharField(max_length=253, blank=True)
    count = models.PositiveBigIntegerField(null=True, help_text="null: not told")
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    fingerprint = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering = ["-ended_at", "-pk"]
        indexes = [models.Index(fields=["cluster", "-ended_at"], name="networkloss_cluster")]

    def __str__(self) -> str:
        return f"{self.count or 'some'} lost: {self.reason}"


class Exposed(models.Model):
    """An application that was first seen to be spoken to from outside; from then on what a person says of it stands."""

    application = models.OneToOneField(Application, models.CASCADE, related_name="+")
    first_at = models.DateTimeField()
    workload = models.CharField(max_length=360, help_text="where that was")

    def __str__(self) -> str:
        return f"{self.application_id} at {self.workload}"


class Print(models.Model):
    """Which flows a batch told of, so that what is sent again soon is not counted again."""

    sensor = models.ForeignKey(Sensor, models.CASCADE, related_name="+")
    received_at = models.DateTimeField()
    prints = models.BinaryField(help_text="eight bytes of each flow's fingerprint")

    class Meta:
        indexes = [models.Index(fields=["sensor", "received_at"], name="networkprint_recent")]

    def __str__(self) -> str:
        return f"{self.sensor_id} {self.received_at}"


class AppliedQuerySet(models.QuerySet["Applied"]):
    def of(self, cluster: str) -> AppliedQuerySet:
        return self.filter(cluster=cluster)


class Applied(models.Model):
    """A policy that a cluster says it applies."""

    cluster = models.CharField(max_length=100)
    namespace = models.CharField(max_length=63, blank=True)
    name = models.CharField(max_length=253)
    form = models.CharField(max_length=10, choices=FORMS)
    document: Any = models.JSONField()
    first_at = models.DateTimeField()
    reported_at = models.DateTimeField()

    objects = AppliedQuerySet.as_manager()

    class Meta:
        ordering = ["cluster", "namespace", "name"]
        constraints = [
            models.UniqueConstraint(fields=["cluster", "namespace", "name", "form"], name="networkapplied_once")
        ]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class ProposalQuerySet(models.QuerySet["Proposal"]):
    def visible_to(self, user: User) -> ProposalQuerySet:
        return self.filter(owner_filter(user, "application"))


class Proposal(models.Model):
    """A generated policy that somebody asks to have applied; somebody else says yes. It never changes."""

    cluster = models.CharField(max_length=100)
    namespace = models.CharField(max_length=63)
    name = models.CharField(max_length=253)
    form = models.CharField(max_length=10, choices=FORMS)
    subject = models.CharField(max_length=253, blank=True, help_text="the workload; empty: the whole namespace")
    application = models.ForeignKey(Application, models.SET_NULL, null=True, related_name="network_proposals")
    document: Any = models.JSONField()
    made_from = models.PositiveIntegerField(help_text="so many edges")
    left_out: Any = models.JSONField(default=list, help_text="[{subject, why}]")
    simulated: Any = models.JSONField(default=dict, help_text="what it would have cut when it was proposed")
    reason = models.TextField(blank=True)
    state = models.CharField(
        max_length=9, default=ProposalState.OPEN.value, choices=[(s.value, s.value) for s in ProposalState]
    )
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    asked_at = models.DateTimeField(default=timezone.now)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    answer = models.TextField(blank=True)

    objects = ProposalQuerySet.as_manager()

    class Meta:
        ordering = ["-asked_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=[s.value for s in ProposalState]), name="networkproposal_state_known"
            ),
            # Nobody approves their own request (DESIGN section 3.6).
            models.CheckConstraint(
                condition=~Q(state="approved") | (Q(decided_by__isnull=False) & ~Q(decided_by=F("asked_by"))),
                name="networkproposal_approved_by_another",
            ),
            models.UniqueConstraint(
                fields=["cluster", "namespace", "name", "form"],
                condition=Q(state="open"),
                name="networkproposal_one_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
