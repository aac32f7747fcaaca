"""The pages of decisions: the list, one of them, asking, the review queue, the risk appetite."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.approvals.queries import seats_of_others
from secguard.approvals.quorum import Choice
from secguard.decisions import queries, services
from secguard.decisions.appetite import AppetiteError, parse_appetite
from secguard.decisions.forms import AppetiteForm, RequestForm, RevokeForm, VoteForm, default_until, scope_words
from secguard.decisions.lifecycle import DecisionKind, DecisionStatus, condition_line
from secguard.decisions.models import Decision, RiskAppetite
from secguard.decisions.queries.controls import choices as control_choices
from secguard.decisions.queries.controls import leaning
from secguard.decisions.queries.documents import RELATED
from secguard.decisions.scope import ScopeKind
from secguard.decisions.services.requesting import MAX_BULK
from secguard.decisions.templatetags.secguard_controls import state_label
from secguard.errors import Invalid, NotFound, SecGuardError
from secguard.findings.models import Finding, Risk
from secguard.web import htmx
from secguard.web.listing import Column, Listing


def _user(request: HttpRequest) -> User:
    return request.user  # type: ignore[return-value]


# --- the list ---


class DecisionListing(Listing):
    name = "decisions"
    caption = "Decisions you may see, newest first"
    noun = "decision"
    columns = (
        Column("id", "No.", sort="id", first="-", css="fit-no"),
        Column("risk", "Risk", value="risk.name"),
        Column("scope", "What and where", sort="scope_label", value="scope_label"),
        Column("status", "Status", value=lambda d: queries.effective_status(d, timezone.now()).value, css="fit-fix"),
        Column("by", "Asked by", sort="requested_by__username", value="requested_by.username", css="fit-word"),
        Column("asked", "Asked", sort="requested_at", first="-", value="requested_at", css="fit-date wide-only"),
        Column("ends", "Ends", sort="ends_at", value="counts_until", css="fit-date"),
        Column("kind", "Kind", hidden=True),
        Column("scope_kind", "Scope", hidden=True),
        Column("severity", "Severity", value="risk.get_severity_display", hidden=True),
        Column("package", "Package", value="risk.where", hidden=True),
        Column("reason", "Reason", hidden=True),
        Column("conditions", "Conditions", value=lambda d: condition_line(d.conditions), hidden=True),
        Column("end_reason", "Ended because", hidden=True),
    )
    default_sort = "-id"
    filterset = queries.DecisionFilter
    search_fields = (
        "risk__vulnerability__name__istartswith",
        "risk__rule__istartswith",
        "risk__package__icontains",
        "scope_label__icontains",
        "requested_by__username__istartswith",
    )
    search_hint = "Risk, scope, person"


@login_required
@require_safe
def decision_list(request: HttpRequest) -> HttpResponseBase:
    rows = Decision.objects.visible_to(_user(request)).select_related(*RELATED).with_end()
    listing = DecisionListing(request, rows)
    return listing.respond("decisions/list.html", "decisions/_list.html", {"now": timezone.now()})


# --- one decision ---


def _visible(pk: int, user: User) -> Decision:
    decision = Decision.objects.visible_to(user).filter(pk=pk).select_related(*RELATED).first()
    if decision is None:
        raise NotFound(f"There is no decision {pk}.")
    return decision


def _facts(decision: Decision, user: User) -> dict[str, Any]:
    """Everything about one decision that a page shows, in a fixed number of queries."""
    scope = queries.scope_of(decision)
    (document,) = queries.documents([decision], user, timezone.now())
    places = queries.occurrences(decision.risk, scope, user)
    fixes = sorted({version for place in places for version in place.fixed_versions})
    return {
        "decision": decision,
        "document": document,
        "flaw": decision.risk.vulnerability,
        "scope_words": scope_words(scope),
        "radius": queries.blast_radius([decision.risk_id], scope, user),
        "images_url": _images_url([decision.risk_id], scope),
        "places": places,
        "fixes": fixes,
        "earlier": queries.earlier_decisions([decision.risk], user, before=decision),
        "controls": leaning([decision.pk]).get(decision.pk, []),
        "now": timezone.now(),
    }


OPENED = "decisions.opened"


def _opened_at(request: HttpRequest, pk: int) -> datetime | None:
    """Since when this person can have looked at the request: their form was made then. ``None`` where it does not say,
    or says so of another request."""
    try:
        of, at = signing.loads(request.POST.get("opened", ""), salt=OPENED)
    except (signing.BadSignature, TypeError, ValueError):
        return None
    return datetime.fromtimestamp(at, UTC) if of == pk else None


def _images_url(risk_ids: Sequence[int], scope: queries.Scope) -> str:
    """The list of the images that a decision on these risks covers in ``scope``."""
    words = {"risk": ",".join(str(pk) for pk in risk_ids)}
    if scope.kind is ScopeKind.IMAGE:
        words["q"] = scope.label
    elif scope.kind is ScopeKind.REPOSITORY:
        words["repository"] = scope.label
    elif scope.id is not None:
        words["application"] = Application.objects.values_list("slug", flat=True).get(pk=scope.id)
    return f"{reverse('images:list')}?{urlencode(words)}"


@login_required
@require_safe
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    user = _user(request)
    facts = _facts(_visible(pk, user), user)
    context = {**facts, "vote_form": VoteForm(), "loads_reach": True, "again_url": _again_url(facts["decision"])}
    return render(request, "decisions/detail.html", context)


def _again_url(decision: Decision) -> str:
    """The form filled in as it was asked then: more time, or a second try, is a new request."""
    scope = queries.scope_of(decision)
    words = {"risk": str(decision.risk_id), "kind": decision.kind, "scope": scope.key}
    if scope.kind is ScopeKind.IMAGE:
        words["image"] = scope.label
    return f"{reverse('decisions:new')}?{urlencode(words)}"


@login_required
@require_safe
def reach(request: HttpRequest, pk: int) -> HttpResponse:
    """Where its images stand and, while it waits, the gates that approving it would turn: asked for on its own, since
    judging them takes longer than a page may."""
    user, now = _user(request), timezone.now()
    decision = _visible(pk, user)
    context = {
        "decision": decision,
        "reach": queries.reach_of(decision, queries.scope_of(decision), user, now),
        "asks_for_gates": queries.effective_status(decision, now) is DecisionStatus.REQUESTED,
    }
    return htmx.render(request, "decisions/reach.html", "decisions/_reach.html", context)


@login_required
@require_POST
def vote(request: HttpRequest, pk: int) -> HttpResponse:
    """Approve or reject one decision from its own page."""
    user, form = _user(request), VoteForm({**request.POST.dict(), "ids": [str(pk)]})
    if not form.is_valid():
        facts = _facts(_visible(pk, user), user)
        return render(request, "decisions/detail.html", {**facts, "vote_form": form}, status=422)
    choice, comment = Choice(form.cleaned_data["choice"]), form.cleaned_data["comment"]
    if choice is Choice.APPROVE:
        decided = services.approve(pk, actor=user, comment=comment, opened_at=_opened_at(request, pk))
    else:
        decided = services.reject(pk, actor=user, comment=comment)
    messages.success(request, _said(decided, user))
    return htmx.redirect(request, reverse("decisions:detail", args=[pk]))


def _said(decision: Decision, user: User) -> str:
    """What came of ``user``'s vote, in words."""
    vote = services.mine_among([decision], user).get(decision.approval_id)
    seat = f" for {vote.seat_of}" if vote and vote.seat_of else ""
    if decision.status != "requested":
        return f"Decision {decision.pk} is {decision.status}{seat and f', by your vote{seat}'}."
    if vote and vote.second_look:
        return f"Your vote on decision {decision.pk} counts once one more person has looked at it: {vote.second_look}."
    return f"Your vote{seat} on decision {decision.pk} is counted; it needs another one."


