"""Logs: short events in the past tense with bound keys, for people or as JSON lines."""

from __future__ import annotations

import logging
import sys

import structlog

from gateway.settings import Settings


def configure_logs(settings: Settings) -> None:
    """Send events to standard error as the settings say; newlines in values cannot forge lines (reliability A26)."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level.upper()]),
        # Looked up at each event: a stream that was replaced, and closed, must not take the events' process with it.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
