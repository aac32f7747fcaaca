"""The Celery application: two queues, wake-ups only (``secguard.jobs`` holds the truth)."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals
from celery.schedules import schedule
from kombu import Queue

from secguard.environment import require_secret_key

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "secguard.settings")

SWEEP_SECONDS = 5
QUEUES = ("interactive", "scheduled")

app = Celery("secguard")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.worker_init.connect
@signals.beat_init.connect
def refuse_without_secret(**_sender: Any) -> None:
    require_secret_key(os.environ)
