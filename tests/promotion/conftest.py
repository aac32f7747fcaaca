"""Three environments on three real registries: plain, behind a token server, and behind TLS with a password."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.fixtures_registries import RunningRegistry
from tests.fixtures_reports import digest, report
from tests.imagebuilding import BuiltImage, image_of, index_of, tar_of

PLACE = "build.example/shop/web"
"""Where the images of the pages' tests lie."""


@dataclass
class Estate:
    """Where images are built and where they go, and how a test puts one there."""

    build: RunningRegistry
    staging: RunningRegistry
    production: RunningRegistry
    post: Any
    application: Any
    path: str = field(default_factory=lambda: f"shop/web-{os.urandom(4).hex()}")
    """Of the test's own repository: the registries are there for all tests."""

    @property
    def name(self) -> str:
        """The repository at the build registry."""
        return f"{self.build.host}/{self.path}"

    @property
    def staged(self) -> str:
        return f"{self.staging.host}/staging/{self.path}"

    @property
    def live(self) -> str:
        return f"{self.production.host}/live/{self.path}"

    def push(self, built: BuiltImage | None = None, tag: str = "1.4") -> BuiltImage:
        """A new image in the build registry, scanned by nobody."""
        made = built or image_of(tar_of({"etc/id": os.urandom(8)}))
        self.build.push(self.path, tag, made)
        return made

    def scanned(self, built: BuiltImage | None = None, *findings: Any, tag: str = "1.4", **more: Any) -> BuiltImage:
        """The same with a pipeline's report on it."""
        made = self.push(built, tag)
        self.report(made, *findings, tag=tag, **more)
        return made

    def report(self, built: BuiltImage, *findings: Any, tag: str = "1.4", **more: Any) -> None:
        where = {"reference": f"{self.name}:{tag}", "digest": built.digest}
        kinds = ["vulnerability", "malware"]
        self.post(report(*findings, image=where, covers=kinds, **more), application=self.application.slug)

    def index(self, tag: str = "multi", reported: int = 2) -> tuple[BuiltImage, list[BuiltImage]]:
        """An index of two platforms, of which the first ``reported`` are known here."""
        from secguard.images.models import Image, Index, IndexImage, Tag

        platforms = [image_of(tar_of({"etc/id": os.urandom(8)}), architecture=a) for a in ("amd64", "arm64")]
        whole = index_of(*platforms)
        self.push(whole, tag)
        row = Index.objects.create(digest=whole.digest)
        for built, architecture in list(zip(platforms, ("amd64", "arm64"), strict=True))[:reported]:
            self.report(built, tag=tag)
            image = Image.objects.get(digest=built.digest)
            IndexImage.objects.create(index=row, image=image, platform=f"linux/{architecture}")
        Tag.objects.filter(repository__name=self.name, name=tag).update(index=row)
        return whole, platforms

    def points(self, name: str, tag: str) -> str:
        """The digest under a tag of a repository, as the registry itself answers; empty where there is none."""
        from secguard.errors import NotFound
        from secguard.images.models import Registry
        from secguard.images.services import pusher_of

        host, _, path = name.partition("/")
        with pusher_of(Registry.objects.get(host=host)) as client:
            try:
                return client.resolve(path, tag).digest
            except NotFound:
                return ""


def set_up(registry: RunningRegistry) -> None:
    from secguard.images.services import RegistryEdit, add_registry

    access = registry.access
    edit = RegistryEdit(
        uses_plain_http=access.uses_plain_http,
        username=access.username,
        password=access.password,
        ca_certificate=access.ca_certificate,
        allowed_hosts=access.allowed_hosts,
    )
    add_registry(registry.host, edit, actor=None)


@pytest.fixture
def estate(
    db: None,
    token_registry: RunningRegistry,
    plain_registry: RunningRegistry,
    secure_registry: RunningRegistry,
    post: Any,
    application: Any,
) -> Estate:
    """The environments build, staging and production, in this order; a reviewer approves what goes to production."""
    from secguard.promotion import services
    from secguard.signing.services import NewKey, create_key

    registries = (token_registry, plain_registry, secure_registry)
    for registry in registries:
        set_up(registry)
    create_key("release", NewKey(), actor=None)
    edits = (
        services.EnvironmentEdit(registry=token_registry.host),
        services.EnvironmentEdit(registry=plain_registry.host, path_prefix="staging", key_name="release"),
        services.EnvironmentEdit(registry=secure_registry.host, path_prefix="live", key_name="release"),
    )
    for name, edit in zip(("build", "staging", "production"), edits, strict=True):
        services.add_environment(name, edit, actor=None)
    return Estate(*registries, post, application)


@pytest.fixture
def environment(estate: Estate) -> Callable[..., None]:
    """Changes an environment: ``environment("production", approvers={"security-reviewer": 1})``."""
    from secguard.promotion import services
    from secguard.promotion.models import Environment

    def change(name: str, **edit: Any) -> None:
        found = Environment.objects.get(name=name)
        services.edit_environment(found.pk, services.EnvironmentEdit(**edit), actor=None)

    return change


@pytest.fixture
def promote(operator: Any, run_jobs: Callable[[], int]) -> Callable[..., Any]:
    """Asks and carries out; returns the promotion as it stands then."""
    from secguard.promotion import services

    def run(image: str, to: str = "staging", *, actor: Any = None, jobs: bool = True, tags: Any = None) -> Any:
        made = services.ask(services.Ask(image, to, tags), actor=actor or operator)
        if jobs:
            run_jobs()
        made.refresh_from_db()
        return made

    return run


# --- for the pages: rows alone ---


@pytest.fixture
def way(db: None) -> list[Any]:
    """build, staging and production, in registries that answer nobody.

    What goes to production needs a reviewer and a business approver, and need not stand in staging.
    """
    from secguard.images.services import RegistryEdit, add_registry
    from secguard.promotion import services
    from secguard.signing.services import NewKey, create_key

    for host in ("build.example", "live.example"):
        add_registry(host, RegistryEdit(), actor=None)
    create_key("release", NewKey(), actor=None)
    seats = {"security-reviewer": 1, "business-approver": 1}
    edits = {
        "build": services.EnvironmentEdit(registry="build.example"),
        "staging": services.EnvironmentEdit(registry="live.example", path_prefix="staging", key_name="release"),
        "production": services.EnvironmentEdit(
            registry="live.example", path_prefix="prod", key_name="release", approvers=seats, requires_previous=False
        ),
    }
    return [services.add_environment(name, edit, actor=None) for name, edit in edits.items()]


@pytest.fixture
def scanned(way: list[Any], post: Any, application: Any) -> Callable[..., str]:
    """A scanned image at the build registry; returns its reference."""

    def scan(number: int, *findings: Any, tag: str = "", application: Any = application, place: str = PLACE) -> str:
        name = f"{place}:{tag or f'1.{number}'}"
        image = {"reference": name, "digest": digest(number)}
        post(report(*findings, image=image, covers=["vulnerability", "malware"]), application=application.slug)
        return name

    return scan


@pytest.fixture
def asked(scanned: Callable[..., str], operator: Any) -> Callable[..., Any]:
    """The operator asks for one; ``columns`` are set on its row then, as a worker would."""

    def ask(number: int, *findings: Any, to: str = "staging", tags: Any = None, **columns: Any) -> Any:
        from secguard.promotion import services
        from secguard.promotion.models import Promotion

        made = services.ask(services.Ask(scanned(number, *findings), to, tags), actor=operator)
        Promotion.objects.filter(pk=made.pk).update(**columns)
        made.refresh_from_db()
        return made

    return ask