@login_required
@require_POST
def undo(request: HttpRequest, pk: int) -> HttpResponse:
    """Take back the vote that was cast a moment ago; the request waits again."""
    again = services.undo(pk, actor=_user(request))
    messages.success(request, f"Your vote is undone. The request waits again, as number {again.pk}.")
    return htmx.redirect(request, f"{reverse('decisions:queue')}?{urlencode({'decision': again.pk})}")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    user = _user(request)
    if request.method == "POST":
        messages.success(request, f"Request {services.withdraw(pk, actor=user).pk} is withdrawn.")
        return htmx.redirect(request, reverse("decisions:detail", args=[pk]))
    facts = _facts(_visible(pk, user), user)
    return render(request, "decisions/confirm.html", {**facts, "verb": "withdraw"})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    user, form = _user(request), RevokeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        services.revoke(pk, reason=form.cleaned_data["reason"], actor=user)
        messages.success(request, f"Decision {pk} is revoked; what it covered is judged again.")
        return htmx.redirect(request, reverse("decisions:detail", args=[pk]))
    facts = _facts(_visible(pk, user), user)
    status = 422 if request.method == "POST" else 200
    return render(request, "decisions/confirm.html", {**facts, "verb": "revoke", "form": form}, status=status)


# --- asking ---


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Ask for a decision on ``?risk=1&risk=2`` or ``?finding=9``; ``image``, ``repository``: where one comes from."""
    user = _user(request)
    require(user, Permission.DECISION_REQUEST, anywhere=True)
    risks = _risks(request, user)
    scopes = _scopes(request, risks, user)
    if not scopes:
        raise NotFound("These risks stand open nowhere that you may ask for a decision.")
    controls = _controls(user, scopes)
    form = RequestForm(
        request.POST or None,
        scopes=scopes,
        controls=controls,
        is_several=len(risks) > 1,
        initial=_initial(request, risks, scopes),
    )
    sending = request.method == "POST" and "preview" not in request.POST
    if sending and form.is_valid() and (answer := _send(request, form, risks)):
        return answer
    context = {"form": form, "risks": risks, "ids": [r.pk for r in risks], **_previewed(form, risks, scopes, user)}
    context |= {"earlier": queries.earlier_decisions(risks, user), "now": timezone.now()}
    return render(request, "decisions/new.html", context, status=422 if sending else 200)


@login_required
@require_safe
def preview(request: HttpRequest) -> HttpResponse:
    """What the form as filled in so far would cover, and what the risk appetite would ask for it."""
    user = _user(request)
    risks = _risks(request, user)
    scope = queries.find_scope_by_key(user, request.GET.get("scope", ""))
    context = _preview([r.pk for r in risks], scope, _kind(request.GET.get("kind", "")), user)
    return htmx.render(request, "decisions/preview.html", "decisions/_preview.html", context)


def _risks(request: HttpRequest, user: User) -> list[Risk]:
    """The risks that the URL or the form names, as far as ``user`` may see them; ``NotFound`` where none is left."""
    sent = request.POST if request.method == "POST" else request.GET
    ids = {int(t) for t in sent.getlist("risk") if t.isascii() and t.isdigit() and len(t) < 19}
    findings = [int(t) for t in sent.getlist("finding") if t.isascii() and t.isdigit() and len(t) < 19]
    if findings:
        ids |= set(Finding.objects.visible_to(user).filter(pk__in=findings).values_list("risk_id", flat=True))
    if len(ids) > MAX_BULK:
        raise Invalid(f"{len(ids)} risks at once; at most {MAX_BULK} can be asked for together.", where="risk")
    rows = Risk.objects.visible_to(user).filter(pk__in=ids).select_related("vulnerability")
    found = list(rows.order_by("-known_exploited", "-severity", "pk"))
    if not found:
        raise NotFound("There is no such risk. Open a finding or a risk and ask for a decision there.")
    return found


def _scopes(request: HttpRequest, risks: Sequence[Risk], user: User) -> list[queries.Scope]:
    """What can be chosen: the suggestion first, then the others; the image that the person came from last."""
    scopes = queries.suggested_scopes([r.pk for r in risks], user)
    digest = (request.POST if request.method == "POST" else request.GET).get("image", "")
    if digest and scopes:
        image = queries.find_scope(user, "image", digest)
        inside = set(queries.places_with([r.pk for r in risks], image, user).values_list("repository_id", flat=True))
        scopes.sort(key=lambda s: not (s.kind.value == "repository" and s.id in inside))
        scopes.append(image)
    return scopes


def _controls(user: User, scopes: Sequence[queries.Scope]) -> list[tuple[str, str]]:
    """The controls that can be chosen, each with what it covers and how it stands."""
    now = timezone.now()
    return [
        (str(c.pk), f"{c.name} ({c.application.name if c.application else 'everything'}, {state_label(c, now)})")
        for c in control_choices(user, scopes)
    ]


def _initial(request: HttpRequest, risks: Sequence[Risk], scopes: Sequence[queries.Scope]) -> dict[str, Any]:
    kind = _kind(request.GET.get("kind", ""))
    wanted = request.GET.get("scope", "")
    scope = next((s for s in scopes if s.key == wanted), scopes[0])
    requirement = services.preview([r.pk for r in risks], scope, kind)
    latest = requirement.latest_end(timezone.now()) if requirement else None
    return {"kind": kind, "scope": scope.key, "until": default_until(latest)}


def _kind(word: str) -> str:
    return word if word in {k.value for k in DecisionKind} else DecisionKind.ACCEPT.value


def _previewed(form: RequestForm, risks: Sequence[Risk], scopes: Sequence[queries.Scope], user: User) -> dict[str, Any]:
    scope = next((s for s in scopes if s.key == form["scope"].value()), scopes[0])
    return _preview([r.pk for r in risks], scope, _kind(form["kind"].value() or ""), user)


def _preview(risk_ids: Sequence[int], scope: queries.Scope, kind: str, user: User) -> dict[str, Any]:
    requirement = services.preview(risk_ids, scope, kind)
    return {
        "radius": queries.blast_radius(risk_ids, scope, user),
        "reach": queries.reach(risk_ids, scope, kind, user),
        "asks_for_gates": True,
        "images_url": _images_url(risk_ids, scope),
        "requirement": requirement,
        "approvers": [(role.value, n) for role, n in requirement.approvers.items()] if requirement else [],
        "latest": requirement.latest_end(timezone.now()) if requirement else None,
        "preview_scope": scope,
        "preview_words": scope_words(scope),
    }


def _send(request: HttpRequest, form: RequestForm, risks: Sequence[Risk]) -> HttpResponse | None:
    """Ask; ``None`` where nothing could be asked for, with the words in the form."""
    user = _user(request)
    scope = queries.find_scope_by_key(user, form.cleaned_data["scope"])
    requirement = services.preview([r.pk for r in risks], scope, form.cleaned_data["kind"])
    end = form.end(_latest(requirement))
    asks = [
        services.Ask(
            r.pk,
            form.cleaned_data["kind"],
            scope,
            form.cleaned_data["reason"],
            end,
            form.conditions,
            justification=form.cleaned_data["justification"],
            controls=[int(pk) for pk in form.cleaned_data["controls"]],
        )
        for r in risks
    ]
    results = services.request_many(asks, actor=user, spread_days=form.cleaned_data.get("spread") or 0)
    made = [d for d in results if isinstance(d, Decision)]
    refused = [(r, e) for r, e in zip(risks, results, strict=True) if isinstance(e, SecGuardError)]
    if not made:
        for risk, error in refused[:10]:
            form.add_error(_field(error), error.detail if len(risks) == 1 else f"{risk.name}: {error.detail}")
        return None
    words = "The request is sent." if len(made) == 1 else f"{len(made)} requests are sent."
    messages.success(request, f"{words} It counts once it is approved.")
    for risk, error in refused[:10]:
        messages.warning(request, f"{risk.name}: {error.detail}")
    if len(made) == 1:
        return htmx.redirect(request, reverse("decisions:detail", args=[made[0].pk]))
    return htmx.redirect(request, f"{reverse('decisions:list')}?mine=true&status=requested")


def _latest(requirement: Any) -> datetime | None:
    return requirement.latest_end(timezone.now()) if requirement else None


def _field(error: SecGuardError) -> str | None:
    """The form's field for the place that a service names."""
    places = {"expires_at": "until", "reason": "reason", "kind": "kind", "scope": "scope"}
    places |= {
        "justification": "justification",
        "spread": "spread",
        "controls": "controls",
        "conditions.max_epss": "max_epss",
        "conditions.until_fixed": "until_fixed",
        "conditions.max_severity": "max_severity",
        "conditions": "until_fix",
    }
    return places.get(error.where)


