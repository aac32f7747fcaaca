"""What other enforcers check, as their policy files in deploy/enforcers say, held against what lies in a registry.

None of our own reading or verifying is used here: signatures and attestations are fetched by cosign's tags and verified
with the cryptography library alone. How each program judges is read from its source: Kyverno
(pkg/engine, verifyAttestation: every statement of the type that the key signed), policy-controller
(pkg/webhook/validator.go: one statement of each type; every policy that fits the image), Ratify (configpolicy.go: one
signature), containers/image (containers-policy.json(5)). Of each policy language the part that the files use is
evaluated; anything else fails, so that no file says more than what is checked.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import httpx
import yaml
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

FOLDER = Path(__file__).parents[2] / "deploy" / "enforcers"
REPOSITORIES = "registry.example.org/production"
"""Whose images the shipped policies are about."""
PLACEHOLDER = re.compile(r"^( *)the key at \S+$", re.M)
SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.S)


@dataclass(frozen=True)
class Target:
    """An image as an enforcer meets it, and the instant."""

    registry: httpx.Client
    host: str
    path: str
    digest: str
    now: datetime

    @property
    def name(self) -> str:
        return f"{self.host}/{self.path}"


def filled(text: str, pem: str, repositories: str) -> str:
    """A shipped policy with somebody's key and repositories in their places, as its comment asks."""
    body = pem.strip().splitlines()[1:-1]
    found = PLACEHOLDER.sub(lambda at: "\n".join(f"{at[1]}{line}" for line in body), text)
    return found.replace(REPOSITORIES, repositories)


# What lies in the registry --------------------------------------------------------------------------------------------


def _layers(target: Target, suffix: str) -> Iterator[tuple[bytes, dict[str, str]]]:
    tag = f"{target.digest.replace(':', '-')}.{suffix}"
    answer = target.registry.get(f"/v2/{target.path}/manifests/{tag}", headers={"Accept": _MANIFEST})
    if answer.status_code == 404:
        return
    for layer in answer.raise_for_status().json()["layers"]:
        blob = target.registry.get(f"/v2/{target.path}/blobs/{layer['digest']}").raise_for_status()
        yield blob.content, layer.get("annotations", {})


def is_signed(target: Target, pem: str, *, by_name: bool = False) -> bool:
    """Whether one of cosign's signatures of this digest is by a key in ``pem``; ``by_name``: for this repository."""
    for payload, notes in _layers(target, "sig"):
        signature = base64.b64decode(notes["dev.cosignproject.cosign/signature"])
        critical = json.loads(payload)["critical"]
        fits = critical["image"]["docker-manifest-digest"] == target.digest
        if by_name and critical["identity"]["docker-reference"] != target.name:
            fits = False
        if fits and _verifies(pem, signature, payload):
            return True
    return False


def statements(target: Target, pem: str, kind: str) -> list[dict[str, Any]]:
    """The in-toto statements of a type about this digest that a key in ``pem`` signed."""
    found = []
    for raw, _ in _layers(target, "att"):
        envelope = json.loads(raw)
        payload = base64.b64decode(envelope["payload"])
        type_ = envelope["payloadType"].encode()
        signed = b"DSSEv1 %d %s %d %s" % (len(type_), type_, len(payload), payload)
        statement = json.loads(payload)
        about = {f"sha256:{subject['digest'].get('sha256')}" for subject in statement["subject"]}
        verified = any(_verifies(pem, base64.b64decode(s["sig"]), signed) for s in envelope["signatures"])
        if verified and target.digest in about and statement["predicateType"] == kind:
            found.append(statement)
    return found


def _verifies(pem: str, signature: bytes, data: bytes) -> bool:
    for block in _PEM.findall(pem):
        key = serialization.load_pem_public_key(block.encode())
        assert isinstance(key, ec.EllipticCurvePublicKey)
        try:
            key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            continue
        return True
    return False


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, Mapping) else None
    return document


# The enforcers --------------------------------------------------------------------------------------------------------


def kyverno(text: str, target: Target) -> bool:
    policy = yaml.safe_load(text)
    (rule,) = policy["spec"]["rules"]
    assert rule["match"] == {"any": [{"resources": {"kinds": ["Pod"]}}]}
    (check,) = rule["verifyImages"]
    assert (check["failureAction"], check["required"], check["verifyDigest"]) == ("Enforce", True, True)
    assert any(fnmatchcase(target.name, pattern) for pattern in check["imageReferences"])
    return is_signed(target, _kyverno_keys(check)) and all(
        _kyverno_attestation(wanted, target) for wanted in check["attestations"]
    )


def _kyverno_keys(block: Mapping[str, Any]) -> str:
    """The keys of which one must fit (``count: 1``)."""
    (attestor,) = block["attestors"]
    (entry,) = attestor["entries"]
    assert attestor["count"] == 1
    # What we sign is in no log, so a policy that wants one accepts nothing of ours.
    assert entry["keys"]["rekor"]["ignoreTlog"] is True
    assert entry["keys"]["rekor"]["url"], "Kyverno's own schema wants an address, though nobody asks it"
    return str(entry["keys"]["publicKeys"])


