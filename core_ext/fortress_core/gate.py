# SPDX-License-Identifier: Apache-2.0
"""The gate: what the XDP program of bpf/gate.bpf.c drops or limits, and where it is attached.

On a port to the Internet sources are looked up. A port to the LAN is attached with
`destinations=True`: what leaves for a blocked address passes there.
"""

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any, Final, Literal, Self

from fortress_core.bpf_object import BpfError, BpfObject, check, extension
from fortress_core.closing import Closing

Kind = Literal["addr", "prefix", "mac"]
Mode = Literal["native", "generic"]

_KINDS: Final[tuple[Kind, ...]] = ("addr", "prefix", "mac")  # enum fx_gate_kinds
_MODES: Final[dict[int, Mode]] = {1: "native", 2: "generic"}  # enum fx_xdp_mode
_IP4: Final = bytes(10) + b"\xff\xff"
_SECOND_NS: Final = 10**9
_MOST_BURST_S: Final = 3600
_NONE_PASS_NS: Final = 2 * _SECOND_NS
_PROGRAMS: Final = ("fortress_gate", "fortress_gate_d")  # sources; destinations as well
_GONE: Final = (errno.ENOENT, errno.ENODEV, errno.ENXIO)
_REMEDIES: Final = {
    errno.EBUSY: "stop what put it there, or take it off: `ip link set dev NAME xdp off`",
    errno.E2BIG: "remove entries, let nft block them, or give the gate more room when it is loaded",
    errno.EOPNOTSUPP: "nothing to do: nft blocks there",
    errno.EINVAL: "nothing to do: nft blocks there",
    errno.ENODEV: "name an interface that `ip link` shows here",
}


@dataclass(frozen=True, slots=True)
class GateKey:
    """Whom an entry is about: an address, a prefix or a MAC, as octets of the wire."""

    kind: Kind
    packed: bytes
    prefix_bits: int = 0  # of kind "prefix" only

    def __post_init__(self) -> None:
        sizes = (6,) if self.kind == "mac" else (4, 16)
        if self.kind not in _KINDS or len(self.packed) not in sizes:
            raise ValueError(f"{self.packed.hex()} is no {self.kind} for the gate")
        if self.kind != "prefix" and self.prefix_bits:
            raise ValueError(f"a key of kind {self.kind} has no prefix length")
        if (
            len(self.packed) == 16
            and self.packed[:12] == _IP4
            and self.prefix_bits in (0, *range(96, 129))
        ):
            raise ValueError(f"{ip_address(self.packed)} is IPv4: give its four octets")
        if self.kind == "prefix":
            if not 0 <= self.prefix_bits <= 8 * len(self.packed):
                raise ValueError(f"/{self.prefix_bits} is no prefix of {self.packed.hex()}")
            ip_network((self.packed, self.prefix_bits))  # ValueError where host bits are set

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key that `192.0.2.1`, `2001:db8::/64` or `02:00:00:00:00:01` is the text of."""
        if text.count(":") == 5 and "::" not in text:
            return cls("mac", bytes.fromhex(text.replace(":", "")))
        if "/" not in text:
            return cls("addr", ip_address(text).packed)
        network = ip_network(text)
        if network.prefixlen == network.max_prefixlen:
            return cls("addr", network.network_address.packed)
        return cls("prefix", network.network_address.packed, network.prefixlen)

    def __str__(self) -> str:
        if self.kind == "mac":
            return self.packed.hex(":")
        if self.kind == "addr":
            return str(ip_address(self.packed))
        return str(ip_network((self.packed, self.prefix_bits)))


@dataclass(frozen=True, slots=True)
class Rates:
    """Frames a second that a limited source may send, and the gate's burst at once; None: any."""

    syn: int | None = None  # TCP that opens a connection
    udp: int | None = None
    icmp: int | None = None  # and ICMPv6

    def __post_init__(self) -> None:
        for rate in (self.syn, self.udp, self.icmp):
            if rate is not None and not 0 <= rate <= 10**9:
                raise ValueError(f"{rate} frames a second is no rate: 0 to 1,000,000,000")


@dataclass(frozen=True, slots=True)
class GateEntry:
    """What happens to a key's frames, and until when (boot time, ns; 0: until it is removed)."""

    key: GateKey
    action: Literal["drop", "limit"] = "drop"
    until_boot_ns: int = 0
    limit: Rates | None = None  # of action "limit"; a prefix shares one

    def __post_init__(self) -> None:
        if (self.action == "limit") != (self.limit is not None):
            raise ValueError(f"{self.key}: rates belong to action limit, and it needs them")
        if not 0 <= self.until_boot_ns < 2**64:
            raise ValueError(f"{self.key}: {self.until_boot_ns} is no time")


