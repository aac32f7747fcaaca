"""Logging for every process: one line an event, as text or JSON, and never a secret.

``configuration`` returns a ``logging.config`` dictionary; ``configure`` applies it and sets structlog up on top.
"""

from __future__ import annotations

import logging.config
import re
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

# Names of fields whose value never reaches a log, and the shapes of secrets inside text.
SECRET_FIELD = re.compile(r"password|passwd|secret|token|authorization|cookie|api_?key|credential", re.I)
SECRET_TEXT = re.compile(r"(?i)\b(bearer\s+|://[^\s:/@]*:)[^\s@\"']+")
HIDDEN = "[hidden]"


def hide_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """A structlog processor: hides values of secret fields, bearer tokens and passwords inside URLs."""
    for name, value in event.items():
        if SECRET_FIELD.search(name):
            event[name] = HIDDEN
        elif isinstance(value, str):
            event[name] = SECRET_TEXT.sub(rf"\g<1>{HIDDEN}", value)
    return event


def _shared_processors() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        hide_secrets,
    ]


def configuration(*, level: str, style: str) -> dict[str, Any]:
    """The ``logging.config.dictConfig`` document for a level (``info``) and a style (``text`` or ``json``)."""
    renderer = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "events": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _shared_processors(),
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "events"}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
        "loggers": {
            # Their chatter at INFO repeats what the jobs table and the access log already say.
            "celery": {"level": max(logging.WARNING, logging.getLevelName(level.upper()))},
            "kombu": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
            # One line a request is enough, and ours has its id; what is a server error still shows here.
            "django.request": {"level": "ERROR"},
            "django.server": {"level": "INFO"},
        },
    }


def configure(document: dict[str, Any]) -> None:
    """Applies ``configuration``'s document to the standard library's logging and to structlog."""
    logging.config.dictConfig(document)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *_shared_processors(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
