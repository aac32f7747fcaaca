"""What a pod's containers are kept from, by their security contexts. Pure.

Paths: Kubernetes API reference, "Pod" (PodSecurityContext, SecurityContext). What is written otherwise than Kubernetes
defines restricts nothing: a list of pods is never refused for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from secguard.workloads.podspec import CONTAINERS

_NONE: Final[Mapping[str, Any]] = {}
_Context = Mapping[str, Any]


def _non_root(own: _Context, pod: _Context) -> bool:
    user = own.get("runAsUser", pod.get("runAsUser"))
    return own.get("runAsNonRoot", pod.get("runAsNonRoot")) is True or (type(user) is int and user > 0)


def _no_capabilities(own: _Context, _pod: _Context) -> bool:
    """All are dropped, and none but that of the low ports is added (Pod Security Standards, "Restricted")."""
    capabilities = _object(own, "capabilities")
    dropped, added = capabilities.get("drop"), capabilities.get("add", [])
    return isinstance(dropped, list) and "ALL" in dropped and added in ([], None, ["NET_BIND_SERVICE"])


def _seccomp(own: _Context, pod: _Context) -> bool:
    profile = _object(own, "seccompProfile") or _object(pod, "seccompProfile")
    return profile.get("type") in ("RuntimeDefault", "Localhost")


_CHECKS: Final[dict[str, Callable[[_Context, _Context], bool]]] = {
    "read-only-root": lambda own, _pod: own.get("readOnlyRootFilesystem") is True,
    "non-root": _non_root,
    "no-privilege-escalation": lambda own, _pod: own.get("allowPrivilegeEscalation") is False,
    "no-capabilities": _no_capabilities,
    "seccomp": _seccomp,
    "not-privileged": lambda own, _pod: own.get("privileged") is not True,
}
RESTRICTIONS: Final = tuple(_CHECKS)
"""What is looked for: each holds where it holds for every container of a pod."""


def restrictions_of(pod: Mapping[str, Any]) -> frozenset[str]:
    """Those of ``RESTRICTIONS`` that hold for every container of ``pod``; none for a pod without containers."""
    spec = _object(pod, "spec")
    context = _object(spec, "securityContext")
    own = [
        _object(container, "securityContext") if isinstance(container, Mapping) else _NONE
        for name in CONTAINERS
        for container in _list(spec.get(name))
    ]
    return frozenset(name for name, holds in _CHECKS.items() if own and all(holds(c, context) for c in own))


def _object(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = holder.get(name)
    return found if isinstance(found, Mapping) else _NONE


def _list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []
