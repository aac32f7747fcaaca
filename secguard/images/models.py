"""Registries and what lies in them. An image is a manifest digest; tags only point (DESIGN rule 1)."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef
from django.utils import timezone

from secguard.accounts.models import Application, User, owner_filter


class Registry(models.Model):
    """Where images lie, by the host (and port) that references name, and how our workers speak to it.

    A worker connects to ``host`` and to ``allowed_hosts`` and to nothing else, wherever an answer points.
    """

    host = models.CharField(max_length=255, unique=True)
    is_preferred = models.BooleanField(default=True)
    uses_plain_http = models.BooleanField(default=False, help_text="speak HTTP without TLS: only where it is said here")
    username = models.CharField(max_length=255, blank=True)
    sealed_password = models.TextField(blank=True, help_text="sealed with the instance's key, never shown")
    ca_certificate = models.TextField(blank=True, help_text="PEM; trusted for this registry besides the system's own")
    allowed_hosts = models.JSONField(
        default=list, help_text="other hosts (host or host:port) that it may send us to: token service, blob storage"
    )
    webhook_token_hash = models.CharField(max_length=64, blank=True, help_text="SHA-256 of what its webhooks show")
    configured_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="when somebody set it up; workers connect to no registry that only a report names",
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "registries"
        ordering = ["host"]

    def __str__(self) -> str:
        return self.host


class RepositoryQuerySet(models.QuerySet["Repository"]):
    def visible_to(self, user: User) -> RepositoryQuerySet:
        return self.filter(owner_filter(user, "application", repository="pk"))


class Repository(models.Model):
    """The lineage: images of one repository follow each other, and decisions follow them."""

    registry = models.ForeignKey(Registry, models.PROTECT, related_name="repositories")
    path = models.CharField(max_length=255)
    name = models.CharField(max_length=511, help_text="host/path as people write it")
    application = models.ForeignKey(Application, models.PROTECT, null=True, blank=True, related_name="repositories")
    newest_image = models.ForeignKey("Image", models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    objects = RepositoryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "repositories"
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["registry", "path"], name="repository_once")]

    def __str__(self) -> str:
        return self.name


class ImageQuerySet(models.QuerySet["Image"]):
    def visible_to(self, user: User) -> ImageQuerySet:
        """Images that lie in at least one repository of the user's teams."""
        if user.sees_everything:
            return self
        places = ImageRepository.objects.filter(owner_filter(user, "repository__application"), image=OuterRef("pk"))
        return self.filter(Exists(places))


class Image(models.Model):
    """One manifest digest. The counts are of its open findings, kept by ingestion in the same transaction."""

    digest = models.CharField(max_length=135, unique=True)
    is_digest_asserted = models.BooleanField(
        default=True, help_text="False: no source told the manifest digest; the identity is the config digest."
    )
    config_digest = models.CharField(max_length=135, blank=True, db_index=True)
    os_name = models.CharField(max_length=50, blank=True)
    os_version = models.CharField(max_length=50, blank=True)
    architecture = models.CharField(max_length=50, blank=True)
    size_bytes = models.BigIntegerField(null=True, blank=True)
    labels = models.JSONField(default=dict)
    media_type = models.CharField(max_length=100, blank=True)
    variant = models.CharField(max_length=50, blank=True, help_text="of the architecture: v7, v8")
    built_at = models.DateTimeField(null=True, blank=True, help_text="as the image's configuration says")
    base_image = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="built_on_it",
        help_text="the image known here whose layers are the longest beginning of this one's",
    )
    first_seen_at = models.DateTimeField(default=timezone.now)
    last_scanned_at = models.DateTimeField(null=True, blank=True)
    worst_severity = models.SmallIntegerField(default=0)
    open_findings = models.PositiveIntegerField(default=0)
    severity_counts = models.JSONField(default=dict, help_text="{severity word: open findings}")
    is_sample = models.BooleanField(default=False)

    objects = ImageQuerySet.as_manager()

    class Meta:
        indexes = [
            # The image list, newest first (its default order) and worst first.
            models.Index(fields=["-first_seen_at", "-id"], name="image_newest"),
            models.Index(fields=["-worst_severity", "-open_findings", "-id"], name="image_worst"),
        ]

    def __str__(self) -> str:
        return self.digest

    @property
    def shown_tags(self) -> list[Tag]:
        """The tags that name it, or the index that it is a platform of, latest first: of those that
        ``queries.with_places`` fetched, and so none without it."""
        found = {tag.pk: tag for tag in getattr(self, "seen_tags", [])}
        for member in getattr(self, "seen_indexes", []):
            found |= {tag.pk: tag for tag in member.index.naming_tags}
        return sorted(found.values(), key=lambda tag: (-tag.moved_at.timestamp(), tag.name, tag.pk))


class Layer(models.Model):
    """One layer as registries keep it (compressed); ``diff_id`` is the digest of what is in it."""

    digest = models.CharField(max_length=135)
    diff_id = models.CharField(max_length=135, blank=True)
    media_type = models.CharField(max_length=100, blank=True)
    size_bytes = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["digest"], name="layer_once")]
        indexes = [models.Index(fields=["diff_id"], name="layer_diff")]  # findings name layers by either digest

    def __str__(self) -> str:
        return self.digest


class ImageLayer(models.Model):
    """A layer's place in an image, bottom first, and the instruction that made it."""

    image = models.ForeignKey(Image, models.CASCADE, related_name="layers")
    position = models.PositiveSmallIntegerField(help_text="0 is the lowest")
    layer = models.ForeignKey(Layer, models.PROTECT, related_name="images")
    created_by = models.CharField(max_length=1000, blank=True)

    class Meta:
        ordering = ["image", "position"]
        constraints = [models.UniqueConstraint(fields=["image", "position"], name="imagelayer_once")]

    def __str__(self) -> str:
        return f"{self.position} of {self.image_id}"


