"""What people want done about risks, for which part of the estate, and until when."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q, Value
from django.db.models.functions import Coalesce, Least
from django.utils import timezone

from secguard.accounts.models import Application, User, owner_filter
from secguard.approvals.models import ApprovalRequest
from secguard.decisions import controls
from secguard.decisions.controls import ControlKind, ControlStatus, EvidenceKind, Says
from secguard.decisions.justifications import Justification
from secguard.decisions.lifecycle import DecisionKind, DecisionStatus
from secguard.decisions.scope import ScopeKind
from secguard.findings.models import Risk
from secguard.images.models import Image, ImageRepository, Repository

KIND_CHOICES = [(k.value, k.value) for k in DecisionKind]
STATUS_CHOICES = [(s.value, s.value) for s in DecisionStatus]
JUSTIFICATION_CHOICES = [(j.value, j.value) for j in Justification]
CONTROL_KIND_CHOICES = [(k.value, k.value) for k in ControlKind]
CONTROL_STATUS_CHOICES = [(s.value, s.value) for s in ControlStatus]
CONTROL_STATE_CHOICES = [(s.value, s.value) for s in controls.ControlState]
EVIDENCE_CHOICES = [(k.value, k.value) for k in EvidenceKind]
SAYS_CHOICES = [(s.value, s.value) for s in Says]


class RiskAppetite(models.Model):
    """One version of the business's own document; the newest active one holds."""

    number = models.PositiveIntegerField(unique=True)
    source = models.TextField()
    sha256 = models.CharField(max_length=64)
    comment = models.CharField(max_length=300, blank=True)
    is_active = models.BooleanField(default=False)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    activated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["is_active"], condition=Q(is_active=True), name="riskappetite_one_active")
        ]

    def __str__(self) -> str:
        return f"risk appetite {self.number}"


def counts_at(now: datetime) -> Q:
    """Approved, and neither past its own end nor past that of the first control it leans on."""
    leans = Q(controls_until=None) | Q(controls_until__gt=now)
    return leans & Q(status=DecisionStatus.APPROVED.value, expires_at__gt=now)


def over_at(now: datetime) -> Q:
    """Requested or approved by the column, and past the end all the same."""
    open_ones = [DecisionStatus.REQUESTED.value, DecisionStatus.APPROVED.value]
    lapsed = Q(status=DecisionStatus.APPROVED.value, controls_until__lte=now)
    return Q(status__in=open_ones, expires_at__lte=now) | lapsed


class DecisionQuerySet(models.QuerySet["Decision"]):
    def visible_to(self, user: User) -> DecisionQuerySet:
        """Decisions of the user's teams or on images that lie with them, and approved ones over the organisation.

        Who asked is no key: somebody who left a team, or asks with another team's token, is a stranger to what they
        asked for there.
        """
        if user.sees_everything:
            return self
        here = owner_filter(user, "repository__application")
        with_us = ImageRepository.objects.filter(here, image=OuterRef("image_id"))
        asked = Q(team_id__in=user.team_ids) if user.limit is None else owner_filter(user, "application") | here
        own = asked | Q(image__isnull=False) & Exists(with_us)
        return self.filter(own | Q(scope_kind=ScopeKind.ORGANISATION.value, status=DecisionStatus.APPROVED.value))

    def in_force(self, now: datetime) -> DecisionQuerySet:
        """DESIGN rule 5: past its end a decision counts for nothing, whatever its status column still says.

        Its end is its date, or that of the first control it leans on.
        """
        return self.filter(counts_at(now))

    def with_end(self) -> DecisionQuerySet:
        """With ``ends_at``: its date, or that of the first control it leans on (``Decision.counts_until``)."""
        return self.annotate(ends_at=Least("expires_at", Coalesce("controls_until", "expires_at")))

    def waiting(self) -> DecisionQuerySet:
        return self.filter(status=DecisionStatus.REQUESTED.value)


