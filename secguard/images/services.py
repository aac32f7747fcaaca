"""Register images, where they lie and what their tags point to."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from cryptography.x509 import load_pem_x509_certificates
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from secguard import bulk
from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotFound
from secguard.images.models import (
    Component,
    Image,
    ImageComponent,
    ImageRepository,
    Registry,
    Repository,
    Tag,
    TagMove,
)
from secguard.images.purl import coordinates
from secguard.images.reference import Reference, is_host
from secguard.sealing import seal, unseal

REPOSITORY_FOLLOWERS: list[Callable[[Repository, datetime], None]] = []
"""Called inside the transaction, the repository's row locked, after it was given to another application; upper apps add
themselves: who owns an image decides who sees it, its deadlines, its decisions and its verdicts."""


@transaction.atomic
def assign_repository(repository_id: int, application: Application | None, *, actor: User | None) -> Repository:
    """Give a repository, and with it the images in it, to ``application``; ``None``: to nobody.

    Needs application:edit where it was and where it goes; where nobody owned it or will own it, in the whole
    organisation. Raises ``NotAllowed``, and ``NotFound`` for a repository or application that ``actor`` may not see.
    """
    seen = Repository.objects.visible_to(actor) if actor else Repository.objects.all()
    repository = _locked_with_images(repository_id) if seen.filter(pk=repository_id).exists() else None
    if repository is None:
        raise NotFound(f"There is no repository {repository_id} that you may see.")
    before = repository.application
    if before == application:
        return repository
    for owner in (before, application):
        require(actor, Permission.APPLICATION_EDIT, team_id=owner.team_id if owner else None)
    repository.application = application
    repository.save(update_fields=["application"])
    for follow in REPOSITORY_FOLLOWERS:
        follow(repository, timezone.now())
    _record_assignment(repository, before, actor)
    return repository


def _locked_with_images(repository_id: int) -> Repository | None:
    """In the order of ``lock``: images first."""
    images = Image.objects.filter(pk__in=ImageRepository.objects.filter(repository=repository_id).values("image_id"))
    list(images.select_for_update(no_key=True).order_by("pk").values_list("pk"))
    return Repository.objects.select_for_update(no_key=True).filter(pk=repository_id).first()


def _record_assignment(repository: Repository, before: Application | None, actor: User | None) -> None:
    after = repository.application
    record(
        Action.REPOSITORY_ASSIGN,
        actor=actor,
        subject_type="repository",
        subject_id=repository.pk,
        subject=repository.name,
        team_id=after.team_id if after else before.team_id if before else None,
        details={"before": before.slug if before else None, "after": after.slug if after else None},
    )


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


def ensure_repository(reference: Reference, *, application: Application | None) -> Repository:
    """The repository of ``reference``; made, and given to ``application``, where it is not known yet.

    A known repository keeps its application: a report never moves a lineage from one team to another.
    """
    found = Repository.objects.filter(name=reference.repository).first()
    if found is None:
        registry, _ = Registry.objects.get_or_create(host=reference.host)
        found, _ = Repository.objects.get_or_create(
            registry=registry, path=reference.path, defaults={"name": reference.repository, "application": application}
        )
    return found


@transaction.atomic
def ensure_image(digest: str, *, config_digest: str = "", is_asserted: bool = True, at: datetime) -> Image:
    """The image of ``digest``, made where it is new.

    An image first met by its config digest alone (built, not pushed yet) is the same image when a later report names
    both: its row takes the manifest digest then.
    """
    found = Image.objects.filter(digest=digest).first()
    if found is not None:
        return _with_config(found, config_digest)
    provisional = (
        Image.objects.select_for_update().filter(digest=config_digest, is_digest_asserted=False).first()
        if is_asserted and config_digest
        else None
    )
    if provisional is not None:
        provisional.digest, provisional.is_digest_asserted = digest, True
        provisional.save(update_fields=["digest", "is_digest_asserted"])
        return provisional
    image, _ = Image.objects.get_or_create(
        digest=digest,
        defaults={"is_digest_asserted": is_asserted, "config_digest": config_digest, "first_seen_at": at},
    )
    return image


def _with_config(image: Image, config_digest: str) -> Image:
    if config_digest and not image.config_digest:
        image.config_digest = config_digest
        image.save(update_fields=["config_digest"])
    return image


def lock(image: Image, repository: Repository | None) -> Image:
    """Lock the image's row and those of its repositories (and ``repository``), in one order for everybody.

    Whoever changes what an image has, or judges it, holds this lock from before it reads until it commits. Rows that
    only point to these (a foreign key's check) are not kept waiting.
    """
    locked = Image.objects.select_for_update(no_key=True).get(pk=image.pk)
    wanted = set(locked.places.values_list("repository_id", flat=True)) | ({repository.pk} if repository else set())
    list(Repository.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk"))
    if repository is not None:
        repository.refresh_from_db()
    return locked


def place(image: Image, repository: Repository, tag: str, *, at: datetime, by: User | None) -> bool:
    """Record that ``image`` lies in ``repository``, under ``tag`` where one is named; the newest arrival leads.

    Returns whether it was not known to lie there.
    """
    _, is_new = ImageRepository.objects.get_or_create(
        image=image, repository=repository, defaults={"first_seen_at": at}
    )
    if is_new or repository.newest_image_id is None:
        newest = ImageRepository.objects.filter(repository=repository).order_by("-first_seen_at", "-id")[0]
        repository.newest_image_id = newest.image_id
        repository.save(update_fields=["newest_image"])
    if tag:
        point(repository, tag, image, at=at, by=by)
    return is_new


def point(repository: Repository, tag: str, image: Image, *, at: datetime, by: User | None) -> None:
    """Let ``tag`` point to ``image``; where it pointed before stays in the history."""
    row, is_new = Tag.objects.get_or_create(repository=repository, name=tag, defaults={"image": image, "moved_at": at})
    if not is_new and row.image_id != image.pk:
        row.image, row.moved_at = image, at
        row.save(update_fields=["image", "moved_at"])
        is_new = True
    if is_new:
        TagMove.objects.create(repository=repository, name=tag, image=image, at=at, by=by)


def ensure_components(purls: Iterable[str]) -> dict[str, int]:
    """Row ids of components by canonical purl; unknown ones are made. Call inside a transaction."""
    wanted = sorted(set(purls))
    found = _component_ids(wanted)
    new = [p for p in wanted if p not in found]
    if new:
        bulk.insert_missing(Component, ("purl", "package", "type", "name", "version"), map(_component, new))
        found.update(_component_ids(new))
    return found


def _component_ids(purls: Sequence[str]) -> dict[str, int]:
    return dict(Component.objects.filter(purl__in=bulk.among(purls)).values_list("purl", "id"))


def _component(purl: str) -> tuple[str, ...]:
    c = coordinates(purl)
    return purl, c.package[:500], c.type[:30], c.name[:300], c.version[:300]


class Installed(NamedTuple):
    """A component in an image, as an inventory lists it."""

    component_id: int
    purl: str
    layer: str
    path: str
    licenses: list[str]


def replace_inventory(image: Image, rows: Iterable[Installed]) -> int:
    """Let the image's inventory be ``rows`` (one a component); writes the difference, returns how many changed.

    Call inside a transaction that holds the image's lock.
    """
    wanted = {r.component_id: r for r in rows}
    standing: dict[int, tuple[int, Installed]] = {}
    stands = ImageComponent.objects.filter(image=image)
    for pk, *columns in stands.values_list("id", *Installed._fields).iterator():
        row = Installed(*columns)
        standing[row.component_id] = (pk, row)
    new = [(image.pk, *r) for c, r in wanted.items() if c not in standing]
    gone = [pk for c, (pk, _) in standing.items() if c not in wanted]
    changed = [(standing[c][0], *r[1:]) for c, r in wanted.items() if c in standing and standing[c][1] != r]
    bulk.insert(ImageComponent, ("image_id", *Installed._fields), new)
    bulk.update(ImageComponent, Installed._fields[1:], changed)
    if gone:
        stands.filter(pk__in=bulk.among(gone)).delete()
    return len(new) + len(gone) + len(changed)
