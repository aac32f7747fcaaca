"""Every check of configuration and leanness: id, kind, severity, reason and remedy, in one table (docs/checks.md)."""

from __future__ import annotations

from msgspec import Struct

from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity
from secguard.scans.report import ReportedCheck

MISCONFIGURATION, HYGIENE = FindingKind.MISCONFIGURATION, FindingKind.HYGIENE
MAX_LISTED = 20


class Check(Struct, frozen=True):
    id: str
    kind: FindingKind
    severity: Severity
    title: str
    reason: str
    remedy: str
    reference: str = ""
    """Where the rule comes from: a section of the CIS Docker Benchmark 1.6.0, or of NIST SP 800-190."""


def failed(check: Check, target: str, detail: str = "") -> ReportedCheck:
    """``check`` failed at ``target``: stable between runs, so that it is the same finding (DESIGN rule 2)."""
    return ReportedCheck(
        kind=check.kind,
        check_id=check.id,
        target=target,
        severity=check.severity,
        title=check.title,
        description=f"{check.reason} {detail}".strip(),
        remediation=check.remedy,
        references=(check.reference,) if check.reference else (),
    )


def listed(paths: list[str]) -> str:
    """Some of the paths, and how many more there are."""
    shown = ", ".join(paths[:MAX_LISTED])
    return shown + (f" and {len(paths) - MAX_LISTED} more" if len(paths) > MAX_LISTED else "")


