"""The tags say in words what they show in colour, tie labels to fields, and let no markup through."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django import forms
from django.conf import settings
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.template import engines
from django.template.loader import get_template
from django.test import RequestFactory
from django.urls import path, resolve
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from secguard.web import health, htmx, navigation
from secguard.web.charts import Chart, Series

handler404 = "secguard.web.problems.page_not_found"
urlpatterns = [path("", health.healthz, name="home"), path("in", health.healthz, name="login")]
urlpatterns += [path("passkey", health.healthz, name="passkey")]
pytestmark = pytest.mark.urls(__name__)
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def no_badges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what the apps above have registered."""
    monkeypatch.setattr(navigation, "_badges", {})


def show(source: str, request: HttpRequest | None = None, **context: Any) -> str:
    template = engines["django"].from_string("{% load secguard_web %}" + source)
    return template.render(context, request or RequestFactory().get("/list/?sort=-seen&kind=a&kind=b"))


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% severity 5 %}", "Critical"),
        ("{% severity 'high' 1200 %}", "1,200 high"),
        ("{% severity None %}", "Unknown"),
        ("{% verdict 'block' %}", "Block"),
        ("{% verdict '' %}", "Not judged"),
        ("{% status 'not_affected' %}", "Not affected"),
        ("{% status 'approved' label='In force' %}", "In force"),
        ("{% bounded 10000 False 'image' %}", "10,000+ images"),
        ("{% bounded 1 True 'policy' 'policies' %}", "1 policy"),
        ("{% bounded 2 True 'policy' 'policies' %}", "2 policies"),
        ("{% purl 'pkg:deb/debian/openssl@3.0' %}", "deb debian/openssl 3.0"),
        ("{% when None %}", "–"),
        ("{{ 1536|filesize }} {{ 1234|count }}", "1.5 KiB 1,234"),
        ("{% severity_counts counts %}", "1 critical 3 low"),
        ("{% severity_counts none %}", "none"),
        ("{% empty 'Nothing' 'Do this.' '/x' 'Begin' %}", "Nothing Do this. Begin"),
    ],
)
def test_every_tag_says_it_in_words(source: str, said: str) -> None:
    assert words(show(source, counts={"low": 3, "critical": 1, "high": 0}, none=None)) == said


def test_statuses_have_their_tones() -> None:
    assert "state-good" in show("{% status 'approved' %}")
    assert "state-bad" in show("{% status 'failed' %}")
    assert "state-muted" in show("{% status 'something else' %}")


def test_times_carry_the_exact_one() -> None:
    moment = timezone.now() - timedelta(hours=5)
    html = show("{% when moment %}", moment=moment)
    assert "5 hours ago" in html
    assert f'datetime="{moment.isoformat(timespec="seconds")}"' in html
    assert "UTC" in html
    assert show("{% when day %}", day=date(2026, 11, 4)) == '<time datetime="2026-11-04">4 Nov 2026</time>'


def test_a_digest_is_short_to_see_and_whole_to_copy() -> None:
    html = show("{% digest value '/images/x' %}", value="sha256:" + "ab" * 32)
    assert words(html) == "ab" * 6
    assert f'data-copy="sha256:{"ab" * 32}"' in html
    assert '<a href="/images/x">' in html


@pytest.mark.parametrize(
    "source",
    ["{% severity v %}", "{% verdict v %}", "{% status v %}", "{% digest v v %}", "{% copy v v %}", "{% purl v %}",
     "{{ v|plain }}", "{% icon 'x' v %}", "{% empty v v v v %}", "{% severity_counts c v %}", "{% when None v %}"],
)  # fmt: skip
def test_no_markup_comes_through(source: str) -> None:
    html = show(source, v=EVIL, c={"high": 1})
    assert "<script>" not in html
    assert "<img" not in html


@given(text=st.text(max_size=60))
def test_plain_text_is_escaped_whatever_it_is(text: str) -> None:
    assert set(re.findall(r"<[^>]*>", show("{{ v|plain }}", v=text))) <= {"<p>", "</p>", "<br>"}


def test_plain_text_keeps_its_lines() -> None:
    assert show("{{ v|plain }}", v="a\nb\n\nc") == "<p>a<br>b</p>\n\n<p>c</p>"


def test_the_query_string_changes_only_what_is_named() -> None:
    assert show("{% autoescape off %}{% query tab='x' sort='' %}{% endautoescape %}") == "?kind=a&kind=b&tab=x"


def test_icons_in_templates_and_code_are_in_the_sprite() -> None:
    sprite = (settings.BASE_DIR / "static/vendor/icons/sprite.svg").read_text()
    known = set(re.findall(r'<symbol id="([^"]+)"', sprite))
    used: set[str] = set()
    for template in (settings.BASE_DIR / "templates").rglob("*.html"):
        used |= set(re.findall(r'{% icon "([^"]+)"', template.read_text()))
    assert used
    assert used <= known


# --- forms ---


class Form(forms.Form):
    reason = forms.CharField(widget=forms.Textarea, help_text="Why.")
    kind = forms.ChoiceField(choices=[("a", "Accept"), ("f", "Fix")], widget=forms.RadioSelect)
    scope = forms.ChoiceField(choices=[("r", "Repository")])
    tell = forms.BooleanField(required=False)
    ticket = forms.CharField(required=False, widget=forms.HiddenInput)


