from datetime import timedelta

from django.apps import AppConfig


class PlanningConfig(AppConfig):
    name = "secguard.planning"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.accounts.services import APPLICATION_FOLLOWERS  # noqa: PLC0415 - models are loaded only now
        from secguard.accounts.views.applications import DETAIL_PARTS  # noqa: PLC0415
        from secguard.jobs import registry  # noqa: PLC0415
        from secguard.notifications import kinds  # noqa: PLC0415
        from secguard.planning import checks, own_checks, services, tasks, views  # noqa: PLC0415
        from secguard.planning.counting import register_counting  # noqa: PLC0415
        from secguard.planning.services.telling import KINDS  # noqa: PLC0415

        checks.register(*own_checks.CHECKS)
        register_counting(*own_checks.COUNTINGS)
        APPLICATION_FOLLOWERS.append(services.follow_application)
        DETAIL_PARTS.append(views.of_application)
        registry.register("planning.keep", tasks.keep)
        registry.every(timedelta(minutes=1), "planning.keep")
        for kind in KINDS:
            kinds.register(kind)
