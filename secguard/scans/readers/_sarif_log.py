"""The parts of a SARIF 2.1.0 log that are read (OASIS SARIF v2.1.0; section numbers beside each type).

Snippets, code flows and artifact contents are never decoded: they are large, and a snippet of a secret is the secret.
Property bags (3.8) hold whatever a tool likes, so their members are ``Any`` and are looked at with ``text_of``. A log
is a tree, so its parts need no garbage collector (``gc=False``), which counts with 10,000 results.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from secguard.scans.readers._checks import clean_path


class Message(Struct, gc=False):
    """3.11 message, 3.12 multiformatMessageString."""

    text: str | None = None
    markdown: str | None = None
    id: str | None = None
    arguments: list[str] | None = None


class Properties(Struct, gc=False):
    """3.8 property bag: the names that scanners use for packages, scores and ratings."""

    tags: Any = None
    purl: Any = None
    purls: Any = None
    security_severity: Any = field(name="security-severity", default=None)
    severity: Any = None
    scout_severity: Any = field(name="cvssV3_severity", default=None)
    security_risk: Any = field(name="securityRisk", default=None)
    issue_severity: Any = None
    problem_severity: Any = field(name="problem.severity", default=None)
    scout_score: Any = field(name="cvssV3", default=None)
    score: Any = field(name="cvssv3_baseScore", default=None)
    vector: Any = field(name="cvssv3_vector", default=None)
    fixed_version: Any = None
    component: Any = None
    component_version: Any = field(name="componentVersion", default=None)
    component_origin: Any = field(name="componentOrigin", default=None)


class Configuration(Struct, gc=False):
    """3.50 reportingConfiguration."""

    level: str | None = None


class Rule(Struct, gc=False):
    """3.49 reportingDescriptor."""

    id: str | None = None
    name: str | None = None
    short: Message | None = field(name="shortDescription", default=None)
    full: Message | None = field(name="fullDescription", default=None)
    help: Message | None = None
    help_uri: str | None = field(name="helpUri", default=None)
    configuration: Configuration | None = field(name="defaultConfiguration", default=None)
    messages: dict[str, Message] | None = field(name="messageStrings", default=None)
    properties: Properties | None = None


class Component(Struct, gc=False):
    """3.19 toolComponent."""

    name: str | None = None
    version: str | None = None
    semantic_version: str | None = field(name="semanticVersion", default=None)
    rules: list[Rule] | None = None


class Tool(Struct, gc=False):
    """3.18 tool; an extension (a plug-in) may own the rules."""

    driver: Component
    extensions: list[Component] | None = None


class ArtifactLocation(Struct, gc=False):
    """3.4 artifactLocation."""

    uri: str | None = None
    index: int | None = None


class Artifact(Struct, gc=False):
    """3.24 artifact."""

    location: ArtifactLocation | None = None


class Region(Struct, gc=False):
    """3.30 region."""

    start_line: int | None = field(name="startLine", default=None)


class PhysicalLocation(Struct, gc=False):
    """3.29 physicalLocation."""

    artifact: ArtifactLocation | None = field(name="artifactLocation", default=None)
    region: Region | None = None


class LogicalLocation(Struct, gc=False):
    """3.33 logicalLocation."""

    name: str | None = None
    full_name: str | None = field(name="fullyQualifiedName", default=None)


class Location(Struct, gc=False):
    """3.28 location."""

    physical: PhysicalLocation | None = field(name="physicalLocation", default=None)
    logical: list[LogicalLocation] | None = field(name="logicalLocations", default=None)


class Suppression(Struct, gc=False):
    """3.35 suppression."""

    kind: str | None = None
    status: str | None = None
    justification: str | None = None


class ToolReference(Struct, gc=False):
    """3.54 toolComponentReference."""

    index: int | None = None


class RuleReference(Struct, gc=False):
    """3.52 reportingDescriptorReference."""

    id: str | None = None
    index: int | None = None
    component: ToolReference | None = field(name="toolComponent", default=None)


class Result(Struct, gc=False):
    """3.27 result."""

    rule_id: str | None = field(name="ruleId", default=None)
    rule_index: int | None = field(name="ruleIndex", default=None)
    rule: RuleReference | None = None
    level: str | None = None
    kind: str | None = None
    message: Message | None = None
    locations: list[Location] | None = None
    suppressions: list[Suppression] | None = None
    baseline_state: str | None = field(name="baselineState", default=None)
    fingerprints: Any = None
    properties: Properties | None = None


class Invocation(Struct, gc=False):
    """3.20 invocation."""

    successful: bool | None = field(name="executionSuccessful", default=None)
    end_time: str | None = field(name="endTimeUtc", default=None)


class RunProperties(Struct, gc=False):
    """What Trivy says of the image (trivy pkg/report/sarif.go)."""

    image_name: Any = field(name="imageName", default=None)
    image_id: Any = field(name="imageID", default=None)
    repository_digests: Any = field(name="repoDigests", default=None)
    repository_tags: Any = field(name="repoTags", default=None)


class External(Struct, gc=False):
    """3.15 externalPropertyFileReferences: results kept in other files, which a report does not bring along."""

    results: list[Any] | None = None


class Run(Struct, gc=False):
    """3.14 run."""

    tool: Tool
    results: list[Result] | None = None
    artifacts: list[Artifact] | None = None
    invocations: list[Invocation] | None = None
    properties: RunProperties | None = None
    external: External | None = field(name="externalPropertyFileReferences", default=None)


class Log(Struct, gc=False):
    """3.13 sarifLog."""

    runs: list[Run]
    version: str | None = None


def text_of(value: Any) -> str:
    """A property's text: a string as it is, a number written out, anything else nothing."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def texts_of(value: Any) -> tuple[str, ...]:
    """The strings in a property that should be a list of them; a lone string counts as one."""
    if isinstance(value, str):
        return (value,)
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()


