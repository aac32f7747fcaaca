from django.apps import AppConfig


class SampleConfig(AppConfig):
    name = "secguard.sample"

    def ready(self) -> None:
        from secguard.jobs.registry import register  # noqa: PLC0415
        from secguard.sample import queries, services  # noqa: PLC0415

        register(queries.LOAD, services.do_load, max_attempts=3)
        register(queries.REMOVE, services.do_remove, max_attempts=3)
