from django.apps import AppConfig


class PromotionConfig(AppConfig):
    name = "secguard.promotion"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.events import sources  # noqa: PLC0415
        from secguard.jobs.registry import register  # noqa: PLC0415
        from secguard.notifications import kinds  # noqa: PLC0415
        from secguard.planning import checks  # noqa: PLC0415
        from secguard.policies import services as policies  # noqa: PLC0415
        from secguard.promotion import events, planning, queries, services  # noqa: PLC0415 - models are loaded only now
        from secguard.promotion.views.promotions import waiting  # noqa: PLC0415
        from secguard.signing import services as signing  # noqa: PLC0415
        from secguard.web.navigation import register_badge  # noqa: PLC0415

        register(services.CARRY, services.carry, failed=services.carry_failed)
        register(services.UNDO, services.undo)
        register(services.OFFER, services.offer)
        signing.RECALLED.append(services.follow_recall)
        checks.register(*planning.CHECKS)
        signing.ENVIRONMENTS.append(queries.promotable)
        policies.JUDGED.append(services.follow_verdicts)
        sources.register(events.NAME, events.pull)
        sources.lead("promotion", events.address)
        for kind in services.KINDS:
            kinds.register(kind)
        register_badge("promotions:list", waiting)
