"""An installation on this machine: its data folder and the secret key that is made for it once.

Only commands that a person runs on the server itself use this; a server proper takes its key from the environment
(``secguard.environment.require_secret_key``). No Django.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from secguard import environment

KEY = "SECGUARD_SECRET_KEY"
ADDRESS = "SECGUARD_PUBLIC_URL"
CHECKOUT = Path(__file__).resolve().parent.parent


def data_dir(env: Mapping[str, str]) -> Path:
    """The folder of everything that is kept: SECGUARD_DATA_DIR, or ``var`` beside manage.py."""
    return Path(environment.text(env, "SECGUARD_DATA_DIR", str(CHECKOUT / "var"))).expanduser().resolve()


def make_folders(folder: Path) -> None:
    """Makes the data folder with what the processes expect in it, readable by its owner alone.

    ``BadEnvironment`` where it cannot be made or written to.
    """
    try:
        for path in (folder, folder / "spool" / "messages", folder / "spool" / "control", folder / "files"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, f"{error.filename}: {error.strerror}") from error
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise _unusable(folder, "this user may not write there")


def _unusable(folder: Path, why: str) -> environment.BadEnvironment:
    return environment.BadEnvironment(
        "SECGUARD_DATA_DIR", f"{folder}, which cannot be used ({why})", "a folder that this user may write to"
    )


def use_kept_key(env: MutableMapping[str, str]) -> None:
    """Puts the key that ``secguard up`` once made into the environment, where that holds none."""
    path = key_path(data_dir(env))
    if not env.get(KEY, "").strip() and path.exists():
        env[KEY] = _read(path)


def make_key(env: MutableMapping[str, str]) -> None:
    """Like ``use_kept_key``, and makes the key first where there is none: mode 0600, in the data folder."""
    path = key_path(data_dir(env))
    if not env.get(KEY, "").strip() and not path.exists():
        _write_once(path, secrets.token_urlsafe(48))
    use_kept_key(env)


def keep_address(folder: Path, url: str) -> None:
    """Keeps the address that ``secguard up`` serves, for ``use_kept_address``."""
    (folder / "address").write_text(f"{url}\n", encoding="utf-8")


def use_kept_address(env: MutableMapping[str, str]) -> None:
    """Makes the address last served the public one, where ``env`` names none.

    Whoever makes a link in a second terminal has not set PORT there; it must lead to the server all the same.
    """
    path = data_dir(env) / "address"
    if not any(env.get(name, "").strip() for name in ("PORT", ADDRESS)) and path.exists():
        env[ADDRESS] = path.read_text(encoding="utf-8").strip()


def key_path(folder: Path) -> Path:
    return folder / "secret-key"


def _write_once(path: Path, key: str) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # unlike rename, never replaces a key that another process made meanwhile
    except FileExistsError:
        return
    finally:
        draft.unlink()


def _read(path: Path) -> str:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise environment.BadEnvironment(
            str(path), f"readable by others (mode {mode:o})", f"mode 600; run: chmod 600 {path}"
        )
    return path.read_text(encoding="utf-8").strip()