class Decision(models.Model):
    """(risk) x (image | repository | application | organisation), with conditions and an end.

    Triggers (migration 0002) refuse ``approved`` while its approval request is not, and refuse to make a decision
    that left ``requested`` or ``approved`` anything again.
    """

    kind = models.CharField(max_length=16, choices=KIND_CHOICES)
    risk = models.ForeignKey(Risk, models.PROTECT, related_name="decisions")
    scope_kind = models.CharField(max_length=16, choices=[(k.value, k.value) for k in ScopeKind])
    image = models.ForeignKey(Image, models.CASCADE, null=True, blank=True, related_name="decisions")
    repository = models.ForeignKey(Repository, models.CASCADE, null=True, blank=True, related_name="decisions")
    application = models.ForeignKey(Application, models.CASCADE, null=True, blank=True, related_name="decisions")
    scope_label = models.CharField(max_length=600, help_text="the scope in words, as it was when asked")
    team_id = models.BigIntegerField(null=True, blank=True, help_text="whose request it is")
    reason = models.TextField()
    justification = models.CharField(
        max_length=60, blank=True, default="", choices=JUSTIFICATION_CHOICES, help_text="why it is not affected"
    )
    conditions = models.JSONField(default=dict)
    status = models.CharField(max_length=12, default="requested", choices=STATUS_CHOICES)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    controls_until = models.DateTimeField(
        null=True, blank=True, help_text="once approved: when the first control it leans on ends; empty: on none"
    )
    approval = models.OneToOneField(ApprovalRequest, models.PROTECT, related_name="decision")
    appetite = models.ForeignKey(RiskAppetite, models.PROTECT, related_name="+")
    appetite_row = models.CharField(max_length=100)
    snapshot = models.JSONField(help_text="severity, exploitation, EPSS and fix when it was asked for")
    decided_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=300, blank=True)
    ended_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")

    objects = DecisionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in DecisionStatus]), name="decision_status_known"
            ),
            models.CheckConstraint(condition=Q(kind__in=[k.value for k in DecisionKind]), name="decision_kind_known"),
            models.CheckConstraint(
                condition=Q(justification="")
                | Q(kind="not_affected", justification__in=[j.value for j in Justification]),
                name="decision_justification_known",
            ),
            models.CheckConstraint(
                condition=Q(scope_kind="image", image__isnull=False, repository=None, application=None)
                | Q(scope_kind="repository", image=None, repository__isnull=False, application=None)
                | Q(scope_kind="application", image=None, repository=None, application__isnull=False)
                | Q(scope_kind="organisation", image=None, repository=None, application=None),
                name="decision_scope_consistent",
            ),
            models.CheckConstraint(condition=Q(expires_at__gt=models.F("requested_at")), name="decision_ends_later"),
            # One open request for one thing: asking twice is a conflict that names the first. By ids: a label is free
            # for something else as soon as what it named is called otherwise.
            models.UniqueConstraint(
                "risk",
                "scope_kind",
                Coalesce("image", Value(0)),
                Coalesce("repository", Value(0)),
                Coalesce("application", Value(0)),
                condition=Q(status="requested"),
                name="decision_one_open_request",
            ),
        ]
        indexes = [
            # The decisions that may cover an image's findings.
            models.Index(fields=["risk", "status"], name="decision_by_risk"),
            # The review queue, oldest first; what ends next.
            models.Index(fields=["status", "requested_at"], name="decision_queue"),
            models.Index(fields=["status", "expires_at"], name="decision_ending"),
            # The few that lean on controls and whose controls lapse next.
            models.Index(
                fields=["controls_until"],
                condition=Q(status="approved", controls_until__isnull=False),
                name="decision_controls_until",
            ),
        ]

    def __str__(self) -> str:
        return f"decision {self.pk}: {self.kind} {self.risk_id}"

    @property
    def counts_until(self) -> datetime:
        """Until when it counts: its own end, or that of the first control it leans on."""
        return controls.counts_until(self.expires_at, self.controls_until)


class ControlQuerySet(models.QuerySet["Control"]):
    def visible_to(self, user: User) -> ControlQuerySet:
        """Controls over the user's teams' applications, and confirmed ones over the organisation."""
        if user.sees_everything:
            return self
        wide = Q(application=None) & ~Q(status=ControlStatus.PROPOSED.value)
        return self.filter(Q(application__team_id__in=user.team_ids) | wide)

    def standing(self) -> ControlQuerySet:
        """Those that are not retired."""
        return self.exclude(status=ControlStatus.RETIRED.value)

    def in_state(self, state: controls.ControlState, now: datetime) -> ControlQuerySet:
        """Those that are in ``state`` at ``now``: ``controls.state`` as a condition."""
        match state:
            case controls.ControlState.RETIRED | controls.ControlState.PROPOSED:
                return self.filter(status=state.value)
            case controls.ControlState.CONTRADICTED:
                return self.filter(status="confirmed", contradicted_at__isnull=False)
        uncontradicted = self.filter(status="confirmed", contradicted_at=None)
        match state:
            case controls.ControlState.ALIVE:
                return uncontradicted.filter(warn_at__gt=now)
            case controls.ControlState.GOING_STALE:
                return uncontradicted.filter(warn_at__lte=now, due_at__gt=now)
        return uncontradicted.filter(Q(due_at=None) | Q(due_at__lte=now))


