"""The pages of planning: applications by stage, a checklist with its forms, and the templates; who may do what."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.approvals.quorum import Choice
from secguard.planning import services
from secguard.planning.models import Checklist, PlanningTemplate, RequirementAnswer, RequirementWaiver
from secguard.planning.services import Said
from secguard.policies import services as policies
from secguard.policies.library import library
from tests.fixtures_people import Person
from tests.planning.test_services import OWN

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>"
EVERYBODY = ("viewer", "developer", "operator", "reviewer", "business_approver", "administrator")


@pytest.fixture
def checklist(application: Any, developer: Person, reviewer: Person) -> Checklist:
    services.make_template(OWN, actor=reviewer)
    return services.choose_template(application.pk, "short", actor=developer)


@pytest.fixture
def page(application: Any) -> str:
    return f"/applications/{application.slug}/checklist/"


def main_of(answer: Any) -> str:
    return answer.content.decode().partition("<main")[2]


def text_of(answer: Any) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", main_of(answer))))


def items_of(answer: Any) -> list[str]:
    return re.findall(r'<article class="item" id="([^"]+)"', answer.content.decode())


# --- the list ---


def test_the_list_shows_what_is_kept_at_each_stage_and_each_number_leads_to_its_rows(
    checklist: Checklist, page: str, application: Any, developer: Person, stranger: Person
) -> None:
    said = Said(is_kept=True, text="It is written down.")
    services.answer(application.pk, "threats", said, actor=developer)
    answer = developer.client.get("/planning/")
    for query, words in (("stage=plan&amp;state=kept", "1"), ("stage=log&amp;state=open", "1 open")):
        link = re.search(rf'<a[^>]*href="{re.escape(page)}\?{query}#items"[^>]*>(.*?)</a>', main_of(answer), re.DOTALL)
        assert link, query
        assert re.sub(r"<[^>]+>", "", link[1]) == words
        assert len(items_of(developer.client.get(f"{page}?{html.unescape(query)}"))) == 1
    assert application.name not in text_of(stranger.client.get("/planning/"))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", True), ("state=open", True), ("state=missing", False), ("state=unkept", True), ("state=kept", False),
        ("state=none", False), ("stage=log", True), ("stage=plan", False), ("stage=plan&state=kept", True),
        ("stage=plan&state=open", False), ("stage=log&state=open", True), ("q=no such thing", False),
        ("team=payments", True), ("template=short", True), ("template=containers", False), ("waiting=true", False),
        ("waiting=false", True),
    ],
)  # fmt: skip
def test_the_list_is_narrowed(
    checklist: Checklist, application: Any, developer: Person, query: str, found: bool
) -> None:
    services.answer(application.pk, "threats", Said(is_kept=True, text="It is."), actor=developer)
    query = query.replace("team=payments", f"team={application.team.slug}")
    answer = developer.client.get(f"/planning/?{query}")
    assert answer.status_code == 200
    assert (f'href="/applications/{application.slug}/checklist/"' in main_of(answer)) is found


def test_reviewers_see_first_what_waits_for_them_and_nobody_sees_their_own(
    checklist: Checklist, application: Any, other_application: Any, developer: Person, reviewer: Person
) -> None:
    services.ask_for_waiver(application.pk, "threats", "It holds nothing.", None, actor=developer)
    services.ask_for_waiver(application.pk, "contacts", "Nobody is called.", None, actor=reviewer)
    told = text_of(reviewer.client.get("/planning/"))
    assert "1 “not applicable” waits for you" in told
    assert "It holds nothing." in told
    assert "waits for you" not in text_of(developer.client.get("/planning/"))
    narrowed = main_of(reviewer.client.get("/planning/?waiting=true"))
    assert application.slug in narrowed
    assert f"/applications/{other_application.slug}/" not in narrowed


def test_the_csv_says_the_same_in_words(checklist: Checklist, developer: Person) -> None:
    body = developer.client.get("/planning/?format=csv").getvalue().decode()
    assert "0 of 1 kept, 1 open" in body
    assert "contacts threats" in body


def test_who_may_begins_a_checklist_and_others_are_told_who(
    application: Any, page: str, developer: Person, viewer: Person, stranger: Person
) -> None:
    assert "Begin one" in text_of(developer.client.get("/planning/"))
    assert "may begin one" in text_of(viewer.client.get(page))
    body = {"application": application.slug, "template": "containers"}
    assert stranger.client.post("/planning/choose/", body).status_code == 404
    assert viewer.client.post("/planning/choose/", body).status_code == 403
    wrong = developer.client.post("/planning/choose/", body | {"template": "moon"}, follow=True)
    assert "There is no template 'moon'" in html.unescape(wrong.content.decode())
    assert not Checklist.objects.exists()
    begun = developer.client.post("/planning/choose/", body, follow=True)
    assert begun.redirect_chain == [(page, 303)]
    assert "not known to be kept" in text_of(begun)


# --- a checklist ---


def test_an_answer_is_kept_shown_and_replaced_by_the_next(
    checklist: Checklist, page: str, developer: Person, viewer: Person
) -> None:
    first = {"requirement": "threats", "is_kept": "no", "text": HOSTILE}
    assert developer.client.post(f"{page}answer/", first)["Location"] == f"{page}#threats"
    until = (timezone.now() + timedelta(days=30)).date().isoformat()  # the last day that is possible
    link = "https://wiki.example.org/threats?a=1&b=2"
    second = {"requirement": "threats", "is_kept": "yes", "text": "By hand.", "evidence": link, "until": until}
    assert developer.client.post(f"{page}answer/", second).status_code == 303
    answer = viewer.client.get(page)
    assert HOSTILE not in answer.content.decode()
    assert f'<a href="{html.escape(link)}" rel="noopener noreferrer"' in answer.content.decode()
    assert "By hand." in text_of(answer)
    assert "History of Model threats (1)" in text_of(answer)
    assert "/answer/" not in main_of(answer), "a viewer is offered no form"


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"text": ""}, "How it is done, or why not: This field is required."),
        ({"is_kept": "perhaps"}, "Is it kept?"),
        ({"evidence": "http://wiki.example.org/"}, "is no address; expected https://"),
        ({"until": "2020-01-01"}, "is not within the next 30 days"),
        ({"until": "yesterday"}, "Until: Enter a valid date."),
    ],
)
def test_what_is_wrong_with_an_answer_is_said_where_it_was_written(
    checklist: Checklist, page: str, developer: Person, sent: dict[str, str], words: str
) -> None:
    body = {"requirement": "threats", "is_kept": "yes", "text": "Kept so."} | sent
    answer = developer.client.post(f"{page}answer/", body)
    assert answer.status_code == 422
    item = main_of(answer).partition('id="threats"')[2].partition("</article>")[0]
    assert words in html.unescape(item)
    assert body["text"] in item
    assert not RequirementAnswer.objects.exists()


def test_an_ended_answer_is_shown_with_why(
    checklist: Checklist, page: str, application: Any, developer: Person
) -> None:
    services.answer(application.pk, "threats", Said(is_kept=True, text="It was."), actor=developer)
    past = timezone.now() - timedelta(days=40)
    RequirementAnswer.objects.update(answered_at=past, until=past + timedelta(days=1))
    told = text_of(developer.client.get(page))
    assert "It counts no more: its time is over." in told
    assert "2 of 2 requirements are not known to be kept" in told


def test_not_applicable_needs_somebody_else_and_words_to_reject(
    checklist: Checklist, page: str, developer: Person, reviewer: Person, stranger: Person
) -> None:
    body = {"requirement": "threats", "reason": "It holds nothing."}
    assert developer.client.post(f"{page}not-applicable/", body).status_code == 303
    again = developer.client.post(f"{page}not-applicable/", body)
    assert (again.status_code, "waits for approval already" in text_of(again)) == (422, True)
    vote = f"/planning/not-applicable/{RequirementWaiver.objects.get().pk}/vote/"
    assert 'value="approve"' not in main_of(developer.client.get(page)), "not one's own"
    assert 'value="approve"' in main_of(reviewer.client.get(page))
    assert stranger.client.post(vote, {"choice": "approve"}).status_code == 404
    assert developer.client.post(vote, {"choice": "approve"}).status_code == 403
    wordless = reviewer.client.post(vote, {"choice": "reject"})
    assert wordless.status_code == 422
    assert "form-summary" in main_of(wordless)
    assert reviewer.client.post(vote, {"choice": "approve"})["Location"] == f"{page}#threats"
    assert Checklist.objects.get().not_applicable == 1
    assert items_of(developer.client.get(f"{page}?state=not-applicable")) == ["threats"]
    end = vote.replace("/vote/", "/end/")
    assert stranger.client.post(end).status_code == 404
    assert developer.client.post(end).status_code == 303
    assert Checklist.objects.get().not_applicable == 0
    late = reviewer.client.post(vote, {"choice": "approve"})
    assert (late.status_code, "does not wait for approval any more" in text_of(late)) == (422, True)


def test_a_rejection_is_kept_in_the_history(
    checklist: Checklist, page: str, application: Any, developer: Person, reviewer: Person
) -> None:
    asked = services.ask_for_waiver(application.pk, "threats", "It holds nothing.", None, actor=developer)
    services.vote_on_waiver(asked.pk, Choice.REJECT, comment="It holds names.", actor=reviewer)
    told = text_of(developer.client.get(page))
    assert "It holds names." in told
    assert "History of Model threats (1)" in told


def test_it_says_which_rules_of_the_policy_ask_for_it(
    checklist: Checklist, page: str, developer: Person, reviewer: Person, administrator: Person
) -> None:
    assert "Asked by" not in text_of(developer.client.get(page))
    ready = next(r for r in library() if "planning_missing" in r.rule and "block" in r.rule)
    active = policies.active_version()
    version = policies.create_version(
        active.policy.name, f"name: {active.policy.name}\nrules:\n{ready.rule}", actor=reviewer, draft=True
    )
    policies.activate_version(version.pk, actor=administrator)
    assert 'href="/policy/#not-planned">not-planned (block at promote)' in main_of(developer.client.get(page))


def test_odd_filters_show_everything(checklist: Checklist, page: str, developer: Person) -> None:
    for query in ("stage=moon", "state=moon", "stage=%00&state=%00", "state=unkept"):
        assert items_of(developer.client.get(f"{page}?{query}")) == ["threats", "contacts"], query
    assert "Nothing matches" in text_of(developer.client.get(f"{page}?stage=run"))


def test_measuring_now_is_for_who_may_answer(
    checklist: Checklist, page: str, developer: Person, viewer: Person, stranger: Person
) -> None:
    Checklist.objects.update(measured_at=None)
    assert viewer.client.post(f"{page}measure/").status_code == 403
    assert stranger.client.post(f"{page}measure/").status_code == 404
    assert developer.client.post(f"{page}measure/").status_code == 303
    assert Checklist.objects.get().measured_at is not None


def test_the_application_s_page_leads_to_its_checklist(
    checklist: Checklist, page: str, application: Any, other_application: Any, viewer: Person, stranger: Person
) -> None:
    told = viewer.client.get(f"/applications/{application.slug}/")
    assert f'href="{page}?state=open#items">2 open' in main_of(told)
    assert "No checklist yet" in text_of(stranger.client.get(f"/applications/{other_application.slug}/"))


@pytest.mark.parametrize("who", EVERYBODY)
def test_measured_items_show_their_rows(application: Any, page: str, who: str, request: Any, developer: Person) -> None:
    services.choose_template(application.pk, "containers", actor=developer)
    person = request.getfixturevalue(who)
    answer = person.client.get(page)
    assert len(items_of(answer)) == len(PlanningTemplate.objects.get().parsed.requirements)
    team = f'href="/settings/teams/{application.team.slug}/">People of'
    assert team in main_of(answer)


# --- templates ---


def test_a_template_is_read_by_all_and_written_by_who_edits_the_policy(
    checklist: Checklist, viewer: Person, developer: Person, reviewer: Person
) -> None:
    told = text_of(viewer.client.get("/planning/templates/"))
    assert "Short" in told
    assert "comes with SecGuard" in told
    assert "Write a template" not in told
    first = PlanningTemplate.objects.get(name="short")
    assert developer.client.get("/planning/templates/new/").status_code == 403
    form = reviewer.client.get(f"/planning/templates/new/?from={first.pk}")
    assert "Who is called." in form.content.decode()
    text = OWN.replace("Who is called.", "Who is called at night.").replace("\n", "\r\n")
    saved = reviewer.client.post("/planning/templates/new/", {"source": text})
    second = PlanningTemplate.objects.get(name="short", version=2)
    assert saved["Location"] == f"/planning/templates/{second.pk}/"
    assert "\r" not in second.source
    old = text_of(viewer.client.get(f"/planning/templates/{first.pk}/"))
    assert "asked of nobody any more" in old
    assert "Asked of 1 application" in text_of(viewer.client.get(saved["Location"]))


def test_faults_of_a_template_are_said_with_their_lines(reviewer: Person) -> None:
    form = reviewer.client.get("/planning/templates/new/")
    assert "name: our-containers" in form.content.decode(), "what is shipped keeps its name"
    answer = reviewer.client.post("/planning/templates/new/", {"source": OWN.replace("stage: plan", "stage: plam")})
    assert answer.status_code == 422
    assert re.search(r"line 4, column \d+", text_of(answer))
    taken = reviewer.client.post("/planning/templates/new/", {"source": OWN.replace("name: short", "name: containers")})
    assert taken.status_code == 422
    assert "Give yours another name" in text_of(taken)
    for odd in ("moon", "9" * 30, "²"):
        assert reviewer.client.get(f"/planning/templates/new/?from={odd}").status_code == 200
    assert reviewer.client.get("/planning/templates/99999/").status_code == 404


def test_a_template_is_asked_of_an_application_from_its_page(
    checklist: Checklist, page: str, application: Any, developer: Person, reviewer: Person
) -> None:
    own = services.ensure_shipped()
    where = f"/planning/templates/{own.pk}/"
    option = f'<option value="{application.slug}">'
    assert option not in main_of(developer.client.get(where)), "another one than before is not a developer's"
    assert option in main_of(reviewer.client.get(where))
    body = {"application": application.slug, "template": "containers"}
    assert developer.client.post("/planning/choose/", body).status_code == 403
    assert reviewer.client.post("/planning/choose/", body)["Location"] == page
    assert Checklist.objects.get().template == own
