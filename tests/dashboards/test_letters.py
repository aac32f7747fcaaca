"""Weekly letters: once a week and person, with the home's figures as they are when it is sent, and to nobody who should
get none; and kept views, whose link shows everybody their own."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.dashboards import report, services
from secguard.dashboards.homes import Audience
from secguard.dashboards.models import SavedView, Subscription
from secguard.dashboards.queries.homes import home_of
from secguard.dashboards.report import Form
from secguard.dashboards.slices import Slice
from secguard.notifications.models import Message, Preference
from secguard.notifications.services import delivering
from tests.dashboards.test_views import overdue, text_of
from tests.notifications.conftest import SmtpServer, make_smtp, smtp

__all__ = ["make_smtp", "smtp"]

pytestmark = [pytest.mark.django_db, pytest.mark.enable_socket]
WEEK = timedelta(days=7)


def subscribe(person: Any, audience: str = "security", form: Form = Form.HTML, of: Slice | None = None) -> Subscription:
    view = services.save_view(f"My {audience}", Audience(audience), of or Slice(team="payments", days=7), actor=person)
    return services.subscribe(view.pk, 0, 8, form, actor=person, now=timezone.now())


def go_round(now: datetime) -> None:
    """What the workers do at ``now``: two of them see that letters are due, and both send."""
    for _ in range(2):
        services.write_due(now)
    for _ in range(2):
        delivering.deliver(now)


def weekly(smtp: SmtpServer) -> list[Any]:
    """The weekly letters that were sent, in the order of their addresses: news are written to people as well."""
    return sorted((one for one in smtp.letters if "/homes/unsubscribe/" in str(one["List-Unsubscribe"])), key=_to)


def _to(letter: Any) -> str:
    return str(letter["To"])


def test_each_gets_one_a_week_that_says_what_the_home_says_when_it_is_sent(
    smtp: SmtpServer, organisation: Any, application: Any
) -> None:
    organisation.grow(application)
    developer, reviewer = organisation.people["developer"], organisation.people["reviewer"]
    first = subscribe(developer, "developers")
    subscribe(reviewer, "business", Form.PDF)
    due = first.next_at
    go_round(due - timedelta(seconds=1))
    assert weekly(smtp) == []
    services.write_due(due)
    overdue(3)  # after it was put into the outbox: what is told is what holds now
    go_round(due)
    letter, other = weekly(smtp)
    assert [letter["To"], other["To"]] == [developer.email, reviewer.email]
    of = Slice(team="payments", days=7)
    home = home_of(Audience.DEVELOPERS, of, developer, due)
    assert home.value_of("overdue") == 3
    plain = letter.get_body(("plain",)).get_content()
    html = letter.get_body(("html",)).get_content()
    for number in home.numbers:
        assert f"- {number.label}: {number.shown}" in plain
        assert re.search(rf">{number.label}</td><td[^>]*>(<a[^>]*>)?{number.shown}<", html), number.label
    for panel in home.panels:
        for row in panel.rows:
            assert " | ".join(cell.shown for cell in row) in plain.replace("\n", " ").replace("  ", " ")
    assert f"{due:%Y-%m-%d}" in letter["Subject"]

    (attached,) = other.iter_attachments()
    assert attached.get_content() == report.as_pdf(home_of(Audience.BUSINESS, of, reviewer, due))

    for days in range(1, 7):
        go_round(due + timedelta(days=days))
    assert len(weekly(smtp)) == 2
    go_round(due + WEEK)
    assert len(weekly(smtp)) == 4
    go_round(due + 5 * WEEK)
    assert len(weekly(smtp)) == 6, "weeks in which nobody sent are not made up for"


def unsubscribed(letters: Subscription, client: Any) -> None:
    services.unsubscribe(letters.view_id, actor=letters.view.user)


def unsubscribed_by_link(letters: Subscription, client: Any) -> None:
    path = f"/homes/unsubscribe/{services.key_of(letters)}/"
    client.logout()
    assert "No more of these letters?" in text_of(client.get(path))
    assert Subscription.objects.exists(), "looking ends nothing: mail scanners follow links"
    assert client.post(path).status_code == 200


def left(letters: Subscription, client: Any) -> None:
    type(letters.view.user).objects.update(is_active=False)


def lost_the_role(letters: Subscription, client: Any) -> None:
    letters.view.user.memberships.all().delete()


def wants_no_mail(letters: Subscription, client: Any) -> None:
    Preference.objects.update_or_create(user=letters.view.user, defaults={"email": False})


def has_no_address(letters: Subscription, client: Any) -> None:
    type(letters.view.user).objects.update(email="")


def view_was_deleted(letters: Subscription, client: Any) -> None:
    services.delete_view(letters.view_id, actor=letters.view.user)


@pytest.mark.parametrize("queued", [False, True], ids=["before", "in the outbox"])
@pytest.mark.parametrize(
    "end",
    [unsubscribed, unsubscribed_by_link, left, lost_the_role, wants_no_mail, has_no_address, view_was_deleted],
    ids=lambda end: end.__name__,
)
def test_who_should_get_none_gets_none(
    end: Callable[[Subscription, Any], None], queued: bool, smtp: SmtpServer, developer: Any
) -> None:
    letters = subscribe(developer)
    if queued:
        services.write_due(letters.next_at)
        assert Message.objects.filter(status="waiting").count() == 1
    end(letters, developer.client)
    for weeks in range(2):
        go_round(letters.next_at + weeks * WEEK)
    assert weekly(smtp) == []
    assert not Message.objects.filter(status="waiting").exists(), "nothing is tried for ever"


def test_what_one_may_see_no_longer_is_in_no_letter(
    smtp: SmtpServer, organisation: Any, application: Any, other_team: Any
) -> None:
    organisation.grow(application)
    developer = organisation.people["developer"]
    letters = subscribe(developer, "developers", of=Slice(days=7))
    services.write_due(letters.next_at)
    developer.memberships.update(team=other_team)
    go_round(letters.next_at)
    (letter,) = weekly(smtp)
    assert "reg.example" not in letter.as_string()
    assert "CVE-2026" not in letter.as_string()


def test_a_worker_that_dies_writes_nothing_twice_and_loses_nothing(
    smtp: SmtpServer, developer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it dies: the week is moved on and the letter put out together, or neither; then the claim holds."""
    from secguard.dashboards.services import writing
    from secguard.notifications.adapters import email

    due = subscribe(developer).next_at

    def die(*args: Any, **kwargs: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as killed:
        killed.setattr(writing, "write", die)
        with pytest.raises(SystemExit):
            services.write_due(due)
    assert not Message.objects.exists()
    assert Subscription.objects.get().next_at == due, "the next one writes it"
    services.write_due(due)
    with monkeypatch.context() as killed:
        killed.setattr(email, "send", die)
        with pytest.raises(SystemExit):
            delivering.deliver(due)
    go_round(due + timedelta(minutes=1))
    assert weekly(smtp) == [], "the dead one's claim holds: it might be sending still"
    go_round(due + delivering.CLAIM + timedelta(seconds=1))
    go_round(due + timedelta(hours=1))
    assert len(weekly(smtp)) == 1


# --- kept views ---


def test_a_views_link_shows_everybody_what_they_themselves_may_see(
    organisation: Any, application: Any, stranger: Any, other_application: Any
) -> None:
    from secguard.workloads.models import Cluster, Workload

    organisation.grow(application)
    developer = organisation.people["developer"]
    other = Cluster.objects.create(name="elsewhere")
    Workload.objects.create(cluster=other, namespace="n", name="theirs", application=other_application)
    client = developer.client
    kept = client.post("/homes/views/new/?days=30", {"name": "What runs", "audience": "operations"})
    assert kept.status_code == 303
    page = text_of(client.get("/homes/views/"))
    link = re.search(r'href="(/homes/operations/\?[^"]*)">What runs<', page)
    assert link
    mine, theirs = (text_of(person.client.get(link[1])) for person in (developer, stranger))
    assert ("cluster=production" in mine, "cluster=elsewhere" in mine) == (True, False)
    assert ("cluster=production" in theirs, "cluster=elsewhere" in theirs) == (False, True)
    assert "reg.example" not in theirs
    assert "What runs<" not in text_of(stranger.client.get("/homes/views/")), "the view itself is its owner's"


def test_a_name_is_taken_once_and_views_are_bounded(developer: Any, reviewer: Any) -> None:
    sent = {"name": " Mine ", "audience": "business"}
    assert developer.client.post("/homes/views/new/", sent).status_code == 303
    again = developer.client.post("/homes/views/new/", sent)
    assert again.status_code == 422
    assert "You have a view" in text_of(again)
    assert reviewer.client.post("/homes/views/new/", sent).status_code == 303, "a name is each person's own"
    SavedView.objects.bulk_create(
        SavedView(user=developer, name=f"View {n}", audience="business", days=7) for n in range(49)
    )
    full = developer.client.post("/homes/views/new/", {"name": "One more", "audience": "business"})
    assert full.status_code == 422
    assert "Delete one first" in text_of(full)
    assert SavedView.objects.filter(user=developer).count() == 50