RUNS_AS_ROOT = Check(
    "SG-CFG-001",
    MISCONFIGURATION,
    Severity.HIGH,
    "The image runs as root",
    "Whoever breaks out of the program owns the container, and has a shorter way to the host.",
    "Make a user in the Dockerfile and switch to it: RUN useradd --system app, then USER app (better by number, so "
    "that runAsNonRoot can check it).",
    "CIS Docker Benchmark 1.6.0, 4.1",
)
NO_HEALTHCHECK = Check(
    "SG-CFG-002",
    MISCONFIGURATION,
    Severity.LOW,
    "No health check",
    "A container that hangs is taken for a healthy one.",
    "Add HEALTHCHECK to the Dockerfile, or probes to the workload.",
    "CIS Docker Benchmark 1.6.0, 4.6",
)
UPDATE_ALONE = Check(
    "SG-CFG-003",
    MISCONFIGURATION,
    Severity.LOW,
    "The package lists are updated in a layer of their own",
    "The layer is cached: later builds install from an old list, and miss what was fixed since.",
    "Update and install in one RUN: apt-get update && apt-get install -y … && rm -rf /var/lib/apt/lists/*.",
    "CIS Docker Benchmark 1.6.0, 4.7",
)
ADD_OF_URL = Check(
    "SG-CFG-004",
    MISCONFIGURATION,
    Severity.MEDIUM,
    "ADD fetches from an address",
    "What the address gives is not checked and may be another thing at each build.",
    "Fetch with a checksum: ADD --checksum=sha256:… URL, or RUN curl … && sha256sum -c; COPY what is local.",
    "CIS Docker Benchmark 1.6.0, 4.9",
)
ADMIN_PORT = Check(
    "SG-CFG-005",
    MISCONFIGURATION,
    Severity.MEDIUM,
    "A port of administration or debugging is exposed",
    "Who reaches the port administers the container, or runs code in it.",
    "Leave the service out of the image and EXPOSE only what users need; administer through the orchestrator.",
    "NIST SP 800-190, 4.1.2",
)
UNPINNED_BASE = Check(
    "SG-CFG-006",
    MISCONFIGURATION,
    Severity.LOW,
    "The base image is named by a tag that moves",
    "The same Dockerfile gives another image tomorrow, and nobody decided so.",
    "Name the base by version and digest: FROM debian:12.7-slim@sha256:….",
    "CIS Docker Benchmark 1.6.0, 4.2",
)
PIPED_SHELL = Check(
    "SG-CFG-007",
    MISCONFIGURATION,
    Severity.MEDIUM,
    "A build step runs what it fetches",
    "A script from the network runs as root in the build, unchecked: curl … | sh.",
    "Fetch a pinned version, check its checksum or signature, then run it.",
    "CIS Docker Benchmark 1.6.0, 4.11",
)
UNSIGNED_PACKAGES = Check(
    "SG-CFG-008",
    MISCONFIGURATION,
    Severity.HIGH,
    "Packages are installed without checking their signatures",
    "Anybody between the build and the mirror decides what is installed.",
    "Leave out --allow-unauthenticated, --nogpgcheck, --allow-untrusted, [trusted=yes]; add the repository's key.",
    "CIS Docker Benchmark 1.6.0, 4.11",
)
SET_ID = Check(
    "SG-CFG-009",
    MISCONFIGURATION,
    Severity.MEDIUM,
    "A program that runs with another's rights (set-id)",
    "A flaw in it makes whoever can run it root, or the group that it belongs to.",
    "Take the bit away in the Dockerfile: RUN chmod a-s FILE; or leave the program out.",
    "CIS Docker Benchmark 1.6.0, 4.8",
)
SET_ID_OF_DISTRIBUTION = Check(
    "SG-CFG-010",
    MISCONFIGURATION,
    Severity.LOW,
    "The distribution's own set-id programs",
    "A container that serves one program needs none of them.",
    "RUN find / -xdev -perm /6000 -type f -exec chmod a-s {} +, at the end of the build.",
    "CIS Docker Benchmark 1.6.0, 4.8",
)
WORLD_WRITABLE = Check(
    "SG-CFG-011",
    MISCONFIGURATION,
    Severity.MEDIUM,
    "A path that everybody may write to",
    "Any process in the container can replace what another one reads or runs.",
    "chmod o-w PATH; for a shared temporary folder set the sticky bit: chmod 1777.",
    "NIST SP 800-190, 4.1.2",
)
SECOND_ROOT = Check(
    "SG-CFG-012",
    MISCONFIGURATION,
    Severity.HIGH,
    "Another account with user id 0",
    "It is root by another name, and seldom looked at.",
    "Give the account an id of its own in /etc/passwd, or take it out.",
    "NIST SP 800-190, 4.1.2",
)
EMPTY_PASSWORD = Check(
    "SG-CFG-013",
    MISCONFIGURATION,
    Severity.HIGH,
    "An account without a password",
    "Whoever can reach a login, su or sshd gets in as it.",
    "Lock it: passwd -l NAME (the field in /etc/shadow is then ! or *).",
    "NIST SP 800-190, 4.1.2",
)
SOCKET_VOLUME = Check(
    "SG-CFG-014",
    MISCONFIGURATION,
    Severity.HIGH,
    "The image asks for the container engine's socket",
    "Who has the socket is root on the host.",
    "Leave the volume out; use a rootless builder, or an API that asks for less.",
    "NIST SP 800-190, 4.4.3",
)
SUDO = Check(
    "SG-CFG-015",
    MISCONFIGURATION,
    Severity.LOW,
    "sudo is installed",
    "Its only use in a container is to become root again.",
    "Do what needs root before USER in the Dockerfile, and leave sudo out.",
    "NIST SP 800-190, 4.1.2",
)
PACKAGE_MANAGER = Check(
    "SG-LEAN-001",
    HYGIENE,
    Severity.LOW,
    "A package manager is in the image",
    "Nothing is installed in production; whoever breaks in can.",
    "Build in one stage and copy the result into a distroless or minimal one.",
    "CIS Docker Benchmark 1.6.0, 4.3",
)
SHELL = Check(
    "SG-LEAN-002",
    HYGIENE,
    Severity.LOW,
    "A shell is in the image",
    "The program does not need one; most attacks do.",
    "Use a base without a shell, and the exec form of ENTRYPOINT and CMD.",
    "CIS Docker Benchmark 1.6.0, 4.3",
)
BUILD_TOOLS = Check(
    "SG-LEAN-003",
    HYGIENE,
    Severity.MEDIUM,
    "Compilers and build tools are in the image",
    "They are for building; in production they serve who breaks in.",
    "Build in a stage of its own (FROM … AS build) and COPY --from=build only the result.",
    "CIS Docker Benchmark 1.6.0, 4.3",
)
NETWORK_TOOLS = Check(
    "SG-LEAN-004",
    HYGIENE,
    Severity.LOW,
    "Tools to fetch, probe or debug are in the image",
    "curl, netcat, gdb and their like are how the next stage of an attack arrives.",
    "Leave them out; debug with an ephemeral container (kubectl debug).",
    "CIS Docker Benchmark 1.6.0, 4.3",
)
SEVERAL_SERVICES = Check(
    "SG-LEAN-005",
    HYGIENE,
    Severity.MEDIUM,
    "Several services in one image",
    "One container, one service: together they fail, scale, are patched and attacked together.",
    "Make an image for each service, and let the orchestrator run them beside each other.",
    "NIST SP 800-190, 4.1.2",
)
LEFTOVERS = Check(
    "SG-LEAN-006",
    HYGIENE,
    Severity.LOW,
    "Left over from the build",
    "Caches, package lists and version control folders make the image larger and tell how it was made.",
    "Remove them in the RUN that makes them, and list .git in .dockerignore.",
    "CIS Docker Benchmark 1.6.0, 4.3",
)
HIDDEN_BYTES = Check(
    "SG-LEAN-007",
    HYGIENE,
    Severity.LOW,
    "Layers carry files that later ones delete or replace",
    "They are pulled and stored everywhere, and can be read from the layer all the same.",
    "Delete in the RUN that created, or build in several stages.",
    "CIS Docker Benchmark 1.6.0, 4.3",
)
LARGE = Check(
    "SG-LEAN-008",
    HYGIENE,
    Severity.LOW,
    "A large image",
    "Every byte is pulled at each start on a new node, and is something that can be attacked.",
    "Start from a slim or distroless base and copy in only what runs.",
    "CIS Docker Benchmark 1.6.0, 4.3",
)
GROWN = Check(
    "SG-LEAN-009",
    HYGIENE,
    Severity.LOW,
    "Grown against the version before",
    "Something came in: know what, and whether it is meant.",
    "Compare the two versions' components on the image's page; take out what nobody wanted.",
    "CIS Docker Benchmark 1.6.0, 4.3",
)
MANY_LAYERS = Check(
    "SG-LEAN-010",
    HYGIENE,
    Severity.NEGLIGIBLE,
    "Many layers",
    "Each costs a request at every pull, and hides what the next one deletes.",
    "Join RUN steps that belong together; copy from a build stage.",
    "CIS Docker Benchmark 1.6.0, 4.3",
)

ALL: tuple[Check, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Check))
"""In the order of their definition."""
