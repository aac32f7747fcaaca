"""The rules for secrets and malware, compiled once in a process, and what they say of a file (yara-x)."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yara_x

from secguard.errors import Invalid
from secguard.scans.inspection.secrets import Hit, Match

OWN = Path(__file__).resolve().parents[1] / "rules"
SECRETS, MALWARE, OTHERS = "secrets", "malware", "others"
MOST_MATCHES = 100
MOST_SECONDS = 30
"""For one file: a rule of somebody else's may be slow on what it was not written for."""
MAX_RULES_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the rules say of one file."""

    secrets: Sequence[Hit]
    malware: Sequence[Hit]
    is_partial: bool = False
    """The file took too long: what was found until then."""


class RuleSet:
    """Compiled rules; safe to use from several threads, each with a scanner of its own."""

    def __init__(self, rules: yara_x.Rules, version: str) -> None:
        self._rules = rules
        self._local = threading.local()
        self.version = version
        """Changes with any rule: what was looked at under another version is looked at again."""

    def look(self, content: bytes, name: str) -> Verdicts:
        """``name`` is the file's name without its folders. Never raises for what the content is."""
        scanner = self._scanner()
        scanner.set_global("name", name.lower())
        try:
            found = scanner.scan(content).matching_rules
        except yara_x.TimeoutError:
            return Verdicts((), (), is_partial=True)
        secrets: list[Hit] = []
        malware: list[Hit] = []
        for rule in found:
            (secrets if rule.namespace == SECRETS else malware).append(_hit(rule))
        return Verdicts(secrets, malware)

    def _scanner(self) -> yara_x.Scanner:
        scanner: yara_x.Scanner | None = getattr(self._local, "scanner", None)
        if scanner is None:
            scanner = self._local.scanner = yara_x.Scanner(self._rules)
            scanner.set_timeout(MOST_SECONDS)
            scanner.max_matches_per_pattern(MOST_MATCHES)
        return scanner


def _hit(rule: yara_x.Rule) -> Hit:
    told = {str(k): str(v) for k, v in rule.metadata}
    matches = [Match(p.identifier, m.offset, m.offset + m.length) for p in rule.patterns for m in p.matches]
    return Hit(
        rule=told.get("id") or rule.identifier,
        title=(told.get("title") or told.get("description") or rule.identifier)[:500],
        severity=told.get("severity", "critical" if rule.namespace != SECRETS else "high"),
        matches=matches,
        reason=told.get("reason", ""),
    )


@lru_cache(maxsize=4)
def rule_set(others: str = "") -> RuleSet:
    """Our rules and, of the folder ``others`` (empty: none), every ``.yar`` and ``.yara`` file in it.

    Raises ``Invalid`` naming the file and the place of a rule that cannot be compiled.
    """
    compiler = yara_x.Compiler()
    compiler.define_global("name", "")
    digest = hashlib.sha256()
    for namespace, path in _sources(others):
        text = _read(path)
        digest.update(text.encode())
        compiler.new_namespace(namespace)
        try:
            compiler.add_source(text, origin=path.name)
        except yara_x.CompileError as e:
            raise Invalid(f"The rules in {path.name} cannot be used:\n{e}", code="bad-rules", where=path.name) from e
    return RuleSet(compiler.build(), digest.hexdigest()[:16])


def _sources(others: str) -> list[tuple[str, Path]]:
    found = [(SECRETS, OWN / "secrets.yar"), (MALWARE, OWN / "malware.yar")]
    if others:
        folder = Path(others)
        if not folder.is_dir():
            raise Invalid(f"SECGUARD_YARA_RULES is {others!r}; expected a folder with .yar files.", code="bad-rules")
        files = sorted(p for p in folder.rglob("*") if p.suffix in (".yar", ".yara"))
        found += [(f"{OTHERS}-{p.stem}", p) for p in files]
    return found


def _read(path: Path) -> str:
    if path.stat().st_size > MAX_RULES_BYTES:
        raise Invalid(f"{path.name} has more than {MAX_RULES_BYTES:,} bytes.", code="bad-rules", where=path.name)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as e:
        raise Invalid(f"{path.name} is not UTF-8: byte {e.start}.", code="bad-rules", where=path.name) from e
