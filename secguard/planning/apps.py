from django.apps import AppConfig


class PlanningConfig(AppConfig):
    name = "secguard.planning"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.planning import checks, own_checks  # noqa: PLC0415 - models are loaded only now
        from secguard.planning.counting import register_counting  # noqa: PLC0415

        checks.register(*own_checks.CHECKS)
        register_counting(*own_checks.COUNTINGS)
