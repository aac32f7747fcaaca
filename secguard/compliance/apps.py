from datetime import timedelta

from django.apps import AppConfig


class ComplianceConfig(AppConfig):
    name = "secguard.compliance"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.accounts.services import APPLICATION_FOLLOWERS  # noqa: PLC0415 - models are loaded only now
        from secguard.compliance import services, tasks  # noqa: PLC0415
        from secguard.jobs import registry  # noqa: PLC0415
        from secguard.planning.services import CHANGED  # noqa: PLC0415

        APPLICATION_FOLLOWERS.append(services.follow_application)
        CHANGED.append(services.follow_checklists)
        registry.register("compliance.keep", tasks.keep)
        registry.every(timedelta(minutes=1), "compliance.keep")
