"""On an image's page: where it stands on its way, and its recall; and the page that calls back and lifts that."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
from django.utils import timezone

from secguard.images.models import Image, Index, IndexImage, Registry, Repository, Tag
from secguard.jobs.models import Job
from secguard.promotion import services
from secguard.promotion.lifecycle import Step
from secguard.promotion.models import Environment, Promotion
from secguard.signing.models import Recall, SigningKey
from secguard.signing.services import TAKE_AWAY, note_attestations, recall
from secguard.signing.statements import PROMOTION
from tests.fixtures_people import MakePerson, Person
from tests.fixtures_reports import digest
from tests.promotion.conftest import PLACE, Estate
from tests.promotion.test_pages import HOSTILE, buttons, text_of

pytestmark = pytest.mark.django_db
IMAGE, PAGE = f"/images/{digest(1)}/", f"/images/{digest(1)}/recall/"
WHY = "The build machine was broken into."


def stands(number: int, environment: str = "staging") -> None:
    """As if it had been promoted there."""
    place, _ = Repository.objects.get_or_create(
        registry=Registry.objects.get(host="live.example"), path=f"{environment}/shop/web",
        name=f"live.example/{environment}/shop/web",
    )  # fmt: skip
    note_attestations([digest(number)], place, PROMOTION, environment, SigningKey.objects.get(), timezone.now())


def workload(number: int, name: str, application: Any) -> None:
    from secguard.workloads.models import Cluster, Workload

    cluster, _ = Cluster.objects.get_or_create(name="production-eu")
    made = Workload.objects.create(cluster=cluster, namespace="shop", name=name, application=application)
    made.images.add(Image.objects.get(digest=digest(number)))


def journey(person: Person, address: str = IMAGE) -> str:
    """The line of environments, as text; empty where there is none."""
    found = re.search(r'<section class="card journey".*?</section>', person.client.get(address).content.decode(), re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", found[0]))).strip() if found else ""


def promote_links(person: Person) -> dict[str, str]:
    """{environment: the address of its button} on the image's page."""
    body = person.client.get(IMAGE).content.decode()
    links = [unquote(html.unescape(link)) for link in re.findall(r'href="(/promotions/new/[^"]*)"', body)]
    return {re.findall(r"to=([\w-]+)", link)[0]: link for link in links}


# --- the way ---


def test_an_image_s_page_says_where_it_stands_and_what_comes(
    scanned: Callable[..., str], operator: Person, developer: Person, stranger: Person
) -> None:
    scanned(1, tag="1.1")
    Environment.objects.filter(name="production").update(requires_previous=True)
    assert re.search(r"build pushed just now .*staging not there .*production after staging", journey(developer))
    assert promote_links(developer) == {}
    links = promote_links(operator)
    assert set(links) == {"staging"}
    form = operator.client.get(links["staging"]).content.decode()
    assert f'value="{PLACE}@{digest(1)}"' in form
    assert 'value="1.1"' in form
    stands(1)
    assert re.search(r"staging since just now .*production not there .*Promote to production", journey(operator))
    assert set(promote_links(operator)) == {"staging", "production"}, "again, to move its tags; and on"
    assert stranger.client.get(IMAGE).status_code == 404


def test_it_goes_on_from_the_place_before_and_never_back(
    scanned: Callable[..., str], operator: Person, application: Any
) -> None:
    scanned(1)
    scanned(1, tag="elsewhere", place="mirror.example/shop/web")
    stands(1)
    for environment in ("staging", "prod"):
        scanned(1, tag="1.1", place=f"live.example/{environment}/shop/web")
    sources = {to: link.partition("image=")[2].partition("@")[0] for to, link in promote_links(operator).items()}
    assert sources == {"staging": PLACE, "production": "live.example/staging/shop/web"}


def test_what_is_on_its_way_leads_there(asked: Callable[..., Promotion], operator: Person, developer: Person) -> None:
    waiting, running = asked(1, to="production"), asked(1)
    line = journey(developer)
    assert re.search(r"staging on its way .*production waits for approval", line)
    assert "Latest promotion: to staging, running" in line
    body = developer.client.get(IMAGE).content.decode()
    assert {f"/promotions/{p.pk}/" for p in (waiting, running)} <= set(re.findall(r'href="([^"]*)"', body))
    assert promote_links(operator) == {}, "what is under way is not asked for again"


