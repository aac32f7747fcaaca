"""Registries as workers speak to them: set up by people, their passwords sealed."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.x509 import load_pem_x509_certificates
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotFound
from secguard.images.adapters.addresses import RegistryAccess
from secguard.images.adapters.pushing import PushingClient
from secguard.images.adapters.registry import RegistryClient
from secguard.images.models import (
    Registry,
)
from secguard.images.reference import is_host
from secguard.sealing import seal, unseal

SEALED_FOR = "registry"


@dataclass(frozen=True, slots=True)
class RegistryEdit:
    """How a registry is spoken to. ``None`` leaves a field as it is; an empty password takes the stored one away."""

    is_preferred: bool | None = None
    uses_plain_http: bool | None = None
    username: str | None = None
    password: str | None = None
    ca_certificate: str | None = None
    allowed_hosts: Sequence[str] | None = None

    def checked(self) -> dict[str, object]:
        """The model's fields to set; raises ``Invalid`` for a host or certificate that is none."""
        fields = {
            name: value
            for name in ("is_preferred", "uses_plain_http", "username", "ca_certificate")
            if (value := getattr(self, name)) is not None
        }
        if self.ca_certificate:
            _check_certificate(self.ca_certificate)
        if self.allowed_hosts is not None:
            fields["allowed_hosts"] = [_checked_host(h, "allowed_hosts") for h in self.allowed_hosts]
        if self.password is not None:
            keys = [settings.SECRET_KEY]
            fields["sealed_password"] = seal(self.password, keys=keys, purpose=SEALED_FOR) if self.password else ""
        return fields


def _check_certificate(pem: str) -> None:
    try:
        load_pem_x509_certificates(pem.encode())
    except ValueError as e:
        raise Invalid(
            "The CA certificate is no PEM certificate; expected text from -----BEGIN CERTIFICATE----- to "
            "-----END CERTIFICATE-----.",
            where="ca_certificate",
        ) from e


def _checked_host(host: str, where: str) -> str:
    if not is_host(host):
        raise Invalid(f"{host[:200]!r} is no host; expected a name like registry.example or host:5000.", where=where)
    return host.lower()


@transaction.atomic
def add_registry(host: str, edit: RegistryEdit, *, actor: User | None) -> Registry:
    """Set up a registry, or raise ``Conflict`` where it is. Needs registry:edit in the whole organisation.

    One that is known only because a report named it is set up now: a report alone lets no worker connect anywhere.
    """
    require(actor, Permission.REGISTRY_EDIT)
    name, fields = _checked_host(host.strip(), "host"), edit.checked()
    registry, _ = Registry.objects.get_or_create(host=name)
    registry = _registry(registry.pk)
    if registry.configured_at is not None:
        raise Conflict(f"{name} is set up already; edit it.", code="registry-exists")
    fields["configured_at"] = timezone.now()
    for field, value in fields.items():
        setattr(registry, field, value)
    registry.save(update_fields=list(fields))
    _record_registry(Action.REGISTRY_CREATE, registry, edit, actor)
    return registry


@transaction.atomic
def edit_registry(registry_id: int, edit: RegistryEdit, *, actor: User | None) -> Registry:
    """Change how a registry is spoken to. Raises ``NotAllowed``, ``NotFound``, ``Invalid``."""
    require(actor, Permission.REGISTRY_EDIT)
    registry = _registry(registry_id)
    fields = edit.checked()
    if fields:
        fields["configured_at"] = registry.configured_at or timezone.now()
        for name, value in fields.items():
            setattr(registry, name, value)
        registry.save(update_fields=list(fields))
        _record_registry(Action.REGISTRY_EDIT, registry, edit, actor)
    return registry


@transaction.atomic
def renew_webhook_token(registry_id: int, *, actor: User | None) -> tuple[Registry, str]:
    """A new token for the registry's webhooks, told this once; the former one ends. Needs registry:edit."""
    require(actor, Permission.REGISTRY_EDIT)
    registry, token = _registry(registry_id), f"sgw_{secrets.token_urlsafe(32)}"
    registry.webhook_token_hash = hashlib.sha256(token.encode()).hexdigest()
    registry.save(update_fields=["webhook_token_hash"])
    record(
        Action.REGISTRY_EDIT,
        actor=actor,
        subject_type="registry",
        subject_id=registry.pk,
        subject=registry.host,
        details={"webhook_token": "renewed"},
    )
    return registry, token


def _registry(registry_id: int) -> Registry:
    found = Registry.objects.select_for_update().filter(pk=registry_id).first()
    if found is None:
        raise NotFound(f"There is no registry {registry_id}.")
    return found


def _record_registry(action: Action, registry: Registry, edit: RegistryEdit, actor: User | None) -> None:
    told = {name: value for name, value in edit.checked().items() if name not in ("sealed_password", "ca_certificate")}
    if edit.password is not None:
        told["password"] = "set" if edit.password else "removed"
    if edit.ca_certificate is not None:
        told["ca_certificate_sha256"] = hashlib.sha256(edit.ca_certificate.encode()).hexdigest()
    record(
        action,
        actor=actor,
        subject_type="registry",
        subject_id=registry.pk,
        subject=registry.host,
        details=told,
    )


def password_of(registry: Registry) -> str:
    """The registry's password, for who speaks to it; raises ``Unavailable`` where it was sealed with another key."""
    if not registry.sealed_password:
        return ""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return unseal(registry.sealed_password, keys=keys, purpose=SEALED_FOR)


def client_of(registry: Registry) -> RegistryClient:
    """Reads from the registry as it was set up. The caller closes it. Raises ``Invalid`` where nobody set it up."""
    return RegistryClient(_access(registry))


def pusher_of(registry: Registry, still: Callable[[], None] | None = None, *, reads_back: bool = True) -> PushingClient:
    """The same, and writes. ``still`` is asked before each manifest, and raises where it is no longer ours to write.

    Without ``reads_back`` the caller reads all that was written before anything relies on it.
    """
    client = PushingClient(_access(registry))
    client.still, client.reads_back = still, reads_back
    return client


def _access(registry: Registry) -> RegistryAccess:
    if registry.configured_at is None:
        raise Invalid(
            f"Workers do not connect to {registry.host}: nobody has set that registry up here.",
            code="registry-not-set-up",
        )
    return RegistryAccess(
        host=registry.host,
        uses_plain_http=registry.uses_plain_http,
        username=registry.username,
        password=password_of(registry),
        ca_certificate=registry.ca_certificate,
        allowed_hosts=tuple(registry.allowed_hosts),
    )
