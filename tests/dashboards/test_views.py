"""What each role's pages show, that a stranger sees none of it, and that every number is the count of its rows."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest
from django.urls import reverse

from secguard.accounts.roles import Role
from secguard.dashboards.views.home import HOMES, audience
from tests.fixtures_reports import digest

pytestmark = pytest.mark.django_db

IMAGE, EARLIER = digest(12), digest(11)
HEADINGS = {
    "developer": "What to fix",
    "reviewer": "What waits for a decision",
    "operator": "What runs, and what was refused",
    "business_approver": "Where you stand",
    "administrator": "What needs you",
    "viewer": "Where you stand",
}
READING = (
    "/", "/images/", f"/images/{IMAGE}/", f"/images/{IMAGE}/components/", "/risks/", "/risks/open/", "/risks/{risk}/",
    "/scans/{scan}/", "/compliance/", "/compliance/applications/", "/policy/", "/policy/{policy}/",
)  # fmt: skip


@pytest.fixture
def grown(organisation: Any, application: Any) -> Any:
    for _ in range(2):
        organisation.grow(application)
    return organisation


def text_of(answer: Any) -> str:
    body = answer.content if not answer.streaming else b"".join(answer.streaming_content)
    return str(body.decode())


def ids() -> dict[str, int]:
    from secguard.findings.models import Risk
    from secguard.policies.services import active_version
    from secguard.scans.models import Scan

    return {
        "risk": Risk.objects.order_by("-severity", "pk")[0].pk,
        "scan": Scan.objects.order_by("pk")[0].pk,
        # Never 1 by itself: a sequence of PostgreSQL does not go back with the transaction of the test before.
        "policy": active_version().pk,
    }


def rows_behind(client: Any, url: str) -> int:
    """How many rows the page at ``url`` lists, in the words of its own footer; 0 where it says that nothing matches."""
    page = text_of(client.get(url.replace("&amp;", "&")))
    found = re.search(r'class="listing-count"[^>]*>([\d,]+) ', page)
    if found is None:
        assert "empty-state" in page, url
        return 0
    return int(found[1].replace(",", ""))


# --- who sees what ---


@pytest.mark.parametrize("who", sorted(HEADINGS))
def test_every_role_reads_every_page(who: str, grown: Any, request: pytest.FixtureRequest) -> None:
    person = request.getfixturevalue(who)
    for path in READING:
        assert person.client.get(path.format(**ids())).status_code == 200, path
    assert f'<h1 class="page-title">{HEADINGS[who]}</h1>' in text_of(person.client.get("/"))


def test_every_role_has_a_home() -> None:
    assert set(HOMES) == set(Role)


def test_whoever_holds_several_roles_gets_the_home_of_the_first(make_person: Any, team: Any) -> None:
    both = make_person("both", "developer", "security-reviewer", team=team)
    assert audience(both) is Role.SECURITY_REVIEWER
    assert audience(make_person("nobody")) is Role.VIEWER


def test_the_reviewer_sees_what_waits_and_a_developer_does_not(grown: Any) -> None:
    reviewer, developer = (text_of(grown.people[who].client.get("/")) for who in ("reviewer", "developer"))
    assert "Waiting for your decision" in reviewer
    assert "CVE-2026-0013" in reviewer.partition("Waiting for your decision")[2].partition("</section>")[0]
    assert "Waiting for your decision" not in developer
    assert "What you asked for" in developer


def test_the_operator_sees_what_runs_and_would_not_start_again(grown: Any) -> None:
    from secguard.images.models import Image
    from secguard.policies.models import Verdict
    from secguard.policies.services import verdict_of

    image = Image.objects.get(digest=IMAGE)
    before = text_of(grown.people["operator"].client.get("/")).partition("would not start again")[2]
    assert "service-1:2" not in before.partition("</section>")[0]
    verdict_of(image, "admit")
    Verdict.objects.filter(image=image, stage="admit").update(verdict="block")
    after = text_of(grown.people["operator"].client.get("/")).partition("would not start again")[2]
    assert "service-1:2" in after.partition("</section>")[0]
    assert "service-2:2" not in after.partition("</section>")[0]


def test_an_empty_installation_leads_to_where_to_begin(developer: Any, viewer: Any) -> None:
    assert developer.client.get("/").url == reverse("begin")
    page = text_of(developer.client.get("/begin/"))
    assert "secguard gate" in page
    assert "curl" in page
    assert "Your role reads" in text_of(viewer.client.get("/begin/"))


def test_the_token_of_the_first_steps_works_and_is_shown_once(developer: Any, client: Any) -> None:
    page = text_of(developer.client.post("/begin/"))
    token = re.search(r"SECGUARD_TOKEN=(sgt_[\w-]+)", page)
    assert token is not None
    answer = client.get("/api/v1/me/", headers={"Authorization": f"Bearer {token[1]}"})
    assert answer.status_code == 200
    assert answer.json()["username"] == "developer"
    assert token[1] not in text_of(developer.client.get("/begin/"))


def test_the_first_token_says_where_it_can_do_more_than_a_pipeline_needs(developer: Any, reviewer: Any) -> None:
    assert "It posts reports and asks for decisions" in text_of(developer.client.get("/begin/"))
    assert "It carries your role security-reviewer" in text_of(reviewer.client.get("/begin/"))


def test_the_owner_of_an_installation_gets_a_developers_token(client: Any, db: None) -> None:
    from secguard.accounts.models import ApiToken, User
    from secguard.accounts.services import create_owner

    create_owner()
    client.force_login(User.objects.get(username="owner"))
    client.post("/begin/")
    assert ApiToken.objects.get().role == "developer"


def test_a_viewer_cannot_make_a_token_of_the_first_steps(viewer: Any) -> None:
    assert "sgt_" not in text_of(viewer.client.post("/begin/"))


def test_a_stranger_sees_nothing(grown: Any, stranger: Any) -> None:
    for path in (f"/images/{IMAGE}/", f"/images/{IMAGE}/components/", "/risks/{risk}/", "/scans/{scan}/"):
        answer = stranger.client.get(path.format(**ids()))
        assert answer.status_code == 404, path
        assert "service-1" not in text_of(answer)
    for path in ("/images/", "/risks/", "/risks/open/", "/compliance/", "/images/?team=payments", "/images/?q=service"):
        page = text_of(stranger.client.get(path))
        assert "CVE-2026" not in page, path
        assert "reg.example" not in page, path
        assert "Payments" not in page, path
    assert stranger.client.get("/").url == reverse("begin")
    for path in ("/images/", "/risks/", "/risks/open/"):
        assert len(text_of(stranger.client.get(f"{path}?format=csv")).splitlines()) == 1, "the head alone"


def test_a_filter_of_another_team_finds_nothing(grown: Any, stranger: Any) -> None:
    for query in ("team=payments", "application=shop", "repository=reg.example/shop/service-1"):
        assert rows_behind(grown.people["developer"].client, f"/images/?{query}") > 0, query
        assert rows_behind(stranger.client, f"/images/?{query}") == 0, query
        assert rows_behind(stranger.client, f"/risks/open/?{query}") == 0, query


def test_who_is_not_signed_in_is_asked_to(client: Any, db: None) -> None:
    for path in ("/", "/images/", "/risks/", "/risks/open/", "/compliance/", "/policy/", "/begin/"):
        answer = client.get(path)
        assert (answer.status_code, answer.url.partition("?")[0]) == (302, reverse("login")), path


# --- numbers ---


@pytest.mark.parametrize("who", sorted(HEADINGS))
def test_every_number_of_a_home_is_the_count_of_its_rows(who: str, grown: Any, request: pytest.FixtureRequest) -> None:
    overdue(2)
    client = request.getfixturevalue(who).client
    page = text_of(client.get("/"))
    cards = re.findall(r'<p class="stat-label">([^<]+)</p><p class="stat-value"><a href="([^"]+)"[^>]*>([\d,]+)<', page)
    assert len(cards) >= 3
    for label, url, value in cards:
        if label == "Waiting for you":
            waiting = text_of(client.get(url))
            assert len(re.findall("data-queue-item=", waiting)) == int(value), label
            assert int(value) > 0 or who != "reviewer"
        else:
            assert rows_behind(client, url) == int(value), label
    assert {label: value for label, _, value in cards}["Overdue"] == "2"


def overdue(how_many: int) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from secguard.findings.models import Exposure

    open_ones = Exposure.objects.present().filter(decided_until=None).order_by("pk").values_list("pk", flat=True)
    Exposure.objects.filter(pk__in=list(open_ones[:how_many])).update(due_at=timezone.now() - timedelta(days=1))


@pytest.mark.parametrize("query", ["", "?team=payments", "?team=unknown&days=7000"])
def test_every_number_of_compliance_is_the_count_of_its_rows(query: str, grown: Any) -> None:
    overdue(3)
    client = grown.people["reviewer"].client
    page = text_of(client.get(f"/compliance/{query}"))
    cells = re.findall(r'<td class="num"><a href="(/risks/open/[^"]+)">([\d,]+)</a>', page)
    assert len(cells) > 5
    for url, value in cells:
        assert rows_behind(client, url) == int(value), url
    pie = re.findall(r'<a href="(/images/[^"]+)">(\d+)</a>', page)
    assert len(pie) == 4
    assert [rows_behind(client, url) for url, _ in pie] == [int(value) for _, value in pie]
    exceptions = re.search(
        r'Exceptions in force</p><p class="stat-value"><a href="(/decisions/[^"]+)"[^>]*>(\d+)', page
    )
    assert exceptions is not None
    assert rows_behind(client, exceptions[1]) == int(exceptions[2]) == 2


# --- one image, one risk, one scan ---


def test_an_image_says_whether_it_may_go_on_and_what_to_do(grown: Any) -> None:
    page = text_of(grown.people["developer"].client.get(f"/images/{IMAGE}/?stage=build"))
    assert "It may not pass the build gate" in page
    assert "critical-with-fix" in page
    assert "Upgrade <code>openssl1</code>" in page
    assert "<strong>1.1.2</strong>" in page
    assert re.search(r'href="[^"]*/decisions/new/\?[^"]*risk=\d+', page)
    assert f"/images/{EARLIER}/" in page, "the image before"


def test_a_viewer_is_not_offered_to_ask(grown: Any, viewer: Any) -> None:
    page = text_of(viewer.client.get(f"/images/{IMAGE}/"))
    assert "It may not pass the promote gate" in page
    assert "/decisions/new/" not in page
    assert "/decisions/new/" not in text_of(viewer.client.get("/risks/"))


def test_a_gate_that_there_is_not_is_the_promote_gate(grown: Any) -> None:
    assert "the promote gate" in text_of(grown.people["developer"].client.get(f"/images/{IMAGE}/?stage=lunch"))


def test_a_decision_is_shown_where_it_applies(grown: Any) -> None:
    from secguard.decisions.models import Decision

    held = Decision.objects.filter(status="approved", risk__vulnerability__name="CVE-2026-0014").get()
    page = text_of(grown.people["developer"].client.get(f"/images/{IMAGE}/?q=CVE-2026-0014"))
    assert f'href="/decisions/{held.pk}/">Accept</a>' in page


def test_markup_in_a_report_is_shown_as_text(grown: Any, post: Any, application: Any) -> None:
    from tests.fixtures_reports import flaw, report

    evil = "<script>alert(1)</script>"
    raw = report(
        flaw("CVE-2026-6666", title=evil, description=evil),
        image={"reference": "reg.example/shop/evil:1", "digest": digest(666)},
    )
    post(raw, application=application.slug)
    client = grown.people["developer"].client
    for path in (f"/images/{digest(666)}/", "/risks/?q=6666", "/risks/open/?q=6666", "/"):
        page = text_of(client.get(path))
        assert evil not in page, path
    assert "&lt;script&gt;" in text_of(client.get("/risks/?q=6666"))


# --- lists: filters, search, sort, CSV; the state is in the URL ---


def names(client: Any, url: str) -> list[str]:
    """The heads of a list's rows, as text."""
    page = text_of(client.get(url))
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    heads = re.findall(r'<th scope="row">(.*?)</th>', body, re.S)
    return [re.sub(r"<[^>]+>", " ", head).split()[0] for head in heads]


