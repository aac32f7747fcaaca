"""The pages: ways in, one's own account, settings for everybody, and what teams own."""
