from django.apps import AppConfig


class FindingsConfig(AppConfig):
    name = "secguard.findings"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.accounts import services as accounts  # noqa: PLC0415 - models are loaded only now
        from secguard.advisories import services as advisories  # noqa: PLC0415
        from secguard.findings import services  # noqa: PLC0415
        from secguard.images import services as images  # noqa: PLC0415
        from secguard.jobs.registry import register  # noqa: PLC0415

        register(services.TELL, services.tell)
        # Before the apps above: they read the team that stands on an exposure.
        accounts.APPLICATION_FOLLOWERS.append(services.follow_application)
        images.REPOSITORY_FOLLOWERS.append(services.follow_repository)
        advisories.ON_MERGE.append(services.merge_flaws)
        advisories.FACTS_CHANGED.append(services.follow_flaws)