class Gate(Closing):
    """The loaded gate; for one thread. What is attached stays when the process dies.

    Entries end in the kernel; `sweep()`, called now and then, makes their room free again and lets
    shorter prefixes be seen behind those that are over.
    """

    def __init__(self, loaded: BpfObject, pointer: Any) -> None:
        self._loaded = loaded
        self._pointer = pointer
        self._attached: dict[int, tuple[int, Mode]] = {}

    @classmethod
    def load(cls, entries: int = 131_072, prefixes: int = 16_384, burst_s: float = 1) -> Self:
        """Maps for so many addresses and MACs, so many prefixes of each IP version; the program.

        Of its rates a limited source may send `burst_s` seconds' worth at once, 1 or more.
        """
        if not 1 <= burst_s <= _MOST_BURST_S:
            raise ValueError(f"burst_s: {burst_s:g} is not between 1 and {_MOST_BURST_S}")
        sizes = {"entries": entries, "prefixes4": prefixes + 1, "prefixes6": prefixes + 1}
        loaded = BpfObject.load(
            "gate", entries=sizes, constants={"limit_burst_ns": round(burst_s * _SECOND_NS)}
        )
        slot = extension().ffi.new("fx_gate **")
        try:
            check(extension().lib.fx_gate_new(loaded.pointer, slot))
        except BpfError:
            loaded.close()
            raise
        return cls(loaded, slot[0])

    @property
    def attached(self) -> dict[int, Mode]:
        """The interfaces (by index) that this gate was attached to, and how."""
        return {ifindex: mode for ifindex, (_, mode) in self._attached.items()}

    @property
    def held(self) -> int:
        """How many entries there are; those that are over count until they are swept."""
        return int(self._lib.fx_gate_held(self._open()))

    def program_fd(self, *, destinations: bool = False) -> int:
        """The program that looks at sources, or at destinations as well."""
        self._open()
        return self._loaded.program_fd(_PROGRAMS[destinations])

    def program_id(self, *, destinations: bool = False) -> int:
        """The kernel's number of a program, unique until the next boot; `ip link` shows it."""
        return check(self._lib.fx_bpf_program_id(self.program_fd(destinations=destinations)))

    def attach(
        self,
        ifindex: int,
        *,
        destinations: bool = False,
        replaces: int = 0,
        keeps_super_frames: bool = False,
    ) -> Mode:
        """Attach to an interface of this network namespace, in its driver where that can.

        Whatever XDP program is there already is an error, but the one with the id `replaces`: the
        gate that a killed process left. Its entries go with it. With `keeps_super_frames` not in a
        driver that gets none with XDP (veth), where the kernel does without (Linux 6.9). It may
        reset the link of a NIC: attach while there is something to block.
        """
        if ifindex in self._attached:
            self.detach(ifindex)
        program = self.program_fd(destinations=destinations)
        code = self._lib.fx_xdp_attach(program, ifindex, replaces, keeps_super_frames)
        mode = _MODES[_check(code)]
        self._attached[ifindex] = (program, mode)
        return mode

    def detach(self, ifindex: int) -> None:
        """Take the gate off an interface; no error where interface or program are gone already."""
        program, _ = self._attached.pop(ifindex, (-1, ""))
        if program >= 0:
            code = self._lib.fx_xdp_detach(program, ifindex)
            if -code not in _GONE:
                _check(code)

    def add(self, entries: Iterable[GateEntry]) -> int:
        """Put entries in, all or none; a key that is there keeps its hits. Returns how many keys.

        BpfError with code E2BIG when there is no room, also after what is over was swept.
        """
        by_key = {entry.key: entry for entry in entries}
        rows = [
            (*_address(entry.key), *_treatment(entry), entry.until_boot_ns, 0)
            for entry in by_key.values()
        ]
        _check(self._lib.fx_gate_add(self._open(), self._rows(rows), len(rows)))
        return len(rows)

    def remove(self, keys: Iterable[GateKey]) -> int:
        """Take entries out; returns how many were there."""
        rows = [_address(key) for key in keys]
        return _check(self._lib.fx_gate_remove(self._open(), self._rows(rows), len(rows)))

    def sweep(self) -> int:
        """Take out what is over; costs nothing until something is. Returns how many."""
        return _check(self._lib.fx_gate_sweep(self._open()))

    def entries(self) -> list[tuple[GateEntry, int]]:
        """All entries and how many frames each refused; those that are over are swept before."""
        self.sweep()
        rows = extension().ffi.new("fx_gate_entry[]", self.held)
        count = _check(self._lib.fx_gate_list(self._open(), rows, len(rows)))
        return [(_entry(rows[i]), int(rows[i].hits)) for i in range(min(count, len(rows)))]

    def counters(self) -> dict[str, int]:
        """What became of all frames since the gate was loaded; each counts once."""
        values = extension().ffi.new("uint64_t[]", len(counters()))
        _check(self._lib.fx_gate_counters(self._open(), values))
        return dict(zip(counters(), map(int, values), strict=True))

    def never(self, keys: Iterable[GateKey]) -> None:
        """Make these keys, and no others, pass whatever entry fits them.

        An entry for an address or prefix passes what comes from (or goes to) such an address; an
        entry for a MAC passes such a MAC only: addresses are easily forged behind it.
        """
        rows = [_address(key) for key in keys]
        _check(self._lib.fx_gate_set_never(self._open(), self._rows(rows), len(rows)))

    def close(self) -> None:
        """Detach everywhere and give the maps back."""
        pointer, self._pointer = self._pointer, None
        if pointer is None:
            return
        try:
            for ifindex in list(self._attached):
                self.detach(ifindex)
        finally:
            self._lib.fx_gate_free(pointer)
            self._loaded.close()

    def leave(self) -> None:
        """Close, but leave the program on its interfaces: entries go on until they are over."""
        self._attached.clear()
        self.close()

    @property
    def _lib(self) -> Any:
        return extension().lib

    def _open(self) -> Any:
        if self._pointer is None:
            raise ValueError("the gate is closed")
        return self._pointer

    def _rows(self, rows: list[tuple[Any, ...]]) -> Any:
        return extension().ffi.new("fx_gate_entry[]", rows)


