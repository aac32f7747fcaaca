"""``python -m slowwork.ask COUNT SECONDS QUEUE``: enqueues that many jobs, each in a transaction of its own."""

from __future__ import annotations

import sys

import django
from django.db import transaction

django.setup()

from secguard.jobs import services  # noqa: E402

count, seconds, queue = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
for n in range(count):
    with transaction.atomic():
        services.enqueue("slow", {"n": n, "seconds": seconds}, key=f"{queue} {n}", queue=queue)
