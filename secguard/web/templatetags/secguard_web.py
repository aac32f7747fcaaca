"""Tags and filters of every page: ``{% load secguard_web %}``. Each shows words first; colour and shape repeat them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

from django import template
from django.forms import (
    BoundField,
    CheckboxInput,
    CheckboxSelectMultiple,
    Form,
    NullBooleanSelect,
    RadioSelect,
    Select,
)
from django.http import HttpRequest
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import conditional_escape, format_html, format_html_join, linebreaks
from django.utils.safestring import SafeString, mark_safe

from secguard.web import navigation, wording
from secguard.web.charts import Chart
from secguard.web.listing import Listing

register = template.Library()

# word: (tone, icon); a status that is not here shows in the neutral tone.
VERDICTS = {
    "pass": ("good", "circle-check", "Pass"),
    "warn": ("warn", "alert-triangle", "Warn"),
    "block": ("bad", "ban", "Block"),
}
STATUSES = {
    "good": (
        "approved",
        "succeeded",
        "finished",
        "active",
        "fixed",
        "allowed",
        "done",
        "current",
        "complete",
        "ok",
        "promoted",
    ),
    "warn": ("requested", "pending", "waiting", "queued", "expiring", "partial", "due", "draft", "reopened", "lapsed"),
    "bad": ("rejected", "failed", "blocked", "overdue", "denied", "refused", "open", "error", "recalled"),
    "accent": ("running", "introduced", "new", "scanning"),
}
_TONES = {word: tone for tone, words in STATUSES.items() for word in words}


# --- words with shape and colour ---


@register.simple_tag
def icon(name: str, label: str = "", css: str = "") -> SafeString:
    """An icon of the sprite (the names are listed in scripts/vendor-assets). Without ``label`` it is decoration."""
    role = format_html('role="img" aria-label="{}"', label) if label else mark_safe('aria-hidden="true"')
    return format_html('<svg class="icon {}" {}><use href="{}#{}"></use></svg>', css, role, _sprite(), name)


@cache
def _sprite() -> str:
    return static("vendor/icons/sprite.svg")


@register.simple_tag
def severity(value: object, count: int | None = None) -> SafeString:
    """A severity as word, shape and colour; with ``count`` the number of them."""
    word = wording.severity_word(value)
    shown = word.capitalize() if count is None else f"{wording.count(count)} {word}"
    return format_html(
        '<span class="sev sev-{}"><span class="sev-mark" aria-hidden="true"></span>{}</span>', word, shown
    )


@register.inclusion_tag("web/_severity_counts.html")
def severity_counts(counts: dict[str, int] | None, url: str = "") -> dict[str, Any]:
    """``{"critical": 2, "high": 7}`` in one line, worst first; ``url``: each links to ``<url>severity=5``."""
    found = [
        (level, wording.SEVERITIES[level], (counts or {}).get(wording.SEVERITIES[level], 0))
        for level in sorted(wording.SEVERITIES, reverse=True)
    ]
    return {"counts": [(level, word, number) for level, word, number in found if number], "url": url}


@register.simple_tag
def verdict(value: object) -> SafeString:
    """``pass``, ``warn``, ``block``; nothing judged yet is said, too."""
    tone, mark, word = VERDICTS.get(str(value or "").lower(), ("muted", "circle-dashed", "Not judged"))
    return format_html('<span class="pill pill-{}">{}{}</span>', tone, icon(mark), word)


@register.simple_tag
def status(value: object, label: str = "", tone: str = "") -> SafeString:
    """Any state as a badge: a dot and the word. ``label`` replaces the word, ``tone`` the tone."""
    word = str(value or "unknown")
    shown = label or word.replace("_", " ").replace("-", " ").capitalize()
    return format_html('<span class="state state-{}">{}</span>', tone or _TONES.get(word.lower(), "muted"), shown)


# --- values ---


@register.simple_tag
def when(moment: datetime | date | None, empty: str = "–") -> SafeString:
    """A time as people say it, the exact one on hover and for machines."""
    if moment is None:
        return conditional_escape(empty)
    if not isinstance(moment, datetime):
        return format_html('<time datetime="{}">{}</time>', moment.isoformat(), f"{moment.day} {moment:%b %Y}")
    said, exact = wording.relative(moment, timezone.now()), wording.exact(moment)
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(timespec="seconds"), exact, said)


@register.filter
def exact_time(moment: datetime | None) -> str:
    return wording.exact(moment) if moment else "–"


@register.filter
def day(moment: str) -> SafeString | str:
    """The day of a time that a document carries as text (ISO 8601): ``10 Dec 2026``."""
    try:
        return when(datetime.fromisoformat(moment).date())
    except ValueError:
        return moment


@register.simple_tag
def digest(value: str, url: str = "") -> SafeString:
    """Twelve digits of a digest, the whole one on hover and in the copy button."""
    short = format_html('<code title="{}">{}</code>', value, wording.short_digest(value))
    linked = format_html('<a href="{}">{}</a>', url, short) if url else short
    return format_html('<span class="digest">{}{}</span>', linked, copy(value, "Copy digest"))


@register.simple_tag
def copy(value: str, label: str = "Copy") -> SafeString:
    """A button that copies ``value``; hidden where there is no JavaScript."""
    return format_html(
        '<button type="button" class="btn-copy js-only" data-copy="{}" title="{}" aria-label="{}">{}</button>',
        value,
        label,
        label,
        icon("copy"),
    )


@register.simple_tag
def copy_of(element_id: str, label: str) -> SafeString:
    """A button that copies the text of the element ``element_id``; hidden where there is no JavaScript."""
    return format_html(
        '<button type="button" class="btn-copy js-only" data-copy-of="{}" title="{}" aria-label="{}">{}</button>',
        element_id,
        label,
        label,
        icon("copy"),
    )


@register.filter
def filesize(value: int | None) -> str:
    return wording.size(value)


@register.filter
def count(value: int | None) -> str:
    return wording.count(value)


@register.simple_tag
def bounded(number: int, is_exact: bool = True, noun: str = "", plural: str = "") -> str:
    """``10,000+ images``, ``1 image``."""
    words = wording.count(number, is_exact=is_exact)
    if not noun:
        return words
    return f"{words} {noun if number == 1 and is_exact else plural or noun + 's'}"


@register.simple_tag
def purl(value: str) -> SafeString:
    """A package URL for reading, the whole one on hover."""
    found = wording.package(value)
    version = format_html(' <span class="text-secondary">{}</span>', found.version) if found.version else ""
    kind = format_html('<span class="purl-kind">{}</span> ', found.kind) if found.kind else ""
    return format_html('<span class="purl" title="{}">{}{}{}</span>', value, kind, found.name, version)


@register.filter(is_safe=True)
def plain(value: object) -> SafeString:
    """Text that somebody or some tool wrote: escaped, its line breaks kept, nothing else read into it."""
    return mark_safe(linebreaks(str(value or ""), autoescape=True))  # noqa: S308 - linebreaks escapes


@register.simple_tag
def place(name: str) -> SafeString:
    """A repository, with its tag or without: the registry's host quietly before it, a line break after any slash.

    A digest at its end is shown in twelve digits, as everywhere.
    """
    host, path = wording.split_host(name)
    named, at, digest = path.partition("@")
    path = f"{named}@{wording.short_digest(digest)}" if at else path
    parts = format_html_join(mark_safe("/<wbr>"), "{}", ((part,) for part in path.split("/")))
    quiet = format_html('<span class="place-host">{}/</span><wbr>', host) if host else ""
    return format_html('<span class="place" title="{}">{}{}</span>', name, quiet, parts)


# --- URLs and permission ---


@register.simple_tag(takes_context=True)
def query(context: dict[str, Any], **changes: object) -> str:
    """This page's query string with parameters replaced; empty or None leaves one out: ``{% query tab="sbom" %}``."""
    request: HttpRequest = context["request"]
    current = request.GET.copy()
    for name, value in changes.items():
        current.pop(name, None)
        if value not in (None, ""):
            current[name] = str(value)
    pairs = [(name, value) for name, values in current.lists() for value in values]
    return f"?{urlencode(pairs)}"