def message_text(message: Message | None, rule: Rule | None = None) -> str:
    """A message as plain text (3.11.7): its own, else the rule's string of that id with its arguments put in."""
    if message is None:
        return ""
    if message.text or not message.id or rule is None or not rule.messages:
        return message.text or message.markdown or ""
    text = (m.text or "") if (m := rule.messages.get(message.id)) else ""
    for i, argument in enumerate(message.arguments or ()):
        text = text.replace(f"{{{i}}}", argument)
    return text


class RuleBook:
    """The rules of a run, found as 3.27.5 to 3.27.7 say: by reference, by index, by id, by the id's parent."""

    def __init__(self, tool: Tool) -> None:
        self._rules = tool.driver.rules or []
        self._extensions = [e.rules or [] for e in tool.extensions or ()]
        every = [*self._rules, *(r for rules in self._extensions for r in rules)]
        self._by_id = {r.id: r for r in reversed(every) if r.id}
        self.all = every

    def rule_of(self, result: Result) -> Rule | None:
        id_ = rule_id(result)
        at = self._at(result)
        if not id_ or at is None or _names(at, id_):
            return at or self._by_id.get(id_) or self._by_id.get(id_.rpartition("/")[0])
        # Some tools write an index that points elsewhere (seen: ReSharper); where the two disagree the id counts.
        return self._by_id.get(id_)

    def _at(self, result: Result) -> Rule | None:
        reference = result.rule
        index = result.rule_index if result.rule_index is not None else reference.index if reference else None
        rules = self._rules
        if reference and reference.component and reference.component.index is not None:
            i = reference.component.index
            rules = self._extensions[i] if 0 <= i < len(self._extensions) else []
        return rules[index] if index is not None and 0 <= index < len(rules) else None


def _names(rule: Rule, id_: str) -> bool:
    """3.27.5: a result's id is the rule's, or the rule's followed by ``/`` and what refines it."""
    return not rule.id or id_ == rule.id or id_.startswith(rule.id + "/")


def rule_id(result: Result) -> str:
    return result.rule_id or (result.rule.id if result.rule else None) or ""


def place_of(result: Result, run: Run) -> tuple[str, int]:
    """The first location's path (else the name of the thing) and line; ``("", 0)`` where there is none."""
    for location in result.locations or ():
        physical = location.physical
        if physical and physical.artifact and (path := _uri(physical.artifact, run)):
            return clean_path(path), (physical.region.start_line or 0) if physical.region else 0
        for logical in location.logical or ():
            if name := logical.full_name or logical.name:
                return name, 0
    return "", 0


def _uri(location: ArtifactLocation, run: Run) -> str:
    artifacts = run.artifacts or []
    if not location.uri and location.index is not None and 0 <= location.index < len(artifacts):
        shared = artifacts[location.index].location
        return (shared.uri or "") if shared else ""
    return location.uri or ""


def suppression_of(result: Result) -> str:
    """Why the tool leaves the result out (3.27.23): nothing where one suppression was rejected or is under review."""
    given = result.suppressions or []
    if not given or any(s.status in ("rejected", "underReview") for s in given):
        return ""
    return next((s.justification for s in given if s.justification), "") or f"suppressed: {given[0].kind or 'external'}"


def level_of(result: Result, rule: Rule | None) -> str:
    """3.27.10: its own, else the rule's, else ``warning``."""
    default = rule.configuration.level if rule and rule.configuration else None
    return result.level or default or "warning"
