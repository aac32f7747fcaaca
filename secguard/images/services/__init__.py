"""Images: registered, placed, described, and pulled from registries."""

from secguard.images.services.inventory import (
    ImageBuild,
    Installed,
    ensure_builds,
    ensure_components,
    note_build,
    replace_inventory,
)
from secguard.images.services.placing import (
    REPOSITORY_FOLLOWERS,
    assign_repository,
    ensure_image,
    ensure_repository,
    lock,
    place,
    point,
)
from secguard.images.services.registries import (
    RegistryEdit,
    add_registry,
    client_of,
    edit_registry,
    password_of,
    pusher_of,
    renew_webhook_token,
)

__all__ = [
    "REPOSITORY_FOLLOWERS",
    "ImageBuild",
    "Installed",
    "RegistryEdit",
    "add_registry",
    "assign_repository",
    "client_of",
    "edit_registry",
    "ensure_builds",
    "ensure_components",
    "ensure_image",
    "ensure_repository",
    "lock",
    "note_build",
    "password_of",
    "place",
    "point",
    "pusher_of",
    "renew_webhook_token",
    "replace_inventory",
]
