"""Checks of an image's configuration and build history (OCI image-spec, config). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from secguard.scans.inspection import checks
from secguard.scans.inspection.checks import failed
from secguard.scans.report import ReportedCheck

BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"

ADMIN_PORTS: Mapping[int, str] = {
    22: "SSH",
    23: "Telnet",
    111: "portmapper",
    512: "rexec",
    513: "rlogin",
    514: "rsh",
    873: "rsync",
    2375: "the container engine, without TLS",
    2376: "the container engine",
    2379: "etcd",
    3389: "remote desktop",
    4848: "GlassFish administration",
    5005: "Java debugging",
    5900: "VNC",
    5985: "WinRM",
    6443: "the Kubernetes API",
    9229: "Node.js debugging",
    9990: "WildFly administration",
    10250: "the kubelet",
    40000: "Go debugging",
}
"""Ports by which something is administered or debugged (IANA's registry, and the tools' own defaults)."""


class Configuration(Struct, frozen=True, kw_only=True):
    """What the checks read of an image's configuration."""

    user: str = ""
    exposed_ports: Sequence[str] = ()
    """``22/tcp`` as the configuration writes it."""
    volumes: Sequence[str] = ()
    labels: Mapping[str, str] = {}
    has_healthcheck: bool = False
    history: Sequence[str] = ()
    """``created_by`` of every step, lowest first."""
    is_windows: bool = False


_SHELL_FORM = re.compile(r"^(?:\|\d+ (?:\S+=\S* )*)?(?:/bin/sh -c |cmd /S /C |powershell .*? )?(?:#\(nop\)\s*)?", re.S)
_UPDATE = re.compile(
    r"\b(?:apt-get|apt|aptitude)\s+(?:-\S+\s+)*update\b|\bapk\s+(?:-\S+\s+)*update\b|\byum\s+makecache\b"
)
_INSTALL = re.compile(
    r"\b(?:apt-get|apt|aptitude)\s+(?:-\S+(?:\s+\S+=\S+)?\s+)*(?:install|upgrade|dist-upgrade|full-upgrade|build-dep)\b"
    r"|\bapk\s+(?:-\S+\s+)*(?:add|upgrade)\b|\b(?:yum|dnf|microdnf)\s+(?:-\S+\s+)*(?:install|update|upgrade)\b"
)
_ADD_URL = re.compile(r"^ADD\s+(?P<options>(?:--\S+\s+)*)(?P<rest>.*)$", re.S)
_URL = re.compile(r"\bhttps?://[^\s'\"\])]+")
_PIPED = re.compile(
    r"\b(?:curl|wget|fetch)\b[^|;&\n]*\|\s*(?:sudo\s+(?:-\S+\s+)*)?(?:/(?:usr/)?bin/)?(?:env\s+)?"
    r"(?:sh|bash|ash|dash|zsh|ksh|python[\d.]*|perl|ruby|node)\b"
    r"|\b(?:sh|bash|ash|dash|zsh)\s+(?:-\w+\s+)?(?:<\(|\"?\$\()\s*(?:curl|wget)\b"
)
_UNSIGNED = re.compile(
    r"--allow-unauthenticated\b|--nogpgcheck\b|--no-gpg-checks?\b|--allow-untrusted\b|--force-yes\b|\[trusted=yes\]"
    r"|APT::Get::AllowUnauthenticated\s*=?\s*\"?true|Acquire::AllowInsecureRepositories\s*=?\s*\"?true|\bgpgcheck=0\b"
    r"|--no-verify\b(?=.*\bgem\b)"
)
_SOCKETS = ("docker.sock", "containerd.sock", "crio.sock", "podman.sock")
_VERSIONLESS = frozenset({"", "latest", "stable", "edge", "main", "master", "dev", "nightly", "rolling"})
_ROOT = frozenset({"", "0", "root"})


def configuration_checks(config: Configuration) -> list[ReportedCheck]:
    """Every check that ``config`` fails."""
    return [*_user(config), *_health(config), *_ports(config), *_volumes(config), *_base(config), *_steps(config)]


def _user(config: Configuration) -> Iterator[ReportedCheck]:
    name = config.user.partition(":")[0].strip()
    if name in _ROOT and not config.is_windows:
        found = f"USER is {config.user!r}." if config.user else "No USER is set."
        yield failed(checks.RUNS_AS_ROOT, "USER", found)


def _health(config: Configuration) -> Iterator[ReportedCheck]:
    if not config.has_healthcheck:
        yield failed(checks.NO_HEALTHCHECK, "HEALTHCHECK")


def _ports(config: Configuration) -> Iterator[ReportedCheck]:
    for port in sorted(set(config.exposed_ports)):
        number = port.partition("/")[0]
        purpose = ADMIN_PORTS.get(int(number), "") if number.isdecimal() and len(number) < 6 else ""
        if purpose:
            yield failed(checks.ADMIN_PORT, f"EXPOSE {port}", f"{port} is {purpose}.")


def _volumes(config: Configuration) -> Iterator[ReportedCheck]:
    for path in sorted(set(config.volumes)):
        if path.rstrip("/").endswith(_SOCKETS):
            yield failed(checks.SOCKET_VOLUME, f"VOLUME {path}")


def _base(config: Configuration) -> Iterator[ReportedCheck]:
    name = config.labels.get(BASE_NAME, "")
    if not name or "@" in name or name.endswith("scratch") or config.labels.get(BASE_DIGEST):
        return
    tag = name.rpartition("/")[2].partition(":")[2]
    if tag.lower() in _VERSIONLESS:
        yield failed(checks.UNPINNED_BASE, f"FROM {name}"[:300], f"The image says that it was built on {name}.")


def _steps(config: Configuration) -> Iterator[ReportedCheck]:
    """One finding a check and instruction; the instruction's text is its target, so that a rebuild is the same."""
    seen: set[tuple[str, str]] = set()
    for step in config.history:
        text = instruction(step)
        for check in _of_step(text):
            target = " ".join(text.split())[:200]
            if (check.id, target) not in seen:
                seen.add((check.id, target))
                yield failed(check, target)


def _of_step(text: str) -> Iterator[checks.Check]:
    added = _ADD_URL.match(text)
    if added and _URL.search(added["rest"]) and "--checksum=" not in added["options"]:
        yield checks.ADD_OF_URL
    if _UPDATE.search(text) and not _INSTALL.search(text):
        yield checks.UPDATE_ALONE
    if _PIPED.search(text):
        yield checks.PIPED_SHELL
    if _UNSIGNED.search(text):
        yield checks.UNSIGNED_PACKAGES


def instruction(step: str) -> str:
    """A history entry as the Dockerfile's instruction: without the shell that builders write before it."""
    text = step.strip().removeprefix("RUN ").strip() if step.startswith("RUN /bin/sh -c") else step.strip()
    text = _SHELL_FORM.sub("", text, count=1).strip()
    return text.removesuffix("# buildkit").strip()
