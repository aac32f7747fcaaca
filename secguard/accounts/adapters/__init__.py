"""The outside world: those who issue tokens and sign people in."""
