"""What is told of checklists, to pages and the API alike: every item with its evidence, and who may do what with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.approvals.models import APPROVED, OPEN, REJECTED, Vote
from secguard.approvals.quorum import Choice
from secguard.errors import NotFound
from secguard.planning.checklist import Item
from secguard.planning.models import Checklist, PlanningTemplate, RequirementAnswer, RequirementWaiver
from secguard.planning.queries import application_of, standing_of
from secguard.planning.services.answering import SEATS

WAIVER_RELATED = ("request", "request__requester", "checklist__application__team")


def find_checklist(slug: str, user: User) -> Checklist:
    """The application's checklist; ``NotFound`` where ``user`` may not see the application, and (code "no-checklist")
    where it has none yet."""
    application = application_of(slug, user)
    found = Checklist.objects.visible_to(user).filter(application=application)
    checklist = found.select_related("template", "application__team", "chosen_by").first()
    if checklist is None:
        raise NotFound(
            f"{application.name} has no checklist yet. Choose a template for it: nothing is asked of it until then.",
            code="no-checklist",
        )
    return checklist


def may_of(application: Application, user: User) -> list[str]:
    """What ``user`` can be offered to do: ``answer`` (and measure, and ask for a waiver), ``choose`` a template."""
    may = ["answer"] if user.can(Permission.DECISION_REQUEST, application.team_id) else []
    return [*may, "choose"] if user.teams_with(Permission.POLICY_EDIT) is None else may


def checklist_document(checklist: Checklist, user: User, now: datetime) -> dict[str, Any]:
    """A checklist with all of its items as they stand at ``now``. A fixed number of queries."""
    standing = standing_of(checklist, now)
    answers, waivers = _evidence(standing.items, user, now)
    return {
        **row_document(checklist),
        **{state.value.replace("-", "_"): count for state, count in standing.counts.items()},
        "unkept": list(standing.missing),
        "next_change": standing.next_change,
        "chosen_at": checklist.chosen_at,
        "chosen_by": checklist.chosen_by.username if checklist.chosen_by else None,
        "may": may_of(checklist.application, user),
        "items": [_item(item, answers, waivers) for item in standing.items],
    }


def row_document(checklist: Checklist) -> dict[str, Any]:
    """A checklist as it was counted last: for lists."""
    return {
        "application": checklist.application.slug,
        "team": checklist.application.team.slug,
        "template": checklist.template.name,
        "version": checklist.template.version,
        "kept": checklist.kept,
        "missing": checklist.missing,
        "open": checklist.open,
        "not_applicable": checklist.not_applicable,
        "stages": checklist.stages,
        "unkept": checklist.unkept,
        "measured_at": checklist.measured_at,
        "counted_at": checklist.counted_at,
        "next_change": checklist.next_change,
    }


def answers_of(checklist: Checklist) -> QuerySet[RequirementAnswer]:
    """Everything that people ever said of its requirements, newest first."""
    return checklist.answers.select_related("answered_by").order_by("-id")


def answer_document(row: RequirementAnswer) -> dict[str, Any]:
    return {
        "id": row.pk,
        "requirement": row.requirement,
        "is_kept": row.is_kept,
        "text": row.text,
        "evidence": row.evidence,
        "answered_by": row.answered_by.username,
        "answered_at": row.answered_at,
        "until": row.until,
    }


def waivers_visible_to(user: User) -> QuerySet[RequirementWaiver]:
    """Requests that a requirement does not apply, newest first, of every application that ``user`` may see."""
    return RequirementWaiver.objects.visible_to(user).select_related(*WAIVER_RELATED).order_by("-id")


def waiver_documents(rows: Sequence[RequirementWaiver], user: User, now: datetime) -> list[dict[str, Any]]:
    """Each with its votes, and what ``user`` can be offered to do with it. One query."""
    votes: dict[int, list[Vote]] = defaultdict(list)
    cast = Vote.objects.filter(request__in=[row.request_id for row in rows]).select_related("voter").order_by("pk")
    for vote in cast if rows else ():
        votes[vote.request_id].append(vote)
    return [_waiver(row, votes[row.request_id], user, now) for row in rows]


def waiting_for(user: User, now: datetime) -> list[dict[str, Any]]:
    """The requests that wait for ``user``'s vote, oldest first, at most 200. Nobody's own are among them."""
    if not any(role in SEATS for role, _ in user.grants()):
        return []
    rows = waivers_visible_to(user).filter(request__status=OPEN, ended_at=None, until__gt=now)
    found = list(rows.exclude(request__requester=user).order_by("id")[:200])
    told = waiver_documents(found, user, now)
    names = {row.pk: row.checklist.application.name for row in found}
    return [{**one, "name": names[one["id"]]} for one in told if "approve" in one["may"]]


def earlier_of(checklist: Checklist, user: User, now: datetime) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """{requirement: its last answers and requests, newest first}, of the newest 500 and 200 of the checklist."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in answers_of(checklist)[:500]:
        told = found.setdefault(row.requirement, {"answers": [], "waivers": []})["answers"]
        told.append(answer_document(row))
    rows = list(waivers_visible_to(user).filter(checklist=checklist)[:200])
    for waiver in waiver_documents(rows, user, now):
        found.setdefault(waiver["requirement"], {"answers": [], "waivers": []})["waivers"].append(waiver)
    return found


