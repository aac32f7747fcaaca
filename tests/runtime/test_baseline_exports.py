"""A baseline as rules and profiles: what is in it does not match them, whatever it is called; the rest does."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from secguard.errors import Conflict
from secguard.runtime import apparmor, falco_rules, seccomp
from secguard.runtime.baseline_items import Item, ItemKind, items_of, pattern_of
from secguard.runtime.event import Connection, Event, File, Kind, Process

DIGEST = "sha256:" + "9f86d081884c7d65" * 4
HOSTILE = (
    '/a" or evt.type exists or "',
    "/a\\",
    "/b[x](y)",
    "/c' #",
    "/d\ne",
    "/e, /f ux,",
    "/@{HOME}/**",
    "ünï",
    "${x}",
)


# --- a small reader of Falco's conditions ---


class Condition:
    """Evaluates what the exports use of Falco's condition syntax: and, or, not, brackets, =, >=, in, endswith, glob."""

    _TOKEN = re.compile(r'\s*("(?:\\.|[^"\\])*"|>=|[=(),]|[^\s=(),"]+)', re.DOTALL)

    def __init__(self, text: str, rules: list[dict[str, Any]], fields: Mapping[str, Any]) -> None:
        self.macros = {r["macro"]: r["condition"] for r in rules if "macro" in r}
        self.lists = {r["list"]: r["items"] for r in rules if "list" in r}
        self.rules, self.fields, self.at = rules, fields, 0
        self.tokens = self._TOKEN.findall(text)

    def holds(self) -> bool:
        found = self._or()
        assert self.at == len(self.tokens), self.tokens[self.at :]
        return found

    def _next(self) -> str:
        self.at += 1
        return str(self.tokens[self.at - 1])

    def _is(self, word: str) -> bool:
        if self.at < len(self.tokens) and self.tokens[self.at] == word:
            self.at += 1
            return True
        return False

    def _or(self) -> bool:
        found = self._and()
        while self._is("or"):
            found = self._and() or found
        return found

    def _and(self) -> bool:
        found = self._not()
        while self._is("and"):
            found = self._not() and found
        return found

    def _not(self) -> bool:
        if self._is("not"):
            return not self._not()
        if self._is("("):
            found = self._or()
            assert self._is(")")
            return found
        return self._compare()

    def _compare(self) -> bool:
        name = self._next()
        if name in self.macros:
            return Condition(self.macros[name], self.rules, self.fields).holds()
        seen, operator = self.fields.get(name), self._next()
        if operator == "in":
            values = self._values()
            if name.endswith("net"):
                return seen is not None and any(ipaddress.ip_address(seen) in ipaddress.ip_network(v) for v in values)
            return str(seen) in values
        value = self._value(self._next())
        if seen is None:
            return False
        if operator == ">=":
            return int(seen) >= int(value)
        if operator == "endswith":
            return str(seen).endswith(value)
        if operator == "glob":
            return glob(value, str(seen))
        assert operator == "=", operator
        return str(seen) == value

    def _values(self) -> list[str]:
        assert self._is("(")
        found: list[str] = []
        while not self._is(")"):
            word = self._next()
            if word != ",":
                found += self.lists.get(word) or [self._value(word)]
        return found

    @staticmethod
    def _value(token: str) -> str:
        return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL) if token.startswith('"') else token


