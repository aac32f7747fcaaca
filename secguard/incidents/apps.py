from datetime import timedelta

from django.apps import AppConfig


class IncidentsConfig(AppConfig):
    name = "secguard.incidents"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.incidents import planning  # noqa: PLC0415 - models are loaded only now
        from secguard.incidents.services import (  # noqa: PLC0415
            containing,
            expecting,
            following,
            normal,
            telling,
        )
        from secguard.incidents.views.incidents import waiting  # noqa: PLC0415
        from secguard.jobs import registry  # noqa: PLC0415
        from secguard.notifications import kinds  # noqa: PLC0415
        from secguard.planning.counting import register_counting  # noqa: PLC0415
        from secguard.runtime.services import baselines  # noqa: PLC0415
        from secguard.web.navigation import register_badge  # noqa: PLC0415

        baselines.JUDGED.append(following.follow)
        expecting.EXPECTED.append(normal.join)
        registry.register(containing.LOOK, containing.look)
        registry.every(timedelta(minutes=2), containing.LOOK)
        kinds.register(telling.KIND)
        register_badge("incidents:list", waiting)
        register_counting(*planning.COUNTINGS)
