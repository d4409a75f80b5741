"""What each step within the program costs alone, on the rows of a real capture."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fortress_core import StreamOptions, open_capture

from bench.results import Part
from fortress.features.flow import flow_matrix
from fortress.inference import FlowClassifier, Registry
from fortress.qsecbit import Pipeline
from fortress.qsecbit.catalogue import chosen

Rows = dict[str, np.ndarray]
REPEATS = 3


@dataclass(frozen=True, slots=True)
class Tick:
    """The rows of one closed tick, copied out of the stream."""

    time_ns: int
    intervals: Rows
    flows: Rows
    packets: Rows


def all_parts(capture: Path) -> list[Part]:
    """Each step of the program over the whole capture, least CPU time of three runs."""
    classifier = FlowClassifier(Registry().load("flow-classifier"))
    ticks = read_ticks(capture, Pipeline(classifier=classifier))
    flows = sum(len(tick.flows["proto"]) for tick in ticks)
    rows = sum(len(tick.intervals["proto"]) for tick in ticks)
    matrices = [{name: tick.flows[name] for name in classifier.columns} for tick in ticks]
    reader = Pipeline(classifier=classifier)
    steps = (
        ("stream as the pipeline reads it", "interval row", rows, lambda: stream(capture, reader)),
        ("flow features (float32 matrix)", "flow", flows, lambda: map_all(flow_matrix, matrices)),
        ("model with its features", "flow", flows, lambda: map_all(classifier.classify, matrices)),
    )
    parts = [Part(name, what, units, least(run)) for name, what, units, run in steps]
    spent, tables = min((watched(ticks, classifier) for _ in range(REPEATS)), key=whole)
    parts.append(Part("windows (per-host features)", "interval row", rows, spent["windows"]))
    for setting in chosen({}):
        given = [table for name, table in tables if name == setting.detector.table]
        scored = sum(len(table["row"]) for table in given)
        cost = least(lambda s=setting, g=given: map_all(s.scores, g))
        parts.append(Part(f"detector {setting.detector.name}", "row scored", scored, cost))
    parts.append(Part("pipeline, all of it", "interval row", rows, spent["pipeline"]))
    return parts


def whole(one: tuple[dict[str, float], object]) -> float:
    return one[0]["pipeline"]


def map_all(function: Callable[[Any], object], values: list[Any]) -> None:
    for value in values:
        function(value)


def watched(
    ticks: list[Tick], classifier: FlowClassifier
) -> tuple[dict[str, float], list[tuple[str, Any]]]:
    """CPU time of the windows and of a whole pipeline, and all tables detectors were given."""
    pipeline = Pipeline(classifier=classifier)
    windows = pipeline._windows
    spent = {"windows": 0.0}
    given: list[tuple[str, Any]] = []

    def watch(step: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        def timed(*rows: Any) -> dict[str, Any]:
            begun = time.thread_time()
            tables = step(*rows)
            spent["windows"] += time.thread_time() - begun
            given.extend(
                (name, {column: values.copy() for column, values in table.items()})
                for name, table in tables.items()
                if table and len(table["row"])
            )
            return tables

        return timed

    begun = time.thread_time()
    run_pipeline(ticks, Pipeline(classifier=classifier))
    spent["pipeline"] = time.thread_time() - begun
    windows.observe = watch(windows.observe)  # type: ignore[method-assign]
    windows.at_once = watch(windows.at_once)  # type: ignore[method-assign]
    run_pipeline(ticks, pipeline)
    return spent, given


def bytes_a_flow(capture: Path, budget: int = 16 << 20) -> float:
    """Memory of the flow table by the flows it holds when it is full (index included)."""
    options = StreamOptions(flow_budget_bytes=budget, keep_intervals=False)
    with open_capture([capture], options=options, flow_columns=["orig_pkts"]) as opened:
        for _ in opened:
            pass
        stats = opened.stats()
    if not stats.evictions:
        raise ValueError(f"{capture} does not fill a table of {budget} bytes")
    return stats.memory_bytes / stats.flows_peak


def read_ticks(capture: Path, pipeline: Pipeline) -> list[Tick]:
    """All ticks of the capture with the rows that the pipeline reads."""
    ticks: list[Tick] = []
    gathered: list[list[Rows]] = [[], [], []]
    with open_stream(capture, pipeline) as opened:
        for batch in opened:
            for rows, table in zip(
                gathered, (batch.intervals, batch.flows, batch.packets), strict=True
            ):
                rows.append({name: table[name].copy() for name in table.names})
            if batch.tick_closed or batch.end:
                ticks.append(Tick(batch.tick_ns, *(joined(rows) for rows in gathered)))
                gathered = [[], [], []]
    return ticks


def joined(rows: list[Rows]) -> Rows:
    return {name: np.concatenate([one[name] for one in rows]) for name in rows[0]}


def open_stream(capture: Path, pipeline: Pipeline) -> Any:
    return open_capture(
        [capture],
        options=StreamOptions(packet_rows="control"),
        flow_columns=pipeline.reads_flow_columns,
        interval_columns=pipeline.reads_interval_columns,
        packet_columns=pipeline.reads_packet_columns,
    )


def stream(capture: Path, pipeline: Pipeline) -> None:
    with open_stream(capture, pipeline) as opened:
        for _ in opened:
            pass


def run_pipeline(ticks: list[Tick], pipeline: Pipeline) -> None:
    for tick in ticks:
        pipeline.tick(tick.time_ns, tick.intervals, tick.flows, tick.packets)
    pipeline.finish()


def least(run: Callable[[], object]) -> float:
    """CPU seconds of this thread, least of three."""
    spent = []
    for _ in range(REPEATS):
        begun = time.thread_time()
        run()
        spent.append(time.thread_time() - begun)
    return min(spent)
