"""The outside world of notifications: e-mail."""
