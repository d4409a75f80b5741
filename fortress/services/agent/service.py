# SPDX-License-Identifier: Apache-2.0
"""The live agent as a process: everything is opened in order, joined, and closed in reverse."""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Event
from types import FrameType
from typing import TypedDict

from fortress_core import PortError, Stream, StreamOptions, open_live, open_xdp

from fortress import logs
from fortress.archive.writer import Archive
from fortress.config import Loaded, Settings
from fortress.config.settings import runtime_dir
from fortress.errors import InputError, UsageError
from fortress.notify import Notifier
from fortress.qsecbit import Pipeline, PipelineSettings
from fortress.qsecbit.energy import EnergySensor
from fortress.services.agent.acts import Acts
from fortress.services.agent.board import Board
from fortress.services.agent.census import Census
from fortress.services.agent.lists import Lists
from fortress.services.agent.live import TICK_NS, Loop, Parts
from fortress.services.agent.lock import alone
from fortress.services.agent.models import Models
from fortress.services.agent.offloads import Offloads
from fortress.services.agent.own_secret import own_secret
from fortress.services.agent.ports import Mirror, Ports, ports_for
from fortress.services.agent.replay import LINE_COLUMNS
from fortress.services.agent.requests import Requests
from fortress.services.agent.sides import Sides
from fortress.services.agent.surface import surface
from fortress.services.agent.taps import Tapping
from fortress.services.agent.view import Outcome
from fortress.sinks import Outputs, Sink
from fortress.sinks.aside import Aside

EVE_FLUSH_S, STORE_FLUSH_S = 0.1, 1.0
BATCH_PACKETS = 2048
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


@dataclass(frozen=True, slots=True)
class Watch:
    """What is to be watched, and where else events go; `load` reads the configuration again."""

    interfaces: tuple[str, ...]
    load: Callable[[], Loaded]
    more: tuple[Sink, ...] = ()
    flow_lines: bool = False  # an event for each flow that ended, as with eve.flows


class _Chosen(TypedDict):
    """What a stream is asked for, whatever its source."""

    options: StreamOptions
    batch_packets: int
    flow_columns: list[str]
    interval_columns: list[str]
    packet_columns: list[str]


def run(watch: Watch, settings: Settings) -> None:
    """Watch until SIGTERM or SIGINT; FortressError says why it could not begin."""
    interfaces = watch.interfaces or settings.capture.interfaces
    if not interfaces:
        raise UsageError("name an interface: --interface IF (`ip -br link` lists them)")
    if len(set(interfaces)) < len(interfaces):
        raise UsageError(f"--interface: {', '.join(interfaces)}: one is named twice")
    _keep_memory_small()
    logs.configure(settings.log.level, settings.log.format)
    log = logs.logger("agent")
    stop, reload = Event(), Event()
    guard = Path(settings.respond.guard) if settings.respond.guard else None
    with ExitStack() as stack:
        stack.enter_context(_signals(stop, reload))
        sockets = runtime_dir() or settings.state_dir
        stack.enter_context(alone(settings.state_dir, sockets, interfaces))
        models = Models(settings, learns=True)
        pipeline = _pipeline(settings, models)
        ports = _ports(settings, interfaces, guard)
        stack.callback(ports.close)
        archive = _archive(settings, stack)
        flow_lines = watch.flow_lines or settings.eve.flows
        columns = (*(archive.columns if archive else ()), *(LINE_COLUMNS if flow_lines else ()))
        stream = stack.enter_context(_stream(settings, pipeline, ports, columns))
        choice = ports.choice
        board = Board(version("fortress"))
        asides = _asides(settings, interfaces)
        outputs = Outputs(
            [*asides, board, *watch.more], settings.respond.mode, lambda e: log.error(str(e))
        )
        stack.callback(outputs.close)
        requests = Requests()
        addresses = stack.enter_context(surface(board, board.events, requests, settings))
        first = next(iter(ports.grants), None)
        tapping = Tapping(first, load=choice.opener == "own")
        stack.callback(tapping.close)
        tapping.join(stream, first)
        sides = Sides(interfaces, settings.capture.outside, guard)
        stack.callback(sides.close)
        sides.join(stream)
        pipeline.place(sides.inside)
        acts = Acts(settings.respond, guard)
        stack.callback(acts.close)
        energy = stack.enter_context(EnergySensor(settings.energy, settings.energy_path()))
        lists = Lists(settings.respond, settings.state_dir / "lists", guard)
        parts = Parts(
            stream=stream,
            pipeline=pipeline,
            ports=ports,
            outputs=outputs,
            asides=asides,
            board=board,
            requests=requests,
            control=Control(watch.load, pipeline, acts, outputs, models, lists),
            models=models,
            notifier=Notifier(os.environ),
            energy=energy,
            archive=archive,
            acts=acts,
            tapping=tapping,
            sides=sides,
            census=stack.enter_context(Census(settings, interfaces)),
            offloads=stack.enter_context(Offloads(interfaces, guard)),
            lists=lists,
            notes=(f"capture: {choice.why}", *([f"no tap: {tapping.why}"] * bool(tapping.why))),
            flow_lines=flow_lines,
        )
        log.info("watching", interfaces=list(interfaces), why=choice.why, at=list(addresses))
        stack.enter_context(lists)
        report = Loop(parts, stop, reload).run()
        log.info("stopped", alerts=report.alerts, packets=report.stats and report.stats.packets)