def glob(pattern: str, text: str) -> bool:
    """fnmatch(3) as the exports use it: ``*``, ``?``, and a backslash before what stands for itself."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"*": ".*", "?": "."}
    return (
        re.fullmatch("".join(wild.get(p) or re.escape(p.removeprefix("\\")) for p in parts), text, re.DOTALL)
        is not None
    )


def fields_of(event: Event) -> dict[str, Any]:
    """An event as Falco has it when it holds it against a condition."""
    found: dict[str, Any] = {"container.image.digest": DIGEST, "evt.rawres": 0, "fd.num": 3}
    if event.kind is Kind.PROCESS and event.process:
        exe, parent = event.process.exe or "", event.process.parent or ""
        found |= {"evt.type": "execve", "proc.exepath": exe, "proc.name": exe.rpartition("/")[2]}
        found |= {"proc.pexepath": parent, "proc.pname": parent.rpartition("/")[2][:15]}
    elif event.file:
        found |= {"evt.type": "openat", "evt.is_open_write": "true", "fd.typechar": "f", "fd.name": event.file.path}
    elif event.connection:
        to = event.connection
        found |= {"evt.type": "connect", "fd.typechar": 4, "fd.l4proto": to.protocol, "fd.sport": to.destination_port}
        found |= {"fd.sip": to.destination_ip, "fd.snet": to.destination_ip, "fd.sip.name": to.destination_name}
    return found


def alarms(text: str, event: Event) -> bool:
    rules = yaml.safe_load(text)
    fields = fields_of(event)
    return any(Condition(r["condition"], rules, fields).holds() for r in rules if "rule" in r)


def event(kind: Kind, **told: Any) -> Event:
    return Event(kind=kind, tool="agent", rule="seen", fingerprint="f", **told)


TEXT = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
PATHS = TEXT.map(lambda t: "/" + t.strip().lstrip("/"))
EVENTS = st.one_of(
    st.builds(lambda e, p: event(Kind.PROCESS, process=Process(exe=e, parent=p)), PATHS, st.one_of(st.none(), PATHS)),
    st.builds(lambda p: event(Kind.FILE, file=File(path=p, operation="write")), PATHS),
    st.builds(
        lambda ip, port: event(
            Kind.NETWORK, connection=Connection(destination_ip=ip, destination_port=port, protocol="tcp")
        ),
        st.ip_addresses().map(str),
        st.integers(0, 65_535),
    ),
)


@given(st.lists(EVENTS, min_size=1, max_size=8))
def test_what_is_in_the_baseline_raises_no_alert(events: list[Event]) -> None:
    items = {item for one in events for item in items_of(one)}
    text = falco_rules.rules_of(DIGEST, [], items)
    for one in events:
        if one.connection and special(one.connection.destination_ip):
            continue
        assert not alarms(text, one), one


def special(address: str | None) -> bool:
    """In the rare ranges of which IANA calls some addresses global and Falco's condition does not."""
    found = ipaddress.ip_address(address or "")
    if isinstance(found, ipaddress.IPv6Address):
        return not found.is_global or found.ipv4_mapped is not None
    return any(found in ipaddress.ip_network(n) for n in ("192.0.0.0/24", "0.0.0.0/8", "192.88.99.0/24"))


NORMAL = [
    Item(ItemKind.PROCESS, "/usr/sbin/nginx"),
    Item(ItemKind.PROCESS, "/bin/sh", "entrypoint.sh"),
    Item(ItemKind.FILE, pattern_of("/tmp/tmpa8Zk2"), "write"),
    Item(ItemKind.CONNECTION, "public addresses", "outbound tcp", 443),
    Item(ItemKind.CONNECTION, "db.internal", "outbound tcp", 5432),
]  # fmt: skip


def program(exe: str, parent: str) -> Event:
    return event(Kind.PROCESS, process=Process(exe=exe, parent=parent))


def to(ip: str, port: int, name: str | None = None) -> Event:
    peer = Connection(destination_ip=ip, destination_port=port, protocol="tcp", destination_name=name)
    return event(Kind.NETWORK, connection=peer)


@pytest.mark.parametrize(
    ("seen", "is_outside"),
    [
        (program("/usr/sbin/nginx", "/init"), False),
        (program("/usr/bin/curl", "/init"), True),
        (program("/bin/sh", "/opt/entrypoint.sh"), False),
        (program("/bin/sh", "/usr/sbin/nginx"), True),
        (event(Kind.FILE, file=File(path="/tmp/tmpOther9")), False),
        (event(Kind.FILE, file=File(path="/etc/passwd")), True),
        (to("8.8.8.8", 443), False),
        (to("8.8.8.8", 80), True),
        (to("10.0.0.8", 443), True),
        (to("10.0.0.8", 5432, "db.internal"), False),
        (to("169.254.169.254", 443), True),
    ],
)
def test_the_rules_raise_an_alert_beyond_the_baseline(seen: Event, is_outside: bool) -> None:
    assert alarms(falco_rules.rules_of(DIGEST, ["registry.example/shop/web"], NORMAL), seen) is is_outside


def test_rules_have_what_falco_requires() -> None:
    written = yaml.safe_load(falco_rules.rules_of(DIGEST, ["registry.example/shop/web"], NORMAL, note="of\nweb 1.4"))
    rules = [r for r in written if "rule" in r]
    assert len(rules) == 3
    for one in rules:
        assert {"rule", "desc", "condition", "output", "priority"} <= one.keys()
        assert one["priority"] == "WARNING"
    assert all(isinstance(one["condition"], str) for one in written if "macro" in one)
    assert len({r["rule"] for r in rules}) == 3


def test_another_image_is_not_meant() -> None:
    text = falco_rules.rules_of(DIGEST, ["registry.example/shop/web"], NORMAL)
    rules = yaml.safe_load(text)
    image = next(r["condition"] for r in rules if str(r.get("macro")).endswith("_image"))
    for digest, repository, meant in (
        (DIGEST, "", True), ("", "registry.example/shop/web", True), ("<NA>", "other", False), ("sha256:0", "x", False),
    ):  # fmt: skip
        told = {"container.image.digest": digest, "container.image.repository": repository}
        assert Condition(image, rules, told).holds() is meant


