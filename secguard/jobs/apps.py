from datetime import timedelta

from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "secguard.jobs"
    label = "jobs"

    def ready(self) -> None:
        from secguard.jobs import registry, services  # noqa: PLC0415 - models are loaded only now

        registry.register("jobs.prune", services.prune_job)
        registry.every(timedelta(days=1), "jobs.prune")
