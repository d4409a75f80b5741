# SPDX-License-Identifier: Apache-2.0
"""Files of flows: Parquet, CSV and JSON lines behind one protocol; Arrow does all formatting.

What only text needs is imported when text is written: 10 MiB that the agent's archive does without.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from fortress.errors import UsageError

ROW_GROUP = 65_536  # rows that are gathered before they are written
LINES_AT_ONCE = 4096


class FlowFile(Protocol):
    """Takes record batches of one schema."""

    def write(self, rows: pa.Table) -> None:
        """Write these rows."""

    def close(self) -> None:
        """Write what a reader needs at the end; the file below stays open."""


class Parquet:
    """Columns, compressed, with units and meanings in the schema."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")

    def write(self, rows: pa.Table) -> None:
        """Write a row group."""
        self._writer.write_table(rows)

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


class Csv:
    """A header and a line for each flow; no value is an empty field, blanks join a sequence."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        import pyarrow.csv

        texts = pa.schema((field.name, _csv_type(field.type)) for field in schema)
        options = pyarrow.csv.WriteOptions(quoting_style="needed")
        self._writer = pyarrow.csv.CSVWriter(file, texts, write_options=options)
        self._schema = texts

    def write(self, rows: pa.Table) -> None:
        """Write lines."""
        columns = [_plain(column.combine_chunks(), " ") for column in rows.columns]
        self._writer.write_table(pa.table(columns, schema=self._schema))

    def close(self) -> None:
        """Write what waits."""
        self._writer.close()


class JsonLines:
    """An object for each flow; a key without a value is absent."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._file = file
        self._schema = schema

    def write(self, rows: pa.Table) -> None:
        """Write lines, some thousands at once."""
        for first in range(0, rows.num_rows, LINES_AT_ONCE):
            self._write(rows.slice(first, LINES_AT_ONCE))

    def _write(self, rows: pa.Table) -> None:
        import pyarrow.compute as pc

        pairs = [
            _pair(field, column.combine_chunks())
            for field, column in zip(self._schema, rows.columns, strict=True)
        ]
        inner = pc.binary_join_element_wise(*pairs, ",", null_handling="skip")
        lines = pc.binary_join_element_wise("{", inner, "}\n", "")
        length = pc.sum(pc.binary_length(lines)).as_py()
        self._file.write(memoryview(lines.buffers()[2])[:length])  # the lines, one after the other

    def close(self) -> None:
        """Nothing is left to write."""


FORMATS: dict[str, Callable[[BinaryIO, pa.Schema], FlowFile]] = {
    ".parquet": Parquet,
    ".csv": Csv,
    ".jsonl": JsonLines,
}


def format_of(path: Path) -> Callable[[BinaryIO, pa.Schema], FlowFile]:
    """The format that the file's name asks for; UsageError names those there are."""
    known = FORMATS.get(path.suffix)
    if known is None:
        raise UsageError(f"{path}: a file of flows ends in {', '.join(FORMATS)}")
    return known


def _csv_type(kind: pa.DataType) -> pa.DataType:
    textual = pa.types.is_dictionary(kind) or pa.types.is_fixed_size_list(kind)
    return pa.string() if textual else kind


def _plain(column: pa.Array, separator: str) -> pa.Array:
    """A column of numbers or text, whatever it was."""
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        return column.cast(pa.string())
    if pa.types.is_fixed_size_list(column.type):
        return pc.binary_join(column.cast(pa.list_(pa.string())), separator)
    return column


def _pair(field: pa.Field, column: pa.Array) -> pa.Array:
    """`"name":value` for each row, null where there is no value; no text here needs escapes."""
    import pyarrow.compute as pc

    value = _plain(column, ",")
    quote, end = "", ""
    if pa.types.is_fixed_size_list(field.type):
        quote, end = "[", "]"
    elif pa.types.is_string(value.type):
        quote = end = '"'
    name = f'"{field.name}":{quote}'
    return pc.binary_join_element_wise(name, value.cast(pa.string()), end, "")