OF_IMAGES = [
    ("", 4),
    ("current=true", 2),
    ("severity=5", 4),
    ("severity=1", 0),
    ("verdict=block", 4),
    ("verdict=pass", 0),
    ("verdict=nonsense", 0),
    ("application=shop", 4),
    ("team=payments&current=true", 2),
    ("repository=reg.example/shop/service-1", 2),
    ("q=service-2", 2),
    (f"q={IMAGE}", 1),
    ("q=service-1&current=true", 1),
]


def test_images_are_filtered(grown: Any) -> None:
    client = grown.people["developer"].client
    assert {query: rows_behind(client, f"/images/?{query}") for query, _ in OF_IMAGES} == dict(OF_IMAGES)


OF_RISKS = [
    ("/risks/?", 8),
    ("/risks/?severity=5", 2),
    ("/risks/?fix_available=true", 4),
    ("/risks/?fix_available=false", 4),
    ("/risks/?fix_available=", 8),
    ("/risks/?known_exploited=true", 0),
    ("/risks/?kind=vulnerability&present=true", 8),
    ("/risks/?present=false", 0),
    ("/risks/?kind=secret", 0),
    ("/risks/?q=CVE-2026-0021", 1),
    ("/risks/open/?", 8),
    ("/risks/open/?deadline=covered", 2),
    ("/risks/open/?deadline=later&severity=4", 2),
    ("/risks/open/?repository=reg.example/shop/service-2", 4),
    ("/risks/open/?q=service-1", 4),
    ("/risks/open/?q=zlib2", 1),
    (f"/images/{IMAGE}/?severity=4", 1),
    (f"/images/{IMAGE}/?status=closed", 0),
    (f"/images/{IMAGE}/?q=bash", 1),
]