def newest_templates() -> list[PlanningTemplate]:
    """The newest version of each template, by name. Two queries at most."""
    newest: dict[str, PlanningTemplate] = {}
    for row in PlanningTemplate.objects.defer("source").order_by("name", "-version"):
        newest.setdefault(row.name, row)
    return list(newest.values())


def _evidence(
    items: Iterable[Item], user: User, now: datetime
) -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, Any]]]:
    items = list(items)
    said = RequirementAnswer.objects.filter(pk__in=[i.answer.id for i in items if i.answer])
    answers = {row.pk: answer_document(row) for row in said.select_related("answered_by")}
    asked = RequirementWaiver.objects.filter(pk__in=[i.waiver.id for i in items if i.waiver])
    rows = list(asked.select_related(*WAIVER_RELATED))
    return answers, {document["id"]: document for document in waiver_documents(rows, user, now)}


def _item(item: Item, answers: dict[int, dict[str, Any]], waivers: dict[int, dict[str, Any]]) -> dict[str, Any]:
    asked, outcome = item.requirement, item.outcome
    measured = outcome and {
        "state": outcome.state,
        "says": outcome.says,
        "links": [{"label": label, "path": path} for label, path in outcome.links],
        "changes_at": outcome.changes_at,
    }
    return {
        "id": asked.id,
        "stage": asked.stage.value,
        "title": asked.title,
        "about": asked.about,
        "source": asked.source,
        "check": asked.check,
        "answer_days": asked.answer_days,
        "state": item.state.value,
        "by": item.by.value,
        "measured": measured,
        "answer": answers.get(item.answer.id) if item.answer else None,
        "not_applicable": waivers.get(item.waiver.id) if item.waiver else None,
        "ended": item.ended,
    }


def _waiver(row: RequirementWaiver, votes: Sequence[Vote], user: User, now: datetime) -> dict[str, Any]:
    application, status = row.checklist.application, _status(row, now)
    may = []
    if status == "waiting" and row.request.requester_id != user.pk:
        roles = {role.value for role in user.roles_for({application.team_id})}
        has_voted = any(vote.voter_id == user.pk for vote in votes)
        may = ["approve", "reject"] if roles & set(row.request.required) and not has_voted else []
    if status in ("waiting", "approved") and user.can(Permission.DECISION_REQUEST, application.team_id):
        may.append("end")
    return {
        "id": row.pk,
        "application": application.slug,
        "requirement": row.requirement,
        "reason": row.reason,
        "status": status,
        "asked_by": row.request.requester.username,
        "asked_at": row.asked_at,
        "until": row.until,
        "ended_at": row.ended_at,
        "votes": [
            {"voter": v.voter.username, "choice": Choice(v.choice).value, "comment": v.comment, "at": v.created_at}
            for v in votes
        ],
        "may": may,
    }


def _status(row: RequirementWaiver, now: datetime) -> str:
    """``waiting``, ``approved``, ``rejected``, or ``ended``: taken back, or past its day."""
    if row.request.status == REJECTED:
        return "rejected"
    if row.ended_at is not None or row.until <= now or row.request.status not in (OPEN, APPROVED):
        return "ended"
    return "waiting" if row.request.status == OPEN else "approved"