def test_a_kind_that_is_varied_or_unknown_has_no_rule() -> None:
    written = yaml.safe_load(falco_rules.rules_of(DIGEST, [], NORMAL[:2], [ItemKind.PROCESS]))
    assert [r for r in written if "rule" in r] == []


def test_a_comment_ends_nowhere_but_at_its_line() -> None:
    text = falco_rules.rules_of(DIGEST, [], NORMAL, note="web\n- rule: mine\r- rule: mine")
    assert [line[0] for line in text.splitlines()[:2]] == ["#", "#"]
    assert "mine" not in [r.get("rule") for r in yaml.safe_load(text)]


# --- seccomp ---


def test_a_seccomp_profile_allows_what_was_told_and_nothing_else() -> None:
    items = [Item(ItemKind.SYSCALL, name) for name in ("write", "read")]
    found = seccomp.profile_of(items, [], "amd64")
    assert found == {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
        ],
        "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}],
    }
    tried = seccomp.profile_of(items, [], "sparc", seccomp.Otherwise.LOG)
    assert (tried["defaultAction"], "archMap" in tried, "defaultErrnoRet" in tried) == ("SCMP_ACT_LOG", False, False)


@pytest.mark.parametrize(("items", "varied"), [(NORMAL, []), ([Item(ItemKind.SYSCALL, "read")], [ItemKind.SYSCALL])])
def test_without_system_calls_there_is_no_seccomp_profile(items: list[Item], varied: list[ItemKind]) -> None:
    with pytest.raises(Conflict, match="none are guessed"):
        seccomp.profile_of(items, varied)


# --- AppArmor ---

LINE = re.compile(
    r"#.*|profile secguard-[0-9a-f]{12} flags=\(attach_disconnected\) \{|\}|"
    r'(?:"(?:\\.|[^"\\])*"|/\*\*) (?:ix|wkl|mr),|(?:capability|signal|unix|network(?: inet6? [a-z]+)?),'
)


@given(st.lists(st.one_of(PATHS.map(lambda p: Item(ItemKind.FILE, pattern_of(p), "write")),
                          PATHS.map(lambda p: Item(ItemKind.PROCESS, pattern_of(p)))), max_size=8))  # fmt: skip
def test_an_apparmor_profile_holds_its_lines_whatever_a_file_is_called(items: list[Item]) -> None:
    text = apparmor.profile_of(DIGEST, items, note="web 1.4\nx")
    assert [line for line in text.split("\n") if line.strip() and not LINE.fullmatch(line.strip())] == []
    assert text.count("profile ") == 1
    assert text.rstrip().endswith("}")


def apparmor_glob(pattern: str, path: str) -> bool:
    parts = re.findall(r"\\.|\*\*|.", pattern, re.DOTALL)
    wild = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    made = "".join(wild.get(p) or re.escape(p.removeprefix("\\")) for p in parts)
    return re.fullmatch(made, path, re.DOTALL) is not None


@given(PATHS)
def test_what_is_written_may_be_written_under_the_profile(path: str) -> None:
    (item,) = items_of(event(Kind.FILE, file=File(path=path, operation="write")))
    text = apparmor.profile_of(DIGEST, [item])
    patterns = [m[1] for m in re.finditer(r'"((?:\\.|[^"\\])*)" wkl,', text)]
    assert any(apparmor_glob(p, path.strip()) for p in patterns)
    assert not any(apparmor_glob(p, "/certainly/not/this") for p in patterns)


def test_the_profile_restricts_what_is_known_and_says_what_is_not() -> None:
    text = apparmor.profile_of(DIGEST, NORMAL)
    assert '  "/usr/sbin/nginx" ix,' in text
    assert '  "/tmp/tmp*" wkl,' in text
    assert "  network inet stream," in text
    assert "  /** ix," not in text
    free = apparmor.profile_of(DIGEST, [], [])
    for line in ("  /** ix,", "  /** wkl,", "  network,"):
        assert line in free
    opened = apparmor.profile_of(DIGEST, [Item(ItemKind.FILE, "/a", "open"), Item(ItemKind.FILE, "/b", "read")])
    assert "nobody told whether it was written" in opened
    assert '"/b" wkl' not in opened


def test_programs_by_name_alone_leave_starting_free() -> None:
    text = apparmor.profile_of(DIGEST, [Item(ItemKind.PROCESS, "sh"), Item(ItemKind.PROCESS, "/bin/a")])
    assert "Not known by their paths" in text
    assert "  /** ix," in text
