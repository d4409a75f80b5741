# SPDX-License-Identifier: Apache-2.0
"""The score over time as a small chart of block characters, coloured by its status."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.text import Text

from fortress.services.agent.report import Span, Timeline
from fortress.verdict import Status

COLOURS = {Status.GREEN: "green", Status.AMBER: "yellow", Status.RED: "red"}
BLOCKS = " ▁▂▃▄▅▆▇█"
GUTTER = "    "
_EIGHTHS = len(BLOCKS) - 1


def chart(timeline: Timeline, width: int, rows: int = 4) -> list[Text]:
    """The timeline as `rows` lines of `width` columns over an axis of clock times.

    A column is the worst of its stretch of time; stretches without a packet are dots. Empty
    without a score.
    """
    if not timeline.spans:
        return []
    columns = _stretched(timeline.spans, width)
    labels = {rows - 1: "1.0 ", 0: "0.0 "}
    lines = [
        Text.assemble((labels.get(row, GUTTER), "dim"), _line(columns, row, rows))
        for row in reversed(range(rows))
    ]
    seconds = len(timeline.spans) * timeline.step_ns / 1e9
    first, last = timeline.first_ns, timeline.first_ns + round(seconds * 1e9)
    axis = f"{GUTTER}{clock(first)}{clock(last):>{max(width - 8, 0)}}"
    return [*lines, Text(axis, "dim")]


def sparkline(timeline: Timeline, width: int) -> Text:
    """The end of the timeline in one line."""
    if not timeline.spans:
        return Text()
    return _line(_stretched(timeline.spans, width), 0, 1)


def clock(time_ns: int) -> str:
    """The time of day in UTC."""
    return f"{_moment(time_ns):%H:%M:%S}"


def day_and_clock(time_ns: int) -> str:
    """Day and time in UTC."""
    return f"{_moment(time_ns):%Y-%m-%d %H:%M:%S}"


def bar(share: float, width: int) -> str:
    """A horizontal bar for a value in [0, 1], to an eighth of a column."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + " ▏▎▍▌▋▊▉"[rest] * (rest > 0)


def _moment(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)


def _line(columns: list[Span | None], row: int, rows: int) -> Text:
    line = Text()
    for span in columns:
        if span is None:
            line.append("·" if row == 0 else " ", "dim")
            continue
        filled = max(round(span.value * rows * _EIGHTHS), 1) - row * _EIGHTHS
        line.append(BLOCKS[min(max(filled, 0), _EIGHTHS)], COLOURS[span.status])
    return line


def _stretched(spans: list[Span | None], width: int) -> list[Span | None]:
    """One entry for each column: the worst span that falls into it, repeated where they are few."""
    count = len(spans)
    columns: list[Span | None] = []
    for column in range(width):
        first = column * count // width
        last = max((column + 1) * count // width, first + 1)
        there = [span for span in spans[first:last] if span is not None]
        columns.append(max(there, key=lambda span: span.value, default=None))
    return columns
