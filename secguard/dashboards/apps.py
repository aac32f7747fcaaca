from datetime import timedelta

from django.apps import AppConfig


class DashboardsConfig(AppConfig):
    name = "secguard.dashboards"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.accounts.views.applications import DETAIL_PARTS  # noqa: PLC0415
        from secguard.dashboards import services  # noqa: PLC0415
        from secguard.dashboards.queries.around import around  # noqa: PLC0415
        from secguard.dashboards.queries.reach import reach  # noqa: PLC0415
        from secguard.dashboards.views.applications import application_figures  # noqa: PLC0415
        from secguard.decisions.queries import REACH  # noqa: PLC0415
        from secguard.events.around import AROUND  # noqa: PLC0415
        from secguard.jobs.registry import every, register  # noqa: PLC0415
        from secguard.notifications.services.writers import WRITERS  # noqa: PLC0415

        register(services.KEEP_DAY, services.keep_day)
        every(timedelta(hours=1), services.KEEP_DAY)
        register(services.KEEP_PACE, services.keep_pace)
        every(timedelta(hours=1), services.KEEP_PACE)
        register(services.SURVEY, services.survey)
        every(timedelta(minutes=10), services.SURVEY)
        register(services.WRITE_WEEKLY, services.write_weekly)
        every(timedelta(minutes=15), services.WRITE_WEEKLY)
        WRITERS[services.ABOUT] = services.letter
        DETAIL_PARTS.append(application_figures)
        REACH.append(reach)
        AROUND.append(around)
