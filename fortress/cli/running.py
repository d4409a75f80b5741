# SPDX-License-Identifier: Apache-2.0
"""Runs a replay for a command: sinks, signals, progress, summary, exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from fortress.errors import FortressError, OutputError

if TYPE_CHECKING:
    from types import FrameType

    from fortress.config import Settings
    from fortress.services.agent import Moment, Replay, Report
    from fortress.services.agent.board import Board
    from fortress.services.agent.replay import Watch
    from fortress.services.agent.view import AgentStatus, SensorState
    from fortress.sinks import Sink

PARTIAL_INPUT = 3
INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Telling:
    """Where events go: lines or a picture on standard output; with `keep` EVE file and store."""

    json: bool
    keep: bool
    more: tuple[Sink, ...] = ()


def run_replay(replay: Replay, settings: Settings, telling: Telling) -> int:
    """Replay, tell what was found, and return the exit code."""
    with stop_on_signals() as stop:
        return _replay(replay, settings, telling, stop)


def serve(replay: Replay, settings: Settings, json: bool) -> int:
    """Replay and serve status and metrics, after it too, until asked to stop: that is no error."""
    from importlib.metadata import version

    from fortress import logs
    from fortress.services.agent.board import Board
    from fortress.services.agent.surface import surface

    logs.configure(settings.log.level, settings.log.format)
    log = logs.logger("agent")
    board = Board(version("fortress"))
    with surface(board, board.events, None, settings) as addresses, stop_on_signals() as stop:
        code = _replay(replay, settings, Telling(json, True, (board,)), stop, _shown(board))
        if not stop.is_set():
            over = "the replay is over"
            board.rest(_replayed("missing", over, board.status()), over)
            log.info("serving", at=list(addresses), input=f"none: {over}")
            stop.wait()
            log.info("stopped")
        return code


def complain(error: FortressError) -> None:
    """Tell a failure that does not end the run."""
    print(f"fortress: {error}", file=sys.stderr)


@contextmanager
def stop_on_signals() -> Iterator[Event]:
    """An event that SIGINT and SIGTERM set; a second signal ends the process at once."""
    stop = Event()

    def ask_to_stop(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, ask_to_stop) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _replay(
    replay: Replay, settings: Settings, telling: Telling, stop: Event, also: Watch | None = None
) -> int:
    from fortress.services import agent
    from fortress.sinks import Outputs

    gc.freeze()  # what was imported stays: nobody need look through it for garbage
    gc.enable()

    sinks, written = _sinks(settings, replay.paths) if telling.keep else ([], {})
    sinks.extend(telling.more)
    if telling.json:
        from fortress.sinks.stream import LineStream

        sinks.append(LineStream(sys.stdout.fileno(), "standard output"))
    outputs = Outputs(sinks, "monitor", complain)
    try:
        with _screen(replay, telling.json) as watch:
            report = agent.run(replay, settings, outputs, stop, _both(watch, also))
    finally:
        outputs.close()
    for damage in report.damages:
        print(f"fortress: {damage}", file=sys.stderr)
    if not telling.json:
        _print_summary(replay, report, written)
    return _exit_code(report, outputs.failures)


def _sinks(settings: Settings, paths: Sequence[str]) -> tuple[list[Sink], dict[str, str]]:
    from importlib.metadata import version

    sinks: list[Sink] = []
    written: dict[str, str] = {}
    if settings.eve.enabled:
        from fortress.sinks.eve import EveFile

        eve = EveFile(settings.eve_path(), settings.eve.rotate_mib << 20, settings.eve.keep)
        sinks.append(eve)
        written["EVE JSON lines"] = str(eve.path)
    if settings.store.enabled:
        from fortress.sinks.store import StoreSink
        from fortress.store import Store

        store = Store(settings.store_url())
        named = [_name(path) for path in paths]
        batch, keep = settings.store.batch_events, settings.store.keep_runs
        sink = StoreSink(store, named, version("fortress"), batch, keep)
        sinks.append(sink)
        written["store"] = f"{store.url} (run {sink.run})"
    return sinks, written


def _name(path: str) -> str:
    return path if path == "-" else str(Path(path).absolute())


def _shown(board: Board) -> Watch:
    """A watch that publishes how far a replay is."""
    from fortress.services.agent.view import Totals

    def show(moment: Moment) -> None:
        totals = Totals(moment.packets, moment.captured_bytes, moment.flows)
        status = replace(_replayed("live"), time_ns=moment.time_ns, totals=totals)
        board.publish(status, moment.report.last)

    return show


def _replayed(
    state: SensorState, reason: str = "", before: AgentStatus | None = None
) -> AgentStatus:
    from fortress.services.agent.view import AgentStatus, SensorRow

    sensor = SensorRow("replay", "capture", state, reason)
    return replace(before or AgentStatus(0, source="replay"), sensors=(sensor,))


def _both(one: Watch | None, other: Watch | None) -> Watch | None:
    if one is None or other is None:
        return one or other
    first, second = one, other

    def watch(moment: Moment) -> None:
        first(moment)
        second(moment)

    return watch


@contextmanager
def _screen(replay: Replay, json: bool) -> Iterator[Callable[[Moment], None] | None]:
    if json or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from fortress.cli.progress import Progress

    with Progress(replay.paths) as progress:
        yield progress.show


def _print_summary(replay: Replay, report: Report, written: Mapping[str, str]) -> None:
    from rich.console import Console

    from fortress.archive.faults import name_of
    from fortress.cli.summary import summary

    names = [Path(name_of(path)).name for path in replay.paths]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    title = ", ".join(names[:3]) + more
    console = Console(highlight=False)
    console.print(summary(report, title, written, console.width))


def _exit_code(report: Report, failures: Sequence[OutputError]) -> int:
    if failures:
        return OutputError.exit_code
    if report.stats is not None and report.stats.interrupted:
        return INTERRUPTED
    return PARTIAL_INPUT if report.damages else 0
