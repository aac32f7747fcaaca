"""Pages of the event store."""
