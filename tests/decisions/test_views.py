from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from secguard.decisions import queries, services
from secguard.decisions.models import Decision, RiskAppetite

pytestmark = pytest.mark.django_db
MARKUP = '<script>alert("x")</script>'


def sent(risk, repository, /, **changed):
    return {
        "risk": risk.pk,
        "kind": "accept",
        "scope": f"repository:{repository.pk}",
        "reason": "The flawed function is not called.",
        "until": (timezone.now() + timedelta(days=20)).date().isoformat(),
    } | changed


@pytest.fixture
def waiting(ask, developer) -> Decision:
    now = timezone.now()
    return ask(developer, now=now, expires_at=now + timedelta(days=30))


def text(response) -> str:
    return response.content.decode()


def fragment(client, url, target="queue", **data):
    headers = {"HX-Request": "true", "HX-Target": target}
    return client.post(url, data, headers=headers) if data else client.get(url, headers=headers)


# --- asking ---


def test_the_form_suggests_the_narrowest_scope_and_shows_what_it_covers(developer, risk, repository, image):
    page = text(developer.client.get(f"/decisions/new/?risk={risk.pk}"))
    assert f'value="repository:{repository.pk}"' in page
    checked = next(tag for tag in page.split("<input") if f"repository:{repository.pk}" in tag)
    assert "checked" in checked
    assert "180 days" in page
    assert "<code>high</code>" in page
    assert "security-reviewer" in page


def test_asking_from_a_finding_and_an_image(developer, image, repository, risk):
    finding = image.findings.get()
    page = text(developer.client.get(f"/decisions/new/?finding={finding.pk}&image={image.digest}"))
    assert f'value="image:{image.pk}"' in page
    answer = developer.client.post("/decisions/new/", sent(risk, repository, image=image.digest))
    decision = Decision.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, f"/decisions/{decision.pk}/")
    assert decision.requested_by_id == developer.pk


def test_the_preview_follows_the_form(developer, risk, repository, image):
    scope = f"repository:{repository.pk}"
    part = text(fragment(developer.client, f"/decisions/new/preview/?risk={risk.pk}&scope={scope}&kind=not_affected"))
    assert part.lstrip().startswith('<div id="preview"')
    assert "365 days" in part
    assert "<html" in text(developer.client.get(f"/decisions/new/preview/?risk={risk.pk}&scope={scope}"))
    without_script = developer.client.post("/decisions/new/", sent(risk, repository, kind="not_affected", preview="1"))
    assert without_script.status_code == 200
    assert "365 days" in text(without_script)
    assert not Decision.objects.exists()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"reason": " "}, "This field is required"),
        ({"until": "2199-01-01"}, "allows 180 days"),
        ({"until": "2020-01-01"}, "not after now"),
        ({"until": "soon"}, "valid date"),
        ({"kind": "ignore"}, "valid choice"),
        ({"scope": "repository:999999"}, "valid choice"),
        ({"max_epss": "7"}, "less than or equal to 1"),
    ],
)
def test_a_faulty_form_comes_back_with_words(developer, risk, repository, image, changed, words):
    answer = developer.client.post("/decisions/new/", sent(risk, repository, **changed))
    assert answer.status_code == 422
    assert words in text(answer)
    assert not Decision.objects.exists()


def test_the_last_day_allowed_is_allowed(developer, risk, repository, image):
    last = (timezone.now() + timedelta(days=180)).date().isoformat()
    assert developer.client.post("/decisions/new/", sent(risk, repository, until=last)).status_code == 303


def test_several_risks_become_several_requests(developer, estate, repository, risk, image):
    other = estate.risk()
    estate.image(repository, [risk, other])
    answer = developer.client.post("/decisions/new/", sent(risk, repository, risk=[risk.pk, other.pk]))
    assert answer["Location"] == "/decisions/?mine=true&status=requested"
    assert Decision.objects.count() == 2


