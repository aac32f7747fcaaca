"""The real rsyslog takes what we send, whatever happens to it meanwhile."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from typing import Any

import pytest
from django.utils import timezone

from secguard.errors import Unavailable
from secguard.exports import services
from secguard.exports.models import ExportTarget
from secguard.exports.services import delivering
from tests.exports.test_cef import parse as parse_cef
from tests.exports.test_syslog import parse as parse_syslog

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.enable_socket, pytest.mark.once]


def ids(lines: list[str]) -> list[int]:
    return [int(found) for line in lines for found in re.findall(r'\[secguard@32473 id="(\d+)"', line)]


def deliver_all(target: ExportTarget, run: Any, seconds: float = 60) -> int:
    """As the worker does, but without the waits in between; returns how often it failed."""
    until, failures = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        services.deliver(target.pk, run)
        found = ExportTarget.objects.get(pk=target.pk)
        if found.state == "running":
            return failures
        failures += 1
        ExportTarget.objects.filter(pk=target.pk).update(next_at=timezone.now())
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {found.reason}")


@pytest.fixture
def target(make_target, rsyslog, authority) -> ExportTarget:
    return make_target(rsyslog.host, sink="syslog-tls", format="text", ca_certificate=authority.pem)


def test_rsyslog_takes_every_format(tell, make_target, rsyslog, authority, run) -> None:
    told = tell(1, title='Überraschung ]" \\ = | 漢字 😀', rule='a]"\\', detail={"process": {"pid": 1}})
    for form in ("text", "json", "cef", "ocsf"):
        target = make_target(rsyslog.host, name=form, sink="syslog-tls", format=form, ca_certificate=authority.pem)
        deliver_all(target, run)
    found = [parse_syslog(line.encode()) for line in rsyslog.wait_for(4)]
    assert [params["id"] for _, _, params, _ in found] == [str(told[0])] * 4
    assert {params["rule"] for _, _, params, _ in found} == {'a]"\\'}
    text, own, cef, ocsf = (body for _, _, _, body in found)
    assert text == json.loads(own)["title"] == parse_cef(cef)[0][5] == json.loads(ocsf)["message"]


def test_a_message_of_the_greatest_size_stays_one(tell, target, rsyslog, run) -> None:
    ExportTarget.objects.filter(pk=target.pk).update(format="ocsf")
    tell(3, title="😀" * 300, rule="é" * 200, detail={f"key {n}": "€" * 400 for n in range(30)})
    deliver_all(target, run)
    lines = rsyslog.wait_for(3)
    assert len(lines) == 3
    assert all(json.loads(parse_syslog(line.encode())[3])["unmapped"] == {"cut": True} for line in lines)


@pytest.mark.parametrize("rsyslog", ["x509/certvalid"], indirect=True)
def test_a_receiver_that_asks_for_a_certificate_gets_ours(
    tell, make_target, rsyslog, authority, client_certificate, run
) -> None:
    told = tell(2)
    asked = {"sink": "syslog-tls", "format": "text", "ca_certificate": authority.pem}
    without = make_target(rsyslog.host, name="without", **asked)
    services.deliver(without.pk, run)
    assert ExportTarget.objects.get(pk=without.pk).state == "stalled"
    shown = make_target(
        rsyslog.host,
        name="with",
        client_certificate=client_certificate.pem,
        client_key=client_certificate.key_pem,
        **asked,
    )
    deliver_all(shown, run)
    assert ids(rsyslog.wait_for(2)) == told


@pytest.mark.parametrize(("how", "count"), [(signal.SIGTERM, 5_000), (signal.SIGKILL, 1_500)])
def test_restarted_in_the_middle_nothing_is_lost(tell, target, rsyslog, run, monkeypatch, how, count: int) -> None:
    """Killed, its own queue in memory is lost with what it had read: that is waited for here, and is no part of us."""
    told = [number for _ in range(count // 500) for number in tell(500)]
    monkeypatch.setattr(delivering, "BATCH", 50)
    restarts, is_done = 0, threading.Event()
    really = delivering.send

    def send(*args: Any) -> None:
        really(*args)
        if how == signal.SIGKILL:
            wait_until_written(args[1][-1].id)

    def wait_until_written(number: int) -> None:
        until = time.monotonic() + 5
        while time.monotonic() < until:
            if number in ids(rsyslog.lines[-200:]):
                return
            time.sleep(0.01)
        raise Unavailable("rsyslog was killed before it wrote what it had read", retry_after=0)

    def restart() -> None:
        nonlocal restarts
        while not is_done.wait(0.4):
            rsyslog.stop(how)
            is_done.wait(0.1)
            rsyslog.start()
            restarts += 1

    monkeypatch.setattr(delivering, "send", send)
    disturber = threading.Thread(target=restart)
    deliver_some(target, run, 500)
    disturber.start()
    failures = deliver_all(target, run, 120)
    is_done.set()
    disturber.join()
    found = ids(rsyslog.wait_for(len(told)))
    assert restarts
    assert failures
    assert set(found) == set(told)
    assert ExportTarget.objects.get(pk=target.pk).sent == len(told)


def deliver_some(target: ExportTarget, run: Any, count: int) -> None:
    """The first ``count`` events, while nobody disturbs."""

    class Some(type(run)):  # type: ignore[misc]
        def progress(self, text: str, done: int = 0, total: int = 0) -> None:
            if done >= count:
                raise StopIteration

    with pytest.raises(StopIteration):
        services.deliver(target.pk, Some())


@pytest.mark.parametrize("rsyslog", ["plain"], indirect=True)
def test_without_tls_it_is_sent_where_somebody_asked_for_that(tell, make_target, run, rsyslog) -> None:
    told = tell(700)
    target = make_target(rsyslog.host, sink="syslog-tcp", format="text")
    assert not target.is_protected
    deliver_all(target, run)
    assert ids(rsyslog.wait_for(700)) == told


def test_a_test_message_arrives(target, rsyslog, operator) -> None:
    services.send_test(target.pk, actor=operator)
    services.deliver_test(target.pk)
    (line,) = rsyslog.wait_for(1)
    assert parse_syslog(line.encode())[3] == f"A test of the export target {target.name}"
    found = ExportTarget.objects.get(pk=target.pk)
    assert (found.test_error, found.tested_at is not None, found.sent) == ("", True, 0)
    rsyslog.stop()
    services.deliver_test(target.pk)
    found.refresh_from_db()
    assert "Connection refused" in found.test_error
    assert found.state == "running"


@pytest.mark.parametrize("rsyslog", ["as documented"], indirect=True)
def test_what_people_copy_from_the_documents_takes_events(
    tell, make_target, rsyslog, authority, client_certificate, run
) -> None:
    told = tell(3)
    target = make_target(
        rsyslog.host,
        sink="syslog-tls",
        format="ocsf",
        ca_certificate=authority.pem,
        client_certificate=client_certificate.pem,
        client_key=client_certificate.key_pem,
    )
    deliver_all(target, run)
    file, until = rsyslog.folder / "process.log", time.monotonic() + 20
    while time.monotonic() < until and not (file.exists() and len(file.read_text().splitlines()) == 3):
        time.sleep(0.05)
    assert [int(json.loads(line)["metadata"]["uid"]) for line in file.read_text().splitlines()] == told