class Control:
    """Carries out what the surface and SIGHUP ask for, in the loop's thread."""

    def __init__(
        self,
        load: Callable[[], Loaded],
        pipeline: Pipeline,
        acts: Acts,
        outputs: Outputs,
        models: Models,
        lists: Lists,
    ) -> None:
        self._models = models
        self._load = load
        self._pipeline = pipeline
        self._acts = acts
        self._outputs = outputs
        self._lists = lists

    def confirm(self, target: str) -> Outcome:
        """Carry out the block that is proposed for `target`."""
        outcome, acts = self._acts.confirm(target, time.time_ns())
        for act in acts:
            self._outputs.say(act)
        return outcome

    def reload(self) -> Outcome:
        """Read the configuration again; a wrong one changes nothing."""
        settings = self._load().settings
        tuned = PipelineSettings(settings.qsecbit, settings.detectors)
        self._acts.check(settings.respond)  # first of all, so that nothing is half changed
        self._models.check(settings)
        self._pipeline.retune(tuned)
        self._models.retune(settings, self._pipeline)
        self._acts.retune(settings.respond)
        self._lists.retune(settings.respond)
        self._outputs.mode = settings.respond.mode
        return Outcome(True, "the configuration was read again")

    def promote(self, name: str, version: str) -> Outcome:
        """Put a published version of a model in use."""
        return self._models.promote(name, version)

    def rollback(self, name: str) -> Outcome:
        """Put the version of a model that was in use before back in use."""
        return self._models.rollback(name)


def _keep_memory_small() -> None:
    """What a busy second took goes back: glibc would keep it, and in a pool for each thread."""
    with suppress(AttributeError, OSError):  # another C library
        libc = ctypes.CDLL(None)
        for what, value in (
            (_M_ARENA_MAX, 2),
            (_M_MMAP_THRESHOLD, 256 << 10),
            (_M_TRIM_THRESHOLD, 1 << 20),
        ):
            libc.mallopt(what, value)


@contextmanager
def _signals(stop: Event, reload: Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop` (a second one ends the process at once), SIGHUP `reload`."""

    def ask_to_stop(number: int, _: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, ask_to_stop),
        signal.SIGINT: signal.signal(signal.SIGINT, ask_to_stop),
        signal.SIGHUP: signal.signal(signal.SIGHUP, lambda *_: reload.set()),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ports(settings: Settings, interfaces: Sequence[str], guard: Path | None) -> Ports:
    source, ring_bytes = settings.capture.source, settings.capture.ring_mib << 20
    if source == "af_xdp" and len(interfaces) > 1:
        raise UsageError("capture.source: af_xdp watches one interface, a mirror port")
    return ports_for(source, interfaces, ring_bytes, guard)


def _pipeline(settings: Settings, models: Models) -> Pipeline:
    tuned = PipelineSettings(
        settings.qsecbit, settings.detectors, secret=own_secret(settings.state_dir), tick_ns=TICK_NS
    )
    return models.pipeline(tuned)


def _archive(settings: Settings, stack: ExitStack) -> Archive | None:
    if not settings.archive.enabled:
        return None
    return stack.enter_context(Archive(settings.archive_path(), settings.archive))


def _stream(settings: Settings, pipeline: Pipeline, ports: Ports, columns: Sequence[str]) -> Stream:
    options = StreamOptions(
        tick_ns=TICK_NS,
        hash_key=(secrets.randbits(64), secrets.randbits(64)),
        packet_rows="control",
        flow_budget_bytes=settings.capture.flow_budget_mib << 20,
        idle_timeout_ns=round(settings.flows.idle_timeout_s * 1e9),
        active_timeout_ns=round(settings.flows.active_timeout_s * 1e9),
    )
    chosen = _Chosen(
        options=options,
        batch_packets=BATCH_PACKETS,
        flow_columns=[*pipeline.reads_flow_columns, *columns],
        interval_columns=list(pipeline.reads_interval_columns),
        packet_columns=list(pipeline.reads_packet_columns),
    )
    try:
        if isinstance(ports, Mirror):
            return open_xdp(ports.open_mirror(), **chosen)
        budget = max(settings.capture.ring_mib, len(ports.interfaces)) << 20
        return open_live(ports.open(), ring_budget_bytes=budget, **chosen)
    except (PortError, ValueError) as error:
        raise InputError(str(error)) from error


def _asides(settings: Settings, interfaces: Sequence[str]) -> list[Aside]:
    found = []
    if settings.eve.enabled:
        from fortress.sinks.eve import EveFile

        eve = settings.eve
        found.append(
            Aside(
                "eve",
                lambda: EveFile(settings.eve_path(), eve.rotate_mib << 20, eve.keep),
                EVE_FLUSH_S,
            )
        )
    if settings.store.enabled:
        from fortress.sinks.store import StoreSink
        from fortress.store import Store

        named = [f"interface {name}" for name in interfaces]
        keep = settings.store

        def opened() -> Sink:
            store = Store(settings.store_url())
            return StoreSink(store, named, version("fortress"), keep.batch_events, keep.keep_runs)

        found.append(Aside("store", opened, STORE_FLUSH_S))
    return found
