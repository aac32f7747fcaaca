"""A cluster's agent (``secguard admission agent``): stands between the cluster's API server and SecGuard, passes each
question on, and answers from the last signed snapshot while SecGuard is away. No Django, no database."""
