"""What pages and lists read: the number of queries is the same whatever the number of rows; words for deadlines."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.fixtures_reports import digest, flaw, report

pytestmark = pytest.mark.django_db

IMAGE = digest(12)
PAGES = {
    "reviewer": [
        "/", "/images/", f"/images/{IMAGE}/", f"/images/{IMAGE}/components/", "/risks/", "/risks/open/",
        "/risks/open/?deadline=later", "/risks/{risk}/", "/decisions/", "/decisions/queue/", "/decisions/{waiting}/",
        "/decisions/{waiting}/reach/",
        "/decisions/{approved}/revoke/", "/decisions/?status=approved&ending=30&team=payments", "/compliance/",
        "/compliance/applications/", "/policy/", "/appetite/", "/applications/", "/applications/shop/",
        "/audit/?per=25", "/scans/{scan}/",
        "/images/?q=service&verdict=block&current=true", "/images/?risk={risk}&team=payments",
        "/scans/", "/scans/?repository=reg.example/shop/service-1", "/repositories/", "/repositories/{repository}/",
        "/repositories/{repository}/tags/", "/workloads/", "/break-glass/", "/promotions/",
        "/promotions/?q=service&status=waiting", "/promotions/{promotion}/", "/settings/environments/",
    ],
    "developer": ["/", "/images/", "/risks/", "/risks/open/", "/decisions/", "/decisions/new/?risk={risk}"],
    "operator": ["/", "/images/", f"/images/{IMAGE}/", "/promotions/"],
    "administrator": [
        "/", "/settings/", "/settings/teams/", "/settings/tokens/", "/settings/ci-identities/", "/compliance/",
    ],
}  # fmt: skip


def assert_constant_queries(grow: Callable[[], None], urls: list[str], get: Callable[[str], Any]) -> None:
    """Ask for every URL, let the data grow to three times as much, ask again: the same number of queries each.

    The first round fills the caches of the process (the compiled policy, content types). Every answer must be 200.
    """
    grow()
    small = {url: _queries(url, get) for url in urls for _ in range(2)}
    grow()
    grow()
    large = {url: _queries(url, get) for url in urls}
    more = {url: _new(small[url], large[url]) for url in urls if len(small[url]) != len(large[url])}
    assert not more, "\n".join(f"{url}: {len(small[url])} -> {len(large[url])}: {new}" for url, new in more.items())


def _queries(url: str, get: Callable[[str], Any]) -> list[str]:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        answer = get(url)
        body = getattr(answer, "streaming_content", None)
        list(body) if body is not None else answer.content
    assert answer.status_code == 200, (url, answer.status_code)
    return [q["sql"] for q in captured.captured_queries]


def _new(before: list[str], after: list[str]) -> list[str]:
    """The statements that came in addition, by how they begin."""
    left = [sql[:160] for sql in before]
    added = []
    for sql in after:
        if sql[:160] in left:
            left.remove(sql[:160])
        else:
            added.append(sql[:400])
    return added[:4]


@pytest.mark.parametrize("who", sorted(PAGES))
def test_pages_ask_the_same_number_of_queries_at_any_size(who: str, organisation: Any, application: Any) -> None:
    client = organisation.people[who].client
    made = _Grown(organisation, application)
    made.grow()
    urls = [url.format(**made.ids()) for url in PAGES[who]]
    assert_constant_queries(made.grow, urls, client.get)


def test_csv_asks_the_same_number_of_queries_at_any_size(organisation: Any, application: Any) -> None:
    client = organisation.people["reviewer"].client
    made = _Grown(organisation, application)
    made.grow()
    urls = [
        f"{path}?format=csv"
        for path in (
            "/images/",
            "/risks/",
            "/risks/open/",
            "/decisions/",
            f"/images/{IMAGE}/",
            "/scans/",
            "/repositories/",
            "/promotions/",
        )
    ]
    assert_constant_queries(made.grow, urls, client.get)


def test_an_images_page_asks_the_same_whatever_it_has(organisation: Any, application: Any, post: Any) -> None:
    """However many findings it has, and however many are new in it."""
    image = {"reference": "reg.example/shop/one:1", "digest": digest(901)}
    post(report(flaw("CVE-2026-9000"), image=image), application=application.slug)
    urls = []
    for number, count in ((902, 3), (903, 30)):
        image = {"reference": f"reg.example/shop/one:{number}", "digest": digest(number)}
        flaws = [flaw(f"CVE-2026-{number}{n:02}", f"package{n}", severity="critical") for n in range(count)]
        post(report(*flaws, image=image), application=application.slug)
        urls.append(f"/images/{digest(number)}/")
    organisation.run_jobs()
    client = organisation.people["reviewer"].client
    few, many = ([_queries(url, client.get) for url in urls * 2])[2:]
    assert len(few) == len(many), _new(few, many)


class _Grown:
    """Growth by one step at a time, and the ids of what the first step made."""

    def __init__(self, organisation: Any, application: Any) -> None:
        self.organisation = organisation
        self.application = application

    def grow(self) -> None:
        self.organisation.grow(self.application)

    def ids(self) -> dict[str, int]:
        from secguard.decisions.models import Decision
        from secguard.findings.models import Risk
        from secguard.images.models import Repository
        from secguard.promotion.models import Promotion
        from secguard.scans.models import Scan

        return {
            "risk": Risk.objects.order_by("-severity", "pk").values_list("pk", flat=True)[0],
            "waiting": Decision.objects.filter(status="requested").values_list("pk", flat=True)[0],
            "approved": Decision.objects.filter(status="approved").values_list("pk", flat=True)[0],
            "promotion": Promotion.objects.filter(status="waiting").order_by("pk").values_list("pk", flat=True)[0],
            "scan": Scan.objects.order_by("pk").values_list("pk", flat=True)[0],
            "repository": Repository.objects.order_by("pk").values_list("pk", flat=True)[0],
        }


NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("due", "decided_until", "word"),
    [
        (timedelta(0), None, "overdue"),
        (timedelta(days=-1), timedelta(0), "overdue"),
        (timedelta(seconds=1), None, "soon"),
        (timedelta(days=7), None, "soon"),
        (timedelta(days=7, seconds=1), None, "later"),
        (None, None, "none"),
        (None, timedelta(seconds=-1), "none"),
        (timedelta(days=-1), timedelta(seconds=1), "covered"),
        (None, timedelta(days=9), "covered"),
    ],
)
def test_an_open_risk_is_in_exactly_one_deadline(
    due: timedelta | None, decided_until: timedelta | None, word: str, organisation: Any, application: Any
) -> None:
    from secguard.dashboards import queries
    from secguard.findings.models import Exposure

    organisation.grow(application)
    exposure = Exposure.objects.present().order_by("pk").first()
    Exposure.objects.filter(pk=exposure.pk).update(
        due_at=None if due is None else NOW + due,
        decided_until=None if decided_until is None else NOW + decided_until,
    )
    words = queries.by_deadline(NOW, NOW + queries.WEEK)
    found = [w for w, q in words.items() if Exposure.objects.filter(q, pk=exposure.pk).exists()]
    assert found == [word]


def test_an_image_is_called_by_its_tag_then_its_place_then_its_digest(organisation: Any, application: Any) -> None:
    from secguard.dashboards import queries
    from secguard.images.models import Image, ImageRepository, Tag

    organisation.grow(application)
    user = organisation.people["reviewer"]

    def name() -> str:
        return queries.name_of(queries.image_rows(user).get(digest=IMAGE))

    assert name() == "reg.example/shop/service-1:2"
    Tag.objects.all().delete()
    assert name() == "reg.example/shop/service-1"
    image = Image.objects.get(digest=IMAGE)
    ImageRepository.objects.filter(image=image).delete()
    assert queries.name_of(queries.image_rows(user).filter(digest=IMAGE).first() or image) == IMAGE[:19]
