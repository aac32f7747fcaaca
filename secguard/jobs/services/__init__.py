"""Asking for work, doing it, and finding what was left lying (DESIGN rule 9).

Whoever needs work done calls ``enqueue`` in the transaction that makes the work necessary; the wake-up goes out after
the commit. A worker claims a due job by a conditional UPDATE, holds it by a lease that it renews, and every later write
asks that the lease is still its own. A process that is killed loses its lease; ``sweep`` gives the job to another one.
"""

from secguard.jobs.services.asking import cancel, cancel_if_open, enqueue, hurry, looks, wait_for
from secguard.jobs.services.doing import claim, run_job, stop, stopping, work
from secguard.jobs.services.sweeping import prune, prune_job, sweep

__all__ = [
    "cancel",
    "cancel_if_open",
    "claim",
    "enqueue",
    "hurry",
    "looks",
    "prune",
    "prune_job",
    "run_job",
    "stop",
    "stopping",
    "sweep",
    "wait_for",
    "work",
]
