"""What a wake-up makes a worker do, and what every worker process does beside its work."""

from __future__ import annotations

import random
import threading
from typing import Any

import structlog
from celery import signals
from django.db import Error, connection

from secguard.celery import SWEEP_SECONDS, app
from secguard.jobs import services
from secguard.jobs.adapters.waking import SWEEP, WORK

log = structlog.get_logger(__name__)


@app.task(name=WORK)
def work(queue: str) -> None:
    services.work(queue)


@app.task(name=SWEEP)
def sweep() -> None:
    services.sweep()


@signals.worker_ready.connect
def start_sweeping(**_sender: Any) -> None:
    """A thread beside the work: where no beat runs, due and abandoned jobs are found all the same."""
    threading.Thread(target=_sweep_for_ever, name="sweep", daemon=True).start()


def _sweep_for_ever() -> None:
    stopping = False
    while not stopping:
        try:
            services.sweep()
        except Error:
            log.warning("The sweep could not read the jobs; trying again.", exc_info=True)
        finally:
            connection.close()
        stopping = services.stopping(SWEEP_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load only


@signals.worker_shutting_down.connect
def stop_working(**_sender: Any) -> None:
    services.stop()
