"""Who signs people in beside us: providers of OpenID Connect and SAML, from one YAML file, checked at the start.

providers:
  - name: company                # in addresses
    label: Company account       # on the sign-in page
    kind: oidc
    issuer: https://login.example.org
    client_id: secguard
    client_secret_file: /run/secrets/oidc
    groups:
      security: [{role: security-reviewer}]
      payments: [{role: developer, team: payments}]
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from secguard.accounts.roles import Role
from secguard.yamlsource import Section, Source, parse

MAX_BYTES = 262_144
KINDS = ("oidc", "saml")
NAME = re.compile(r"[a-z][a-z0-9-]{0,38}")
SLUG = re.compile(r"[-a-zA-Z0-9_]{1,100}")
TAKEN = ("link", "passkey", "second-factor")
THEIRS, OURS = "theirs", "ours"


@dataclass(frozen=True)
class Grant:
    """A role, in a team (by its slug) or, without one, in the whole organisation."""

    role: Role
    team: str = ""


@dataclass(frozen=True)
class Provider:
    name: str
    label: str
    kind: str
    issuer: str
    """Of SAML the entity id."""
    client_id: str = ""
    client_secret_file: str = ""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    sso_url: str = ""
    certificate: str = ""
    username: str = "preferred_username"
    display_name: str = "name"
    email: str = "email"
    groups_claim: str = "groups"
    groups: Mapping[str, tuple[Grant, ...]] = field(default_factory=dict)
    second_factor: str = THEIRS
    links_by_name: bool = False

    def grants_of(self, groups: Iterable[str]) -> frozenset[Grant]:
        """What somebody who is in ``groups`` holds."""
        return frozenset(grant for group in groups for grant in self.groups.get(group, ()))


class BadProviders(ValueError):
    """The file cannot be taken; the message names each fault with its line."""


def read(text: str) -> tuple[Provider, ...]:
    """The providers of the file. Raises ``BadProviders`` with every fault that was found."""
    source = Source(text)
    root = parse(source, MAX_BYTES)
    found: list[Provider] = []
    if root is not None:
        top = Section(source, root, "the file")
        top._asked.append("providers")
        listed = top.node_of("providers")
        if not isinstance(listed, SequenceNode) or not listed.value:
            top.fault("providers", "expected a list of providers")
        else:
            found = [p for node in listed.value[:20] if (p := _provider(source, node, found)) is not None]
        top.close()
    names = [provider.name for provider in found]
    if len(set(names)) < len(names):
        source.fault(None, "two providers have the same name")
    if source.problems:
        raise BadProviders("; ".join(map(str, source.problems[:10])))
    return tuple(found)


def _provider(source: Source, node: Node, _before: list[Provider]) -> Provider | None:
    if not isinstance(node, MappingNode):
        source.fault(node, "expected a provider: name, label, kind, issuer and what its kind needs")
        return None
    section = Section(source, node, "the provider")
    kind = section.take_choice("kind", KINDS, required=True)
    is_oidc = kind == "oidc"
    taken: dict[str, Any] = {"kind": kind}
    for key in ("name", "label", "issuer"):
        taken[key] = section.take_text(key, required=True, max_length=300)
    for key, default in (
        ("username", "preferred_username" if is_oidc else ""),
        ("display_name", "name" if is_oidc else "displayName"),
        ("email", "email" if is_oidc else "mail"),
        ("groups_claim", "groups"),
    ):
        taken[key] = section.take_text(key) or default
    if is_oidc:
        taken["client_id"] = section.take_text("client_id", required=True)
        taken["client_secret_file"] = section.take_text("client_secret_file")
        scopes = section.take_text("scopes")
        taken["scopes"] = tuple(scopes.split()) if scopes else Provider.scopes
        if "openid" not in taken["scopes"]:
            section.fault("scopes", "the scopes need openid, like: openid profile email groups")
    else:
        taken["sso_url"] = section.take_text("sso_url", required=True)
        taken["certificate"] = section.take_text("certificate", required=True, max_length=10_000)
    taken["second_factor"] = section.take_choice("second_factor", (THEIRS, OURS)) or THEIRS
    taken["links_by_name"] = bool(section.take_bool("links_by_name"))
    section._asked.append("groups")
    taken["groups"] = _groups(source, section)
    section.close()
    _check(section, taken)
    return None if source.problems else Provider(**taken)


def _check(section: Section, taken: Mapping[str, Any]) -> None:
    if taken["name"] and (not NAME.fullmatch(taken["name"]) or taken["name"] in TAKEN):
        section.fault("name", f"{taken['name']!r} cannot stand in an address; expected small letters, digits and -")
    for key in ("issuer", "sso_url"):
        if taken.get(key) and (key == "sso_url" or taken["kind"] == "oidc") and not _is_web(taken[key]):
            section.fault(key, f"{taken[key]!r} is no https address")


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    is_here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    return bool(parts.hostname) and (parts.scheme == "https" or (is_here and parts.scheme == "http"))


def _groups(source: Source, section: Section) -> dict[str, tuple[Grant, ...]]:
    node = section.node_of("groups")
    if node is None:
        return {}
    if not isinstance(node, MappingNode):
        source.fault(node, "expected groups as NAME: [{role: developer, team: payments}]")
        return {}
    found: dict[str, tuple[Grant, ...]] = {}
    for key, value in node.value:
        if not isinstance(key, ScalarNode) or not isinstance(value, SequenceNode):
            source.fault(key, "expected a group as NAME: [{role: developer, team: payments}]")
            continue
        found[key.value] = tuple(grant for item in value.value if (grant := _grant(source, item)) is not None)
    return found


def _grant(source: Source, node: Node) -> Grant | None:
    if not isinstance(node, MappingNode):
        source.fault(node, "expected {role: developer, team: payments}; without a team, in the whole organisation")
        return None
    section = Section(source, node, "the grant")
    role = section.take_choice("role", [r.value for r in Role], required=True)
    team = section.take_text("team")
    section.close()
    if team and not SLUG.fullmatch(team):
        section.fault("team", f"{team!r} is no team's slug")
    return Grant(Role(role), team) if role else None