def test_who_may_not_ask(viewer, stranger, risk, repository, image):
    assert viewer.client.get(f"/decisions/new/?risk={risk.pk}").status_code == 403
    assert stranger.client.get(f"/decisions/new/?risk={risk.pk}").status_code == 404
    assert stranger.client.post("/decisions/new/", sent(risk, repository)).status_code == 404
    preview = f"/decisions/new/preview/?risk={risk.pk}&scope=repository:{repository.pk}"
    assert stranger.client.get(preview).status_code == 404
    assert "CVE-2026-0001" not in text(stranger.client.get(preview))


# --- reading ---


def test_the_list_filters_searches_and_exports(waiting, developer, stranger, reviewer):
    assert "CVE-2026-0001" in text(developer.client.get("/decisions/"))
    assert "CVE-2026-0001" in text(developer.client.get("/decisions/?q=cve-2026&status=requested&mine=true"))
    assert "CVE-2026-0001" in text(developer.client.get("/decisions/?ending=60&team=payments"))
    for query in ("ending=1", "ending=never", "ending=0", "team=logistics"):
        assert "Nothing matches" in text(developer.client.get(f"/decisions/?{query}")), query
    assert "Nothing matches" in text(developer.client.get("/decisions/?status=approved"))
    csv = b"".join(developer.client.get("/decisions/?format=csv").streaming_content).decode()
    assert csv.splitlines()[1].startswith(f"{waiting.pk},CVE-2026-0001,")
    assert ",accept,repository,high," in csv.splitlines()[1]
    for url in ("/decisions/", "/decisions/?q=CVE-2026-0001", f"/decisions/?risk={waiting.risk_id}"):
        assert "shop/api" not in text(stranger.client.get(url))


def test_one_decision_shows_everything_and_offers_what_one_may(waiting, developer, reviewer, stranger):
    url = f"/decisions/{waiting.pk}/"
    own, others = text(developer.client.get(url)), text(reviewer.client.get(url))
    assert "The flawed function is not called." in others
    assert "shop/api" in others
    assert "Withdraw" in own
    assert 'value="approve"' not in own
    assert 'value="approve"' in others
    assert stranger.client.get(url).status_code == 404


def test_markup_stays_text(ask, developer, reviewer, risk):
    risk.title = MARKUP
    risk.save()
    now = timezone.now()
    decision = ask(developer, reason=MARKUP, now=now, expires_at=now + timedelta(days=9))
    reviewer.client.post(f"/decisions/{decision.pk}/vote/", {"choice": "approve", "comment": MARKUP})
    for url in (f"/decisions/{decision.pk}/", "/decisions/", f"/decisions/new/?risk={risk.pk}"):
        page = text(reviewer.client.get(url))
        assert MARKUP not in page
    assert page.count("<script") == page.count("<script src")


# --- deciding on a decision's own page ---


def test_approve_and_revoke_on_the_page(waiting, developer, reviewer):
    url = f"/decisions/{waiting.pk}/"
    assert developer.client.post(f"{url}vote/", {"choice": "approve"}).status_code == 403
    bare = reviewer.client.post(f"{url}vote/", {"choice": "reject", "comment": ""})
    assert bare.status_code == 422
    assert "needs a comment" in text(bare)
    assert reviewer.client.post(f"{url}vote/", {"choice": "approve"}).status_code == 303
    assert "In force" in text(reviewer.client.get(url))
    assert reviewer.client.post(f"{url}vote/", {"choice": "approve"}).status_code == 409
    assert "judged again" in text(reviewer.client.get(f"{url}revoke/"))
    assert reviewer.client.post(f"{url}revoke/", {"reason": ""}).status_code == 422
    assert reviewer.client.post(f"{url}revoke/", {"reason": "fixed now"}).status_code == 303
    waiting.refresh_from_db()
    assert (waiting.status, waiting.end_reason) == ("revoked", "fixed now")


def test_withdraw_on_the_page(waiting, developer, stranger, viewer):
    url = f"/decisions/{waiting.pk}/withdraw/"
    assert stranger.client.post(url).status_code == 404
    assert viewer.client.post(url).status_code == 403
    assert "Withdraw the request" in text(developer.client.get(url))
    assert developer.client.post(url).status_code == 303
    assert developer.client.post(url).status_code == 409


# --- the review queue ---


