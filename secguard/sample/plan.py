"""Which decisions the sample's people asked for, and what became of each. Pure; days are counted from the loading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from secguard.sample.catalogue import EXPLOITED, FIXED_LATE, NEVER_FIXED


@dataclass(frozen=True, slots=True)
class Mitigation:
    """The control that a request to mitigate leans on: proposed with it, confirmed and checked when it is approved."""

    name: str
    kind: str
    days: int = 90
    """A person looks again at least this often."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request: about the risk named by ``flaw`` or ``rule``, else about the worst open one of ``severity``.

    ``days`` is how long it is to stand, counted from ``asked``; the risk appetite in force may shorten that.
    """

    asked: int
    by: str
    kind: str
    scope: str
    """``image``, ``repository``, ``application`` or ``organisation``."""
    place: str
    """A repository's path, or an application's name."""
    days: int
    reason: str
    severity: str = ""
    flaw: str = ""
    rule: str = ""
    fix: bool | None = None
    approved: int | None = None
    rejected: int | None = None
    withdrawn: int | None = None
    revoked: int | None = None
    words: str = ""
    """What the reviewer, or who revoked, says."""
    control: Mitigation | None = None


PLAN: Final = (
    # Ended by their date.
    Request(-62, "jonas", "accept", "repository", "logistics/warehouse", 28, "The halls close for stocktaking until "
            "then; no release before.", severity="high", approved=-61, words="Until after the stocktaking."),
    Request(-55, "lena", "fix", "application", "Web shop", 21, "The upgrade is in review, in the next release.",
            severity="high", fix=True, approved=-54),
    # Ended by a material change: a fix appeared.
    Request(-40, "pavel", "accept", "application", "Developer portal", 90, "The portal has no roles: there is nothing "
            "to bypass.", flaw=FIXED_LATE, approved=-39, words="Agreed, as long as there is no fix."),
    # Revoked, rejected, withdrawn.
    Request(-33, "marco", "mitigate", "repository", "payments/checkout", 25, "The gateway drops such requests.",
            severity="high", approved=-32, revoked=-20, words="The gateway's rule was taken out on Monday.",
            control=Mitigation("Gateway rule: drop oversized headers", "waf-or-ips-rule")),
    Request(-28, "tomas", "accept", "application", "Web shop", 60, "We do not think that anybody would do this.",
            severity="high", rejected=-27, words="Say which control stops it, or plan the upgrade."),
    Request(-24, "ines", "not_affected", "image", "payments/fraud", 60, "The function is never called.",
            severity="medium", withdrawn=-23),
    Request(-21, "mei", "accept", "repository", "logistics/tracking", 30, "No time this month.", severity="critical",
            rejected=-20, words="Exposed and critical with a fix: please take the upgrade."),
    # In force.
    Request(-30, "nora", "accept", "organisation", "", 150, "Nobody will fix it; our services do not parse untrusted "
            "patterns with it.", flaw=NEVER_FIXED, approved=-29, words="To be looked at again in spring."),
    Request(-26, "pavel", "accept", "repository", "platform/ci-runner", 30, "A token of the test account, valid in the "
            "test network alone.", rule="sample-test-token", approved=-25),
    Request(-18, "jonas", "mitigate", "repository", "logistics/warehouse", 60, "The service is reached from the halls' "
            "own network only.", severity="high", approved=-17, words="Seen in the firewall's rules.",
            control=Mitigation("Firewall: warehouse from the halls only", "network-policy")),
    Request(-16, "aisha", "not_affected", "application", "Mobile API", 120, "We build without that module.",
            severity="high", approved=-15),
    Request(-12, "pavel", "accept", "application", "Developer portal", 16, "Internal, and replaced next month.",
            severity="critical", approved=-11, words="Until the replacement."),
    Request(-11, "marco", "mitigate", "image", "payments/checkout", 20, "Outgoing connections of this service are "
            "closed.", severity="high", approved=-10,
            control=Mitigation("Egress of payments is closed", "network-policy")),
    Request(-9, "jonas", "mitigate", "application", "Warehouse", 13, "Logging of request headers is switched off.",
            flaw=EXPLOITED, approved=-8, words="Seen; two weeks to upgrade.",
            control=Mitigation("Request headers are not logged", "configuration", days=10)),
    Request(-8, "lena", "fix", "repository", "storefront/search", 30, "The upgrade needs the new query parser, due in "
            "three weeks.", severity="high", fix=True, approved=-7),
    # Nobody has decided yet.
    Request(-4, "marco", "mitigate", "repository", "payments/checkout", 14, "Payments are frozen until the audit is "
            "over; the firewall blocks outgoing connections.", flaw=EXPLOITED,
            control=Mitigation("Freeze of payments until the audit", "process", days=14)),
    Request(-3, "mei", "accept", "repository", "logistics/tracking", 30, "The upgrade breaks the map; the vendor "
            "promises a version without that in three weeks.", severity="critical"),
    Request(-3, "lena", "not_affected", "repository", "storefront/web", 90, "Only the build uses it; it is not in the "
            "request's path.", severity="high"),
    Request(-2, "pavel", "accept", "repository", "platform/portal", 14, "The key opens the demo machine only, which is "
            "taken down in two weeks.", rule="sample-private-key"),
    Request(-1, "ines", "fix", "application", "Ledger", 45, "Planned with the year-end release.", severity="high"),
    Request(-1, "aisha", "accept", "repository", "mobile/api", 30, "Rate limits hold it off until the next release.",
            severity="high"),
)  # fmt: skip