# --- the review queue ---


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def queue(request: HttpRequest) -> HttpResponse:
    """What waits for this person: the list and, beside it, everything about one; voting shows the next."""
    if not seats_of_others(_user(request), timezone.now()):
        require(_user(request), Permission.DECISION_APPROVE, anywhere=True)
    if request.method != "POST":
        return _queue(request, _chosen(request.GET.get("decision", "")), VoteForm())
    chosen, form = _chosen(request.POST.get("decision", "")), VoteForm(request.POST)
    if not form.is_valid():
        return _queue(request, chosen, form, status=422)
    said = _vote(request, form)
    if request.headers.get("HX-Target") == "queue-said":
        return render(request, "decisions/_undo.html", {"said": said, "undoable": _undoable(request)})
    for words, level in said:
        messages.add_message(request, level, words)
    follows = _chosen(request.POST.get("next", ""))
    url = f"{reverse('decisions:queue')}{'?' + urlencode({'decision': follows}) if follows else ''}"
    if not htmx.wants_fragment(request):
        return htmx.redirect(request, url)
    response = _queue(request, follows, VoteForm())
    response.write(render_to_string("decisions/_undo_oob.html", {"undoable": _undoable(request)}, request))
    response["HX-Push-Url"] = url
    return response


def _chosen(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _vote(request: HttpRequest, form: VoteForm) -> list[tuple[str, int]]:
    """Cast the votes; what came of it, in words. One refused is a refusal; of several each speaks for itself."""
    ids, user = [int(i) for i in form.cleaned_data["ids"]], _user(request)
    choice, comment = Choice(form.cleaned_data["choice"]), form.cleaned_data["comment"]
    opened_at = _opened_at(request, ids[0]) if len(ids) == 1 else None
    results = services.vote_many(ids, choice=choice, actor=user, comment=comment, opened_at=opened_at)
    refused = {pk: r for pk, r in results.items() if isinstance(r, SecGuardError)}
    if len(ids) == 1 and refused:
        raise refused[ids[0]]
    done = [r for r in results.values() if isinstance(r, Decision)]
    said = []
    if len(done) == 1:
        said.append((_said(done[0], user), messages.SUCCESS))
    elif done:
        verb = "approved" if choice is Choice.APPROVE else "rejected"
        said.append((f"You {verb} {len(done)} requests.{_second_looks(done, user)}", messages.SUCCESS))
    return [*said, *((f"Decision {pk}: {e.detail}", messages.WARNING) for pk, e in list(refused.items())[:10])]


def _second_looks(done: Sequence[Decision], user: User) -> str:
    hasty = [v for v in services.mine_among(done, user).values() if v.second_look]
    if not hasty:
        return ""
    return f" {len(hasty)} of these votes count once one more person has looked at them: {hasty[0].second_look}."


def _undoable(request: HttpRequest) -> dict[str, Any] | None:
    """The vote that can be taken back now, and for how many seconds more."""
    now = timezone.now()
    vote = services.last_vote(_user(request), now)
    if vote is None:
        return None
    left = services.UNDO - (now - vote.created_at)
    return {"vote": vote, "decision": vote.request.decision, "seconds": max(1, int(left.total_seconds()))}


def _queue(request: HttpRequest, chosen: int, form: VoteForm, *, status: int = 200) -> HttpResponse:
    user, now = _user(request), timezone.now()
    groups = queries.queue(user, now)
    waiting = [d for group in groups for d in group.decisions]
    ids = [d.pk for d in waiting]
    at = ids.index(chosen) if chosen in ids else 0
    context: dict[str, Any] = {
        "groups": groups,
        "count": len(ids),
        "is_full": len(ids) >= queries.QUEUE,
        "vote_form": form,
        "undoable": _undoable(request),
        "now": now,
    }
    if ids:
        following = ids[at + 1] if at + 1 < len(ids) else (ids[at - 1] if at else 0)
        context |= {**_facts(waiting[at], user), "next": following, "chosen": ids[at], "position": at + 1}
    part = "decisions/_review.html" if request.headers.get("HX-Target") == "review" else "decisions/_queue.html"
    return htmx.render(request, "decisions/queue.html", part, context, status=status)


# --- the risk appetite ---


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def appetite(request: HttpRequest) -> HttpResponse:
    """The version in force as a table, its source, its history, and a form for the next one."""
    user = _user(request)
    row, active = services.active_appetite()
    form = AppetiteForm(request.POST or None, initial={"source": row.source})
    if request.method == "POST" and form.is_valid():
        try:
            made = services.create_appetite(actor=user, **form.cleaned_data)
        except AppetiteError as error:
            for problem in error.problems[:50]:
                form.add_error("source", f"Line {problem.line}, column {problem.column}: {problem.message}")
        else:
            messages.success(request, f"Version {made.number} is {'in force' if made.is_active else 'kept'}.")
            return htmx.redirect(request, reverse("decisions:appetite-version", args=[made.number]))
    context = {
        "version": row,
        "table": queries.appetite_table(active),
        "appetite": active,
        "ssvc": queries.ssvc_document(active),
        "history": RiskAppetite.objects.select_related("author")[:50],
        "form": form if user.can(Permission.APPETITE_EDIT) else None,
    }
    return render(request, "decisions/appetite.html", context, status=422 if form.errors else 200)


@login_required
@require_safe
def appetite_version(request: HttpRequest, number: int) -> HttpResponse:
    services.active_appetite()
    row = RiskAppetite.objects.select_related("author").filter(number=number).first()
    if row is None:
        raise NotFound(f"There is no version {number} of the risk appetite.")
    found = parse_appetite(row.source)
    context = {
        "version": row,
        "table": queries.appetite_table(found),
        "appetite": found,
        "ssvc": queries.ssvc_document(found),
        "history": RiskAppetite.objects.select_related("author")[:50],
    }
    return render(request, "decisions/appetite.html", context)


@login_required
@require_POST
def appetite_activate(request: HttpRequest, number: int) -> HttpResponse:
    row = services.activate_appetite(number, actor=_user(request))
    messages.success(request, f"Version {row.number} is in force; open deadlines are counted anew.")
    return htmx.redirect(request, reverse("decisions:appetite-version", args=[number]))
