"""Keys: ours, which sign, and other people's, whose signatures count; and the signatures that were seen."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from secguard.accounts.models import User, owner_filter
from secguard.images.models import Repository
from secguard.signing import keylife
from secguard.signing.keylife import AUDIT_LINE, KeyStatus, Provider, TrustStatus
from secguard.signing.statements import told
from secguard.signing.verification import Form, Standing


def _choices(words: type[KeyStatus] | type[Provider] | type[TrustStatus] | type[Form]) -> list[tuple[str, str]]:
    return [(word.value, word.value) for word in words]


class SigningKeyQuerySet(models.QuerySet["SigningKey"]):
    def of_images(self) -> SigningKeyQuerySet:
        """Without the line that signs the audit log: what it signed says nothing of an image."""
        return self.exclude(name=AUDIT_LINE)

    def signing_images(self) -> SigningKeyQuerySet:
        """The keys that an image may be signed with."""
        return self.of_images().filter(status=KeyStatus.ACTIVE)

    def counting(self, now: datetime) -> SigningKeyQuerySet:
        """Keys whose signatures of images count at ``now``; the one that signs before those it took over from."""
        active, overlapping = Q(status=KeyStatus.ACTIVE), Q(status=KeyStatus.RETIRING, counts_until__gt=now)
        return self.of_images().filter(active | overlapping).order_by("name", "status", "-id")

    def in_state(self, status: KeyStatus, now: datetime | None = None) -> SigningKeyQuerySet:
        """Keys that are in a state at ``now``: an overlap that has ended is retired, whatever the column says."""
        ended = Q(status=KeyStatus.RETIRING, counts_until__lte=now or timezone.now())
        if status == KeyStatus.RETIRED:
            return self.filter(Q(status=status) | ended)
        return self.filter(status=status).exclude(ended)


class SigningKey(models.Model):
    """A key of ours. Rotated, its successor has the same name; the private part of what signs no more is gone."""

    name = models.CharField(max_length=63, help_text="of the line of keys: one of them signs, the others did")
    provider = models.CharField(max_length=20, choices=_choices(Provider))
    fingerprint = models.CharField(max_length=71, unique=True, help_text="sha256:<hex> of the public key")
    public_pem = models.TextField()
    sealed_private = models.TextField(blank=True, help_text="sealed with the instance's key, never shown")
    label = models.CharField(max_length=100, blank=True, help_text="the key's label in a PKCS #11 token")
    status = models.CharField(max_length=20, choices=_choices(KeyStatus), default=KeyStatus.ACTIVE)
    is_imported = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    counts_until = models.DateTimeField(null=True, blank=True, help_text="the end of a retiring key's overlap")
    ended_at = models.DateTimeField(null=True, blank=True, help_text="when it was retired or revoked")
    reason = models.CharField(max_length=500, blank=True, help_text="of its end")

    objects = SigningKeyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=list(KeyStatus)), name="signingkey_status_known"),
            models.UniqueConstraint(fields=["name"], condition=Q(status="active"), name="signingkey_one_signs"),
            # What signs no more has no private part left to lose.
            models.CheckConstraint(
                condition=Q(sealed_private="", provider="pkcs11")
                | Q(sealed_private="", status__in=("retiring", "retired", "revoked"))
                | (Q(provider="local", status="active") & ~Q(sealed_private="")),
                name="signingkey_private_while_active",
            ),
            models.CheckConstraint(
                condition=~Q(status="retiring") | Q(counts_until__isnull=False), name="signingkey_overlap_ends"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.fingerprint[:19]}…)"

    def status_at(self, now: datetime) -> KeyStatus:
        return keylife.at(KeyStatus(self.status), self.counts_until, now)

    @property
    def current_status(self) -> KeyStatus:
        return self.status_at(timezone.now())


class TrustedKeyQuerySet(models.QuerySet["TrustedKey"]):
    def counting(self, now: datetime) -> TrustedKeyQuerySet:
        """Keys that are trusted at ``now``, for whatever repositories."""
        return self.filter(Q(valid_until__isnull=True) | Q(valid_until__gt=now), status=TrustStatus.TRUSTED)


class TrustedKey(models.Model):
    """Somebody else's public key: what it signed counts in the repositories that ``repositories`` means."""

    name = models.CharField(max_length=100, help_text="whose it is, as a denial or an image's page says it")
    fingerprint = models.CharField(max_length=71)
    public_pem = models.TextField()
    repositories = models.CharField(max_length=300, help_text="a pattern: registry.example/shop/*")
    status = models.CharField(max_length=20, choices=_choices(TrustStatus), default=TrustStatus.TRUSTED)
    valid_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True)

    objects = TrustedKeyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=list(TrustStatus)), name="trustedkey_status_known"),
            models.UniqueConstraint(
                fields=["fingerprint", "repositories"], condition=Q(status="trusted"), name="trustedkey_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} for {self.repositories}"

    def trusts_at(self, now: datetime) -> bool:
        return self.status == TrustStatus.TRUSTED and (self.valid_until is None or self.valid_until > now)

    @property
    def current_status(self) -> str:
        ended = self.status == TrustStatus.TRUSTED and not self.trusts_at(timezone.now())
        return "expired" if ended else self.status


class RecallQuerySet(models.QuerySet["Recall"]):
    def standing(self) -> RecallQuerySet:
        """Those that were not lifted."""
        return self.filter(lifted_at__isnull=True)


class Recall(models.Model):
    """A digest that somebody called back: nothing that was signed of it counts, and no gate lets it pass.

    Of an index each platform has its own row, with the digest that was asked for.
    """

    digest = models.CharField(max_length=135)
    asked_digest = models.CharField(max_length=135, help_text="the index that was called back, or the image itself")
    reason = models.CharField(max_length=500)
    recalled_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    recalled_at = models.DateTimeField()
    lifted_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    lifted_at = models.DateTimeField(null=True, blank=True)
    lift_reason = models.CharField(max_length=500, blank=True)

    objects = RecallQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            # Also the look-up of every verdict and admission.
            models.UniqueConstraint(fields=["digest"], condition=Q(lifted_at__isnull=True), name="recall_one_stands"),
        ]
        indexes = [models.Index(fields=["asked_digest", "-id"], name="recall_asked")]

    def __str__(self) -> str:
        return f"recall of {self.digest}"


