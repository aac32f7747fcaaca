"""A PKCS #11 token of the tests' own, in SoftHSM2 (Debian's package softhsm2)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from secguard.signing import services
from secguard.signing.adapters.signers import Device
from secguard.signing.models import SigningKey

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
)
PIN = "4711-only-for-tests"


@pytest.fixture(scope="session")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """The module reads where its tokens are once in a process, so there is one token for all tests."""
    module = next((path for path in MODULES if Path(path).exists()), "")
    if not module or not shutil.which("softhsm2-util"):
        pytest.skip("needs SoftHSM2 (Debian's package softhsm2)")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "conf"))
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", "tests", "--pin", PIN, "--so-pin", PIN],
            check=True,
            capture_output=True,
        )
        yield Device(module, "tests", PIN)


@pytest.fixture
def token(device: Device, settings) -> Device:
    """The same, set up for the product."""
    settings.PKCS11_MODULE, settings.PKCS11_TOKEN, settings.PKCS11_PIN = device.module, device.token, device.pin
    return device


@pytest.fixture
def make_key(db: None) -> Callable[..., SigningKey]:
    def make(name: str = "production", **new) -> SigningKey:
        return services.create_key(name, services.NewKey(**new), actor=None)

    return make
