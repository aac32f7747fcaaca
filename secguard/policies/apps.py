from datetime import timedelta

from django.apps import AppConfig


class PoliciesConfig(AppConfig):
    name = "secguard.policies"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.accounts import services as accounts  # noqa: PLC0415
        from secguard.decisions import services as decisions  # noqa: PLC0415
        from secguard.events import sources  # noqa: PLC0415
        from secguard.findings import services as findings  # noqa: PLC0415
        from secguard.images import services as images  # noqa: PLC0415
        from secguard.jobs.registry import every, register  # noqa: PLC0415
        from secguard.planning import checks  # noqa: PLC0415
        from secguard.planning import services as planned  # noqa: PLC0415
        from secguard.planning.views import ASKED_BY  # noqa: PLC0415
        from secguard.policies import events, planning, services, views  # noqa: PLC0415
        from secguard.scans import services as scans  # noqa: PLC0415
        from secguard.scans import verdicts  # noqa: PLC0415
        from secguard.signing import services as signing  # noqa: PLC0415

        verdicts.register(services.build_verdict)
        scans.SCANNED.append(services.follow_scan)
        decisions.FOLLOWERS.append(services.follow_decisions)
        decisions.PARTED.append(services.follow_parted)
        findings.RISKS_CHANGED.append(services.follow_risks)
        findings.IMAGES_CHANGED.append(services.follow_images)
        images.REPOSITORY_FOLLOWERS.append(services.follow_repository)
        signing.STATEMENTS.append(services.statements_for)
        signing.RECALLED.append(services.follow_recall)
        accounts.APPLICATION_FOLLOWERS.append(services.follow_application)
        checks.register(*planning.CHECKS)
        planned.CHANGED.append(services.follow_planning)
        ASKED_BY.append(views.asking_of_checklists)
        sources.register(events.NAME, events.pull)
        sources.lead("evaluation", events.address)
        register(services.JUDGE_REST, services.judge_rest)
        register(services.SETTLE, services.settle)
        register(services.JUDGE_STALE, services.judge_stale)
        every(timedelta(minutes=5), services.JUDGE_STALE)
