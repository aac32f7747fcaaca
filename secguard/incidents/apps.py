from datetime import timedelta

from django.apps import AppConfig


class IncidentsConfig(AppConfig):
    name = "secguard.incidents"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.incidents.services import containing, following, telling  # noqa: PLC0415 - models are loaded only now
        from secguard.incidents.views.incidents import waiting  # noqa: PLC0415
        from secguard.jobs import registry  # noqa: PLC0415
        from secguard.notifications import kinds  # noqa: PLC0415
        from secguard.runtime.services import intake  # noqa: PLC0415
        from secguard.web.navigation import register_badge  # noqa: PLC0415

        intake.FOLLOWERS.append(following.follow)
        registry.register(containing.LOOK, containing.look)
        registry.every(timedelta(minutes=2), containing.LOOK)
        kinds.register(telling.KIND)
        register_badge("incidents:list", waiting)
