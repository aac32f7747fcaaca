"""The Celery application: two queues, wake-ups only (``secguard.jobs`` holds the truth)."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals
from kombu import Queue

from secguard.environment import BadEnvironment, require_secret_key

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "secguard.settings")

SWEEP_SECONDS = 5

app = Celery("secguard")
app.config_from_object("secguard.settings:CELERY")
app.conf.task_queues = [Queue("interactive"), Queue("scheduled")]
# An unhandled message is a lost wake-up and nothing more, so beat's own ones do not pile up either.
app.conf.beat_schedule = {
    "sweep": {
        "task": "secguard.jobs.sweep",
        "schedule": SWEEP_SECONDS,
        "options": {"queue": "interactive", "expires": SWEEP_SECONDS},
    },
}
app.autodiscover_tasks()


@signals.worker_init.connect
@signals.beat_init.connect
def refuse_without_secret(**_sender: Any) -> None:
    """Stops the start of a worker or of beat without SECGUARD_SECRET_KEY."""
    try:
        require_secret_key(os.environ)
    except BadEnvironment as error:
        # Celery logs what a receiver raises and goes on; only an exit stops it.
        raise SystemExit(str(error)) from error