class AttestationQuerySet(models.QuerySet["Attestation"]):
    def standing(self, now: datetime) -> AttestationQuerySet:
        """Those that count at ``now``: not withdrawn, and made by a key that counts."""
        active = Q(signing_key__status=KeyStatus.ACTIVE)
        overlapping = Q(signing_key__status=KeyStatus.RETIRING, signing_key__counts_until__gt=now)
        return self.filter(active | overlapping, withdrawn_at__isnull=True)


class Attestation(models.Model):
    """What SecGuard itself has stated of a digest in a repository: that it was promoted to an environment.

    The statement lies beside the image, signed; this row is what admission asks, and what a recall withdraws.
    """

    digest = models.CharField(max_length=135, help_text="of the image, or of the index that it is a platform of")
    repository = models.ForeignKey(Repository, models.CASCADE, related_name="attestations")
    predicate_type = models.CharField(max_length=255)
    environment = models.CharField(max_length=63, blank=True)
    signing_key = models.ForeignKey(SigningKey, models.PROTECT, related_name="+")
    made_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True, help_text="of its withdrawal")

    objects = AttestationQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            # Also the look-up: what was stated of a digest.
            models.UniqueConstraint(
                fields=["digest", "environment", "repository", "predicate_type"],
                condition=Q(withdrawn_at__isnull=True),
                name="attestation_one_stands",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.predicate_type} of {self.digest} for {self.environment}"


