# SPDX-License-Identifier: Apache-2.0
"""Reads the flow archive a row group at a time and only the columns that are asked for: whatever
its size, memory holds one piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fortress.archive import shelf

BATCH_ROWS = 65_536


@dataclass(slots=True)
class Scanned:
    """What a scan has read so far; `damages` are sentences that name files that were passed over,
    in whole or from where they are damaged.
    """

    files: int = 0
    rows: int = 0
    damages: list[str] = field(default_factory=list)


def scan(
    folder: Path, names: Sequence[str], told: Scanned, since_ns: int = 0
) -> Iterator[pa.RecordBatch]:
    """Batches of at most BATCH_ROWS flows that ended since then, file by file, oldest first.

    A file that was pruned meanwhile is passed over; one that is damaged, or lacks a column, is
    named in `told`.
    """
    for one in shelf.files(folder, since_ns):
        try:
            with pq.ParquetFile(one.path, pre_buffer=False) as file:
                lacking = [name for name in names if name not in file.schema_arrow.names]
                if lacking:
                    told.damages.append(f"{one.path}: has no column {', '.join(lacking)}")
                    continue
                for batch in file.iter_batches(BATCH_ROWS, columns=list(names)):
                    told.rows += batch.num_rows
                    yield batch
            told.files += 1
        except FileNotFoundError:
            continue
        except (OSError, pa.ArrowException) as error:
            why = " ".join(str(error).split())[:200]
            told.damages.append(f"{one.path}: damaged: {why}")