@pytest.fixture
def three(ask, developer, estate, repository, risk, image) -> list[Decision]:
    others = [estate.risk(severity=5), estate.risk()]
    estate.image(repository, [risk, *others])
    start = timezone.now() - timedelta(hours=3)
    return [
        ask(developer, risk_id=r.pk, now=start + timedelta(minutes=n), expires_at=start + timedelta(days=9))
        for n, r in enumerate([risk, *others])
    ]


def test_the_queue_shows_the_oldest_with_everything_on_one_screen(three, reviewer):
    page = text(reviewer.client.get("/decisions/queue/"))
    assert f'data-decision="{three[0].pk}"' in page
    for words in ("3 waiting for you", "Severity", "Known exploitation", "Fix", "Who asks, and why", "Where it occurs"):
        assert words in page
    assert "Other decisions on this risk" in page


def test_choosing_one_renders_its_part_alone(three, reviewer):
    part = text(fragment(reviewer.client, f"/decisions/queue/?decision={three[1].pk}", "review"))
    assert f'data-decision="{three[1].pk}"' in part
    assert "<html" not in part
    assert "data-queue-items" not in part


def test_after_a_vote_the_next_one_is_shown(three, reviewer):
    first, second, third = three
    form = {"decision": first.pk, "ids": first.pk, "next": second.pk, "choice": "approve", "comment": ""}
    answer = fragment(reviewer.client, "/decisions/queue/", **form)
    assert answer["HX-Push-Url"] == f"/decisions/queue/?decision={second.pk}"
    assert f'data-decision="{second.pk}"' in text(answer)
    assert "2 waiting for you" in text(answer)
    plain = reviewer.client.post(
        "/decisions/queue/", form | {"decision": second.pk, "ids": second.pk, "next": third.pk}
    )
    assert (plain.status_code, plain["Location"]) == (303, f"/decisions/queue/?decision={third.pk}")
    assert Decision.objects.filter(status="approved").count() == 2


def test_a_rejection_without_a_comment_stays_where_it_is(three, reviewer):
    form = {"decision": three[1].pk, "ids": three[1].pk, "next": 0, "choice": "reject", "comment": " "}
    answer = fragment(reviewer.client, "/decisions/queue/", **form)
    assert answer.status_code == 422
    assert f'data-decision="{three[1].pk}"' in text(answer)
    assert "needs a comment" in text(answer)


def test_several_at_once_say_what_came_of_each(three, developer, reviewer):
    services.withdraw(three[2].pk, actor=developer)
    ids = [d.pk for d in three]
    answer = fragment(reviewer.client, "/decisions/queue/", choice="reject", comment="Upgrade instead.", ids=ids)
    assert "You rejected 2 requests." in text(answer)
    assert f"Decision {three[2].pk}: The decision is withdrawn" in text(answer)
    assert "Nothing waits for you" in text(answer)


def test_voting_on_what_was_decided_meanwhile_is_a_conflict(three, developer, reviewer):
    services.withdraw(three[0].pk, actor=developer)
    form = {"decision": three[0].pk, "ids": three[0].pk, "next": three[1].pk, "choice": "approve", "comment": ""}
    answer = fragment(reviewer.client, "/decisions/queue/", **form)
    assert answer.status_code == 409
    assert "withdrawn" in text(answer)


def test_choosing_nothing_says_so(three, reviewer):
    answer = reviewer.client.post("/decisions/queue/", {"choice": "approve"})
    assert answer.status_code == 422


def test_the_queue_leaves_out_what_this_person_cannot_fill(
    three, developer, reviewer, business_approver, make_person, estate, repository, ask, team, other_team
):
    now = timezone.now()
    hot = estate.risk(severity=5, known_exploited=True)
    estate.image(repository, [hot])
    both = ask(developer, risk_id=hot.pk, now=now, expires_at=now + timedelta(days=3))

    def seen(person):
        return [d.pk for group in queries.queue(person, timezone.now()) for d in group.decisions]

    assert seen(business_approver) == [both.pk]
    assert set(seen(reviewer)) == {*(d.pk for d in three), both.pk}
    second = make_person("second", "security-reviewer")
    services.approve(both.pk, actor=reviewer)
    assert both.pk not in seen(second)
    assert both.pk in seen(business_approver)
    assert seen(make_person("here", "security-reviewer", team=team)) == [d.pk for d in three]
    assert seen(make_person("there", "security-reviewer", team=other_team)) == []