class Index(models.Model):
    """A multi-platform image: one digest that names one manifest for each platform (OCI image-spec, image index)."""

    digest = models.CharField(max_length=135)
    media_type = models.CharField(max_length=100, blank=True)
    first_seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "indexes"
        constraints = [models.UniqueConstraint(fields=["digest"], name="index_once")]

    def __str__(self) -> str:
        return self.digest


class IndexImage(models.Model):
    """One platform of an index."""

    index = models.ForeignKey(Index, models.CASCADE, related_name="members")
    image = models.ForeignKey(Image, models.CASCADE, related_name="indexes")
    platform = models.CharField(max_length=100, help_text="os/architecture[/variant]")

    class Meta:
        ordering = ["index", "platform"]
        constraints = [models.UniqueConstraint(fields=["index", "image", "platform"], name="indeximage_once")]

    def __str__(self) -> str:
        return f"{self.platform} of {self.index_id}"


class ImageRepository(models.Model):
    """An image lies in a repository. The same digest in two registries is one image in two places."""

    image = models.ForeignKey(Image, models.CASCADE, related_name="places")
    repository = models.ForeignKey(Repository, models.CASCADE, related_name="places")
    first_seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["image", "repository"], name="imagerepository_once")]
        indexes = [
            # The lineage of a repository: its images, newest first.
            models.Index(fields=["repository", "-first_seen_at", "-id"], name="imagerepository_lineage"),
        ]

    def __str__(self) -> str:
        return f"{self.image_id} in {self.repository_id}"


class Tag(models.Model):
    """What a tag points to now."""

    repository = models.ForeignKey(Repository, models.CASCADE, related_name="tags")
    name = models.CharField(max_length=128)
    image = models.ForeignKey(Image, models.CASCADE, related_name="tags")
    index = models.ForeignKey(
        Index, models.SET_NULL, null=True, blank=True, related_name="tags", help_text="where the tag names an index"
    )
    moved_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["repository", "name"], name="tag_once")]
        indexes = [models.Index(fields=["name"], name="tag_name")]  # search by tag

    def __str__(self) -> str:
        return self.name


class TagMove(models.Model):
    """What a tag pointed to, and since when: never changed, never deleted."""

    repository = models.ForeignKey(Repository, models.CASCADE, related_name="tag_moves")
    name = models.CharField(max_length=128)
    image = models.ForeignKey(Image, models.CASCADE, related_name="tag_moves")
    at = models.DateTimeField(default=timezone.now)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        indexes = [models.Index(fields=["repository", "name", "-at"], name="tagmove_history")]

    def __str__(self) -> str:
        return f"{self.name} -> {self.image_id}"


class Component(models.Model):
    """One package version, wherever it is installed: stored once, however many images carry it."""

    purl = models.CharField(max_length=700, help_text="canonical: no qualifiers, epoch in the version")
    package = models.CharField(max_length=500, db_index=True, help_text="the purl without version")
    type = models.CharField(max_length=30)
    name = models.CharField(max_length=300)
    version = models.CharField(max_length=300, blank=True)

    class Meta:
        # Not ``unique=True``: that would add a second index, for LIKE, to PostgreSQL.
        constraints = [models.UniqueConstraint(fields=["purl"], name="component_once")]

    def __str__(self) -> str:
        return self.purl


class ComponentBuild(models.Model):
    """A component as an ecosystem's advisories speak of it (OSV schema, "affected[].package").

    The same version of a package may stand in two releases of a distribution, which fix it at different versions; and
    a distribution's advisories name the source package, not the binary one that is installed.
    """

    component = models.ForeignKey(Component, models.CASCADE, related_name="builds")
    ecosystem = models.CharField(max_length=60, blank=True, help_text="``Debian:12``, ``PyPI``; empty: none known")
    source_name = models.CharField(max_length=300, help_text="the name that the ecosystem's advisories use")
    source_version = models.CharField(max_length=300, blank=True)
    stream = models.CharField(max_length=210, blank=True, db_default="", help_text="of a module's package: nodejs:16")
    matched_to = models.BigIntegerField(default=0, help_text="the last change of advisories that it was held against")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["component", "ecosystem", "source_name", "source_version", "stream"], name="componentbuild_once"
            )
        ]
        # Whom an advisory's package may hit.
        indexes = [models.Index(fields=["ecosystem", "source_name"], name="componentbuild_package")]

    def __str__(self) -> str:
        return f"{self.source_name} {self.source_version} ({self.ecosystem})"


class ImageComponent(models.Model):
    """A component in an image, as the latest inventory says."""

    image = models.ForeignKey(Image, models.CASCADE, related_name="components")
    component = models.ForeignKey(Component, models.PROTECT, related_name="occurrences")
    build = models.ForeignKey(ComponentBuild, models.PROTECT, null=True, blank=True, related_name="occurrences")
    purl = models.CharField(max_length=1000, help_text="as reported, with qualifiers")
    layer = models.CharField(max_length=80, blank=True)
    path = models.CharField(max_length=1000, blank=True)
    licenses = models.JSONField(default=list)
    owner = models.CharField(
        max_length=1000,
        blank=True,
        db_default="",
        help_text="purl of the distribution's package that a language's package came with, and is judged with",
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["image", "component"], name="imagecomponent_once")]

    def __str__(self) -> str:
        return f"{self.component_id} in {self.image_id}"
