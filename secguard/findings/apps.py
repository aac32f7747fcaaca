from django.apps import AppConfig


class FindingsConfig(AppConfig):
    name = "secguard.findings"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.advisories import services as advisories  # noqa: PLC0415 - models are loaded only now
        from secguard.findings import services  # noqa: PLC0415
        from secguard.jobs.registry import register  # noqa: PLC0415

        register(services.TELL, services.tell)
        advisories.ON_MERGE.append(services.merge_flaws)
        advisories.FACTS_CHANGED.append(services.follow_flaws)
