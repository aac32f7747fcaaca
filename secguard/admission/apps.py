from django.apps import AppConfig


class AdmissionConfig(AppConfig):
    name = "secguard.admission"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.admission import events, planning  # noqa: PLC0415
        from secguard.admission.services.observing import ADMISSION_SETTINGS  # noqa: PLC0415 - models are loaded only now
        from secguard.admission.services.telling import KINDS  # noqa: PLC0415
        from secguard.admission.views.glass import waiting  # noqa: PLC0415
        from secguard.decisions.services import OBSERVERS  # noqa: PLC0415
        from secguard.events import sources  # noqa: PLC0415
        from secguard.notifications import kinds  # noqa: PLC0415
        from secguard.planning.counting import register_counting  # noqa: PLC0415
        from secguard.web.navigation import register_badge  # noqa: PLC0415

        OBSERVERS.append(ADMISSION_SETTINGS)
        sources.register(events.NAME, events.pull)
        sources.lead("admission", events.address)
        register_counting(*planning.COUNTINGS)
        for kind in KINDS:
            kinds.register(kind)
        register_badge("break-glass:list", waiting)
