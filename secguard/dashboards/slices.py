"""What a home is narrowed to: team, application, environment and period, as the URL says it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from secguard.errors import Invalid

PERIODS: Final = (1, 7, 30, 90, 365)
"""Days."""
FIELDS: Final = ("team", "application", "environment", "days")
_NAME: Final = re.compile(r"[\w.-]{1,100}")


@dataclass(frozen=True, slots=True)
class Slice:
    """``team`` and ``application`` are slugs, ``environment`` a name; empty: all that the reader may see."""

    team: str = ""
    application: str = ""
    environment: str = ""
    days: int = 30

    def since(self, now: datetime) -> datetime:
        return now - timedelta(days=self.days)

    @property
    def narrows(self) -> dict[str, str]:
        """What is narrowed, by name; without the period."""
        return {name: value for name in FIELDS[:3] if (value := str(getattr(self, name)))}

    @property
    def query(self) -> str:
        """The same in a URL, always written alike."""
        return urlencode([*self.narrows.items(), ("days", str(self.days))])

    @property
    def words(self) -> str:
        """``team payments, environment production, last 7 days``."""
        period = "last day" if self.days == 1 else f"last {self.days} days"
        return ", ".join([*(f"{name} {value}" for name, value in self.narrows.items()), period])


def read(values: Mapping[str, str], days: int) -> Slice:
    """The slice that ``values`` ask for, ``days`` where no period is named; raises ``Invalid`` for what is none."""
    texts = {name: values.get(name, "").strip() for name in FIELDS}
    for name in FIELDS[:3]:
        if texts[name] and not _NAME.fullmatch(texts[name]):
            raise Invalid(
                f"`{name}` is {texts[name][:40]!r}; expected at most 100 letters, digits, '-', '_' and '.'.", where=name
            )
    if texts["days"] and texts["days"] not in {str(period) for period in PERIODS}:
        listed = ", ".join(map(str, PERIODS))
        raise Invalid(f"`days` is {texts['days'][:40]!r}; expected one of {listed}.", where="days")
    return Slice(texts["team"], texts["application"], texts["environment"], int(texts["days"] or days))
