"""The product's settings, with one more route: the empty view that the gate's answer is compared with."""

from __future__ import annotations

from secguard.settings import *  # noqa: F403 - all of them, whatever they are

ROOT_URLCONF = "benchmarks.urls"
