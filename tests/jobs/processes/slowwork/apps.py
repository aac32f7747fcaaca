from django.apps import AppConfig


class SlowworkConfig(AppConfig):
    name = "slowwork"

    def ready(self):
        from secguard.jobs import registry
        from slowwork import slow

        registry.register("slow", slow, max_attempts=50)
