"""Examine one image: pull what is not known yet, look at each layer, put together what the whole image shows.

What one layer holds depends on nothing but the layer and on who looks, so it is kept by both: a layer that another
image brought, or that an earlier attempt got through, is neither pulled nor looked at again (``LayerResult``).
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import msgspec
from django.conf import settings
from django.utils import timezone

from secguard import bulk
from secguard.errors import TooLarge
from secguard.images import configuration
from secguard.images.adapters.blobs import BlobStore
from secguard.images.adapters.source import ImageSource, Resolved, read_config
from secguard.images.adapters.verified import VerifiedFile
from secguard.images.configuration import ImageConfig, ImageLayer
from secguard.images.manifest import ImageManifest
from secguard.scans.adapters import syft
from secguard.scans.adapters.clamd import Clamd
from secguard.scans.adapters.layerlook import LayerLook, LayerWalk
from secguard.scans.adapters.rules import RuleSet, rule_set
from secguard.scans.adapters.syft import LayerBlob, Release
from secguard.scans.adapters.workplace import work_folder
from secguard.scans.inspection.secrets import Hit
from secguard.scans.layers import LayerPackages, visible_texts
from secguard.scans.models import LayerResult
from secguard.scans.release import RELEASE_FILES, system_of

LOOK_FORM = 2
"""Of what is kept of a look at a layer: another number, and nothing kept before counts."""
USED_EVERY = timedelta(days=1)
T = TypeVar("T")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Examined:
    """One image as it lies there, and what was found in each of its layers (lowest first)."""

    resolved: Resolved
    manifest: ImageManifest
    config: ImageConfig
    config_digest: str
    layers: Sequence[ImageLayer]
    looks: Sequence[LayerLook]
    packages: Sequence[LayerPackages]
    of_configuration: Sequence[Hit]
    """Rules that match the configuration's own text."""
    engine: str
    """ClamAV's version, where it looked too."""


class Examination:
    """Examines images of one source; ``progress`` is told of every step, and ends it by what it raises."""

    def __init__(self, source: ImageSource, *, progress: Progress) -> None:
        self._source = source
        self._progress = progress
        self._rules: RuleSet = rule_set(settings.YARA_RULES)
        self._store = BlobStore(settings.DATA_DIR / "layers", settings.LAYER_CACHE_BYTES)
        self._key = fingerprint_key()

    def examine(self, resolved: Resolved, manifest: ImageManifest) -> Examined:
        """Raises what the source raises, ``Invalid`` and ``TooLarge`` for what is bad or past a bound."""
        self._progress("reading the configuration", 0, 0)
        _, config = read_config(self._source, manifest)
        layers = configuration.layers_of(manifest, config)
        self._check_size(manifest)
        with ExitStack() as held, _engine() as engine:
            version = engine.version() if engine else ""
            files = _Pulled(self, layers, held)
            looks = self._looks(layers, files, engine, version)
            packages = self._packages(layers, looks, files)
        text = configuration_text(config)
        return Examined(
            resolved,
            manifest,
            config,
            manifest.config.digest,
            layers,
            looks,
            packages,
            self._rules.look(text, "").secrets,
            version,
        )

    def _check_size(self, manifest: ImageManifest) -> None:
        size = sum(layer.size for layer in manifest.layers)
        if size > settings.MAX_IMAGE_BYTES:
            raise TooLarge(
                f"The image has {size:,} bytes to pull; workers pull at most {settings.MAX_IMAGE_BYTES:,} "
                "(SECGUARD_MAX_IMAGE_BYTES).",
                code="image-too-large",
            )

    def pull(self, layer: ImageLayer, held: ExitStack, done: int, total: int) -> Path:
        """The layer's file, held until ``held`` is closed."""

        def tell(size: int) -> None:
            self._progress(f"pulling {_megabytes(done + size)} of {_megabytes(total)} MB", done + size, total)

        def fetch(into: VerifiedFile) -> None:
            self._source.blob(into, tell)

        tell(0)
        return held.enter_context(self._store.hold(layer.descriptor, fetch, lambda: tell(0)))

    # --- files, secrets, malware ---

    def _looks(
        self, layers: Sequence[ImageLayer], files: _Pulled, engine: Clamd | None, engine_version: str
    ) -> list[LayerLook]:
        analyser = self._look_analyser(engine_version)
        known = _known([layer.diff_id for layer in layers], analyser, LayerLook)
        for layer in layers:
            if layer.diff_id not in known:
                known[layer.diff_id] = self._look(layer, files, engine)
                _keep(layer.diff_id, analyser, known[layer.diff_id])
        return [known[layer.diff_id] for layer in layers]

    def _look(self, layer: ImageLayer, files: _Pulled, engine: Clamd | None) -> LayerLook:
        path = files.path(layer)

        def tell(seen: int) -> None:
            self._progress(f"looking into layer {layer.position + 1} of {len(files.layers)}", seen, 0)

        tell(0)
        with path.open("rb") as file:
            return LayerWalk(self._rules, key=self._key, engine=engine, progress=tell).look(file, layer.diff_id)

    def _look_analyser(self, engine_version: str) -> str:
        """Who looks: the rules, the engine beside them, and the key that tells secrets apart."""
        told = f"{LOOK_FORM} {self._rules.version} {engine_version} {hashlib.sha256(self._key).hexdigest()}"
        return f"look-{hashlib.sha256(told.encode()).hexdigest()[:32]}"

    # --- packages ---

    def _packages(
        self, layers: Sequence[ImageLayer], looks: Sequence[LayerLook], files: _Pulled
    ) -> list[LayerPackages]:
        release = release_of(looks)
        analyser = syft.analyser(release)
        known = _known([layer.diff_id for layer in layers], analyser, LayerPackages)
        missing = {layer.diff_id: layer for layer in layers if layer.diff_id not in known}
        told = {d: LayerPackages() for d in missing if not looks[missing[d].position].may_hold_packages}
        asked = [layer for d, layer in missing.items() if d not in told]
        if asked:
            told |= self._ask_syft(asked, release, files)
        for diff_id, packages in told.items():
            _keep(diff_id, analyser, packages)
        known |= told
        return [known[layer.diff_id] for layer in layers]

    def _ask_syft(self, layers: Sequence[ImageLayer], release: Release, files: _Pulled) -> Mapping[str, LayerPackages]:
        blobs = [LayerBlob(layer.diff_id, files.path(layer)) for layer in layers]

        def check() -> None:
            self._progress("listing packages", 0, 0)

        check()
        with work_folder(settings.DATA_DIR / "work") as folder:
            return syft.packages(blobs, release, folder, check=check)


