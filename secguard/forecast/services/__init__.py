"""Compute what is foreseen, and tell those who can still do something about it."""

from secguard.forecast.services.computing import compute
from secguard.forecast.services.telling import KINDS, tell

__all__ = ["KINDS", "compute", "tell"]
