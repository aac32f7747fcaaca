"""What the rules of decisions allow, said as plainly as possible and without one line of the product.

It keeps what people did and what is known, and asks every question anew from all of that: no status, no cache, no
index. Slow and obvious, to hold the product against (``test_no_sequence_lets_pass``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import permutations

SEVERITIES = ["unknown", "negligible", "low", "medium", "high", "critical"]
LINES = (0.1, 0.5)
Grant = tuple[str, str | None]
"""(role, team; None: the whole organisation)."""


@dataclass(frozen=True)
class Known:
    """What is known of a flaw in one image."""

    severity: str
    fix: bool
    exploited: bool = False
    epss: float = 0.0
    exposed: bool = False


@dataclass
class Vote:
    voter: str
    choice: str
    at: datetime
    grants: frozenset[Grant]
    """What the one held whose seat it is."""
    seat: str
    """Whose seat: the voter's own, or that of somebody away."""
    in_haste: bool = False


@dataclass
class Absence:
    person: str
    deputy: str
    begins: datetime
    ends: datetime


@dataclass
class Request:
    flaw: str
    kind: str
    scope: tuple[str, str]
    """("image", its number), ("repository", name), ("application", name) or ("organisation", "")."""
    requester: str
    asked_at: datetime
    ends_at: datetime
    seats: tuple[str, ...]
    """One role for each person that has to say yes."""
    known: Known
    """What was known, at its worst, where it was asked for."""
    late_at: datetime | None = None
    """From then on a business approver may fill any seat: it waited too long."""
    votes: list[Vote] = field(default_factory=list)
    approved_at: datetime | None = None
    is_over: bool = False
    until_fixed: bool = False
    """Only as long as each place has had it ever since; for good over where it was fixed, also if it comes back."""
    max_severity: str = ""
    look_for: timedelta = timedelta(0)
    """Whoever approves sooner after opening it says yes in haste: that takes one person more."""


