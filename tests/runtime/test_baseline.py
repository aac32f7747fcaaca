"""What is normal for an image: learned in any order, compared and carried on; and what is outside, with the reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secguard.errors import Conflict
from secguard.findings.severity import Severity
from secguard.runtime import baseline as b
from secguard.runtime.baseline import Baseline, Learned, Status, Step, Verdict
from secguard.runtime.baseline_items import Item, ItemKind, covers, items_of, pattern_of
from secguard.runtime.baseline_rates import HOURS_NEEDED, added, in_bytes, range_of
from secguard.runtime.event import Connection, Event, File, Growth, Kind, Outcome, Process

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def event(kind: Kind, **told: Any) -> Event:
    return Event(kind=kind, tool="agent", rule="seen", fingerprint="f", **told)


def process(exe: str, parent: str | None = None) -> Event:
    return event(Kind.PROCESS, process=Process(exe=exe, parent=parent))


def file(path: str, operation: str | None = "write") -> Event:
    return event(Kind.FILE, file=File(path=path, operation=operation))


def egress(port: int, ip: str = "93.184.216.34", **told: Any) -> Event:
    to = Connection(destination_ip=ip, destination_port=port, protocol="tcp", **told)
    return event(Kind.NETWORK, connection=to)


def growth(path: str, grown_by: int, seconds: int | None = 3600) -> Event:
    return event(Kind.LOG_GROWTH, growth=Growth(path=path, bytes=grown_by, grown_by=grown_by, seconds=seconds))


NAMES = st.sampled_from(
    ["sh", "/bin/sh", "/usr/sbin/nginx", "/opt/app/run", "/tmp/go-build123/exe/main", '/a b"\\*?[x]']
)
PATHS = st.one_of(
    st.sampled_from(["/var/log/app.log", "/proc/4711/maps", "/tmp/tmpa8Zk2", "/data/2026-03-01/a.db"]),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).map(lambda t: f"/{t}"),
)
EVENTS = st.one_of(
    st.builds(process, NAMES, st.one_of(st.none(), NAMES)),
    st.builds(file, PATHS, st.sampled_from(["write", "read", "openat", None])),
    st.builds(egress, st.integers(0, 65535), st.sampled_from(["10.1.2.3", "8.8.8.8", "::1", "169.254.169.254", "x"])),
    st.builds(growth, PATHS, st.integers(0, 10**9), st.sampled_from([None, 60, 7200])),
    st.just(event(Kind.OTHER, fields={"syscalls": "read, write futex ../etc"})),
    st.just(event(Kind.MALWARE, file=File(path="/tmp/x"))),
)  # fmt: skip
SEEN = st.tuples(EVENTS, st.integers(0, 40 * 24).map(lambda h: BEGIN + timedelta(hours=h)), st.sampled_from("abc"))


def learn(seen: list[tuple[Event, datetime, str]]) -> Learned:
    return reduce(b.merged, (b.learned(*one) for one in seen), Learned())


def of(learned: Learned, status: Status = Status.LOCKED, **more: Any) -> Baseline:
    return Baseline(status, frozenset(learned.items), learned.varied, days=14, replicas=3, **more)


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(b, "MOST", dict.fromkeys(ItemKind, 3))
    monkeypatch.setattr(b, "MAX_REPLICAS", 2)


# --- properties ---


@given(st.lists(SEEN, max_size=30))
def test_what_was_learned_is_never_anomalous(seen: list[tuple[Event, datetime, str]]) -> None:
    found = of(learn(seen))
    for one, _, _ in seen:
        assert b.judge(items_of(one), found).verdict in (Verdict.NORMAL, Verdict.UNTOLD)


@pytest.mark.usefixtures("small_bounds")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(SEEN, max_size=25), st.randoms(use_true_random=False), st.integers(0, 25), st.integers(0, 25))
def test_the_order_and_the_grouping_do_not_matter(
    seen: list[tuple[Event, datetime, str]], random: Random, i: int, j: int
) -> None:
    other = list(seen)
    random.shuffle(other)
    assert learn(seen) == learn(other)
    left, middle, right = learn(seen[: min(i, j)]), learn(seen[min(i, j) : max(i, j)]), learn(seen[max(i, j) :])
    assert b.merged(b.merged(left, middle), right) == b.merged(left, b.merged(middle, right)) == learn(seen)
    assert b.merged(left, right) == b.merged(right, left)


@pytest.mark.usefixtures("small_bounds")
def test_a_kind_past_its_bound_is_varied_and_all_of_it_normal() -> None:
    seen = [(file(f"/data/{name}.db"), BEGIN, "a") for name in "abcd"]
    found = learn([*seen, (process("/bin/sh"), BEGIN, "a")])
    assert (set(found.varied), [i.kind for i in found.items]) == ({ItemKind.FILE}, [ItemKind.PROCESS])
    assert b.judge(items_of(file("/other")), of(found)).verdict is Verdict.NORMAL
    assert b.judge(items_of(process("/bin/nc")), of(found)).verdict is Verdict.ANOMALY


@given(st.lists(SEEN, max_size=30))
def test_an_unchanged_version_differs_in_nothing(seen: list[tuple[Event, datetime, str]]) -> None:
    before = learn(seen)
    next_one = b.carry(of(before), "1.4")
    again = learn([(e, at + timedelta(days=30), replica) for e, at, replica in seen])
    assert not b.difference(before.items, again.items)
    assert not any(b.judge(items_of(e), next_one).is_outside for e, _, _ in seen)


@given(PATHS)
def test_the_pattern_of_a_pattern_is_itself(path: str) -> None:
    assert pattern_of(pattern_of(path)) == pattern_of(path)


@given(st.dictionaries(st.integers(0, 900), st.integers(0, 10**12), max_size=400))
def test_an_hour_that_was_learned_is_within_the_range(hours: dict[int, int]) -> None:
    kept = added(hours, {})
    found = range_of(kept.values())
    assert (found is None) == (len(kept) < HOURS_NEEDED)
    if found:
        assert all(v <= found.limit and found.least <= v <= found.most for v in kept.values())


# --- what is told ---


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/var/log/app.log", "/var/log/app.log"),
        ("/usr/lib/python3.11/os.py", "/usr/lib/python3.11/os.py"),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6"),
        ("/proc/4711/maps", "/proc/*/maps"),
        ("/proc/self/task/99/stat", "/proc/*/task/*/stat"),
        ("/proc/sys/net/core/somaxconn", "/proc/sys/net/core/somaxconn"),
        ("/tmp/tmpa8Zk2_x", "/tmp/tmp*"),
        ("/tmp/template.html", "/tmp/template.html"),
        ("/tmp/go-build3029/exe/main", "/tmp/go-build*/exe/main"),
        ("/tmp/sess_9a8b7c", "/tmp/sess_*"),
        ("/data/6f1c2f0e-52a5-4d0f-9a2e-0a1b2c3d4e5f/x", "/data/*/x"),
        ("/var/log/2026-03-01/app-2026-03-01T10:00:00Z.log", "/var/log/*/app-*.log"),
        ("/var/log/app.log.20260301", "/var/log/app.log.*"),
        ("/var/lib/web-7d4b9c8f5d-x2x5z/state", "/var/lib/web-*/state"),
        ("/cache/9f86d081884c7d65/blob", "/cache/*/blob"),
        ("/srv/deadbeef", "/srv/deadbeef"),
        ("/x\ny", "/x?y"),
    ],
)
def test_what_differs_from_run_to_run_is_a_star(path: str, pattern: str) -> None:
    assert pattern_of(path) == pattern


def test_long_names_are_cut() -> None:
    assert len(pattern_of("/" + "ab" * 9000)) == 300


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (process("/bin/sh"), "/bin/sh"),
        (process("/bin/sh", "/usr/sbin/nginx"), "/bin/sh, started by nginx"),
        (file("/etc/passwd", "openat"), "opening /etc/passwd"),
        (file("/var/log/a.log", "modified"), "writing /var/log/a.log"),
        (egress(443), "egress to port 443 (tcp) of public addresses"),
        (egress(5432, destination_name="DB.internal."), "egress to port 5432 (tcp) of db.internal"),
        (egress(80, "169.254.169.254"), "egress to port 80 (tcp) of the cloud's metadata service"),
        (egress(80, "::ffff:10.0.0.1"), "egress to port 80 (tcp) of private addresses"),
    ],
)
def test_an_item_in_words(seen: Event, words: str) -> None:
    assert [str(item) for item in items_of(seen)] == [words]


def test_falco_tells_by_flags_whether_a_file_is_written() -> None:
    told = event(Kind.FILE, file=File(path="/a", operation="openat"), fields={"evt.arg.flags": "O_CREAT|O_WRONLY"})
    assert items_of(told)[0].how == "write"


def test_who_is_asked_from_outside_is_inbound() -> None:
    told = event(
        Kind.NETWORK,
        connection=Connection(source_ip="10.0.0.9", destination_ip="10.0.0.1", destination_port=8080, protocol="tcp"),
        fields={"evt.type": "accept4"},
    )  # fmt: skip
    assert [str(i) for i in items_of(told)] == ["connections to its port 8080 (tcp) from private addresses"]


def test_malware_calls_of_an_api_and_what_was_blocked_are_never_learned() -> None:
    blocked = event(Kind.PROCESS, process=Process(exe="/bin/sh"), outcome=Outcome.BLOCKED)
    assert items_of(blocked) == items_of(event(Kind.MALWARE, file=File(path="/tmp/x"))) == ()


def test_system_calls_are_those_that_an_agent_lists() -> None:
    found = items_of(event(Kind.OTHER, fields={"syscalls": "read,write READ ; rm"}))
    assert [i.name for i in found] == ["read", "write", "rm"]
    assert items_of(event(Kind.OTHER, fields={"evt.type": "openat", "syscalls": 7})) == ()


def test_a_bare_name_means_a_program_by_its_path_and_not_the_other_way() -> None:
    path, name = Item(ItemKind.PROCESS, "/bin/sh"), Item(ItemKind.PROCESS, "sh")
    assert covers(path, name)
    assert not covers(name, path)


def test_writing_covers_reading_and_not_the_other_way() -> None:
    write, read, opened = (Item(ItemKind.FILE, "/a", how) for how in ("write", "read", "open"))
    assert covers(write, read)
    assert covers(read, opened)
    assert not covers(read, write)
    assert not covers(opened, write)


# --- judging, in words ---


def test_an_anomaly_says_how_long_it_was_never_seen() -> None:
    found = of(learn([(process("/usr/sbin/nginx"), BEGIN, "a")]))
    judged = b.judge(items_of(process("/bin/sh")), found)
    assert judged.verdict is Verdict.ANOMALY
    assert judged.reason == "started /bin/sh, never seen in 14 days and 3 replicas of this digest"


def test_another_parent_is_told_with_the_usual_one() -> None:
    found = of(learn([(process("/bin/sh", "/entrypoint.sh"), BEGIN, "a")]))
    assert "started /bin/sh from nginx, never seen" in b.judge(items_of(process("/bin/sh", "nginx")), found).reason
    assert b.judge(items_of(process("/bin/sh", "nginx")), found).reason.endswith("it was started by entrypoint.sh")


def test_while_it_learns_nothing_is_outside() -> None:
    assert b.judge(items_of(process("/bin/sh")), Baseline(Status.LEARNING)).verdict is Verdict.LEARNING


def test_what_the_version_before_did_not_do_is_new() -> None:
    carried = b.carry(of(learn([(process("/app"), BEGIN, "a")])), "1.4")
    judged = b.judge(items_of(egress(443)), carried)
    assert (judged.verdict, judged.is_outside) == (Verdict.NEW, True)
    assert judged.reason == (
        "connected to port 443 (tcp) of public addresses, which 1.4 does not do: new in this version"
    )


def test_only_a_locked_baseline_is_carried_on() -> None:
    with pytest.raises(Conflict, match="only a locked one"):
        b.carry(Baseline(Status.PROPOSED), "1.4")


def test_growth_outside_its_range_is_told_in_bytes() -> None:
    hours = [(growth("/var/log/app.log", 10_000_000 * (1 + n % 6)), BEGIN + timedelta(hours=n), "a") for n in range(48)]
    ((item, seen),) = learn(hours).items.items()
    usual = range_of(seen.volumes.values())
    judged = b.judge_hour(item, b.Deviation.VOLUME, 4_100_000_000, usual)
    assert judged is not None
    assert judged.reason == "wrote 4.1 GB/h to /var/log/app.log; normal 10 MB–60 MB/h"
    assert b.judge_hour(item, b.Deviation.VOLUME, 60_000_000, usual) is None


def test_growth_over_several_hours_counts_by_the_hour() -> None:
    assert b.volume_of(growth("/a", 7_200, 7_200)) == 3_600
    assert b.volume_of(growth("/a", 500, 60)) == 500


def test_bytes_in_words() -> None:
    assert [in_bytes(n) for n in (0, 999, 4_100_000_000, 10**16)] == ["0 B", "999 B", "4.1 GB", "10.0 PB"]


# --- versions ---


def test_a_difference_reads_as_people_say_it() -> None:
    old = learn([(process("/app"), BEGIN, "a"), (process("/bin/gone"), BEGIN, "a")])
    new = learn([(process("/app"), BEGIN, "a"), (process("/bin/sh"), BEGIN, "a"), (egress(443), BEGIN, "a")])
    words = b.in_words(b.difference(old.items, new.items), "1.5", "1.4")
    assert words == (
        "1.5 adds /bin/sh and egress to port 443 (tcp) of public addresses; it was not seen doing /bin/gone."
    )
    assert b.in_words(b.difference(old.items, old.items), "1.5", "1.4") == "1.5 does what 1.4 did."


def test_a_long_difference_is_counted() -> None:
    files = [Item(ItemKind.FILE, f"/data/{name}", "write") for name in "abcdefg"]
    assert "and 3 more uses of files" in b.in_words(b.difference([], files), "2", "1")


# --- the life of it ---


def test_learning_ends_after_a_time_and_so_many_events_and_replicas() -> None:
    days = timedelta(days=1)
    assert b.still_lacking(BEGIN, 1000, 3, BEGIN + 14 * days) == ()
    assert b.still_lacking(BEGIN, 1000, 3, BEGIN + 3 * days) == ("it learns for 3 of 14 days",)
    assert b.still_lacking(BEGIN, 7, 1, BEGIN + 14 * days) == ("it saw 7 of 100 events", "it saw 1 of 2 replicas")
    assert b.still_lacking(BEGIN, 1000, 1, BEGIN + 28 * days) == ()


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("step", list(Step))
def test_every_other_step_is_refused_with_the_state_found(status: Status, step: Step) -> None:
    if (status, step) in b.TRANSITIONS:
        assert b.after(status, step) is b.TRANSITIONS[status, step]
    else:
        with pytest.raises(Conflict, match=f"is {status.value}"):
            b.after(status, step)


def test_nothing_is_locked_that_was_not_asked_for() -> None:
    assert {s for (s, _), to in b.TRANSITIONS.items() if to is Status.LOCKED} == {Status.ASKED}


def test_the_worst_that_a_sensor_rated_it_is_kept() -> None:
    rated = event(Kind.PROCESS, process=Process(exe="/bin/sh"), severity=Severity.HIGH)
    (seen,) = learn([(rated, BEGIN, "a"), (process("/bin/sh"), BEGIN, "a")]).items.values()
    assert (seen.severity, seen.count) == (int(Severity.HIGH), 2)
