"""Reading the event store: call these as ``queries.<name>``."""

from secguard.events.queries.filters import EventFilter, NarrowFilter, StoryFilter
from secguard.events.queries.sensors import find_sensor, sensors, set_aside
from secguard.events.queries.series import Series, series
from secguard.events.queries.storage import Cost, costs, history, measured
from secguard.events.queries.stories import (
    COUNTED,
    KEY,
    Told,
    count_heads,
    events,
    find,
    heads,
    matching,
    neighbours,
    readable,
    searched,
    stories,
    story_of,
    totals,
)

__all__ = [
    "COUNTED",
    "KEY",
    "Cost",
    "EventFilter",
    "NarrowFilter",
    "Series",
    "StoryFilter",
    "Told",
    "costs",
    "count_heads",
    "events",
    "find",
    "find_sensor",
    "heads",
    "history",
    "matching",
    "measured",
    "neighbours",
    "readable",
    "searched",
    "sensors",
    "series",
    "set_aside",
    "stories",
    "story_of",
    "totals",
]
