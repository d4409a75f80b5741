# SPDX-License-Identifier: Apache-2.0
"""Batches of columns, seen without a copy, and the words for what is in them."""

import json
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address
from socket import AF_INET, inet_ntop
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fortress_core._native import ffi, lib
from fortress_core.schema import FLOWS, INTERVALS, PACKETS, Column, columns

# By code of the columns conn_state and end_reason.
CONN_STATES: Final = (
    "OTH", "S0", "S1", "S2", "S3", "SF", "REJ", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR",
)  # fmt: skip
END_REASONS: Final = (
    "", "idle", "active", "fin", "rst", "evicted", "end_of_input", "clock_step", "port_reuse",
)  # fmt: skip

_MAPPED_IP4: Final = b"\0" * 10 + b"\xff\xff"


class Rows(Mapping[str, NDArray[Any]]):
    """The rows of one table: column name to array of `rows` values, a view of the batch's memory.

    A view is valid until the stream's next step, which writes the memory anew; it keeps the memory
    alive.
    """

    __slots__ = ("_arrays", "_state", "_table", "names")

    def __init__(self, table: int, arrays: dict[str, NDArray[Any]], state: Any) -> None:
        self._table = table
        self._arrays = arrays
        self._state = state
        self.names = tuple(arrays)

    @property
    def rows(self) -> int:
        """How many rows the table has now."""
        return int(self._state.rows[self._table])

    def views(self) -> dict[str, NDArray[Any]]:
        """All columns at once: quicker where most of them are read."""
        rows = self._state.rows[self._table]
        return {name: array[:rows] for name, array in self._arrays.items()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name][: self._state.rows[self._table]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class Batch:
    """What one step of a stream handed out: three tables and where in time they stand."""

    __slots__ = ("_state", "_text", "end", "flows", "intervals", "memory", "packets", "tick_closed")

    def __init__(
        self,
        memory: Any,
        packets: tuple[int, ...],
        flows: tuple[int, ...],
        intervals: tuple[int, ...],
    ) -> None:
        self.memory = memory
        self._state = lib.fx_batch_state_of(memory)
        self.packets = Rows(PACKETS, _arrays(memory, PACKETS, packets), self._state)
        self.flows = Rows(FLOWS, _arrays(memory, FLOWS, flows), self._state)
        self.intervals = Rows(INTERVALS, _arrays(memory, INTERVALS, intervals), self._state)
        self.tick_closed = False
        self.end = False
        self._text: Any = None

    @property
    def tick_ns(self) -> int:
        """Begin of the tick (interval of capture time) that the rows belong to."""
        return int(self._state.tick_ns)

    def flow_lines(self, in_iface: str = "") -> bytes:
        """The flows as EVE events of type `flow`, a line of JSON each, the last one ended as well.

        `in_iface` names the interface of the source; "" leaves the key out. ValueError names a
        column that was not chosen and is needed.
        """
        name = json.dumps(in_iface)[1:-1].encode()
        room = self.flows.rows * (lib.FX_FLOW_LINE_BYTES + len(name))
        if self._text is None or len(self._text) < room:
            self._text = ffi.new("char[]", room)
        length = lib.fx_batch_flow_lines(self.memory, name, self._text, room)
        if length < 0:
            raise ValueError(ffi.string(lib.fx_last_error()).decode())
        return bytes(ffi.buffer(self._text, length))


class _ColumnMemory:
    """A column as numpy's array interface: an array of it refers to it, and it to the batch."""

    __slots__ = ("__array_interface__", "owner")

    def __init__(self, owner: Any, address: int, rows: int, column: Column) -> None:
        base, shape = column.dtype.subdtype or (column.dtype, ())
        self.owner = owner
        self.__array_interface__ = {
            "version": 3,
            "data": (address, False),
            "shape": (rows, *shape),
            "typestr": base.str,
        }


def new_batch(
    rows: tuple[int, int, int],
    packets: tuple[int, ...],
    flows: tuple[int, ...],
    intervals: tuple[int, ...],
) -> Batch:
    """A batch with room for `rows` of each table that has the columns of these numbers."""
    out = ffi.new("fx_batch **")
    masks = _mask(PACKETS, packets), _mask(FLOWS, flows), _mask(INTERVALS, intervals)
    if lib.fx_batch_new(rows[0], rows[1], rows[2], masks[0], masks[1], masks[2], out) < 0:
        raise MemoryError(ffi.string(lib.fx_last_error()).decode())
    return Batch(ffi.gc(out[0], lib.fx_batch_free), packets, flows, intervals)


def _mask(table: int, numbers: tuple[int, ...]) -> Any:
    mask = bytearray(len(columns(table)))
    for number in numbers:
        mask[number] = 1
    return ffi.new("uint8_t[]", bytes(mask))


def _arrays(memory: Any, table: int, numbers: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    rows = lib.fx_batch_capacity(memory, table)
    arrays = {}
    for number in numbers:
        column = columns(table)[number]
        address = int(ffi.cast("uintptr_t", lib.fx_batch_column(memory, table, number)))
        arrays[column.name] = np.asarray(_ColumnMemory(memory, address, rows, column))
    return arrays


def format_addr(address: bytes | np.void) -> str:
    """The text of an address of 16 octets: dotted for ::ffff:a.b.c.d, else RFC 5952.

    >>> format_addr(bytes(10) + bytes([255, 255, 192, 0, 2, 1]))
    '192.0.2.1'
    """
    octets = address if isinstance(address, bytes) else address.tobytes()
    if octets.startswith(_MAPPED_IP4):
        return inet_ntop(AF_INET, octets[12:])
    return str(IPv6Address(octets))


def format_mac(mac: int) -> str:
    """The text of a link-layer address.

    >>> format_mac(0x020000000001)
    '02:00:00:00:00:01'
    """
    return int(mac).to_bytes(6, "big").hex(":")


def addr_words(addresses: NDArray[np.void]) -> NDArray[np.uint64]:
    """Addresses as numbers: shape (n, 2), the high and the low 64 bits in host order."""
    words = np.ascontiguousarray(addresses).view(">u8").reshape(-1, 2)
    return words.astype(np.uint64)
