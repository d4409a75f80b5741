# SPDX-License-Identifier: Apache-2.0
"""Keys of 64 bits for hosts, pairs and services, and the bounded map from them to dense slots.

Keys are made with a secret (replay uses a fixed one, live a random one), so that nobody outside can
choose addresses that collide. Two different entities share a key with a chance of n²/2^65: 4e-11
for 40,000 of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from fortress_core import addr_words

UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Slots = npt.NDArray[np.intp]

ABSENT = -1  # the slot of a key that has none
_NEVER = np.iinfo(np.int64).min

# The finaliser of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
# 2014).
_M1, _M2, _GOLDEN = (
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
    np.uint64(0x9E3779B97F4A7C15),
)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
_V4_HIGH = np.uint64(0xFFFF)
_16, _32, _54, _56, _57 = (np.uint64(shift) for shift in (16, 32, 54, 56, 57))
_MULTICAST_V4 = np.uint32(0xE0000000)
_PRIVATE_V4 = np.zeros(65536, np.bool_)  # by the first two octets
for _first, _count in (
    (0x0A00, 256), (0xAC10, 16), (0xC0A8, 1), (0xA9FE, 1), (0x6440, 64), (0x7F00, 256),
):  # fmt: skip
    _PRIVATE_V4[_first : _first + _count] = True


class Addresses(NamedTuple):
    """Addresses as two words in host order; IPv4 is ::ffff:a.b.c.d."""

    high: UInt64
    low: UInt64

    def take(self, rows: Slots | Bool) -> Addresses:
        """The addresses of some rows."""
        return Addresses(self.high[rows], self.low[rows])


class Groups(NamedTuple):
    """Rows with equal keys: the keys sorted, the first row of each, and each row's group."""

    keys: UInt64
    first: Slots
    of_row: Slots

    def some(self, chosen: Bool) -> Groups:
        """Some groups, without their rows."""
        return Groups(self.keys[chosen], self.first[chosen], self.of_row[:0])


def words(addresses: npt.NDArray[np.void]) -> Addresses:
    """The two words of each 16-byte address (dtype V16)."""
    pairs = addr_words(addresses)
    return Addresses(np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]))


def mix(key: UInt64) -> UInt64:
    """Each word scrambled, one to one (new array)."""
    key = key ^ (key >> _S30)
    key *= _M1
    key ^= key >> _S27
    key *= _M2
    key ^= key >> _S31
    return key


def address_key(secret: int, address: Addresses) -> UInt64:
    """One key for each address; who does not know the secret cannot choose two that are equal."""
    return mix(address.high * np.uint64(secret | 1) ^ address.low ^ np.uint64(secret))


def joint_key(first: UInt64, *others: UInt64) -> UInt64:
    """One key for keys or small numbers that belong together; their order matters."""
    for other in others:
        first = mix(first * _GOLDEN ^ other)
    return first


def is_v4(address: Addresses) -> Bool:
    """Whether an address is an IPv4 one."""
    return np.asarray((address.high == 0) & ((address.low >> _32) == _V4_HIGH), np.bool_)


def is_private(address: Addresses) -> Bool:
    """Whether an address is a site's own (RFC 1918, 3927, 6598, 4193; link-local, loopback)."""
    v4 = _PRIVATE_V4[(address.low >> _16).astype(np.uint16)]
    high = address.high
    if not high.any():
        return np.asarray(v4 | (address.low == 1), np.bool_)
    v6 = ((high >> _57) == np.uint64(0xFC >> 1)) | ((high >> _54) == np.uint64(0xFE80 >> 6))
    return np.asarray(np.where(high == 0, v4 | (address.low == 1), v6), np.bool_)


def is_group(address: Addresses) -> Bool:
    """Whether an address is no single host: multicast, broadcast, .255 or .0, unspecified."""
    low, high = address.low, address.high
    host = low.astype(np.uint8)
    v4 = (low.astype(np.uint32) >= _MULTICAST_V4) | (host == 255) | (host == 0)
    if not high.any():
        return np.asarray(v4, np.bool_)
    return np.asarray(np.where(high == 0, v4, (high >> _56) == np.uint64(0xFF)), np.bool_)


def as_host(address: Addresses) -> Addresses:
    """Addresses with what one party owns as one: the /64 of a global IPv6 address, others as they
    are.
    """
    if not address.high.any():
        return address
    whole = (address.high == 0) | is_private(address)
    return Addresses(address.high, np.where(whole, address.low, np.uint64(0)))