class SignatureQuerySet(models.QuerySet["Signature"]):
    def visible_to(self, user: User) -> SignatureQuerySet:
        """Signatures in repositories of the user's teams."""
        return self.filter(owner_filter(user, "repository__application"))

    def with_standing(self) -> SignatureQuerySet:
        """With all that ``standing_at`` reads."""
        called_back = Recall.objects.standing().filter(digest=OuterRef("digest"))
        return self.annotate(is_recalled=Exists(called_back)).select_related("signing_key", "trusted_key")


class Signature(models.Model):
    """A signature or attestation as it was seen beside a digest, and the key that made it, if one that counted did.

    What it is worth is asked of that key when it is read: a revoked key takes its signatures with it at once.
    """

    repository = models.ForeignKey(Repository, models.CASCADE, related_name="signatures")
    digest = models.CharField(max_length=135)
    identity = models.CharField(max_length=64, help_text="the same for the same signature at the same place")
    form = models.CharField(max_length=20, choices=_choices(Form))
    place = models.CharField(max_length=150, help_text="the blob, manifest or tag that holds it")
    predicate_type = models.CharField(max_length=255, blank=True, help_text="of an attestation")
    docker_reference = models.CharField(max_length=511, blank=True, help_text="as the signer named the repository")
    problem = models.CharField(max_length=500, blank=True, help_text="why it says nothing of this image")
    signing_key = models.ForeignKey(SigningKey, models.PROTECT, null=True, blank=True, related_name="signatures")
    trusted_key = models.ForeignKey(TrustedKey, models.PROTECT, null=True, blank=True, related_name="signatures")
    first_seen_at = models.DateTimeField()
    verified_at = models.DateTimeField(help_text="when it was last looked at")
    gone_at = models.DateTimeField(null=True, blank=True, help_text="when it was first missing")

    objects = SignatureQuerySet.as_manager()

    class Meta:
        constraints = [
            # Also the look-up of what is beside a digest in a repository.
            models.UniqueConstraint(fields=["digest", "repository", "identity"], name="signature_once"),
            models.CheckConstraint(
                condition=Q(signing_key__isnull=True) | Q(trusted_key__isnull=True), name="signature_one_party"
            ),
            models.CheckConstraint(
                condition=Q(problem="") | Q(signing_key__isnull=True, trusted_key__isnull=True),
                name="signature_invalid_is_nobodys",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.form} of {self.digest}"

    def standing_at(self, now: datetime) -> Standing:
        """What it is worth at ``now``; read ``with_standing``."""
        if self.problem:
            return Standing.INVALID
        if self._is_recalled:
            return Standing.RECALLED
        ours, theirs = self.signing_key, self.trusted_key
        counts = (ours is not None and keylife.counts(KeyStatus(ours.status), ours.counts_until, now)) or (
            theirs is not None and theirs.trusts_at(now)
        )
        return Standing.TRUSTED if counts and self.gone_at is None else Standing.UNKNOWN

    @property
    def _is_recalled(self) -> bool:
        known = getattr(self, "is_recalled", None)
        return Recall.objects.standing().filter(digest=self.digest).exists() if known is None else bool(known)

    @property
    def standing(self) -> Standing:
        return self.standing_at(timezone.now())

    @property
    def by(self) -> str:
        """Whose key made it, also where that counts no more; empty for nobody known."""
        party = self.signing_key or self.trusted_key
        return party.name if party else ""

    @property
    def what(self) -> str:
        """What it says, in words: a signature, a bill of materials, a promotion."""
        return told(self.predicate_type)

    @property
    def why(self) -> str:
        """Why it counts for nothing, in words; empty where it counts."""
        standing = self.standing
        if standing == Standing.TRUSTED:
            return ""
        if standing == Standing.INVALID:
            return self.problem
        if standing == Standing.RECALLED:
            return "The image was called back."
        if self.gone_at is not None:
            return "It lies there no more."
        if self.signing_key is not None:
            return f"Our key {self.signing_key.name} is {self.signing_key.current_status}."
        if self.trusted_key is not None:
            return f"The trust in {self.trusted_key.name} is {self.trusted_key.current_status}."
        return "No key that counts here made it."
