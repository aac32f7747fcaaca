"""Who and what the sample organisation consists of. Pure: words and numbers, no row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from secguard.accounts.roles import Role
from secguard.workloads.volumes import Mount

REGISTRY: Final = "sample.example"
"""No such host can exist (RFC 2606, section 2): nothing of the sample is ever pulled or reached."""

MARK: Final = "sample."
"""What the names of all sample people begin with."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of the sample; without a team their role holds in the whole organisation."""

    name: str
    display_name: str
    role: Role
    team: str = ""
    is_service: bool = False

    @property
    def username(self) -> str:
        return MARK + self.name


@dataclass(frozen=True, slots=True)
class App:
    name: str
    team: str
    description: str
    is_exposed: bool = False
    is_production: bool = True


@dataclass(frozen=True, slots=True)
class Repo:
    """A lineage of images: what they are built from, and how carefully they are kept."""

    path: str
    application: str
    base: str
    """The distribution whose packages the images have: ``debian`` or ``alpine``."""
    language: str
    """The package type of what the team itself builds in."""
    care: float
    """The chance that a build takes what is new, for each of its packages."""
    is_rescanned: bool = False
    """A second scanner looks at its images too."""
    last_week: int = 10
    """The week in which it was built last: a repository that nobody builds any more ends early."""


TEAMS: Final = ("Storefront", "Payments", "Logistics", "Platform")

PEOPLE: Final = (
    Person("lena", "Lena Hoffmann", Role.DEVELOPER, "Storefront"),
    Person("tomas", "Tomáš Novák", Role.DEVELOPER, "Storefront"),
    Person("aisha", "Aisha Rahman", Role.DEVELOPER, "Storefront"),
    Person("marco", "Marco Bianchi", Role.DEVELOPER, "Payments"),
    Person("ines", "Inês Carvalho", Role.DEVELOPER, "Payments"),
    Person("jonas", "Jonas Lindqvist", Role.DEVELOPER, "Logistics"),
    Person("mei", "Mei Tanaka", Role.DEVELOPER, "Logistics"),
    Person("pavel", "Pavel Dvořák", Role.DEVELOPER, "Platform"),
    Person("sara", "Sara Okafor", Role.OPERATOR, "Platform"),
    Person("nora", "Nora Weiss", Role.SECURITY_REVIEWER),
    Person("david", "David Mbeki", Role.SECURITY_REVIEWER),
    Person("claire", "Claire Dubois", Role.BUSINESS_APPROVER),
    Person("hugo", "Hugo Martens", Role.VIEWER),
    *(Person(f"ci-{team.lower()}", f"{team} pipeline", Role.DEVELOPER, team, is_service=True) for team in TEAMS),
)

REVIEWERS: Final = ("nora", "david")
BUSINESS: Final = "claire"

APPLICATIONS: Final = (
    App("Web shop", "Storefront", "What customers see and search.", is_exposed=True),
    App("Mobile API", "Storefront", "The interface of the mobile apps.", is_exposed=True),
    App("Checkout", "Payments", "Basket, payment and fraud checks.", is_exposed=True),
    App("Ledger", "Payments", "Bookings and their reports."),
    App("Warehouse", "Logistics", "Stock, and the hand scanners in the halls."),
    App("Delivery tracking", "Logistics", "Where a parcel is, for customers.", is_exposed=True),
    App("Developer portal", "Platform", "Documentation and pipelines, for our own people.", is_production=False),
    App("Observability", "Platform", "Metrics, logs and their dashboards."),
)

REPOSITORIES: Final = (
    Repo("storefront/web", "Web shop", "debian", "npm", 0.45, is_rescanned=True),
    Repo("storefront/search", "Web shop", "debian", "maven", 0.3),
    Repo("mobile/api", "Mobile API", "alpine", "golang", 0.6),
    Repo("payments/checkout", "Checkout", "debian", "maven", 0.5, is_rescanned=True),
    Repo("payments/fraud", "Checkout", "debian", "pypi", 0.35),
    Repo("payments/ledger", "Ledger", "alpine", "golang", 0.55),
    Repo("payments/reporting", "Ledger", "debian", "pypi", 0.2, last_week=6),
    Repo("logistics/warehouse", "Warehouse", "debian", "maven", 0.12),
    Repo("logistics/scanner-gateway", "Warehouse", "alpine", "golang", 0.5),
    Repo("logistics/tracking", "Delivery tracking", "debian", "npm", 0.4),
    Repo("platform/portal", "Developer portal", "debian", "npm", 0.15),
    Repo("platform/ci-runner", "Developer portal", "debian", "pypi", 0.2),
    Repo("platform/collector", "Observability", "alpine", "golang", 0.9, is_rescanned=True),
    Repo("platform/dashboards", "Observability", "alpine", "npm", 0.8),
)


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster, and which repositories' newest images run there."""

    name: str
    kind: str
    repositories: tuple[str, ...]


CLUSTERS: Final = (
    Site("sample-production", "cloud", tuple(r.path for r in REPOSITORIES if not r.path.startswith("platform/p"))),
    Site("sample-halls", "datacenter", ("logistics/warehouse", "logistics/scanner-gateway", "platform/collector")),
    Site("sample-staging", "cloud", ("storefront/web", "payments/checkout", "mobile/api", "platform/portal")),
)

MOUNTS: Final[Mapping[str, tuple[Mount, ...]]] = {
    "payments/ledger": (Mount("data", "persistentVolumeClaim", "ledger-data"),),
    "payments/reporting": (Mount("exports", "nfs", "nas.sample.example:/exports/reporting"),),
    "logistics/warehouse": (Mount("orders", "persistentVolumeClaim", "warehouse-orders"),),
    "platform/ci-runner": (Mount("engine", "hostPath", "/run/containerd/containerd.sock"),),
    "platform/collector": (Mount("logs", "hostPath", "/var/log/pods", True),),
}
"""What workloads mount beside their settings and a folder of their own."""


def application_of(repo: Repo) -> App:
    return next(a for a in APPLICATIONS if a.name == repo.application)


def reference(path: str, tag: str = "") -> str:
    """How the sample's registry calls an image."""
    return f"{REGISTRY}/{path}" + (f":{tag}" if tag else "")
