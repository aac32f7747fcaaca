"""Programs by what they are for: what a production image seldom needs, and what makes it several services. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

FOLDERS: Final = ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", "opt/bin")
"""Where programs lie (Filesystem Hierarchy Standard 3.0), without the first slash."""

DISTRIBUTION_SET_ID: Final = frozenset(
    {
        "at", "bbsuid", "bsd-write", "chage", "chfn", "chsh", "crontab", "dbus-daemon-launch-helper", "dotlockfile",
        "expiry", "fusermount", "fusermount3", "gpasswd", "grub2-set-bootflag", "locate", "mlocate", "mount",
        "mount.nfs", "newgidmap", "newgrp", "newuidmap", "pam_timestamp_check", "passwd", "pkexec", "plocate",
        "polkit-agent-helper-1", "pwck_chkpwd", "screen", "ssh-agent", "ssh-keysign", "staprun", "su", "sudo",
        "sudoedit", "umount", "unix_chkpwd", "unix_update", "userhelper", "usernetctl", "utempter", "wall", "write",
        "write.ul",
    }
)  # fmt: skip
"""Shipped with a set-id bit by Debian, Ubuntu, Fedora, RHEL or Alpine (their packages' file lists)."""
PACKAGE_MANAGERS: Final = frozenset(
    {
        "apk", "apt", "apt-get", "aptitude", "cargo", "dnf", "dnf5", "dpkg", "gem", "microdnf", "npm", "pacman",
        "pip", "pip3", "pnpm", "rpm", "tdnf", "yarn", "yum", "zypper",
    }
)  # fmt: skip
SHELLS: Final = frozenset(
    {
        "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "pwsh", "sh", "tcsh", "zsh",
    }
)  # fmt: skip
BUILD_TOOLS: Final = re.compile(
    r"(?:[\w.]+-(?:linux|alpine)-[\w-]+-)?(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+|cpp|ld|as|gdb|tcc)(?:-[\d.]+)?"
    r"|make|gmake|cmake|ninja|javac|go|rustc|cargo|gradle|mvn|bazel|automake|autoconf|m4|bison|flex|cc1|cc1plus"
)
NETWORK_TOOLS: Final = frozenset(
    {
        "curl", "dig", "ftp", "gdb", "ltrace", "masscan", "nc", "nc.openbsd", "nc.traditional", "ncat", "netcat",
        "nmap", "nslookup", "rsync", "scp", "sftp", "socat", "ssh", "strace", "tcpdump", "telnet", "tftp", "tshark",
        "wget",
    }
)  # fmt: skip
SERVICES: Final[Mapping[str, str]] = {
    "apache2": "Apache httpd",
    "httpd": "Apache httpd",
    "nginx": "nginx",
    "sshd": "OpenSSH server",
    "dropbear": "Dropbear SSH server",
    "mysqld": "MySQL",
    "mariadbd": "MariaDB",
    "postgres": "PostgreSQL",
    "mongod": "MongoDB",
    "redis-server": "Redis",
    "memcached": "memcached",
    "rabbitmq-server": "RabbitMQ",
    "haproxy": "HAProxy",
    "squid": "Squid",
    "named": "BIND",
    "dnsmasq": "dnsmasq",
    "exim4": "Exim",
    "postfix": "Postfix",
    "vsftpd": "vsftpd",
    "php-fpm": "PHP-FPM",
    "cron": "cron",
    "crond": "cron",
    "rsyslogd": "rsyslog",
    "syslog-ng": "syslog-ng",
    "supervisord": "supervisord",
    "fail2ban-server": "fail2ban",
    "slapd": "OpenLDAP",
    "smbd": "Samba",
    "in.telnetd": "telnet server",
    "telnetd": "telnet server",
    "dockerd": "Docker engine",
    "containerd": "containerd",
}
"""A daemon's program to the service's name: two names for one service count once."""
