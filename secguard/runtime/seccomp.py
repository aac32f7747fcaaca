"""A baseline as a seccomp profile: the system calls that were told, and no others. Pure.

The form is that of the OCI runtime specification (config-linux, "Seccomp") as Docker, containerd and Kubernetes'
``localhostProfile`` read it. Nothing is added to what an agent told: a call that nobody saw is not known to be needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

from secguard.errors import Conflict
from secguard.runtime.baseline_items import Item, ItemKind

ARCHITECTURES: Final = {
    "amd64": ("SCMP_ARCH_X86_64", ("SCMP_ARCH_X86", "SCMP_ARCH_X32")),
    "arm64": ("SCMP_ARCH_AARCH64", ("SCMP_ARCH_ARM",)),
    "arm": ("SCMP_ARCH_ARM", ()),
    "386": ("SCMP_ARCH_X86", ()),
    "ppc64le": ("SCMP_ARCH_PPC64LE", ()),
    "s390x": ("SCMP_ARCH_S390X", ("SCMP_ARCH_S390",)),
    "riscv64": ("SCMP_ARCH_RISCV64", ()),
}
"""The image's architecture, as OCI names it, to libseccomp's, and those whose calls it can make as well."""
EPERM: Final = 1


class Otherwise(StrEnum):
    """What happens to any other call."""

    REFUSE = "refuse"
    LOG = "log"


def profile_of(
    items: Iterable[Item], varied: Iterable[ItemKind], architecture: str = "", otherwise: Otherwise = Otherwise.REFUSE
) -> dict[str, Any]:
    """Raises ``Conflict`` where no agent told of system calls."""
    names = sorted({item.name for item in items if item.kind is ItemKind.SYSCALL})
    if not names or ItemKind.SYSCALL in set(varied):
        raise Conflict(
            "No agent told which system calls this image makes, and none are guessed. Have one post them in the field "
            "`syscalls` of an event (docs/baselines.md) while the baseline is learned.",
            code="no-syscalls",
        )
    made: dict[str, Any] = {"defaultAction": "SCMP_ACT_LOG"}
    if otherwise is Otherwise.REFUSE:
        made = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": EPERM}
    if architecture in ARCHITECTURES:
        own, others = ARCHITECTURES[architecture]
        made["archMap"] = [{"architecture": own, "subArchitectures": list(others)}]
    return made | {"syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]}