def test_a_platform_of_an_index_is_promoted_with_it(scanned: Callable[..., str], operator: Person) -> None:
    scanned(1, tag="multi")
    scanned(2, tag="multi-arm")
    index = Index.objects.create(digest=digest(9))
    for number, architecture in ((1, "amd64"), (2, "arm64")):
        image = Image.objects.get(digest=digest(number))
        IndexImage.objects.create(index=index, image=image, platform=f"linux/{architecture}")
    Tag.objects.filter(name="multi").update(index=index)
    form = operator.client.get(promote_links(operator)["staging"]).content.decode()
    assert f'value="{PLACE}@{digest(9)}"' in form
    assert 'value="multi"' in form
    made = services.ask(services.Ask(f"{PLACE}@{digest(9)}", "staging", ["multi"]), actor=operator)
    for number in (1, 2):
        body = operator.client.get(f"/images/{digest(number)}/").content.decode()
        assert f"/promotions/{made.pk}/" in body, number
    back = operator.client.post(f"/images/{digest(9)}/recall/", {"act": "recall", "reason": WHY})
    assert back["Location"] == IMAGE
    for number in (1, 2):
        said = text_of(operator.client.get(f"/images/{digest(number)}/"))
        assert "Called back" in said
        assert "with its index" in said
    whole = text_of(operator.client.get(PAGE))
    assert "Lift the recall of the index" in whole
    assert buttons(operator.client.get(PAGE)) == set()


def test_without_environments_only_a_recall_is_offered(
    post: Any, application: Any, operator: Person, developer: Person
) -> None:
    from tests.fixtures_reports import report

    post(report(image=1), application=application.slug)
    assert journey(developer) == ""
    assert "No environments are set up" in journey(operator)
    assert PAGE in operator.client.get(IMAGE).content.decode()
    assert PAGE not in developer.client.get(IMAGE).content.decode()


# --- calling back ---


def test_a_recall_says_what_it_touches_before_it_does(
    asked: Callable[..., Promotion], operator: Person, developer: Person, application: Any
) -> None:
    waiting = asked(1, to="production")
    stands(1)
    for name in ("web", "worker"):
        workload(1, name, application)
    said = text_of(operator.client.get(PAGE))
    assert "every gate refuses it" in said
    assert "it stands no longer in staging" in said
    assert f"1 promotion of it ends: promotion {waiting.pk}" in said
    assert "live.example/ staging/ shop/ web" in said
    assert "2 workloads run it now" in said
    assert "shop/web Deployment, production-eu" in said
    assert not Recall.objects.exists(), "reading calls nothing back"
    assert developer.client.post(PAGE, {"act": "recall", "reason": WHY}).status_code == 403


def test_called_back_and_lifted(
    asked: Callable[..., Promotion], operator: Person, reviewer: Person, developer: Person, application: Any
) -> None:
    waiting = asked(1, to="production")
    stands(1)
    workload(1, "web", application)
    answer = operator.client.post(PAGE, {"act": "recall", "reason": WHY})
    assert answer["Location"] == IMAGE
    body = developer.client.get(IMAGE).content.decode()
    said = text_of(developer.client.get(IMAGE))
    assert body.index("recall-banner") < body.index("card journey") < body.index("verdict-card"), "seen first"
    assert f"Called back: no gate lets it pass {WHY} Operator" in said
    assert "1 workload runs it now" in said
    assert "A worker takes our signatures of it away" in said
    assert "Lift the recall" not in said, "a developer may not"
    assert "staging not there" in journey(developer)
    assert promote_links(operator) == {}
    said = text_of(operator.client.get(f"/promotions/{waiting.pk}/"))
    assert f"Called back: {WHY}" in said
    Job.objects.filter(kind=TAKE_AWAY).update(
        status="succeeded", finished_at=timezone.now(),
        result={"removed": 3, "left": 2, "failed": ["live.example/x: it did not answer"]},
    )  # fmt: skip
    said = text_of(operator.client.get(IMAGE))
    assert "Our signatures of it: 3 taken away, 2 kept by registries that delete nothing" in said
    assert "not in live.example/x: it did not answer" in said
    assert PAGE in operator.client.get(IMAGE).content.decode()
    assert buttons(reviewer.client.get(PAGE)) == {"Lift it"}
    lifted = text_of(reviewer.client.post(PAGE, {"act": "lift", "reason": "It was another machine."}, follow=True))
    assert "The recall is lifted" in lifted
    assert "Called back" not in lifted
    row = Recall.objects.get()
    assert (row.lifted_by, row.lift_reason) == (reviewer, "It was another machine.")


@pytest.mark.parametrize("act", ["recall", "lift"])
def test_both_need_a_reason(scanned: Callable[..., str], operator: Person, act: str) -> None:
    scanned(1)
    if act == "lift":
        recall(digest(1), WHY, actor=operator)
    for reason in ("", "  ", "x" * 501):
        answer = operator.client.post(PAGE, {"act": act, "reason": reason})
        assert answer.status_code == 422
        assert "id_reason_error" in answer.content.decode()
    assert Recall.objects.filter(lifted_at=None).count() == (act == "lift")