class Law:
    def __init__(self) -> None:
        self.grants: dict[str, set[Grant]] = {}
        self.inactive: set[str] = set()
        self.made_able: list[tuple[str, str, datetime]] = []
        """(by whom, whom, when): an account or a role that somebody was given."""
        self.team_of: dict[str, str] = {}
        """application to team."""
        self.exposed: set[str] = set()
        """applications."""
        self.owner: dict[str, str | None] = {}
        """repository to application."""
        self.places: dict[str, set[str]] = {}
        """image to repositories."""
        self.found: dict[str, dict[str, tuple[str, bool]]] = {}
        """image to {flaw: (severity, whether there is a fix)}."""
        self.newest: dict[str, str] = {}
        """repository to the image that came there last."""
        self.stood: dict[tuple[str, str], list[tuple[datetime, bool]]] = {}
        """(flaw, repository) to whether its newest image had it, each time that somebody looked, once it was met."""
        self.exploited: set[str] = set()
        self.epss: dict[str, float] = {}
        self.requests: dict[int, Request] = {}
        self.absences: list[Absence] = []

    # --- what is known ---

    def known(self, flaw: str, image: str, scope: tuple[str, str] = ("organisation", "")) -> Known | None:
        """What is known of a flaw in an image; who is exposed, of those whose place lies in ``scope``."""
        if flaw not in self.found.get(image, {}):
            return None
        severity, fix = self.found[image][flaw]
        owners = {self.owner.get(r) for r in self.places[image] if self._lies_in(image, r, scope)}
        return Known(severity, fix, flaw in self.exploited, self.epss.get(flaw, 0.0), bool(owners & self.exposed))

    def _lies_in(self, image: str, repository: str, scope: tuple[str, str]) -> bool:
        return scope in {
            ("image", image),
            ("repository", repository),
            ("application", self.owner.get(repository) or ""),
            ("organisation", ""),
        }

    def looked(self, image: str, flaws: set[str], now: datetime) -> None:
        """An image was scanned: note for each repository where it lies what its newest image has."""
        for repository in self.places[image]:
            newest = self.found[self.newest[repository]]
            for flaw in sorted(flaws):
                if flaw in self.found[image] or (flaw, repository) in self.stood:
                    self.stood.setdefault((flaw, repository), []).append((now, flaw in newest))

    def stands_since(self, request: Request, repository: str) -> bool:
        """Whether the repository's newest image has had the flaw at all times since the request."""
        looks = self.stood.get((request.flaw, repository), [])
        before = [has for at, has in looks if at <= request.asked_at][-1:]
        return bool(looks) and all([*before, *(has for at, has in looks if at > request.asked_at)])

    def images_in(self, scope: tuple[str, str]) -> set[str]:
        return {i for i, places in self.places.items() if any(self._lies_in(i, r, scope) for r in places)}

    def worst(self, flaw: str, scope: tuple[str, str]) -> Known | None:
        seen = [k for image in self.images_in(scope) if (k := self.known(flaw, image, scope))]
        if not seen:
            return None
        worst = max(seen, key=lambda k: SEVERITIES.index(k.severity))
        return replace(worst, fix=any(k.fix for k in seen), exposed=any(k.exposed for k in seen))

    def is_worse(self, request: Request, now_known: Known) -> bool:
        """Whether what is known now ends what was agreed under ``request.known``."""
        then = request.known
        if now_known.exploited and not then.exploited:
            return True
        if request.kind in ("accept", "mitigate") and now_known.fix and not then.fix:
            return True
        line = request.max_severity
        if line and SEVERITIES.index(now_known.severity) > SEVERITIES.index(line):
            return True
        if request.kind == "not_affected":
            return False
        if SEVERITIES.index(now_known.severity) > SEVERITIES.index(then.severity):
            return True
        if now_known.exposed and not then.exposed:
            return True
        return any(then.epss < line <= now_known.epss for line in LINES)

    # --- who may say yes ---

    def teams_of(self, scope: tuple[str, str]) -> set[str | None]:
        """The teams whose things lie in a scope; ``None`` for what nobody owns, and for the whole organisation."""
        kind, name = scope
        if kind == "image":
            return {self._team(r) for r in self.places[name]}
        if kind == "repository":
            return {self._team(name)}
        if kind == "application":
            return {self.team_of[name]}
        return {None}

    def _team(self, repository: str) -> str | None:
        application = self.owner.get(repository)
        return self.team_of[application] if application else None

    def now_held(self, person: str) -> set[Grant]:
        return set() if person in self.inactive else self.grants[person]

    def cast(
        self,
        number: int,
        voter: str,
        choice: str,
        now: datetime,
        *,
        seat: str = "",
        looked_for: timedelta | None = None,
    ) -> None:
        request = self.requests[number]
        whose = seat or voter
        in_haste = looked_for is not None and looked_for < request.look_for
        request.votes.append(Vote(voter, choice, now, frozenset(self.now_held(whose)), whose, in_haste))
        if choice == "reject":
            request.is_over = True
        elif not request.is_over and now < request.ends_at and self.is_agreed(request):
            request.approved_at = now

    def undone(self, number: int, voter: str, again: int, now: datetime) -> None:
        """A vote was taken back: what it led to is over, and the same is asked for once more, as if nobody voted."""
        request = self.requests[number]
        assert [v.voter for v in request.votes] == [voter], "a vote was undone that is not theirs, or not alone"
        assert now - request.votes[0].at <= timedelta(seconds=15), "a vote was undone too late"
        request.is_over = True
        self.requests[again] = replace(request, votes=[], approved_at=None, is_over=False)

    def is_agreed(self, request: Request) -> bool:
        """For each team concerned, enough people other than the requester hold the roles, then and now."""
        yes = [v for v in request.votes if v.choice == "approve" and self._is_free(v, request)]
        return all(self._is_enough(yes, request, team) for team in self.teams_of(request.scope))

    def _is_free(self, vote: Vote, request: Request) -> bool:
        """Nobody speaks for their own request, nor does who was made able to speak by the requester for it; and for
        somebody else only who stands in for them then, and is not away as well."""
        if request.requester in (vote.voter, vote.seat):
            return False
        if vote.seat != vote.voter:
            then = [a for a in self.absences if a.begins <= vote.at < a.ends]
            if (vote.seat, vote.voter) not in {(a.person, a.deputy) for a in then}:
                return False
            if vote.voter in {a.person for a in then}:
                return False
        made = [
            at for maker, whom, at in self.made_able if maker == request.requester and whom in (vote.voter, vote.seat)
        ]
        return not any(request.asked_at <= at <= vote.at for at in made)

    def _is_enough(self, yes: list[Vote], request: Request, team: str | None) -> bool:
        """The seats are filled by people who took their time, or by whoever it was and one more stands beside them."""
        calm = [v for v in yes if not v.in_haste]
        able = [v for v in yes if self._roles(v, request, team) & set(request.seats)]
        one_more = len({v.seat for v in able}) > len(request.seats)
        return self._seats_filled(calm, request, team) or (one_more and self._seats_filled(yes, request, team))

    def _roles(self, vote: Vote, request: Request, team: str | None) -> set[str]:
        holds = set() if vote.voter in self.inactive else self.now_held(vote.seat)
        found = {role for role, where in vote.grants & holds if where is None or where == team}
        is_late = request.late_at is not None and vote.at >= request.late_at
        return found | set(request.seats) if is_late and "business-approver" in found else found

    def _seats_filled(self, yes: list[Vote], request: Request, team: str | None) -> bool:
        return any(
            all(seat in self._roles(vote, request, team) for seat, vote in zip(request.seats, people, strict=True))
            for people in permutations(yes, len(request.seats))
            if len({v.voter for v in people}) == len({v.seat for v in people}) == len(people)
        )

    # --- what may pass ---

    def holds(self, request: Request, now: datetime) -> bool:
        return (
            not request.is_over
            and request.approved_at is not None
            and request.approved_at <= now
            and now < request.ends_at
        )

    def allows(self, flaw: str, image: str, now: datetime) -> bool:
        """Whether the people concerned agreed that ``image`` may go on with ``flaw``, under what is known now."""
        if self.known(flaw, image) is None:
            return True
        holding = [
            r
            for r in self.requests.values()
            if r.flaw == flaw
            and self.holds(r, now)
            and (known := self.known(flaw, image, r.scope))
            and not self.is_worse(r, known)
        ]
        repositories = self.places[image]
        owners = {self._team(r) for r in repositories} - {None}
        if len(owners) < 2:
            return self._covered(holding, image, repositories)
        return all(
            self._covered(holding, image, {r for r in repositories if self._team(r) == owner}) for owner in owners
        )

    def _covered(self, holding: list[Request], image: str, repositories: set[str]) -> bool:
        return any(
            self._lies_in(image, repository, request.scope)
            and (not request.until_fixed or self.stands_since(request, repository))
            for request in holding
            for repository in repositories
        )