class _Pulled:
    """The layers of one image on disk: each is pulled when it is first asked for."""

    def __init__(self, examination: Examination, layers: Sequence[ImageLayer], held: ExitStack) -> None:
        self.layers = layers
        self._examination = examination
        self._held = held
        self._paths: dict[str, Path] = {}
        self._total = sum({layer.descriptor.digest: layer.descriptor.size for layer in layers}.values())
        self._done = 0

    def path(self, layer: ImageLayer) -> Path:
        digest = layer.descriptor.digest
        if digest not in self._paths:
            self._paths[digest] = self._examination.pull(layer, self._held, self._done, self._total)
            self._done += layer.descriptor.size
        return self._paths[digest]


def fingerprint_key() -> bytes:
    """The key under which secrets found in images are told apart; another purpose has another one."""
    return hashlib.sha256(b"secguard secret fingerprints\0" + settings.SECRET_KEY.encode()).digest()


def configuration_text(config: ImageConfig) -> bytes:
    """Environment, history and labels as one text, for the rules that look at files."""
    labels = (f"{name}={value}" for name, value in sorted(config.execution.labels.items()))
    lines = (*config.execution.env, *(h.created_by for h in config.history), *labels)
    return "\n".join(lines).encode("utf-8", "replace")


def release_of(looks: Sequence[LayerLook]) -> Release:
    """The os-release that the image shows, or what it would be."""
    system = system_of(visible_texts([(look.files, look.texts) for look in looks]))
    return Release(RELEASE_FILES[0], system.text.encode()) if system.name else Release()


@contextmanager
def _engine() -> Iterator[Clamd | None]:
    if not settings.CLAMD:
        yield None
        return
    with Clamd(settings.CLAMD) as clamd:
        yield clamd


def _megabytes(size: int) -> str:
    return f"{size / 10**6:,.0f}"


# --- what is known of layers ---


def _known(diff_ids: Sequence[str], analyser: str, kind: type[T]) -> dict[str, T]:
    rows = LayerResult.objects.filter(diff_id__in=bulk.among(sorted(set(diff_ids))), analyser=analyser)
    now, stale, found = timezone.now(), [], {}
    for pk, diff_id, body, used_at in rows.values_list("pk", "diff_id", "body", "used_at"):
        with suppress(zlib.error, msgspec.MsgspecError):  # of another version of the product: looked at again
            found[diff_id] = msgspec.json.decode(zlib.decompress(body), type=kind)
        if now - used_at > USED_EVERY:
            stale.append(pk)
    LayerResult.objects.filter(pk__in=stale).update(used_at=now)
    return found


def _keep(diff_id: str, analyser: str, result: object) -> None:
    body = zlib.compress(msgspec.json.encode(result), 1)
    LayerResult.objects.update_or_create(
        diff_id=diff_id, analyser=analyser, defaults={"body": body, "used_at": timezone.now()}
    )
