"""Every number on every page is the count of the rows behind its link, for whoever looks."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.utils.html import strip_tags

pytestmark = pytest.mark.django_db

LINK = re.compile(r'<a\b[^>]*?\bhref="([^"]+)"[^>]*>(.*?)</a>', re.S)
NUMBER = re.compile(r"([\d,]+)(?: [a-z][a-z0-9 ]*)?(?: with images)?")
"""A link that says a number, with or without words after it: ``3``, ``1,204 open``, ``12 critical``."""
PEOPLE = ("sample.lena", "sample.sara", "sample.nora", "sample.claire", "sample.hugo", "administrator")
"""A developer of one team, an operator of one, a reviewer, a business approver, a viewer, an administrator."""


class Reader:
    """Somebody who is signed in and reads; remembers how many rows each list had."""

    def __init__(self, person: Any) -> None:
        from django.test import Client

        self.name, self.client = person.username, Client()
        self.client.force_login(person)
        self.counted: dict[str, int] = {}

    def page(self, url: str) -> str:
        answer = self.client.get(url)
        assert answer.status_code == 200, (self.name, url, answer.status_code)
        return str(answer.content.decode())

    def rows(self, url: str) -> int:
        """How many rows the list at ``url`` has: its CSV without the head; the review queue has no CSV."""
        if url not in self.counted:
            if urlsplit(url).path == "/decisions/queue/":
                self.counted[url] = self.page(url).count("data-queue-item=")
            else:
                answer = self.client.get(f"{url}{'&' if '?' in url else '?'}format=csv")
                assert answer.status_code == 200, (self.name, url)
                assert answer["Content-Type"].startswith("text/csv"), (self.name, url)
                body = b"".join(answer.streaming_content).decode("utf-8-sig")
                self.counted[url] = len(list(csv.reader(io.StringIO(body)))) - 1
        return self.counted[url]

    def numbers(self, url: str) -> list[tuple[str, int]]:
        """(link, number) of every link of a page that says a number and leads to a list."""
        found = []
        for href, inner in LINK.findall(self.page(url)):
            words = NUMBER.fullmatch(" ".join(strip_tags(unescape(inner)).split()))
            # What stands in code is a name: a digest may well begin with twelve digits.
            if words and "<code" not in inner and href.startswith("/") and not re.fullmatch(r"/[a-z/]+/\d+/", href):
                found.append((unescape(href).partition("#")[0], int(words[1].replace(",", ""))))
        return found

    def pages(self) -> list[str]:
        """Every page with numbers that this person can reach."""
        from secguard.accounts.models import Application
        from secguard.decisions.models import Decision
        from secguard.findings.models import Risk
        from secguard.images.models import Image

        risks = Risk.objects.visible_to(self.person).order_by("-known_exploited", "-severity", "pk")[:3]
        images = Image.objects.visible_to(self.person).order_by("-worst_severity", "pk")[:3]
        decisions = Decision.objects.visible_to(self.person).order_by("pk")
        applications = Application.objects.visible_to(self.person).order_by("pk")[:3]
        return [
            "/", "/images/", "/images/?current=true", "/risks/", "/risks/open/", "/decisions/", "/applications/",
            "/compliance/", "/compliance/applications/", "/settings/teams/",
            "/homes/developers/", "/homes/operations/", "/homes/security/", "/homes/business/",
            *(f"/compliance/?team={t.slug}" for t in self.teams()),
            *(f"/risks/{r.pk}/" for r in risks), *(f"/images/{i.digest}/" for i in images),
            *(f"/decisions/{d.pk}/" for d in decisions), *(f"/applications/{a.slug}/" for a in applications),
        ]  # fmt: skip

    @property
    def person(self) -> Any:
        from secguard.accounts.models import User

        return User.objects.get(username=self.name)

    def teams(self) -> list[Any]:
        from secguard.accounts.models import Team

        return list(Team.objects.visible_to(self.person).order_by("pk"))


def faults(reader: Reader, seen: Counter[str]) -> list[str]:
    """Every number that is not the count of its rows, in words."""
    wrong = []
    for page in reader.pages():
        for link, number in reader.numbers(page):
            seen[page.partition("?")[0]] += 1
            if reader.rows(link) != number:
                wrong.append(f"{reader.name} on {page}: {link} says {number}, lists {reader.rows(link)}")
    return wrong


def test_every_number_is_the_count_of_its_rows(loaded: str, administrator: Any) -> None:
    from secguard.accounts.models import User

    seen: Counter[str] = Counter()
    wrong = []
    for name in PEOPLE:
        wrong += faults(Reader(User.objects.get(username=name)), seen)
    assert not wrong, "\n".join(wrong)
    assert seen["/"] >= 4 * len(PEOPLE), "the cards of each home"
    assert seen["/compliance/"] >= 20 * len(PEOPLE), "its cards, its table, its figures"
    for page in ("/images/", "/risks/", "/compliance/applications/", "/settings/teams/"):
        assert seen[page] >= 10, page
    for part in ("/images/sha256", "/applications/", "/decisions/", "/risks/"):
        assert any(p.startswith(part) and p != part and n for p, n in seen.items()), part


def test_the_numbers_of_a_stranger_are_of_their_own_team_alone(
    loaded: str, make_person: Any, post: Any, run_jobs: Any
) -> None:
    from secguard.accounts.models import Application, Team
    from tests.fixtures_reports import digest, flaw, report

    mine = Team.objects.create(name="Elsewhere", slug="elsewhere")
    stranger = make_person("stranger", "developer", team=mine)
    application = Application.objects.create(name="Elsewhere", slug="elsewhere", team=mine)
    raw = report(
        flaw("CVE-2026-7001", "openssl", severity="critical", fixed_versions=["1.1.2"]),
        image={"reference": "reg.example/other/app:1", "digest": digest(7)},
    )
    assert post(raw, application=application.slug).status == "finished"
    run_jobs()
    reader, seen = Reader(stranger), Counter[str]()
    assert faults(reader, seen) == []
    assert reader.rows("/images/") == reader.rows("/risks/open/") == reader.rows("/compliance/applications/") == 1
    for page in reader.pages():
        assert "sample.example" not in reader.page(page), page
        assert "SAMPLE-" not in reader.page(page).replace("SAMPLE-2026-9003", ""), page


def test_the_badge_of_the_queue_counts_what_the_queue_lists(loaded: str) -> None:
    """Also after one of two seats is filled: then the request waits for others, and for this person no longer."""
    from secguard.accounts.models import User
    from secguard.decisions import services
    from secguard.decisions.models import Control, Decision

    nora, david = (User.objects.get(username=f"sample.{name}") for name in ("nora", "david"))
    two_seats = Decision.objects.waiting().get(risk__severity=5, risk__known_exploited=True)
    leans = Control.objects.get(leaning__decision=two_seats)
    services.confirm(leans.pk, actor=nora)
    services.add_evidence(leans.pk, services.Evidence(kind="check", note="the freeze is in place"), actor=nora)
    services.approve(two_seats.pk, actor=nora, comment="seen")
    for person in (nora, david):
        reader = Reader(person)
        badge = re.search(r'href="/decisions/queue/".*?<span class="nav-badge">(\d+)<', reader.page("/"), re.S)
        assert badge is not None
        assert int(badge[1]) == reader.rows("/decisions/queue/") == 4
        assert ("/decisions/queue/", 4) in reader.numbers("/")
