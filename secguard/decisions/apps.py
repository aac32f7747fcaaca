from datetime import timedelta

from django.apps import AppConfig


class DecisionsConfig(AppConfig):
    name = "secguard.decisions"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.accounts.services import APPLICATION_FOLLOWERS  # noqa: PLC0415 - models are loaded only now
        from secguard.decisions import services, tasks  # noqa: PLC0415
        from secguard.findings.services import EXPOSURES_CHANGED, RISKS_CHANGED  # noqa: PLC0415
        from secguard.jobs import registry  # noqa: PLC0415

        EXPOSURES_CHANGED.append(services.follow_exposures)
        RISKS_CHANGED.append(services.follow_risks)
        APPLICATION_FOLLOWERS.append(services.follow_application)
        registry.register("decisions.end", tasks.end_due)
        registry.every(timedelta(minutes=1), "decisions.end")
