"""Keep what the homes need of each day; keep people's views, and write them to those who want that."""

from secguard.dashboards.services.keeping import KEEP_DAY, ORGANISATION, keep, keep_day
from secguard.dashboards.services.pacing import KEEP_PACE, keep_pace, keep_paces
from secguard.dashboards.services.saving import (
    delete_view,
    find_by_key,
    key_of,
    save_view,
    subscribe,
    unsubscribe,
    unsubscribe_by_key,
)
from secguard.dashboards.services.surveying import SURVEY, count_all, survey
from secguard.dashboards.services.writing import ABOUT, WRITE_WEEKLY, letter, slice_of, write_due, write_weekly

__all__ = [
    "ABOUT",
    "KEEP_DAY",
    "KEEP_PACE",
    "ORGANISATION",
    "SURVEY",
    "WRITE_WEEKLY",
    "count_all",
    "delete_view",
    "find_by_key",
    "keep",
    "keep_day",
    "keep_pace",
    "keep_paces",
    "key_of",
    "letter",
    "save_view",
    "slice_of",
    "subscribe",
    "survey",
    "unsubscribe",
    "unsubscribe_by_key",
    "write_due",
    "write_weekly",
]
