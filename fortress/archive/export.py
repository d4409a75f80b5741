# SPDX-License-Identifier: Apache-2.0
"""Captures in, a file of flows out."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import BinaryIO

import pyarrow as pa
from fortress_core import CaptureError, Column, Stream, StreamOptions, open_capture

from fortress.archive.arrow import SEQUENCE, array, flow_columns, schema
from fortress.archive.faults import openable, refused, told
from fortress.archive.files import ROW_GROUP, FlowFile, format_of
from fortress.errors import OutputError, UsageError

BATCH_PACKETS = 16_384


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the flow table."""

    flow_budget_bytes: int
    idle_timeout_ns: int
    active_timeout_ns: int


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written; `damages` are sentences with file and offset."""

    flows: int
    packets: int
    columns: tuple[str, ...]
    damages: tuple[str, ...]
    interrupted: bool


def export(
    paths: Sequence[str],
    out: Path,
    names: Sequence[str] | None,
    limits: Limits,
    stop: Event,
) -> Exported:
    """Write every flow of the captures into `out`, whose name says the format.

    `names` are the columns in their order; None is all but the packet sequences. The file appears
    when it is whole. InputError, OutputError and UsageError say what is wrong.
    """
    chosen = choose(names)
    make = format_of(out)
    arrow = schema(chosen)
    found, missed = openable(paths)
    with _capture(found, chosen, limits) as stream, _written(out) as file:
        writer = make(file, arrow)
        rows = _Rows(writer, arrow)
        for batch in stream:
            if batch.flows.rows:
                rows.add([array(column, batch.flows[column.name].copy()) for column in chosen])
            if stop.is_set():
                break
        rows.flush()
        writer.close()
        stats = stream.stats()
        damages = tuple(map(told, (*missed, *stream.damages())))
    columns = tuple(column.name for column in chosen)
    return Exported(rows.written, stats.packets, columns, damages, stop.is_set())


def choose(names: Sequence[str] | None) -> list[Column]:
    """The columns of these names; UsageError says which there is not."""
    known = flow_columns()
    if names is None:
        return [column for column in known.values() if not column.name.startswith(SEQUENCE)]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            listed = "`fortress columns --table flows` lists them"
            raise UsageError(f"--columns: no flow column {name!r}; {hint}{listed}")
    return [known[name] for name in dict.fromkeys(names)]


class _Rows:
    """Gathers small batches into row groups."""

    def __init__(self, writer: FlowFile, arrow: pa.Schema) -> None:
        self.written = 0
        self._writer = writer
        self._schema = arrow
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, columns: list[pa.Array]) -> None:
        self._waiting.append(pa.record_batch(columns, schema=self._schema))
        self._rows += len(columns[0])
        if self._rows >= ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            rows = pa.Table.from_batches(self._waiting, self._schema)
            self._writer.write(rows.unify_dictionaries())
            self.written += self._rows
            self._waiting, self._rows = [], 0


@contextlib.contextmanager
def _capture(paths: Sequence[str], chosen: Sequence[Column], limits: Limits) -> Iterator[Stream]:
    options = StreamOptions(
        packet_rows="none",
        keep_intervals=False,
        keep_sequences=any(column.name.startswith(SEQUENCE) for column in chosen),
        **asdict(limits),
    )
    names = [column.name for column in chosen]
    try:
        with open_capture(
            list(paths), options=options, batch_packets=BATCH_PACKETS, flow_columns=names
        ) as stream:
            yield stream
    except CaptureError as error:
        raise refused(error) from error


@contextlib.contextmanager
def _written(out: Path) -> Iterator[BinaryIO]:
    """A file that takes `out`'s place when all went well; a pipe or device is written itself."""
    special = out.exists() and not out.is_file()
    place = out if special else out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with place.open("wb") as file:
            yield file
        if not special:
            place.replace(out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        if not special:
            place.unlink(missing_ok=True)