@register.simple_tag(takes_context=True)
def may(context: dict[str, Any], permission: str) -> bool:
    """``{% may "decision:request" as allowed %}``: to hide what cannot be done; the service decides."""
    request = context.get("request")
    return request is not None and navigation.may(request, permission)


@register.inclusion_tag("web/_navigation.html", takes_context=True)
def navigation_links(context: dict[str, Any]) -> dict[str, Any]:
    request = context.get("request")
    signed_in = bool(request) and getattr(getattr(request, "user", None), "is_authenticated", False)
    return {"groups": navigation.links(request) if request and signed_in else []}


# --- lists ---


@register.inclusion_tag("web/_listing_footer.html")
def listing_footer(listing: Listing) -> dict[str, Any]:
    return {"listing": listing}


# --- charts, empty states ---


@register.inclusion_tag("web/_chart.html")
def chart(chart: Chart) -> dict[str, Any]:
    """A figure: drawn by charts.js, with its table. The page's scripts block includes ``web/_chart_scripts.html``."""
    return {"chart": chart, "data": chart.data(), "rows": chart.rows()}


@register.inclusion_tag("web/_empty.html")
def empty(title: str, text: str = "", url: str = "", action: str = "", icon: str = "inbox") -> dict[str, Any]:
    """What to do next where there is nothing yet."""
    return {"title": title, "text": text, "url": url, "action": action, "icon": icon}