def test_risks_and_findings_are_filtered(grown: Any) -> None:
    client = grown.people["developer"].client
    assert {url: rows_behind(client, url) for url, _ in OF_RISKS} == dict(OF_RISKS)


SORTED = {
    "/images/": ("severity", "scanned", "seen"),
    "/risks/": ("worst", "epss", "created"),
    "/risks/open/": ("severity", "due", "since"),
    f"/images/{IMAGE}/": ("severity", "first_seen"),
}


def test_lists_sort_both_ways(grown: Any) -> None:
    client = grown.people["developer"].client
    for path, keys in SORTED.items():
        for key in keys:
            up, down = names(client, f"{path}?sort={key}"), names(client, f"{path}?sort=-{key}")
            assert sorted(up) == sorted(down), (path, key)
            assert f"sort=-{key}" in text_of(client.get(f"{path}?sort={key}")), "the head turns the order round"


def test_open_risks_come_by_their_deadline_and_images_by_their_severity(grown: Any) -> None:
    client = grown.people["developer"].client
    assert set(names(client, "/risks/open/?sort=-severity")[:2]) == {"CVE-2026-0011", "CVE-2026-0021"}
    assert set(names(client, "/risks/open/")[:2]) == {"CVE-2026-0011", "CVE-2026-0021"}


