"""Keep templates, and have one asked of an application."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotFound
from secguard.planning.checks import CHECKS
from secguard.planning.models import Checklist, PlanningTemplate
from secguard.planning.services.standing import recount
from secguard.planning.template import SHIPPED, kept_template, parse_template, shipped

MOST = 200
"""Templates by name."""


def latest(name: str) -> PlanningTemplate:
    """The newest version; the shipped one is written down where it is asked for first. Raises ``NotFound``."""
    if name == SHIPPED:
        ensure_shipped()
    found = PlanningTemplate.objects.filter(name=name).order_by("-version").first()
    if found is None:
        known = ", ".join(sorted(set(PlanningTemplate.objects.values_list("name", flat=True)) | {SHIPPED}))
        raise NotFound(f"There is no template {name[:60]!r}; there are: {known}.", code="planning-template")
    return found


@transaction.atomic
def ensure_shipped() -> PlanningTemplate:
    """What comes with the product, as its newest version; checklists follow where a release has changed it."""
    text = shipped()
    newest = PlanningTemplate.objects.filter(name=SHIPPED).order_by("-version").first()
    if newest is not None and newest.source == text:
        return newest
    return _make(text, None, is_shipped=True)


@transaction.atomic
def make_template(text: str, *, actor: User | None) -> PlanningTemplate:
    """Write down a template, or the next version of one; its checklists are counted by it at once.

    Needs policy:edit in the whole organisation. Answers carry over where what is asked has stayed the same. The same
    text again is the version that there is. Raises ``TemplateError`` with every fault, ``Conflict`` for the name of the
    shipped one.
    """
    require(actor, Permission.POLICY_EDIT)
    template = parse_template(text, CHECKS)
    if template.name == SHIPPED:
        raise Conflict(
            f"The template {SHIPPED!r} comes with SecGuard and changes with its releases. Give yours another name.",
            code="planning-template-shipped",
            where="name",
        )
    newest = PlanningTemplate.objects.filter(name=template.name).order_by("-version").first()
    if newest is not None and newest.source == text:
        return newest
    if newest is None and PlanningTemplate.objects.values("name").distinct().count() >= MOST:
        raise Invalid(f"There are {MOST} templates already, as many as are kept.", code="too-many")
    return _make(text, actor, is_shipped=False)


def _make(text: str, actor: User | None, *, is_shipped: bool) -> PlanningTemplate:
    template, now = kept_template(text), timezone.now()
    newest = PlanningTemplate.objects.filter(name=template.name).order_by("-version").first()
    version = 1 if newest is None else newest.version + 1
    try:
        with transaction.atomic():
            made = PlanningTemplate.objects.create(
                name=template.name,
                version=version,
                title=template.title,
                source=text,
                is_shipped=is_shipped,
                created_at=now,
                created_by=actor,
            )
    except IntegrityError:
        if is_shipped:  # another process was first
            return PlanningTemplate.objects.get(name=template.name, version=version)
        raise Conflict(
            f"Version {version} of {template.name!r} was made at this moment; look at it and try again.",
            code="planning-template",
        ) from None
    following = Checklist.objects.filter(template__name=template.name).order_by("pk")
    ids = list(following.values_list("application_id", flat=True))
    following.update(template=made, counted_at=None)
    recount(ids, now, measure=False)
    following.update(counted_at=None)  # what the new version measures is measured by the next run
    record(
        Action.PLANNING_TEMPLATE_CREATE,
        actor=actor,
        subject_type="planning-template",
        subject_id=made.pk,
        subject=str(made),
        details={"name": made.name, "version": made.version, "requirements": len(template.requirements)},
    )
    return made


@transaction.atomic
def choose_template(application_id: int, name: str, *, actor: User) -> Checklist:
    """Have the template's newest version asked of an application, and measured at once.

    The first one needs decision:request in the owning team. To change it needs policy:edit in the whole organisation:
    a gate may ask for the checklist, and a shorter one is a way around it. Raises ``NotFound``, ``NotAllowed``.
    """
    application = (
        Application.objects.visible_to(actor).select_for_update(of=("self",)).filter(pk=application_id).first()
    )
    if application is None:
        raise NotFound(f"There is no application {application_id}.")
    now = timezone.now()
    before = Checklist.objects.filter(application=application).select_related("template").first()
    if before is None:
        require(actor, Permission.DECISION_REQUEST, team_id=application.team_id, application=application)
    else:
        require(actor, Permission.POLICY_EDIT)
    template = latest(name)
    if before is not None and before.template_id == template.pk:
        return before
    was = str(before.template) if before is not None else ""
    checklist = before or Checklist(application=application)
    checklist.template, checklist.chosen_at, checklist.chosen_by = template, now, actor
    checklist.save()
    recount([application.pk], now)
    record(
        Action.PLANNING_TEMPLATE_CHOOSE,
        actor=actor,
        subject_type="application",
        subject_id=application.pk,
        subject=application.name,
        team_id=application.team_id,
        details={"template": str(template), "before": was},
    )
    return Checklist.objects.select_related("template", "application").get(pk=checklist.pk)