@pytest.mark.parametrize(
    ("who", "status"), {"developer": 403, "viewer": 403, "stranger": 403, "administrator": 403}.items()
)
def test_the_queue_is_for_those_who_decide(three, who, status, request):
    person = request.getfixturevalue(who)
    assert person.client.get("/decisions/queue/").status_code == status
    form = {"ids": three[0].pk, "choice": "approve"}
    assert person.client.post("/decisions/queue/", form).status_code == status
    assert not Decision.objects.filter(status="approved").exists()


def test_pages_take_the_same_queries_for_few_as_for_many(ask, developer, reviewer, estate, repository):
    risks = [estate.risk() for _ in range(14)]
    estate.image(repository, risks)
    now = timezone.now()

    def count(url: str) -> int:
        reviewer.client.get(url)
        with CaptureQueriesContext(connection) as found:
            assert reviewer.client.get(url).status_code == 200
        return len(found)

    def ask_for(some):
        return [ask(developer, risk_id=r.pk, now=now, expires_at=now + timedelta(days=9)).pk for r in some]

    ids = ask_for(risks[:2])
    urls = ["/decisions/", "/decisions/queue/", f"/decisions/{ids[0]}/", f"/decisions/new/?risk={risks[0].pk}"]
    few = [count(u) for u in urls]
    ask_for(risks[2:])
    urls[3] = "/decisions/new/?" + "&".join(f"risk={r.pk}" for r in risks)
    assert [count(u) for u in urls] == few


# --- the risk appetite ---


def test_the_appetite_is_a_table_for_all_and_a_form_for_the_business(viewer, business_approver):
    page = text(viewer.client.get("/appetite/"))
    assert "critical, known to be exploited" in page
    assert "everything else" in page
    assert "<textarea" not in page
    source = RiskAppetite.objects.get().source
    bad = business_approver.client.post("/appetite/", {"source": source.replace("max_days: 14", "max_days: soon")})
    assert bad.status_code == 422
    assert "Line 17, column" in text(bad) or "Line" in text(bad)
    good = {"source": source.replace("max_days: 14", "max_days: 10"), "comment": "stricter", "activate": "on"}
    assert viewer.client.post("/appetite/", good).status_code == 403
    assert business_approver.client.post("/appetite/", good)["Location"] == "/appetite/2/"
    assert "10 days" in text(viewer.client.get("/appetite/"))
    assert viewer.client.post("/appetite/1/activate/").status_code == 403
    assert business_approver.client.post("/appetite/1/activate/").status_code == 303
    assert viewer.client.get("/appetite/9/").status_code == 404


def test_nothing_is_shown_without_signing_in(client, waiting):
    for url in (
        "/decisions/",
        "/decisions/queue/",
        f"/decisions/{waiting.pk}/",
        "/decisions/new/?risk=1",
        "/appetite/",
    ):
        answer = client.get(url)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/sign-in/?next=")


def test_who_asks_sees_what_others_decided_about_the_risk_and_why(
    developer, reviewer, stranger, risk, repository, image
):
    """As far as they may see it: a stranger's page has none of it."""
    scope = queries.find_scope(developer, "repository", repository.name)
    ends = timezone.now() + timedelta(days=9)
    ask = services.Ask(risk.pk, "accept", scope, "The parser is <b>never</b> reached.", ends)
    services.approve(services.request_decision(ask, actor=developer).pk, actor=reviewer)
    page = developer.client.get(f"/decisions/new/?risk={risk.pk}").content.decode()
    assert "What was decided before, and why" in page
    assert "The parser is &lt;b&gt;never&lt;/b&gt; reached." in page
    assert "in force" in page.lower()
    assert stranger.client.get(f"/decisions/new/?risk={risk.pk}").status_code == 404
