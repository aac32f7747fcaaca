"""Reads of the network, as pages and the API show them."""

from secguard.network.queries.edges import (
    HIDDEN,
    SIDES,
    STANDING_WORDS,
    STATES,
    VERDICT_WORDS,
    EdgeFilter,
    EndFilter,
    about,
    edges,
    losses,
    name_of,
    place_of,
    standing_of,
)
from secguard.network.queries.mapping import Map, opened, overview
from secguard.network.queries.reaching import Reach, reach_from, workload_standing

__all__ = [
    "HIDDEN",
    "SIDES",
    "STANDING_WORDS",
    "STATES",
    "VERDICT_WORDS",
    "EdgeFilter",
    "EndFilter",
    "Map",
    "Reach",
    "about",
    "edges",
    "losses",
    "name_of",
    "opened",
    "overview",
    "place_of",
    "reach_from",
    "standing_of",
    "workload_standing",
]
