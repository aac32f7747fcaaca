"""Keys: ours, which sign, and other people's, whose signatures count."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils import timezone

from secguard.accounts.models import User
from secguard.signing import keylife
from secguard.signing.keylife import KeyStatus, Provider, TrustStatus


def _choices(words: type[KeyStatus] | type[Provider] | type[TrustStatus]) -> list[tuple[str, str]]:
    return [(word.value, word.value) for word in words]


class SigningKeyQuerySet(models.QuerySet["SigningKey"]):
    def counting(self, now: datetime) -> SigningKeyQuerySet:
        """Keys whose signatures count at ``now``; the one that signs before those it took over from."""
        active, overlapping = Q(status=KeyStatus.ACTIVE), Q(status=KeyStatus.RETIRING, counts_until__gt=now)
        return self.filter(active | overlapping).order_by("name", "status", "-id")

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
