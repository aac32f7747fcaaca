from datetime import timedelta

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "secguard.accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.accounts import queries, tasks  # noqa: PLC0415 - models are loaded only now
        from secguard.accounts.services.telling import KINDS  # noqa: PLC0415
        from secguard.jobs import registry  # noqa: PLC0415
        from secguard.notifications import kinds  # noqa: PLC0415
        from secguard.notifications.services import ADDRESSEES  # noqa: PLC0415

        ADDRESSEES.append(queries.addressees)
        # Its own layer knows no jobs; this is the lowest one that knows both.
        registry.register("notifications.deliver", tasks.deliver)
        registry.register("notifications.prune", tasks.prune_notices)
        registry.register("audit.search", tasks.index_audit_log)
        registry.every(timedelta(seconds=30), "audit.search")
        registry.register("accounts.prune-tokens", tasks.prune_exchanged_tokens)
        registry.every(timedelta(days=1), "accounts.prune-tokens")
        registry.every(timedelta(minutes=1), "notifications.deliver")
        registry.every(timedelta(days=1), "notifications.prune")
        for kind in KINDS:
            kinds.register(kind)