def _kyverno_attestation(wanted: Mapping[str, Any], target: Target) -> bool:
    found = statements(target, _kyverno_keys(wanted), wanted["type"])
    return bool(found) and all(_kyverno_holds(block, s) for s in found for block in wanted["conditions"])


def _kyverno_holds(block: Mapping[str, Any], statement: Mapping[str, Any]) -> bool:
    assert block.keys() == {"all"}
    for condition in block["all"]:
        expression = re.fullmatch(r"\{\{ ([\w.]+) \}\}", condition["key"])
        assert expression, f"{condition['key']} is more than a path"
        assert condition["operator"] == "Equals"
        if _at(statement["predicate"], expression[1]) != condition["value"]:
            return False
    return True


def policy_controller(text: str, target: Target) -> bool:
    policies = list(yaml.safe_load_all(text))
    for policy in policies:
        (image,) = policy["spec"]["images"]
        assert target.name.startswith(image["glob"].removesuffix("**"))
        assert image["glob"].endswith("/**")
    return all(any(_authority(a, target) for a in policy["spec"]["authorities"]) for policy in policies)


def _authority(authority: Mapping[str, Any], target: Target) -> bool:
    assert "ctlog" not in authority, "what we sign is in no log"
    pem = authority["key"]["data"]
    if "attestations" not in authority:
        return is_signed(target, pem)
    return all(_controlled(wanted, pem, target) for wanted in authority["attestations"])


def _controlled(wanted: Mapping[str, Any], pem: str, target: Target) -> bool:
    assert wanted["policy"]["type"] == "rego"
    found = statements(target, pem, wanted["predicateType"])
    return any(rego(wanted["policy"]["data"], statement, target.now) for statement in found)


_MODULE = re.compile(r"package sigstore\n\ndefault isCompliant = false\n\nisCompliant \{\n(.*)\}\n", re.S)
_EQUALS = re.compile(r'input\.([\w.]+) == "([^"]*)"')
_YOUNG = re.compile(
    r'time\.parse_rfc3339_ns\(input\.([\w.]+)\) \+ time\.parse_duration_ns\("(\d+)h"\) > time\.now_ns\(\)'
)


def rego(module: str, statement: Mapping[str, Any], now: datetime) -> bool:
    """One rule, whose lines must all hold; what is not there is not equal to anything."""
    rule = _MODULE.fullmatch(module)
    assert rule, module
    return all(_line(line.strip(), statement, now) for line in rule[1].splitlines())


def _line(line: str, statement: Mapping[str, Any], now: datetime) -> bool:
    if equals := _EQUALS.fullmatch(line):
        return bool(_at(statement, equals[1]) == equals[2])
    young = _YOUNG.fullmatch(line)
    assert young, f"{line} is more than what is checked here"
    at = _at(statement, young[1])
    return isinstance(at, str) and datetime.fromisoformat(at) + timedelta(hours=int(young[2])) > now


def ratify(text: str, target: Target) -> bool:
    found = {d["kind"]: d for d in yaml.safe_load_all(text)}
    assert found["Store"]["spec"]["parameters"]["cosignEnabled"] is True
    verifier = found["Verifier"]["spec"]
    (trusted,) = verifier["parameters"]["trustPolicies"]
    assert (verifier["name"], verifier["artifactTypes"], trusted["tLogVerify"]) == ("cosign", SIGNATURE, False)
    assert any(fnmatchcase(target.name, scope) for scope in trusted["scopes"])
    policies = found["Policy"]["spec"]["parameters"]["artifactVerificationPolicies"]
    assert policies == {SIGNATURE: "any", "default": "any"}
    (key,) = trusted["keys"]
    provider = found["KeyManagementProvider"]
    assert provider["metadata"]["name"] == key["provider"]
    assert provider["spec"]["parameters"]["contentType"] == "key"
    return is_signed(target, provider["spec"]["parameters"]["value"])


def containers(text: str, target: Target, pem: str) -> bool:
    """``pem``: what lies at the policy's ``keyPath``."""
    policy = json.loads(text)
    assert policy["default"] == [{"type": "reject"}]
    fitting = [rules for scope, rules in policy["transports"]["docker"].items() if target.name.startswith(f"{scope}/")]
    ((rule,),) = fitting
    assert rule["type"] == "sigstoreSigned"
    assert rule["signedIdentity"] == {"type": "matchRepository"}
    return is_signed(target, pem, by_name=True)


ENFORCERS: dict[str, tuple[str, Callable[..., bool]]] = {
    "Kyverno": ("kyverno.yaml", kyverno),
    "policy-controller": ("policy-controller.yaml", policy_controller),
    "Ratify": ("ratify.yaml", ratify),
    "containers/image": ("containers/policy.json", containers),
}


def allows(enforcer: str, pem: str, repositories: str, target: Target) -> bool:
    """Whether an enforcer with the shipped policy, a key and repositories lets the image run."""
    name, judge = ENFORCERS[enforcer]
    text = filled((FOLDER / name).read_text(), pem, repositories)
    return judge(text, target, pem) if enforcer == "containers/image" else judge(text, target)
