"""The Celery application: two queues, wake-ups only (``secguard.jobs`` holds the truth)."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals
from kombu import Exchange, Queue

from secguard.collector import pace
from secguard.environment import BadEnvironment, require_secret_key

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "secguard.settings")

SWEEP_SECONDS = 5

app = Celery("secguard")
app.config_from_object("secguard.settings:CELERY")
# Each with an exchange of its own: on the default one, every wake-up would reach the workers of both.
app.conf.task_queues = [Queue(name, Exchange(name), routing_key=name) for name in ("interactive", "scheduled")]
# Beat's wake-ups end before the next one, so they do not pile up where no worker takes them.
app.conf.beat_schedule = {
    "sweep": {
        "task": "secguard.jobs.sweep",
        "schedule": SWEEP_SECONDS,
        "options": {"queue": "interactive", "expires": SWEEP_SECONDS},
    },
}
app.autodiscover_tasks()


# The first signal of a worker: the next one lets Django check its settings, which says less.
@signals.celeryd_init.connect
@signals.beat_init.connect
def refuse_without_secret(**_sender: Any) -> None:
    """Stops the start of a worker or of beat without SECGUARD_SECRET_KEY."""
    try:
        require_secret_key(os.environ)
    except BadEnvironment as error:
        # Celery logs what a receiver raises and goes on; only an exit stops it.
        raise SystemExit(str(error)) from error


@signals.worker_ready.connect
def set_the_pace(**_sender: Any) -> None:
    pace()
