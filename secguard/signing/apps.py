from datetime import timedelta

from django.apps import AppConfig


class SigningConfig(AppConfig):
    name = "secguard.signing"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.audit.notary import Notary, register  # noqa: PLC0415
        from secguard.jobs import registry  # noqa: PLC0415
        from secguard.planning.counting import register_counting  # noqa: PLC0415
        from secguard.signing import planning, services  # noqa: PLC0415 - models are loaded only now
        from secguard.signing.services import notary  # noqa: PLC0415

        register_counting(*planning.COUNTINGS)
        registry.register(services.WORK, services.work)
        registry.register(services.TAKE_AWAY, services.take_away)
        register(Notary(notary.signer, notary.public_keys, notary.ask))
        registry.register(notary.CHECKPOINT, notary.checkpoint)
        registry.every(timedelta(minutes=5), notary.CHECKPOINT)
