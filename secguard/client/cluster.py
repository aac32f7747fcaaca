"""Putting a certificate into a cluster with ``kubectl``, which knows where the cluster is and who asks."""

from __future__ import annotations

import base64
import binascii
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from secguard.client.certificate import Authority, still_believed
from secguard.client.formats.cleaning import line
from secguard.client.rest import CouldNotTell

SECONDS = 60


@dataclass(frozen=True, slots=True)
class Kubectl:
    """The program as it is found on the PATH; ``context`` is one of its kubeconfig's, empty for the current one."""

    context: str = ""
    program: str = "kubectl"

    def put(self, document: bytes) -> None:
        """Create or change an object. By the server's side of apply, which keeps no copy in an annotation."""
        self._run("apply", "--server-side", "--force-conflicts", "--field-manager=secguard", "-f", "-", given=document)

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        raw = self._run("get", kind, name, "--ignore-not-found", "-o", "json")
        try:
            found = json.loads(raw) if raw.strip() else None
        except ValueError as error:
            raise CouldNotTell(f"kubectl get {kind} {name} printed no JSON.") from error
        return found if isinstance(found, dict) else None

    def patch(self, kind: str, name: str, steps: Sequence[Mapping[str, Any]]) -> None:
        self._run("patch", kind, name, "--type=json", "-p", json.dumps(list(steps)))

    def _run(self, *arguments: str, given: bytes = b"") -> bytes:
        words = [self.program, *((f"--context={self.context}",) if self.context else ()), *arguments]
        try:
            done = subprocess.run(words, input=given, capture_output=True, timeout=SECONDS, check=False)
        except FileNotFoundError as error:
            raise CouldNotTell(
                "There is no kubectl on the PATH: leave --apply out, and apply what is written."
            ) from error
        except subprocess.TimeoutExpired as error:
            raise CouldNotTell(f"kubectl {arguments[0]} did not end within {SECONDS} seconds.") from error
        if done.returncode:
            raise CouldNotTell(f"kubectl {arguments[0]} failed: {_last_line(done.stderr)}")
        return done.stdout


def _last_line(raw: bytes) -> str:
    """What kubectl said in the end; what stands before is its retries."""
    said = raw.decode(errors="replace").strip().splitlines()
    return line(said[-1]) if said else "it did not say why"


def believe(
    kubectl: Kubectl, wanted: Sequence[Mapping[str, Any]], authority: Authority, now: datetime
) -> list[Mapping[str, Any]]:
    """Have the configurations that are in the cluster believe ``authority`` beside what they believe already.

    Returns those of ``wanted`` that are not in the cluster yet.
    """
    missing = []
    for document in wanted:
        kind, name = document["kind"].lower(), document["metadata"]["name"]
        found = kubectl.find(kind, name)
        if found is None:
            missing.append(document)
            continue
        kubectl.patch(kind, name, _steps(found, authority, now))
    return missing


def _steps(found: Mapping[str, Any], authority: Authority, now: datetime) -> list[dict[str, Any]]:
    """A JSON patch; each change holds only where the webhook is still the one that was read."""
    steps: list[dict[str, Any]] = []
    for at, hook in enumerate(found.get("webhooks") or []):
        try:
            former = base64.b64decode(hook["clientConfig"].get("caBundle") or "")
        except binascii.Error:
            former = b""
        bundle = base64.b64encode(still_believed(former, authority, now)).decode()
        steps.append({"op": "test", "path": f"/webhooks/{at}/name", "value": hook["name"]})
        steps.append({"op": "add", "path": f"/webhooks/{at}/clientConfig/caBundle", "value": bundle})
    return steps
