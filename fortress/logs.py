# SPDX-License-Identifier: Apache-2.0
"""What services say about themselves: an event name and fields, on standard error.

Plain on a terminal, JSON elsewhere. Nothing logs per packet, and commands that end by themselves do
not log.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def configure(level: str, form: str) -> None:
    """Set the least level that is shown and the form: plain, json, or auto by the terminal."""
    plain = form == "plain" or (form == "auto" and sys.stderr.isatty())
    last: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if plain
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso", utc=True),
            structlog.processors.dict_tracebacks,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def logger(room: str) -> Any:
    """A logger whose lines name the room."""
    return structlog.get_logger(room=room)
