"""ClamAV's daemon: the real one where it is installed, and servers that speak its protocol badly."""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from secguard.errors import Unavailable
from secguard.scans.adapters.clamd import Clamd

Handler = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(handle: Handler) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    handle(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def read_stream(c: socket.socket) -> bytes:
    """What a client streams, after the session's and the command's words."""
    file = c.makefile("rb")
    words = b""
    while not words.endswith(b"zINSTREAM\0"):
        words += file.read(1)
    content = b""
    while size := struct.unpack("!L", file.read(4))[0]:
        content += file.read(size)
    return content


def test_what_is_streamed_is_what_was_given_and_the_answer_is_read():
    got = []

    def handle(c: socket.socket) -> None:
        got.append(read_stream(c))
        c.sendall(b"1: stream: Win.Test.EICAR_HDB-1 FOUND\0")

    content = bytes(range(256)) * 1000
    with server(handle) as address, Clamd(address) as clamd:
        assert clamd.signature_in(content) == "Win.Test.EICAR_HDB-1"
    assert got == [content]


@pytest.mark.parametrize("answer", [b"1: stream: OK\0", b"INSTREAM size limit exceeded. ERROR\0"])
def test_clean_and_too_large_are_no_signature(answer):
    def handle(c: socket.socket) -> None:
        read_stream(c)
        c.sendall(answer)

    with server(handle) as address, Clamd(address) as clamd:
        assert clamd.signature_in(b"x") == ""


@pytest.mark.parametrize("answer", [b"", b"1: stream: no idea ERROR\0", b"x" * 20_000, b"\0"])
def test_an_answer_that_is_none_is_said(answer):
    def handle(c: socket.socket) -> None:
        read_stream(c)
        c.sendall(answer)

    with server(handle) as address, Clamd(address) as clamd, pytest.raises(Unavailable, match="SECGUARD_CLAMD"):
        clamd.signature_in(b"x")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "/nowhere/clamd.ctl", "nonsense", "127.0.0.1:notaport"])
def test_a_daemon_that_is_not_there_is_said(address):
    with pytest.raises(Unavailable, match="cannot be reached"):
        Clamd(address)


@pytest.fixture
def real_clamd(tmp_path: Path) -> Iterator[str]:
    """A daemon with a signature of our own: the package brings none."""
    program = shutil.which("clamd", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("needs ClamAV's daemon (Debian: clamav-daemon)")
    database = tmp_path / "db"
    database.mkdir()
    (database / "own.ndb").write_text("Own.Test.Signature:0:*:" + b"a-thing-that-is-bad".hex() + "\n")
    address = tmp_path / "clamd.ctl"
    configuration = tmp_path / "clamd.conf"
    configuration.write_text(f"LocalSocket {address}\nDatabaseDirectory {database}\nForeground yes\nUser root\n")
    with subprocess.Popen([program, "-c", str(configuration)], stdout=subprocess.DEVNULL) as process:
        for _ in range(300):
            if address.exists():
                break
            time.sleep(0.1)
        yield str(address)
        process.terminate()


@pytest.mark.processes
def test_the_real_daemon(real_clamd):
    with Clamd(real_clamd) as clamd:
        assert clamd.version().startswith("ClamAV ")
        assert clamd.signature_in(b"all is well") == ""
        assert clamd.signature_in(b"..a-thing-that-is-bad..") == "Own.Test.Signature.UNOFFICIAL"
        assert clamd.signature_in(b"") == ""
