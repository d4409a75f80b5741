# SPDX-License-Identifier: Apache-2.0
"""What is seen while a capture is replayed: how far it is, and the score so far."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from fortress.cli.chart import COLOURS, clock, sparkline
from fortress.services.agent.replay import Moment

EVERY_SECONDS = 0.1
PCAP_RECORD_BYTES = (
    16  # header of a packet in a pcap file: to tell how much of the file has been read
)
SPARKLINE_WIDTH = 32


class Progress:
    """A line on standard error that is redrawn ten times a second and gone at the end."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._total_bytes = _plain_bytes(paths)
        self._started_s = self._drawn_s = time.monotonic()
        console = Console(stderr=True, highlight=False)
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, moment: Moment) -> None:
        """Redraw, unless that was done just now."""
        now_s = time.monotonic()
        if now_s - self._drawn_s >= EVERY_SECONDS:
            self._drawn_s = now_s
            self._live.update(self._line(moment, now_s - self._started_s), refresh=True)

    def _line(self, moment: Moment, seconds: float) -> Text:
        line = Text(no_wrap=True, overflow="ellipsis")
        if self._total_bytes:
            read = moment.captured_bytes + PCAP_RECORD_BYTES * moment.packets
            line.append(f"{min(read / self._total_bytes, 1.0):4.0%} ")
        line.append(f"{clock(moment.time_ns)}  ", "dim")
        score = moment.report.last
        if score is not None:
            line.append(f"{score.status.value} {score.value:.2f} ", f"bold {COLOURS[score.status]}")
        line.append_text(sparkline(moment.report.timeline, SPARKLINE_WIDTH))
        rate = moment.packets / seconds if seconds else 0.0
        told = f"  {moment.packets:,} packets, {moment.flows:,} flows, {rate:,.0f}/s"
        line.append(f"{told}, {moment.report.alerts} alerts", "dim")
        return line


def _plain_bytes(paths: Sequence[str]) -> int:
    """The size of all files, 0 when one of them is a pipe or compressed."""
    total = 0
    for path in paths:
        if path == "-" or path.endswith((".gz", ".zst")) or not Path(path).is_file():
            return 0
        total += Path(path).stat().st_size
    return total