def test_fields_are_tied_to_their_label_help_and_error() -> None:
    html = show("{% form_fields form %}", form=Form({"reason": "", "kind": "a", "scope": "r"}))
    area = re.search(r"<textarea[^>]*>", html)[0]

    assert '<label class="form-label" for="id_reason">' in html
    assert 'class="form-control is-invalid"' in area
    assert 'aria-invalid="true"' in area
    described = re.search(r'aria-describedby="([^"]+)"', area)[1].split()
    assert described
    assert all(f'id="{name}"' in html for name in described)
    assert '<a href="#id_reason">Reason</a>: This field is required.' in html
    assert '<select name="scope"' in html
    assert "form-select" in html
    assert 'type="hidden" name="ticket"' in html


def test_choices_are_a_group_with_its_name() -> None:
    html = show("{% field form.kind %}", form=Form())
    assert html.count('class="form-check-input"') == 2
    assert "<fieldset" in html
    assert "<legend" in html
    assert '<label class="form-check" for="id_kind_0">' in html


def test_what_need_not_be_filled_in_says_so() -> None:
    class Optional(forms.Form):
        note = forms.CharField(required=False)

    assert "optional" in show("{% field form.note %}", form=Optional())
    assert "optional" not in show("{% field form.reason %}", form=Form())


# --- charts ---


def test_a_chart_has_its_data_and_its_table() -> None:
    chart = Chart("c", "Risks </script>", "bar", ["a"], [Series("High", [3], "high")], urls=["/risks/?a=1&b=2"])
    html = show("{% chart chart %}", chart=chart)
    assert 'data-chart="chart-c-data"' in html
    assert '<script id="chart-c-data" type="application/json">' in html
    assert html.count("</script>") == 1, "a title does not end the data block"
    assert '<a href="/risks/?a=1&amp;b=2">3</a>' in html
    assert "Nothing to show" in show("{% chart chart %}", chart=Chart("c", "T", "bar", [], []))


# --- whole pages ---


class Person:
    is_authenticated = True
    display_name = "Mara <b>"
    username = "mara"

    def can(self, permission: str) -> bool:
        return True


def page_request(**headers: str) -> HttpRequest:
    request = RequestFactory().get("/", headers=headers)
    request.user = Person()  # type: ignore[assignment]
    request.session = SessionStore()
    request.resolver_match = resolve("/")
    request._messages = FallbackStorage(request)  # type: ignore[attr-defined]
    return request


TEMPLATES = Path(settings.BASE_DIR / "templates")
INLINE = re.compile(
    r"""<script(?![^>]*\bsrc=)(?![^>]*json)|<style|\s(style|on[a-z]+|hx-on[^=]*)\s*=\s*["']|javascript:|hx-vals=["']js:""",
    re.I,
)


def test_no_template_holds_what_the_content_security_policy_forbids() -> None:
    found = {
        str(t.relative_to(TEMPLATES)): m[0] for t in TEMPLATES.rglob("*.html") if (m := INLINE.search(t.read_text()))
    }
    assert found == {}


def test_the_page_has_its_landmarks() -> None:
    html = get_template("base.html").render({}, page_request())
    for part in (
        '<html lang="en">',
        'href="#main"',
        '<main class="page-body" id="main"',
        "<nav ",
        "<h1 ",
        'id="flash"',
    ):
        assert part in html
    assert 'aria-current="page"' in html
    assert "Mara &lt;b&gt;" in html
    assert "http:" not in html
    assert "https:" not in html


def test_a_stranger_sees_no_navigation() -> None:
    request = RequestFactory().get("/")
    assert "nav-link" not in get_template("base.html").render({}, request)


def test_messages_come_along_with_a_fragment() -> None:
    from django.contrib import messages
    from django_htmx.middleware import HtmxDetails

    request = page_request(**{"hx-request": "true"})
    request.htmx = HtmxDetails(request)  # type: ignore[attr-defined]
    messages.success(request, f"Approved {EVIL}")
    html = htmx.render(request, "base.html", "web/_empty.html", {"title": "T"}).content.decode()
    assert '<div id="flash" hx-swap-oob="beforeend">' in html
    assert "Approved &lt;script&gt;" in html


def test_redirects_for_both() -> None:
    from django_htmx.middleware import HtmxDetails

    request = RequestFactory().post("/", headers={"hx-request": "true"})
    assert (htmx.redirect(request, "/x").status_code, htmx.redirect(request, "/x")["Location"]) == (303, "/x")
    request.htmx = HtmxDetails(request)  # type: ignore[attr-defined]
    response = htmx.redirect(request, "/x")
    assert (response.status_code, response["HX-Redirect"]) == (204, "/x")


def test_the_sign_in_page_renders() -> None:
    class SignIn(forms.Form):
        username = forms.CharField()

    html = get_template("registration/login.html").render({"form": SignIn()}, page_request())
    assert 'name="username"' in html
    assert "csrfmiddlewaretoken" in html


def test_a_digest_behind_a_name_is_shown_in_twelve_digits_and_kept_whole_on_hover() -> None:
    name = "reg.example:5000/team/app:1.0@sha256:" + "ab" * 32
    shown = show("{% place name %}", name=name)
    assert re.sub("<[^>]*>", "", shown) == "reg.example:5000/team/app:1.0@abababababab"
    assert f'title="{name}"' in shown
