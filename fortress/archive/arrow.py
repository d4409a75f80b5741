# SPDX-License-Identifier: Apache-2.0
"""The core's columns as Arrow: one type for each of its types, units and meanings as metadata.

Addresses, MACs and the codes of states and reasons become text (dictionary-encoded), a float, MAC
or reason without a value becomes null.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from fortress_core import CONN_STATES, END_REASONS, FLOWS, INTERVALS, PACKETS, Column, columns

Values = npt.NDArray[Any]

SEQUENCE = "sequence_"  # columns of this name are only filled when the stream keeps sequences
_IPV4_PREFIX = bytes(10) + b"\xff\xff"
_TEXT = pa.dictionary(pa.int32(), pa.string())


_NAMES = {"conn_state": CONN_STATES, "end_reason": END_REASONS}  # by code; "" is no value


def dictionary(table: str) -> tuple[Column, ...]:
    """The columns of "packets", "flows" or "intervals" as the core declares them."""
    return columns({"packets": PACKETS, "flows": FLOWS, "intervals": INTERVALS}[table])


def flow_columns() -> dict[str, Column]:
    """Every flow column by name, in the core's order."""
    return {column.name: column for column in columns(FLOWS)}


def schema(chosen: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of these columns."""
    return pa.schema(
        pa.field(
            column.name,
            _TEXT if column.name in _NAMES else _TYPES[_kind(column)],
            metadata={"unit": column.unit, "meaning": column.meaning},
        )
        for column in chosen
    )


def array(column: Column, values: Values) -> pa.Array:
    """A column's values as Arrow; plain numbers are not copied."""
    names = _NAMES.get(column.name)
    return _names(values, names) if names else _ARRAYS.get(_kind(column), pa.array)(values)


def _kind(column: Column) -> str:
    return "mac" if column.name.endswith("_mac") else column.type


def _addresses(values: Values) -> pa.Array:
    halves = np.ascontiguousarray(values).view(np.uint64).reshape(-1, 2)
    first, which = _distinct(halves)
    texts = [address_text(values[row].tobytes()) for row in first]
    return _dictionary(which, texts, None)


def _macs(values: Values) -> pa.Array:
    distinct, which = np.unique(values, return_inverse=True)
    return _dictionary(which, [mac_text(int(mac)) for mac in distinct], values == 0)


def _names(values: Values, names: tuple[str, ...]) -> pa.Array:
    none = np.array([not name for name in names])
    return _dictionary(values, list(names), none[values])


def _floats(values: Values) -> pa.Array:
    return pa.array(values, mask=~np.isfinite(values))


def _texts(values: Values) -> pa.Array:
    return pa.array(values).cast(pa.string())


def _sequences(values: Values) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _dictionary(which: Values, texts: list[str], missing: Values | None) -> pa.Array:
    indices = pa.array(which.astype(np.int32), mask=missing)
    return pa.DictionaryArray.from_arrays(indices, pa.array(texts, pa.string()))


def _distinct(halves: Values) -> tuple[Values, Values]:
    """Rows at which the distinct pairs stand, sorted, and for each row which of them it holds."""
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    ordered = halves[order]
    new = np.ones(len(order), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    which = np.empty(len(order), np.int64)
    which[order] = np.cumsum(new) - 1
    return order[new], which


def address_text(octets: bytes) -> str:
    """An address as people write it."""
    if octets.startswith(_IPV4_PREFIX):
        return ".".join(map(str, octets[12:]))
    return str(ipaddress.IPv6Address(octets))


def mac_text(mac: int) -> str:
    """A MAC address as people write it."""
    return ":".join(f"{octet:02x}" for octet in mac.to_bytes(8, "big")[2:])


_TYPES: dict[str, pa.DataType] = {
    "u8": pa.uint8(),
    "u16": pa.uint16(),
    "u32": pa.uint32(),
    "u64": pa.uint64(),
    "i64": pa.int64(),
    "f32": pa.float32(),
    "addr": _TEXT,
    "mac": _TEXT,
    "s16": pa.string(),
    "s32": pa.string(),
    "i16x32": pa.list_(pa.int16(), 32),
    "u32x32": pa.list_(pa.uint32(), 32),
}
_ARRAYS: dict[str, Callable[[Values], pa.Array]] = {
    "addr": _addresses,
    "mac": _macs,
    "f32": _floats,
    "s16": _texts,
    "s32": _texts,
    "i16x32": _sequences,
    "u32x32": _sequences,
}
