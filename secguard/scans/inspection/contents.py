"""Checks of the files that an image shows: what can be misused, and what nothing needs. Pure.

The seed of this product: a container holds what it needs and nothing else (NIST SP 800-190, 4.1.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from secguard.scans.inspection import checks, programs
from secguard.scans.inspection.checks import failed, listed
from secguard.scans.inspection.files import LayerFile, PlacedFile, Squashed
from secguard.scans.report import ReportedCheck

MEGABYTE = 10**6
LARGE_BYTES = 500 * MEGABYTE
HIDDEN_SHARE, HIDDEN_LEAST = 0.1, 5 * MEGABYTE
GROWTH_SHARE, GROWTH_LEAST = 0.2, 10 * MEGABYTE
MANY = 40
MOST_PATHS = 50

SET_UID, SET_GID, STICKY, OTHERS_WRITE, EXECUTABLE = 0o4000, 0o2000, 0o1000, 0o002, 0o111

_HOME = r"(?:root|home/[^/]+)"
_LEFTOVERS = (
    (re.compile(r"(?:^|/)\.git/(?:HEAD|config)$"), "a git repository"),
    (re.compile(r"(?:^|/)\.(?:svn|hg)/"), "version control data"),
    (re.compile(r"^var/lib/apt/lists/.+_(?:(?:In)?Release|Packages(?:\.\w+)?)$"), "apt's package lists"),
    (re.compile(r"^var/cache/apt/(?:archives/.+\.deb|(?:src)?pkgcache\.bin)$"), "apt's cache"),
    (re.compile(r"^var/cache/apk/.+|^etc/apk/cache/.+"), "apk's cache"),
    (re.compile(r"^var/cache/(?:dnf|yum|libdnf5|zypp)/.+\.(?:solvx?|rpm|sqlite)$"), "the package manager's cache"),
    (re.compile(rf"^{_HOME}/\.(?:cache/(?:pip|go-build|yarn)|npm/_cacache|m2/repository)/.+"), "a build cache"),
    (re.compile(rf"^{_HOME}/\.(?:bash|ash|zsh|python|mysql|psql)_history$"), "a shell's history"),
    (re.compile(r"(?:^|/)(?:Dockerfile|Containerfile|compose\.ya?ml|docker-compose\.ya?ml)$"), "its own build files"),
)  # fmt: skip


def content_checks(
    tree: Squashed,
    *,
    layers: int,
    size_bytes: int | None,
    previous_size_bytes: int | None,
    accounts: str = "",
    shadow: str = "",
) -> list[ReportedCheck]:
    """Every check that the files fail.

    ``size_bytes`` and ``previous_size_bytes``: of this image and of the one before it in its repository, as pulled;
    ``accounts`` and ``shadow``: the texts of /etc/passwd and /etc/shadow.
    """
    found = _found_programs(tree.files)
    return [
        *_set_id(tree.files),
        *_writable(tree.files),
        *_accounts(accounts, shadow),
        *_tools(found),
        *_services(found),
        *_leftovers(tree.files),
        *_sizes(tree, layers, size_bytes, previous_size_bytes),
    ]


def _found_programs(files: Mapping[str, PlacedFile]) -> dict[str, str]:
    """Programs on the usual paths: name to path. A link counts where what it points to is there."""
    found: dict[str, str] = {}
    for path, placed in files.items():
        folder, _, name = path.rpartition("/")
        if folder not in programs.FOLDERS:
            continue
        f = placed.file
        runs = f.kind in ("file", "hard-link") and (f.mode & EXECUTABLE or f.kind == "hard-link")
        if runs or (f.kind == "link" and _leads_somewhere(path, files)):
            found.setdefault(name, path)
    return found


def _leads_somewhere(path: str, files: Mapping[str, PlacedFile]) -> bool:
    """True where the symbolic link ends at a file; links in folders above it (bin to usr/bin) are followed too."""
    for _ in range(40):
        placed = files.get(_real_folder(path, files))
        if placed is None:
            return False
        if placed.file.kind != "link":
            return placed.file.kind in ("file", "hard-link")
        path = _resolved(path, placed.file.link)
    return False


def _real_folder(path: str, files: Mapping[str, PlacedFile]) -> str:
    first, slash, rest = path.partition("/")
    top = files.get(first)
    if slash and top is not None and top.file.kind == "link":
        return f"{top.file.link.strip('/')}/{rest}"
    return path


def _resolved(path: str, link: str) -> str:
    parts = [] if link.startswith("/") else path.split("/")[:-1]
    for part in link.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _set_id(files: Mapping[str, PlacedFile]) -> Iterator[ReportedCheck]:
    usual: list[str] = []
    for path, placed in sorted(files.items()):
        f = placed.file
        # The group bit without execution by the group means mandatory locking, not other rights.
        is_set = f.mode & SET_UID or (f.mode & SET_GID and f.mode & 0o010)
        if f.kind != "file" or not is_set:
            continue
        if path.rpartition("/")[2] in programs.DISTRIBUTION_SET_ID:
            usual.append(f"/{path}")
        else:
            whose = f"user id {f.uid}" if f.mode & SET_UID else "its group"
            yield failed(checks.SET_ID, f"/{path}", f"/{path} runs as {whose} (mode {f.mode & 0o7777:04o}).")
    if usual:
        yield failed(checks.SET_ID_OF_DISTRIBUTION, "/", f"Found: {listed(usual)}.")


def _writable(files: Mapping[str, PlacedFile]) -> Iterator[ReportedCheck]:
    """The highest of each tree of such paths: what lies in a folder that everybody may change is no news."""
    loose = {path for path, placed in files.items() if _is_loose(path, placed.file)}
    roots = sorted(p for p in loose if p.rpartition("/")[0] not in loose)
    for path in roots[:MOST_PATHS]:
        f = files[path].file
        yield failed(checks.WORLD_WRITABLE, f"/{path}", f"/{path} is a {f.kind} of mode {f.mode & 0o7777:04o}.")
    if len(roots) > MOST_PATHS:
        yield failed(checks.WORLD_WRITABLE, "/", f"{len(roots) - MOST_PATHS} more paths like these.")


def _is_loose(path: str, f: LayerFile) -> bool:
    kept = f.kind == "file" or (f.kind == "directory" and not f.mode & STICKY)
    return bool(kept and f.mode & OTHERS_WRITE) and not path.startswith(("proc/", "sys/", "dev/"))


def _accounts(accounts: str, shadow: str) -> Iterator[ReportedCheck]:
    users = [line.split(":") for line in accounts.splitlines() if line.count(":") >= 2]
    for fields in users:
        if fields[2] == "0" and fields[0] != "root":
            yield failed(checks.SECOND_ROOT, f"/etc/passwd {fields[0]}"[:300])
    open_ones = {fields[0] for fields in users if fields[1] == ""}
    open_ones |= {w[0] for line in shadow.splitlines() if len(w := line.split(":")) > 1 and w[0] and w[1] == ""}
    for name in sorted(open_ones):
        yield failed(checks.EMPTY_PASSWORD, f"/etc/shadow {name}"[:300])


def _tools(here: Mapping[str, str]) -> Iterator[ReportedCheck]:
    for check, wanted in (
        (checks.PACKAGE_MANAGER, programs.PACKAGE_MANAGERS.__contains__),
        (checks.SHELL, programs.SHELLS.__contains__),
        (checks.BUILD_TOOLS, programs.BUILD_TOOLS.fullmatch),
        (checks.NETWORK_TOOLS, programs.NETWORK_TOOLS.__contains__),
    ):
        found = sorted(f"/{path}" for name, path in here.items() if wanted(name))
        if found:
            yield failed(check, "/", f"Found: {listed(found)}.")
    if "sudo" in here:
        yield failed(checks.SUDO, f"/{here['sudo']}")


def _services(here: Mapping[str, str]) -> Iterator[ReportedCheck]:
    found = {programs.SERVICES[n]: p for n, p in sorted(here.items()) if programs.SERVICES.get(n)}
    if len(found) > 1:
        yield failed(checks.SEVERAL_SERVICES, "/", f"Found: {listed([f'{s} (/{p})' for s, p in found.items()])}.")


def _leftovers(files: Mapping[str, PlacedFile]) -> Iterator[ReportedCheck]:
    found: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    for path, placed in sorted(files.items()):
        if placed.file.kind != "file":
            continue
        what = next((what for pattern, what in _LEFTOVERS if pattern.search(path)), None)
        if what is not None:
            found.setdefault(what, []).append(f"/{path}")
            sizes[what] = sizes.get(what, 0) + placed.file.size
    for what, paths in found.items():
        yield failed(checks.LEFTOVERS, what, f"{_bytes(sizes[what])} of {what}: {listed(paths)}.")


def _sizes(tree: Squashed, layers: int, size: int | None, before: int | None) -> Iterator[ReportedCheck]:
    total = sum(p.file.size for p in tree.files.values() if p.file.kind == "file")
    if tree.hidden_bytes > max(HIDDEN_LEAST, total * HIDDEN_SHARE):
        yield failed(checks.HIDDEN_BYTES, "/", f"{_bytes(tree.hidden_bytes)} beside {_bytes(total)} that are of use.")
    if total > LARGE_BYTES:
        yield failed(checks.LARGE, "/", f"{_bytes(total)} unpacked.")
    if size is not None and before and size - before > max(GROWTH_LEAST, before * GROWTH_SHARE):
        yield failed(checks.GROWN, "/", f"{_bytes(size)} to pull; the version before had {_bytes(before)}.")
    if layers > MANY:
        yield failed(checks.MANY_LAYERS, "/", f"{layers} layers.")


def largest(tree: Squashed, most: int = 10) -> Sequence[tuple[str, int]]:
    """The largest files: where an image's size is."""
    files = ((f"/{path}", placed.file.size) for path, placed in tree.files.items() if placed.file.kind == "file")
    return sorted(files, key=lambda f: (-f[1], f[0]))[:most]


def _bytes(size: int) -> str:
    return f"{size / MEGABYTE:,.1f} MB" if size >= MEGABYTE else f"{size / 1000:,.1f} kB"
