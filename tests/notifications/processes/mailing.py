"""``python -m mailing tell|deliver MINUTES|state``: one step of telling, in a process that a test may kill."""

from __future__ import annotations

import json
import sys
from datetime import timedelta

urlpatterns: list[object] = []

if __name__ == "__main__":
    import django

    django.setup()

    from django.contrib.auth.models import User
    from django.utils import timezone

    from secguard.notifications import kinds, services
    from secguard.notifications.digest import Line
    from secguard.notifications.models import Message, Notice

    kinds.register(kinds.Kind("test-flaw", "New flaws", "New flaw", 0))

    def people(ids):
        users = User.objects.filter(pk__in=ids)
        return {u.pk: services.Addressee(u.email, u.username, u.pk, True, frozenset()) for u in users}

    services.ADDRESSEES.append(people)
    now = timezone.now()
    if sys.argv[1] == "tell":
        ada = User.objects.create(username="ada", email="ada@example.org")
        telling = services.Telling("test-flaw", (Line(key="1", what="CVE-2026-1"),))
        services.notify([ada.pk], telling, now=now - timedelta(hours=1))
    elif sys.argv[1] == "deliver":
        sys.stdout.write(json.dumps(services.deliver(now + timedelta(minutes=int(sys.argv[2])))))
    else:
        told = Notice.objects.exclude(told_at=None).count()
        sys.stdout.write(json.dumps({"messages": list(Message.objects.values_list("status", flat=True)), "told": told}))