def counters() -> tuple[str, ...]:
    """The names of the gate's counters; `pass…` went through, `drop…` did not."""
    return tuple(name for name, _, _ in counter_meanings())


@cache
def counter_meanings() -> tuple[tuple[str, str, str], ...]:
    """For each counter its name, PASS or DROP, and what it means."""
    module = extension()
    slot = module.ffi.new("const fx_gate_counter **")
    count = module.lib.fx_gate_counter_names(slot)
    rows = (slot[0][i] for i in range(count))
    text = module.ffi.string
    return tuple(
        (text(row.name).decode(), text(row.action).decode(), text(row.meaning).decode())
        for row in rows
    )


def _check(code: int) -> int:
    return check(code, _REMEDIES)


def _address(key: GateKey) -> tuple[bytes, int, int]:
    """Octets, kind and bits as fx_gate_entry has them."""
    octets = _IP4 + key.packed if len(key.packed) == 4 else key.packed.ljust(16, b"\0")
    bits = 128
    if key.kind == "prefix":
        bits = key.prefix_bits + (96 if len(key.packed) == 4 else 0)
    return octets, _KINDS.index(key.kind), bits


def _treatment(entry: GateEntry) -> tuple[int, tuple[int, int, int]]:
    """Whether it limits, and the intervals."""
    rates = entry.limit
    if rates is None:
        return 0, (0, 0, 0)
    return 1, (_interval_ns(rates.syn), _interval_ns(rates.udp), _interval_ns(rates.icmp))


def _interval_ns(rate: int | None) -> int:
    if rate is None:
        return 0
    return _SECOND_NS // rate if rate else _NONE_PASS_NS


def _rate(interval_ns: int) -> int | None:
    if interval_ns == 0:
        return None
    return 0 if interval_ns > _SECOND_NS else round(_SECOND_NS / interval_ns)


def _entry(row: Any) -> GateEntry:
    octets, kind, bits = bytes(row.octets), _KINDS[row.kind], int(row.bits)
    if kind == "mac":
        key = GateKey(kind, octets[:6])
    elif octets[:12] == _IP4 and bits >= 96:
        key = GateKey(kind, octets[12:], bits - 96 if kind == "prefix" else 0)
    else:
        key = GateKey(kind, octets, bits if kind == "prefix" else 0)
    limit = Rates(*map(_rate, row.interval_ns)) if row.limits else None
    return GateEntry(key, "limit" if limit else "drop", int(row.until_ns), limit)