def test_the_state_of_a_list_is_in_its_url_and_survives_the_form(grown: Any) -> None:
    page = text_of(grown.people["developer"].client.get("/risks/open/?team=payments&severity=5&sort=-since&q=openssl"))
    assert '<span class="chip-label">Team</span> payments' in page
    assert '<span class="chip-label">Severity</span> Critical' in page
    assert '<input type="hidden" name="team" value="payments"' in page
    assert '<input type="hidden" name="sort" value="-since"' in page
    assert '<option value="5" selected>' in page
    assert 'value="openssl"' in page
    link = re.search(r'href="([^"]+)" data-csv', page)
    assert link is not None
    assert {"team=payments", "severity=5", "q=openssl", "format=csv"} <= set(re.split(r"[?&;]|amp;", link[1]))


@pytest.mark.parametrize(
    ("path", "columns", "rows"),
    [
        ("/images/?current=true", ["Image", "May be promoted", "Digest"], 2),
        ("/risks/?severity=5", ["Severity", "Risk", "Package or target", "Known exploited"], 2),
        ("/risks/open/?deadline=covered", ["Risk", "Repository", "Fix by", "Covered until"], 2),
        (f"/images/{IMAGE}/?severity=5", ["Severity", "Finding", "Where", "Fixed in"], 1),
    ],
)
def test_a_csv_holds_what_the_list_shows(path: str, columns: list[str], rows: int, grown: Any) -> None:
    answer = grown.people["developer"].client.get(f"{path}&format=csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    table = list(csv.DictReader(io.StringIO(text_of(answer).lstrip("\ufeff"))))
    assert len(table) == rows
    for column in columns:
        assert column in table[0], column
    assert all(row[columns[1]] for row in table)


def test_a_fragment_is_the_list_alone(grown: Any) -> None:
    client = grown.people["developer"].client
    fragment = text_of(client.get("/images/?q=service-1", headers={"HX-Request": "true"}))
    assert "<html" not in fragment
    assert "service-1:2" in fragment
    assert "service-2" not in fragment
