"""The outside world: other people's webhooks."""
