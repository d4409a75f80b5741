# SPDX-License-Identifier: Apache-2.0
"""The column tables as the library tells them: names, numpy dtypes, units, meanings."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np

from fortress_core._native import ffi, lib

PACKETS: Final = 0
FLOWS: Final = 1
INTERVALS: Final = 2

FULL_PACKETS: Final[int] = lib.FX_FULL_PACKETS  # of a direction; later ones only go into sums

TABLE_NAMES: Final = ("packets", "flows", "intervals")

# The first word of a row in a .def table, as numpy sees a value of it.
_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "u8": np.dtype("u1"),
    "u16": np.dtype("<u2"),
    "u32": np.dtype("<u4"),
    "u64": np.dtype("<u8"),
    "i64": np.dtype("<i8"),
    "f32": np.dtype("<f4"),
    "addr": np.dtype("V16"),
    "s16": np.dtype("S16"),
    "s32": np.dtype("S32"),
    "i16x32": np.dtype(("<i2", (32,))),
    "u32x32": np.dtype(("<u4", (32,))),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; `type` is the word in the .def table, dtype what numpy makes of it."""

    name: str
    dtype: np.dtype[Any]
    type: str
    unit: str
    meaning: str


@cache
def columns(table: int) -> tuple[Column, ...]:
    """Every column of a table (PACKETS, FLOWS or INTERVALS), in the library's order."""
    descriptors = ffi.new("const fx_column **")
    count = lib.fx_table_columns(table, descriptors)
    if count < 0:
        raise ValueError(f"no table {table}: it is PACKETS, FLOWS or INTERVALS")
    return tuple(_column(descriptors[0][i]) for i in range(count))


def choose(table: int, names: Iterable[str] | None) -> tuple[int, ...]:
    """The numbers of the named columns, ascending; None: all. ValueError names what is unknown."""
    known = {column.name: number for number, column in enumerate(columns(table))}
    if names is None:
        return tuple(known.values())
    wanted = set(names)
    unknown = sorted(wanted - known.keys())
    if unknown:
        raise ValueError(f"no such column of {TABLE_NAMES[table]}: {', '.join(unknown)}")
    return tuple(sorted(known[name] for name in wanted))


def _column(descriptor: Any) -> Column:
    kind = _text(descriptor.type)
    dtype = _DTYPES[kind]
    if dtype.itemsize != descriptor.size_bytes:
        raise RuntimeError(f"column type {kind}: the library has {descriptor.size_bytes} bytes")
    return Column(
        name=_text(descriptor.name),
        dtype=dtype,
        type=kind,
        unit=_text(descriptor.unit),
        meaning=_text(descriptor.meaning),
    )


def _text(pointer: Any) -> str:
    return ffi.string(pointer).decode()
