"""Keys in a PKCS #11 token: made there, found there, and never given out."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from secguard.errors import NotFound, Unavailable
from secguard.signing.adapters.signers import Device


def test_a_key_is_made_in_the_token_and_signs(device: Device):
    label, public = device.generate("production")
    assert label.startswith("secguard-production-")
    for data in (b"", b"one", b"x" * 100_000):
        assert public.verifies(device.sign(label, data), data)
    assert device.public(label) == public


def test_the_private_part_cannot_be_taken_out(device: Device):
    import pkcs11

    label, _ = device.generate("kept")
    token = pkcs11.lib(device.module).get_token(token_label=device.token)
    with token.open(user_pin=device.pin) as session:
        key = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=label)
        assert key[pkcs11.Attribute.EXTRACTABLE] is False
        with pytest.raises(pkcs11.exceptions.AttributeSensitive):
            _ = key[pkcs11.Attribute.VALUE]


def test_a_label_that_is_not_there_is_named(device: Device):
    with pytest.raises(NotFound, match="no private key with the label 'nothing'"):
        device.sign("nothing", b"x")
    with pytest.raises(NotFound, match="'nothing'"):
        device.public("nothing")


@pytest.mark.parametrize("change", [{"pin": "wrong"}, {"token": "another"}, {"module": "/nowhere.so"}])
def test_a_token_that_does_not_work_says_so_without_its_pin(device: Device, change: dict[str, str]):
    broken = replace(device, **change)
    with pytest.raises(Unavailable, match="does not work") as refused:
        broken.sign("x", b"x")
    assert broken.pin not in refused.value.detail + repr(broken)
    label, public = device.generate("after")
    assert public.verifies(device.sign(label, b"x"), b"x")


def test_a_token_that_is_not_set_up_is_told():
    with pytest.raises(Unavailable, match="SECGUARD_PKCS11_MODULE"):
        Device("", "", "").generate("x")


def test_several_threads_sign_at_once(device: Device):
    label, public = device.generate("threads")
    good: list[bool] = []

    def work(n: int) -> None:
        data = b"%d" % n
        good.append(all(public.verifies(device.sign(label, data), data) for _ in range(5)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert good == [True] * 6


PEEKS = """
import ctypes, ssl, sys
from secguard.signing.adapters.signers import Device
openssl = ctypes.CDLL("libcrypto.so.3")
openssl.ERR_peek_error.restype = ctypes.c_ulong
device = Device(*sys.argv[1:])
label, _ = device.generate("peek")
device.sign(label, b"one")
print(openssl.ERR_peek_error())
"""


@pytest.mark.processes
def test_the_module_leaves_no_error_in_the_library_that_connections_use_too(device: Device):
    """In a process of its own: SoftHSM leaves one when it is loaded. ssl takes it for the next connection's failure."""
    command = [sys.executable, "-c", PEEKS, device.module, device.token, device.pin]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "libcrypto.so.3" in done.stderr:
        pytest.skip("OpenSSL 3 is not shared here")
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr
