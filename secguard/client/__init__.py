"""The ``secguard`` command's client side: the REST API and nothing else. No Django, no database."""
