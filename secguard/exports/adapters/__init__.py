"""Sinks: each takes one batch, and returns only once the receiver has it."""
