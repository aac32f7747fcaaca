"""Reads of the network, as pages and the API show them."""

from secguard.network.queries.edges import (
    HIDDEN,
    SIDES,
    STATES,
    VERDICT_WORDS,
    EdgeFilter,
    EndFilter,
    about,
    edges,
    losses,
    name_of,
    place_of,
)
from secguard.network.queries.mapping import Map, opened, overview
from secguard.network.queries.reaching import Reach, reach_from, standing_of

__all__ = [
    "HIDDEN",
    "SIDES",
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
]