class Control(models.Model):
    """What mitigates elsewhere: whose it is, what it covers, and what keeps it alive.

    ``last_seen_at``, ``contradicted_at``, ``warn_at`` and ``due_at`` are what its evidence comes to
    (``controls.gather``), kept for lists; its state at an instant is ``controls.state``'s. A constraint holds that
    nobody confirms their own; triggers (migration 0007) that what was confirmed is what counts, and that what is
    retired stays so.
    """

    name = models.CharField(max_length=150)
    kind = models.CharField(max_length=16, choices=CONTROL_KIND_CHOICES)
    description = models.CharField(max_length=2000, blank=True, help_text="what it does, and where it is to be found")
    application = models.ForeignKey(
        Application, models.CASCADE, null=True, blank=True, related_name="controls", help_text="empty: all of them"
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", help_text="empty: the team"
    )
    kept_alive_by = models.CharField(max_length=12, choices=EVIDENCE_CHOICES)
    every_hours = models.PositiveIntegerField(help_text="evidence must come at least this often")
    watch = models.JSONField(default=dict, blank=True, help_text="what SecGuard itself observes")
    status = models.CharField(max_length=12, default="proposed", choices=CONTROL_STATUS_CHOICES)
    proposed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField(default=timezone.now)
    confirmed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    confirmed_at = models.DateTimeField(null=True, blank=True)
    retired_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    retired_at = models.DateTimeField(null=True, blank=True)
    retired_reason = models.CharField(max_length=300, blank=True)
    last_seen_at = models.DateTimeField(null=True, blank=True)
    contradicted_at = models.DateTimeField(null=True, blank=True)
    warn_at = models.DateTimeField(null=True, blank=True, help_text="when it begins to go stale")
    due_at = models.DateTimeField(null=True, blank=True, help_text="when evidence must have come next")

    objects = ControlQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=[k.value for k in ControlKind]), name="control_kind_known"),
            models.CheckConstraint(
                condition=Q(kept_alive_by__in=[k.value for k in EvidenceKind]), name="control_kept_alive_by_known"
            ),
            models.CheckConstraint(
                condition=Q(status="proposed", confirmed_at=None, retired_at=None)
                | Q(status="confirmed", confirmed_at__isnull=False, confirmed_by__isnull=False, retired_at=None)
                | Q(status="retired", retired_at__isnull=False),
                name="control_status_consistent",
            ),
            # Four eyes: whoever wants to lean on it, or answers for it, is not who says that it is one.
            models.CheckConstraint(
                condition=Q(confirmed_by=None)
                | ~Q(confirmed_by=models.F("proposed_by")) & (Q(owner=None) | ~Q(confirmed_by=models.F("owner"))),
                name="control_four_eyes",
            ),
            models.CheckConstraint(
                condition=Q(every_hours__gte=controls.MIN_HOURS, every_hours__lte=controls.MAX_HOURS),
                name="control_every_hours",
            ),
            models.UniqueConstraint(
                "name",
                Coalesce("application", Value(0)),
                condition=~Q(status="retired"),
                name="control_once",
            ),
        ]
        indexes = [
            # What needs evidence next.
            models.Index(fields=["status", "due_at"], name="control_due"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def life(self) -> controls.Life:
        return controls.Life(
            kept_alive_by=EvidenceKind(self.kept_alive_by),
            every=timedelta(hours=self.every_hours),
            confirmed_at=self.confirmed_at,
            retired_at=self.retired_at,
        )

    @property
    def known(self) -> controls.Known:
        return controls.Known(last_seen_at=self.last_seen_at, contradicted_at=self.contradicted_at)

    def state_at(self, now: datetime) -> controls.ControlState:
        return controls.state(self.life, self.known, now)

    def holds_until(self, now: datetime) -> datetime | None:
        """Until when it holds if nothing more becomes known; ``None`` where it does not hold at ``now``."""
        return controls.holds_until(self.life, self.known, now)


class ControlEvidence(models.Model):
    """What was seen of a control, once: the same seen again by the same source moves ``seen_at`` and is counted.

    Never changed otherwise (trigger, migration 0007). A row stands for unbroken time: where evidence came later than
    agreed, another one begins.
    """

    control = models.ForeignKey(Control, models.CASCADE, related_name="evidence")
    kind = models.CharField(max_length=12, choices=EVIDENCE_CHOICES)
    says = models.CharField(max_length=12, choices=SAYS_CHOICES)
    first_seen_at = models.DateTimeField()
    seen_at = models.DateTimeField(help_text="the last time")
    noted_at = models.DateTimeField(help_text="when the last of it became known here")
    count = models.PositiveIntegerField(default=1)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", help_text="empty: SecGuard"
    )
    source = models.CharField(max_length=100, blank=True, help_text="what reported it: a token, an observer")
    note = models.CharField(max_length=2000, blank=True)
    url = models.URLField(max_length=500, blank=True)
    digest = models.CharField(max_length=71, blank=True, help_text="of a file that shows it: sha256:…")

    class Meta:
        ordering = ["-seen_at", "-id"]
        constraints = [
            models.CheckConstraint(condition=Q(says__in=[s.value for s in Says]), name="controlevidence_says_known"),
            models.CheckConstraint(
                condition=Q(kind="observation", by=None) | Q(kind__in=["heartbeat", "check"], by__isnull=False),
                name="controlevidence_by_whom",
            ),
            models.CheckConstraint(
                condition=Q(seen_at__gte=models.F("first_seen_at"), noted_at__gte=models.F("seen_at")),
                name="controlevidence_seen_before_noted",
            ),
        ]
        indexes = [
            # A control's timeline, newest first; the last of each kind.
            models.Index(fields=["control", "-seen_at", "-id"], name="controlevidence_timeline"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.control_id}: {self.says}"


class DecisionControl(models.Model):
    """A decision leans on a control: it counts as long as each of its controls holds, and no longer than its date."""

    decision = models.ForeignKey(Decision, models.CASCADE, related_name="leaning")
    control = models.ForeignKey(Control, models.CASCADE, related_name="leaning")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["decision", "control"], name="decisioncontrol_once")]

    def __str__(self) -> str:
        return f"decision {self.decision_id} leans on control {self.control_id}"


