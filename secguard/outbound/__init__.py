"""Connections from here to elsewhere, made only to addresses that were checked."""
