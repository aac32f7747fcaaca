"""History issues what is signed and stands above decisions and signing: it puts the one's ways into the other."""

from django.apps import AppConfig


class HistoryConfig(AppConfig):
    name = "secguard.history"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.decisions.services import vexsigning  # noqa: PLC0415
        from secguard.history.vexsigning import Signatures  # noqa: PLC0415

        vexsigning.SIGNATURES[:] = [Signatures()]