class VexAuthorQuerySet(models.QuerySet["VexAuthor"]):
    def trusted(self) -> VexAuthorQuerySet:
        return self.filter(withdrawn_at=None)


class VexAuthor(models.Model):
    """Whose VEX documents may ask for decisions, and where. Trust lets a document ask; people approve, as ever."""

    pattern = models.CharField(max_length=300, help_text="the author, or a CSAF publisher's namespace; * for any text")
    application = models.ForeignKey(Application, models.CASCADE, null=True, blank=True, related_name="+")
    note = models.CharField(max_length=300, blank=True)
    public_key = models.TextField(blank=True, help_text="PEM; with it only what it signed counts as the author's")
    fingerprint = models.CharField(max_length=71, blank=True, help_text="of the public key")
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=300, blank=True, help_text="why it was withdrawn")

    objects = VexAuthorQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                "pattern", Coalesce("application", Value(0)), condition=Q(withdrawn_at=None), name="vexauthor_once"
            ),
        ]

    def __str__(self) -> str:
        return self.pattern


class VexDocumentQuerySet(models.QuerySet["VexDocument"]):
    def visible_to(self, user: User) -> VexDocumentQuerySet:
        """Documents that asked for a decision that the user may see, and the user's own that asked for none."""
        if user.sees_everything:
            return self
        decided = VexProposal.objects.filter(
            document=OuterRef("pk"), decision__in=Decision.objects.visible_to(user).values("pk")
        )
        asked = VexProposal.objects.filter(document=OuterRef("pk"))
        return self.filter(Exists(decided) | Q(posted_by=user) & ~Exists(asked))


class VexDocument(models.Model):
    """A VEX document as somebody posted it (deflated): kept, so that the reason of a decision can be read again."""

    sha256 = models.CharField(max_length=64)
    body = models.BinaryField()
    size_bytes = models.PositiveIntegerField()
    format = models.CharField(max_length=20)
    author = models.CharField(max_length=300, blank=True)
    namespace = models.CharField(max_length=300, blank=True)
    name = models.CharField(max_length=2000, blank=True, help_text="the document's own id")
    version = models.CharField(max_length=100, blank=True)
    made_at = models.DateTimeField(null=True, blank=True, help_text="as the document says")
    statements = models.PositiveIntegerField()
    signed_by = models.CharField(max_length=71, blank=True, help_text="fingerprint of its author's key, where known")
    outcomes = models.JSONField(default=dict, help_text="what became of it when it was posted last")
    posted_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    posted_at = models.DateTimeField(default=timezone.now)

    objects = VexDocumentQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["sha256", "posted_by"], name="vexdocument_once")]

    def __str__(self) -> str:
        return f"VEX document {self.pk}"


class VexProposal(models.Model):
    """A decision that was asked for because of a document."""

    document = models.ForeignKey(VexDocument, models.CASCADE, related_name="proposals")
    decision = models.OneToOneField(Decision, models.CASCADE, related_name="vex_proposal")
    statement = models.PositiveIntegerField(help_text="which of the document's statements, from 0")

    def __str__(self) -> str:
        return f"decision {self.decision_id} by VEX document {self.document_id}"