# --- forms ---


@register.inclusion_tag("web/_field.html")
def field(bound: BoundField, label: str = "", hint: str = "") -> dict[str, Any]:
    """One field: label, control, help, errors, tied together for screen readers."""
    return {**_parts(bound), "label": label or bound.label, "hint": hint}


@register.inclusion_tag("web/_filter_field.html")
def filter_field(bound: BoundField) -> dict[str, Any]:
    """One field of a list's filters: its small form. Yes, no, or (nothing chosen) any."""
    if isinstance(bound.field.widget, NullBooleanSelect):
        bound.field.widget.choices = [("", "Any"), ("true", "Yes"), ("false", "No")]
    return {**_parts(bound), "label": bound.label}


def _parts(bound: BoundField) -> dict[str, Any]:
    widget = bound.field.widget
    return {
        "field": bound,
        "control": _control(bound),
        "is_check": isinstance(widget, CheckboxInput),
        "is_group": isinstance(widget, RadioSelect | CheckboxSelectMultiple),
    }


@register.inclusion_tag("web/_form.html")
def form_fields(form: Form) -> dict[str, Any]:
    """All of a form's errors and fields, without the form tag and its buttons."""
    return {"form": form}


def _control(bound: BoundField) -> SafeString:
    """The widget with the classes of the look; Django itself adds aria-describedby and aria-invalid."""
    widget = bound.field.widget
    if isinstance(widget, RadioSelect | CheckboxSelectMultiple):
        return format_html_join("", "{}", ((_choice(part),) for part in bound.subwidgets))
    classes = [widget.attrs.get("class", ""), _css(widget), "is-invalid" if bound.errors else ""]
    return bound.as_widget(attrs={"class": " ".join(name for name in classes if name)})


def _css(widget: object) -> str:
    if isinstance(widget, CheckboxInput):
        return "form-check-input"
    return "form-select" if isinstance(widget, Select) else "form-control"


def _choice(part: Any) -> SafeString:
    part.data["attrs"]["class"] = "form-check-input"
    return format_html(
        '<label class="form-check" for="{}">{}<span class="form-check-label">{}</span></label>',
        part.id_for_label,
        part.tag(wrap_label=False),
        part.choice_label,
    )


@register.filter
def field_errors(form: Form) -> Iterable[tuple[BoundField, list[str]]]:
    """(field, its errors), for the summary above a form."""
    return [(form[name], [str(text) for text in texts]) for name, texts in form.errors.items() if name in form.fields]