def test_two_who_call_it_back_at_once_lift_nothing(scanned: Callable[..., str], operator: Person) -> None:
    scanned(1)
    recall(digest(1), WHY, actor=operator)
    answer = operator.client.post(PAGE, {"act": "recall", "reason": "The same."})
    assert answer.status_code == 422
    assert "is called back already" in text_of(answer)
    assert Recall.objects.get().lifted_at is None
    assert operator.client.post(PAGE, {"act": "burn", "reason": "x"}).status_code == 422
    assert operator.client.post(PAGE, {"reason": "x"}).status_code == 422
    assert Recall.objects.get().lifted_at is None


def test_it_takes_the_role_in_every_team_that_has_it(
    scanned: Callable[..., str], make_person: MakePerson, team: Any, other_team: Any, other_application: Any
) -> None:
    scanned(1)
    own, other = (make_person(n, "operator", team=t) for n, t in (("own", team), ("other", other_team)))
    assert own.client.get(PAGE).status_code == 200
    assert other.client.get(PAGE).status_code == 404
    assert PAGE in own.client.get(IMAGE).content.decode()
    scanned(1, application=other_application, place="build.example/logistics/web")
    for person in (own, other):
        assert person.client.get(PAGE).status_code == 403
        assert PAGE not in person.client.get(IMAGE).content.decode()
        assert person.client.post(PAGE, {"act": "recall", "reason": WHY}).status_code == 403
    assert not Recall.objects.exists()


def test_a_reason_is_text(scanned: Callable[..., str], operator: Person) -> None:
    scanned(1)
    operator.client.post(PAGE, {"act": "recall", "reason": HOSTILE})
    for address in (IMAGE, PAGE):
        body = operator.client.get(address).content.decode()
        assert HOSTILE not in body
        assert html.escape(HOSTILE) in body


# --- home ---


def test_the_homes_say_what_moves_and_what_waits(
    asked: Callable[..., Promotion], operator: Person, reviewer: Person, developer: Person, stranger: Person
) -> None:
    asked(1)
    asked(2, status="failed", why="The registry is full.")
    asked(3, to="production")
    said, body = text_of(operator.client.get("/")), operator.client.get("/").content.decode()
    assert "1 running" in said
    assert "1 failed" in said
    assert "The registry is full." in said
    for status in ("running", "failed"):
        assert f"/promotions/?status={status}" in body
        assert "1 promotion" in text_of(operator.client.get(f"/promotions/?status={status}"))
    said = text_of(reviewer.client.get("/"))
    assert "Promotions that wait for you" in said
    assert "1 waiting" in said
    assert "1 promotion" in text_of(reviewer.client.get("/promotions/?waiting=true"))
    assert "Promotions that wait" not in text_of(developer.client.get("/"))
    assert "shop/web" not in text_of(stranger.client.get("/", follow=True))


def test_another_team_s_home_says_nothing_of_it(
    asked: Callable[..., Promotion], scanned: Callable[..., str], make_person: MakePerson, other_application: Any
) -> None:
    asked(1)
    asked(3, to="production")
    scanned(4, application=other_application, place="build.example/logistics/web")
    for role in ("operator", "security-reviewer"):
        other = make_person(f"other-{role}", role, team=other_application.team)
        answer = other.client.get("/")
        assert answer.status_code == 200
        assert b"/promotions/?" not in answer.content
        assert b"shop/" not in answer.content


def test_homes_are_silent_where_nothing_moves(scanned: Callable[..., str], operator: Person, reviewer: Person) -> None:
    scanned(1)
    assert 'aria-labelledby="promotions"' not in operator.client.get("/").content.decode()
    assert 'aria-labelledby="approvals"' not in reviewer.client.get("/").content.decode()


# --- all of it ---


def test_the_whole_way_on_real_registries(
    estate: Estate, promote: Callable[..., Promotion], operator: Person, run_jobs: Callable[[], int]
) -> None:
    built = estate.scanned()
    made = promote(f"{estate.name}:1.4")
    answer = operator.client.get(f"/promotions/{made.pk}/")
    assert answer.content.decode().count("stage-done") == len(Step)
    assert "cosign verify --key" in text_of(answer)
    assert f"{estate.staged}@{built.digest}" in text_of(answer)
    address = f"/images/{built.digest}/"
    assert re.search(r"build pushed .*staging since just now", journey(operator, address))
    operator.client.post(f"{address}recall/", {"act": "recall", "reason": WHY})
    run_jobs()
    said = text_of(operator.client.get(address))
    taken = re.search(r"Our signatures of it: (\d+) taken away", said)
    assert taken is not None
    assert int(taken[1]) >= 2
    assert "staging not there" in journey(operator, address)
    said = text_of(operator.client.get(f"/promotions/{made.pk}/"))
    assert f"Called back: {WHY}" in said
    assert "cosign" not in said
