"""Break-glass: asked for by one person, granted by another, used once, and looked at afterwards."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard.accounts import services as accounts
from secguard.accounts.models import User
from secguard.accounts.roles import Role
from secguard.admission import services
from secguard.admission.breakglass import TRANSITIONS, GlassEvent, GlassStatus, after, check
from secguard.admission.models import AdmissionDecision, BreakGlass
from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed
from tests.admission.conftest import BAD, UNKNOWN, WEB, Ask, pod, review
from tests.fixtures_people import MakePerson, Person
from tests.fixtures_reports import digest

PATH = "/api/v1/break-glass/"
WHY = "The shop is down without it."
AskPod = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("status", GlassStatus)
@pytest.mark.parametrize("event", GlassEvent)
def test_every_step_that_is_not_in_the_table_is_a_conflict(status: GlassStatus, event: GlassEvent) -> None:
    if (status, event) in TRANSITIONS:
        assert after(status, event) is TRANSITIONS[status, event]
    else:
        with pytest.raises(Conflict, match=status):
            after(status, event)


@pytest.mark.parametrize(
    ("changed", "where"),
    [({"namespace": ""}, "namespace"), ({"digest": "web:1"}, "digest"), ({"minutes": 0}, "minutes"),
     ({"minutes": 241}, "minutes"), ({"reason": "now"}, "reason")],
)  # fmt: skip
def test_a_request_that_says_too_little(changed: dict[str, Any], where: str) -> None:
    with pytest.raises(Invalid) as refused:
        check(**{"namespace": "shop", "digest": digest(2), "minutes": 60, "reason": WHY} | changed)
    assert refused.value.where == where


@pytest.fixture
def asked(gate: Any, images: None, operator: Person) -> int:
    """The operator asks that ``BAD`` may start in ``shop``."""
    words = {"cluster": "prod", "namespace": "shop", "digest": digest(2), "minutes": 30, "reason": WHY}
    made = operator.api.post(PATH, words)
    assert made.status_code == 201, made.content
    return int(made.json()["id"])


@pytest.mark.django_db
def test_from_the_request_to_the_review(asked: int, operator: Person, reviewer: Person, ask_pod: AskPod) -> None:
    assert not ask_pod(BAD)["allowed"]
    granted = reviewer.api.post(f"{PATH}{asked}/grant/").json()
    assert (granted["status"], granted["decided_by"]) == ("granted", "reviewer")
    first, second = ask_pod(BAD), ask_pod(BAD)
    assert first["allowed"]
    assert f"break-glass {asked}" in " ".join(first["warnings"])
    assert not second["allowed"]
    used = operator.api.get(f"{PATH}{asked}/").json()
    assert (used["status"], used["used_for"]) == ("used", "Pod shop/web-1, asked for by ann")
    assert AdmissionDecision.objects.get(outcome="broken-glass").digest == digest(2)
    words = {"review": "It was the hotfix; the next build has no malware."}
    assert operator.api.post(f"{PATH}{asked}/review/", words).status_code == 403
    assert reviewer.api.post(f"{PATH}{asked}/review/", words).json()["status"] == "reviewed"
    actions = (
        AuditEntry.objects.filter(subject_type="break-glass").order_by("sequence").values_list("action", flat=True)
    )
    assert list(actions) == ["break-glass:request", "break-glass:grant", "break-glass:use", "break-glass:review"]


@pytest.mark.django_db
def test_nobody_grants_their_own(asked: int, operator: Person, reviewer: Person) -> None:
    answer = operator.api.post(f"{PATH}{asked}/grant/")
    assert (answer.status_code, answer.json()["code"]) == (403, "own-request")
    for column in ("decided_by", "reviewed_by"):
        with pytest.raises(IntegrityError), transaction.atomic():
            BreakGlass.objects.filter(pk=asked).update(**{column: operator})
    with pytest.raises(IntegrityError), transaction.atomic():
        BreakGlass.objects.filter(pk=asked).update(status="granted")
    assert reviewer.api.post(f"{PATH}{asked}/refuse/").json()["status"] == "refused"
    assert reviewer.api.post(f"{PATH}{asked}/grant/").status_code == 409


@pytest.mark.django_db
@pytest.mark.django_db
@pytest.mark.parametrize("way", ["account", "role", "link"])
def test_nobody_grants_whom_the_requester_made_able_since_asking(
    gate: Any, images: None, make_person: MakePerson, reviewer: Person, ask_pod: AskPod, way: str
) -> None:
    asking = make_person("asking", "administrator")
    made = services.request_glass("prod", "shop", digest(2), minutes=30, reason=WHY, actor=asking)
    if way == "account":
        puppet = accounts.create_user("puppet", Role.SECURITY_REVIEWER, actor=asking)
    else:
        puppet = make_person("puppet", *(["security-reviewer"] if way == "link" else []))
    if way == "role":
        accounts.grant(puppet.pk, Role.SECURITY_REVIEWER, actor=asking)
    elif way == "link":
        accounts.issue_sign_in_link(puppet.pk, actor=asking)
    puppet = User.objects.get(pk=puppet.pk)
    with pytest.raises(NotAllowed) as refused:
        services.grant_glass(made.pk, actor=puppet)
    assert refused.value.code == "chosen-by-requester"
    assert not ask_pod(BAD)["allowed"]
    assert services.grant_glass(made.pk, actor=reviewer).status == GlassStatus.GRANTED


@pytest.mark.usefixtures("asked")
def test_the_same_is_asked_for_once(operator: Person) -> None:
    words = {"cluster": "prod", "namespace": "shop", "digest": digest(2), "reason": WHY}
    assert operator.api.post(PATH, words).status_code == 409
    assert operator.api.post(PATH, words | {"cluster": "moon"}).status_code == 404


@pytest.mark.django_db
def test_it_is_bound_to_digest_namespace_and_minutes(asked: int, reviewer: Person, ask_pod: AskPod) -> None:
    services.grant_glass(asked, actor=reviewer)
    assert not ask_pod(UNKNOWN)["allowed"]
    assert not ask_pod(BAD, namespace="other")["allowed"]
    assert not ask_pod(f"{WEB}:2")["allowed"]  # the tag of this digest: a node may pull something else
    BreakGlass.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert not ask_pod(BAD)["allowed"]
    assert BreakGlass.objects.get().status == "granted"


@pytest.mark.django_db
def test_only_what_starts_uses_it_up(asked: int, reviewer: Person, ask_pod: AskPod, ask: Ask) -> None:
    services.grant_glass(asked, actor=reviewer)
    deployment = {"spec": {"template": {"spec": pod(BAD)["spec"]}}, "metadata": {"name": "web"}}
    assert ask("validate", review(deployment, "apps/Deployment"))["response"]["allowed"]
    assert ask_pod(BAD, dryRun=True)["allowed"]
    assert not ask_pod(BAD, UNKNOWN)["allowed"]  # what is refused all the same uses nothing up
    assert BreakGlass.objects.get().status == "granted"
    assert ask_pod(BAD)["allowed"]
    assert BreakGlass.objects.get().status == "used"


@pytest.mark.django_db
def test_where_nothing_is_refused_nothing_is_used_up(asked: int, reviewer: Person, ask_pod: AskPod, gate: Any) -> None:
    services.grant_glass(asked, actor=reviewer)
    services.edit_gate(gate[0].pk, services.GateEdit(mode="warn"), actor=None)
    assert ask_pod(BAD)["allowed"]
    assert BreakGlass.objects.get().status == "granted"


@pytest.mark.django_db
def test_who_was_later_is_refused(
    asked: int, reviewer: Person, monkeypatch: pytest.MonkeyPatch, ask_pod: AskPod
) -> None:
    """Two pods ask at once: both find it granted, one uses it up in between."""
    from secguard.admission import queries

    services.grant_glass(asked, actor=reviewer)
    find = queries.usable_glass

    def found_and_then_used(*args: Any) -> dict[str, int]:
        found = find(*args)
        BreakGlass.objects.filter(pk=asked).update(status="used", used_at=timezone.now())
        return found

    monkeypatch.setattr(queries, "usable_glass", found_and_then_used)
    assert not ask_pod(BAD)["allowed"]
    assert not AuditEntry.objects.filter(action="break-glass:use").exists()


@pytest.mark.django_db
def test_an_image_that_nobody_knows(gate: Any, operator: Person, reviewer: Person, ask_pod: AskPod) -> None:
    made = services.request_glass("prod", "shop", digest(9), minutes=5, reason=WHY, actor=operator)
    services.grant_glass(made.pk, actor=reviewer)
    assert ask_pod(UNKNOWN)["allowed"]


@pytest.mark.django_db
def test_withdrawn_by_who_asked(asked: int, operator: Person, reviewer: Person, ask_pod: AskPod) -> None:
    services.grant_glass(asked, actor=reviewer)
    assert operator.api.post(f"{PATH}{asked}/withdraw/").json()["status"] == "withdrawn"
    assert not ask_pod(BAD)["allowed"]


@pytest.mark.django_db
def test_the_pages(asked: int, operator: Person, reviewer: Person, ask_pod: AskPod, make_person: MakePerson) -> None:
    own, page = f"/break-glass/{asked}/", operator.client.get("/break-glass/").content.decode()
    assert own in page
    assert "Grant it" not in operator.client.get(own).content.decode()
    assert "Grant it" in reviewer.client.get(own).content.decode()
    assert reviewer.client.post(f"{own}grant/").status_code == 302
    assert reviewer.client.post(f"{own}dance/").status_code == 404
    ask_pod(BAD)
    assert "Keep the review" in reviewer.client.get(own).content.decode()
    assert reviewer.client.post(own, {"review": "short"}).status_code == 422
    assert reviewer.client.post(own, {"review": "It was needed, and is mended now."}).status_code == 302
    given = operator.client.get(f"/break-glass/new/?digest={digest(2)}&cluster=prod").content.decode()
    assert digest(2) in given
    words = {"cluster": "prod", "namespace": "shop", "digest": digest(2), "minutes": "10", "reason": WHY}
    assert operator.client.post("/break-glass/new/", words).status_code == 302
    assert operator.client.post("/break-glass/new/", words).status_code == 422
    assert "reason" in operator.client.get("/break-glass/?format=csv&status=requested").getvalue().decode().lower()
