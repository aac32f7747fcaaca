"""Which files of a layer may tell syft of a package: a layer without any need not be given to it. Pure.

Starting syft costs about a second whatever it looks at, so a layer that only changes an application's own code is
better not given to it at all. The patterns are those that syft itself says it searches for (its trace log); a test asks
the installed version again, and of another version nothing is assumed.
"""

from __future__ import annotations

import re
from typing import Final

SYFT_VERSION: Final = "1.18.1"
"""The version whose searches stand here."""

GLOBS: Final = (
    # package databases
    "**/lib/apk/db/installed", "**/lib/dpkg/status", "**/lib/dpkg/status.d/*", "**/lib/opkg/info/*.control",
    "**/lib/opkg/status", "**/var/db/pkg/*/*/CONTENTS", "**/var/lib/pacman/local/**/desc",
    "**/var/lib/rpmmanifest/container-manifest-2",
    "**/{var/lib,usr/share,usr/lib/sysimage}/rpm/{Packages,Packages.db,rpmdb.sqlite}",
    # languages
    "**/*.dll", "**/*.ear", "**/*.egg-info", "**/*.exe", "**/*.hpi", "**/*.jar", "**/*.jpi", "**/*.kar", "**/*.lpkg",
    "**/*.nar", "**/*.par", "**/*.rockspec", "**/*.sar", "**/*.war", "**/*.zip", "**/*DIST-INFO/METADATA",
    "**/*EGG-INFO/PKG-INFO", "**/*dist-info/METADATA", "**/*egg-info/PKG-INFO", "**/DESCRIPTION", "**/conaninfo.txt",
    "**/installed.json", "**/package.json", "**/php/.registry/.channel.*/*.reg", "**/pyvenv.cfg", "**/release",
    "**/specifications/**/*.gemspec", "**/wp-content/plugins/*/*.php",
    # kernels
    "**/kernel", "**/kernel-*", "**/lib/modules/**/*.ko", "**/vmlinux", "**/vmlinux-*", "**/vmlinuz", "**/vmlinuz-*",
    # well-known programs, by name
    "**/VERSION", "**/arangosh", "**/bash", "**/beam.smp", "**/busybox", "**/cabal", "**/composer*", "**/consul",
    "**/curl", "**/dart", "**/erlexec", "**/fluent-bit", "**/gcc", "**/getopt", "**/ghc*", "**/go", "**/gzip",
    "**/haproxy", "**/helm", "**/httpd", "**/java", "**/jdb", "**/jq", "**/liberts_internal.a",
    "**/libjulia-internal.so", "**/libphp*.so", "**/libpypy*.so*", "**/libpython*.so*",
    "**/libstd-????????????????.dylib", "**/libstd-????????????????.so", "**/lighttpd", "**/memcached", "**/mysql",
    "**/nginx", "**/node", "**/openssl", "**/perl", "**/php*", "**/php-fpm*", "**/postgres", "**/proftpd",
    "**/python*", "**/redis-server", "**/ruby", "**/sqlcipher", "**/stack", "**/swipl", "**/traefik", "**/wp",
    "**/xtrabackup", "**/xz", "**/zstd", "**/{mariadb,mysql}",
)  # fmt: skip
"""What its catalogers for images search by name (doublestar patterns)."""

_EXECUTABLES = (
    b"\x7fELF",
    b"MZ",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
    b"\xca\xfe\xba\xbf",
    b"\xbe\xba\xfe\xca",
    b"\xbf\xba\xfe\xca",
)
"""How ELF, PE and Mach-O files begin: those it searches by content, whatever their name."""
HEAD_BYTES: Final = 4


def _pattern(glob: str) -> str:
    """A doublestar pattern as a regular expression over paths without the first slash."""
    out = re.escape(glob).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return out.replace(r"\{", "(?:").replace(r"\}", ")").replace(",", "|")


_NAMED = re.compile("|".join(_pattern(glob) for glob in GLOBS), re.S)
_NIX = re.compile(r"(?:.*/)?nix/store/", re.S)


def is_searched(path: str) -> bool:
    """Whether syft would search a file by this path (relative to the root)."""
    return _NAMED.fullmatch(path) is not None or _NIX.match(path) is not None


def may_tell(path: str, head: bytes) -> bool:
    """Whether a file of this path that begins with ``head`` (``HEAD_BYTES`` of it) may tell syft of a package."""
    return head.startswith(_EXECUTABLES) or is_searched(path)