def group(keys: UInt64) -> Groups:
    """The distinct keys and who has them."""
    order = np.argsort(keys)
    ordered = keys[order]
    begins = np.empty(len(keys), np.bool_)
    begins[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
    of_row = np.empty(len(keys), np.intp)
    of_row[order] = np.cumsum(begins) - 1
    starts = np.flatnonzero(begins)
    first = np.minimum.reduceat(order, starts) if len(starts) else order
    return Groups(ordered[starts], first, of_row)


def order_of(values: Slots) -> Slots:
    """The rows in the order of small values from 0, those with equal ones as they came.

    Words that hold value and row are sorted: a fifth of what a stable argsort takes.
    """
    shift = np.int64(len(values).bit_length())
    packed = (values.astype(np.int64) << shift) | np.arange(len(values))
    packed.sort()
    order: Slots = packed & ((np.int64(1) << shift) - 1)
    return order


def distinct(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The different values, sorted; np.unique without what it imports and looks at for the few
    values that a tick brings.
    """
    ordered = np.sort(values)
    begins = np.empty(len(ordered), np.bool_)
    begins[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
    return ordered[begins]


def is_among(values: npt.NDArray[Any], some: npt.NDArray[Any]) -> Bool:
    """Whether each value is one of some; np.isin takes ten times as long for the few of a tick."""
    if not len(some):
        return np.zeros(len(values), np.bool_)
    ordered = np.sort(some)
    at = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.asarray(ordered[at] == values, np.bool_)


class KeyTable:
    """A bounded map from keys to dense slots 0 … capacity-1.

    Slots are given in the order keys are asked for, and taken back from those asked for longest ago
    (then the lowest slot), never from one of the present tick: when all are in use, newcomers are
    refused. What lands where depends on the order of keys alone, not on their values. Costs 32
    bytes a slot.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.evictions = 0
        self.refusals = 0
        self.last_tick: Int64 = np.full(capacity, _NEVER, np.int64)
        self._used = 0
        self._free: Slots = np.empty(0, np.intp)
        self._keys: UInt64 = np.empty(0, np.uint64)  # sorted
        self._slots: Slots = np.empty(0, np.intp)  # of those

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, keys: UInt64) -> Slots:
        """The slot of each key, ABSENT where it has none."""
        if not len(self._keys):
            return np.full(len(keys), ABSENT, np.intp)
        at = np.searchsorted(self._keys, keys)
        np.minimum(at, len(self._keys) - 1, out=at)
        found: Slots = np.where(self._keys[at] == keys, self._slots[at], ABSENT)
        return found

    def admit(self, groups: Groups, tick: int) -> tuple[Slots, Slots]:
        """The slot of each group's key, and which slots are new; ABSENT where there is no room."""
        slots = self.find(groups.keys)
        known = slots != ABSENT
        self.last_tick[slots[known]] = tick
        if known.all():
            return slots, slots[:0]
        missing = np.flatnonzero(~known)
        missing = missing[np.argsort(groups.first[missing])]  # in order of first appearance
        self._make_room(len(missing), tick)
        fresh = self._take(len(missing))
        self.refusals += len(missing) - len(fresh)
        missing = missing[: len(fresh)]
        slots[missing] = fresh
        self.last_tick[fresh] = tick
        self._index(groups.keys, slots, np.sort(missing))
        return slots, fresh

    def clear(self) -> None:
        """Forgets every key; counters stay."""
        self.last_tick[:] = _NEVER
        self._used = 0
        self._free = self._free[:0]
        self._keys, self._slots = self._keys[:0], self._slots[:0]

    def _make_room(self, wanted: int, tick: int) -> None:
        room = self.capacity - self._used + len(self._free)
        if room >= wanted:
            return
        wanted = max(wanted - room, self.capacity // 16)  # evicting in bulk keeps the index cheap
        last = self.last_tick[: self._used]
        old = np.flatnonzero((last != _NEVER) & (last < tick))
        if len(old) > wanted:
            age = last[old] * self.capacity + old  # unlike each other: ties go to the lowest slot
            old = np.sort(old[np.argpartition(age, wanted)[:wanted]])
        self.evictions += len(old)
        self.last_tick[old] = _NEVER
        self._free = np.concatenate((self._free, old))
        kept = self.last_tick[self._slots] != _NEVER
        self._keys, self._slots = self._keys[kept], self._slots[kept]

    def _take(self, wanted: int) -> Slots:
        reused, self._free = self._free[:wanted], self._free[wanted:]
        unused = min(wanted - len(reused), self.capacity - self._used)
        start, self._used = self._used, self._used + unused
        return np.concatenate((reused, np.arange(start, start + unused)))

    def _index(self, keys: UInt64, slots: Slots, fresh: Slots) -> None:
        at = np.searchsorted(self._keys, keys[fresh]) + np.arange(len(fresh))
        total = len(self._keys) + len(fresh)
        old = np.ones(total, np.bool_)
        old[at] = False
        merged_keys, merged_slots = np.empty(total, np.uint64), np.empty(total, np.intp)
        merged_keys[at], merged_slots[at] = keys[fresh], slots[fresh]
        merged_keys[old], merged_slots[old] = self._keys, self._slots
        self._keys, self._slots = merged_keys, merged_slots
