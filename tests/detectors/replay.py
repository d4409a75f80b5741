"""A capture file through the core and the pipeline, tick by tick, as the agent does it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from fortress_core import StreamOptions, open_capture

from fortress.qsecbit import Pipeline, TickResult

Columns = dict[str, npt.NDArray[Any]]


def ticks(
    path: Path, pipeline: Pipeline, batch_packets: int = 4096
) -> Iterator[tuple[int, Columns, Columns, Columns]]:
    """Every closed tick of a capture: its time, interval rows, ended flows, control packets."""
    parts: tuple[list[Columns], list[Columns], list[Columns]] = ([], [], [])
    with open_capture(
        [path],
        options=StreamOptions(packet_rows="control"),
        batch_packets=batch_packets,
        flow_columns=list(pipeline.reads_flow_columns),
        interval_columns=list(pipeline.reads_interval_columns),
        packet_columns=list(pipeline.reads_packet_columns),
    ) as stream:
        for batch in stream:
            for part, rows in zip(
                parts, (batch.intervals, batch.flows, batch.packets), strict=True
            ):
                part.append(_copied(rows))
            if batch.tick_closed or batch.end:
                yield batch.tick_ns, _joined(parts[0]), _joined(parts[1]), _joined(parts[2])
                for part in parts:
                    part.clear()


def replay(
    path: Path, pipeline: Pipeline | None = None, batch_packets: int = 4096
) -> list[TickResult]:
    """The results of all ticks of a capture."""
    pipeline = pipeline or Pipeline()
    results = [pipeline.tick(*tick) for tick in ticks(path, pipeline, batch_packets)]
    rest = pipeline.finish()
    return [*results, rest] if rest else results


def _copied(rows: Mapping[str, npt.NDArray[Any]]) -> Columns:
    return {name: values.copy() for name, values in rows.items()}


def _joined(parts: list[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
