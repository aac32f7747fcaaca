"""Licences as SPDX writes them (SPDX specification 2.3, Annex D): which texts are expressions of known ids. Pure."""

from __future__ import annotations

import re
from typing import Final

KNOWN: Final = frozenset(
    """
    0BSD AFL-2.1 AFL-3.0 AGPL-1.0 AGPL-3.0 AGPL-3.0-only AGPL-3.0-or-later Apache-1.0 Apache-1.1 Apache-2.0 APSL-2.0
    Artistic-1.0 Artistic-1.0-Perl Artistic-2.0 Beerware BlueOak-1.0.0 BSD-1-Clause BSD-2-Clause BSD-2-Clause-Patent
    BSD-3-Clause BSD-3-Clause-Clear BSD-3-Clause-LBNL BSD-4-Clause BSD-4-Clause-UC BSD-Source-Code BSL-1.0 bzip2-1.0.6
    CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-NC-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC0-1.0 CDDL-1.0 CDDL-1.1
    CECILL-2.1 CPL-1.0 curl ECL-2.0 EFL-2.0 EPL-1.0 EPL-2.0 EUPL-1.1 EUPL-1.2 FSFAP FSFUL FSFULLR FTL GFDL-1.1
    GFDL-1.1-only GFDL-1.1-or-later GFDL-1.2 GFDL-1.2-only GFDL-1.2-or-later GFDL-1.3 GFDL-1.3-only GFDL-1.3-or-later
    GPL-1.0 GPL-1.0-only GPL-1.0-or-later GPL-2.0 GPL-2.0-only GPL-2.0-or-later GPL-3.0 GPL-3.0-only GPL-3.0-or-later
    HPND HPND-sell-variant ICU IJG ImageMagick Info-ZIP Intel IPL-1.0 ISC JSON LGPL-2.0 LGPL-2.0-only
    LGPL-2.0-or-later LGPL-2.1 LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0 LGPL-3.0-only LGPL-3.0-or-later Libpng
    libpng-2.0 libtiff LPL-1.02 LPPL-1.3c MIT MIT-0 MIT-CMU MIT-Modern-Variant MPL-1.0 MPL-1.1 MPL-2.0
    MPL-2.0-no-copyleft-exception MS-PL MS-RL NCSA NTP OFL-1.0 OFL-1.1 OLDAP-2.8 OpenSSL OSL-3.0 PHP-3.0 PHP-3.01
    PostgreSQL PSF-2.0 Python-2.0 Python-2.0.1 QPL-1.0 RSA-MD Ruby SGI-B-2.0 SISSL Sleepycat SMLNJ SSPL-1.0
    TCL TCP-wrappers Unicode-3.0 Unicode-DFS-2015 Unicode-DFS-2016 Unlicense UPL-1.0 Vim W3C W3C-19980720 WTFPL X11
    Xnet Zend-2.0 Zlib zlib-acknowledgement ZPL-2.0 ZPL-2.1
    """.split()  # noqa: SIM905 - read and compared as a list of words
)
"""Ids of the SPDX licence list that packages of distributions and languages use; another text is given as it is."""

_EXCEPTIONS: Final = frozenset(
    """
    Autoconf-exception-2.0 Autoconf-exception-3.0 Bison-exception-2.2 Bootloader-exception Classpath-exception-2.0
    Font-exception-2.0 GCC-exception-2.0 GCC-exception-3.1 Libtool-exception Linux-syscall-note LLVM-exception
    OpenJDK-assembly-exception-1.0 Qt-LGPL-exception-1.1 u-boot-exception-2.0 WxWindows-exception-3.1
    """.split()  # noqa: SIM905
)
_WORD = re.compile(r"[()]|[^\s()]+")


def is_known(text: str) -> bool:
    """Whether ``text`` is one id, as written in the list."""
    return text in KNOWN


def is_expression(text: str) -> bool:
    """Whether ``text`` is an expression of known ids: ids alone, with ``+``, ``WITH``, ``AND``, ``OR``, parentheses."""
    wants_id, depth, before = True, 0, ""
    for word in _WORD.findall(text):
        if before == "WITH":
            if word not in _EXCEPTIONS:
                return False
        elif wants_id:
            if word == "(":
                depth += 1
                continue
            if word.removesuffix("+") not in KNOWN:
                return False
            wants_id = False
        elif word == ")":
            depth -= 1
        elif word in ("AND", "OR"):
            wants_id = True
        elif word != "WITH" or before == ")":
            return False
        if depth < 0:
            return False
        before = word
    return not wants_id and not depth and before != "WITH"
