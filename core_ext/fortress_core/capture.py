# SPDX-License-Identifier: Apache-2.0
"""Streams of batches from capture files or from the seeded generator."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal

from fortress_core._native import ffi, lib
from fortress_core.closing import Closing
from fortress_core.conntrack import Conntrack, NatState, check, nat_state, port_bits
from fortress_core.flows import Batch, new_batch
from fortress_core.live import Port, PortState, native_ports, port_error, port_states
from fortress_core.schema import FLOWS, INTERVALS, PACKETS, choose
from fortress_core.sides import Forged, forged_at, tell_inside

if TYPE_CHECKING:
    from fortress_core.af_xdp import XdpPort

PacketRows = Literal["none", "control", "all"]
Path = str | os.PathLike[str]

_PACKET_ROWS: Final = {
    "none": lib.FX_PACKET_ROWS_NONE,
    "control": lib.FX_PACKET_ROWS_CONTROL,
    "all": lib.FX_PACKET_ROWS_ALL,
}


class CaptureError(Exception):
    """A capture cannot be read at all: path, offset in it (bytes), and what is wrong."""

    def __init__(self, path: str, offset: int, message: str) -> None:
        super().__init__(path, offset, message)
        self.path = path
        self.offset = offset
        self.message = message

    def __str__(self) -> str:
        return f"{self.path}, offset {self.offset}: {self.message}"


@dataclass(frozen=True, slots=True)
class Damage:
    """Where a file was damaged; reading went no further in that file."""

    path: str
    offset: int
    message: str


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How packets become rows; the fields of fx_stream_options in include/fx/abi.h."""

    flow_budget_bytes: int = 128 << 20
    hash_key: tuple[int, int] = (0x0123456789ABCDEF, 0xFEDCBA9876543210)
    idle_timeout_ns: int = 120_000_000_000
    active_timeout_ns: int = 1_800_000_000_000
    tick_ns: int = 1_000_000_000
    packet_rows: PacketRows = "none"
    keep_sequences: bool = False
    keep_intervals: bool = True


@dataclass(frozen=True, slots=True)
class StreamStats:
    """What went through a stream so far; the fields of fx_stream_stats in include/fx/abi.h."""

    packets: int
    bytes: int
    captured_bytes: int
    kernel_drops: int
    flows: int
    flows_active: int
    flows_peak: int
    evictions: int
    truncated: int
    undecodable: int
    malformed: int
    absurd_lengths: int
    non_ip: int
    out_of_order: int
    clock_steps: int
    memory_bytes: int
    packets_shed: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class ShuntStats:
    """What the tap counted instead of copying it; the fields of fx_shunt_stats in fx/abi.h.

    `directions` are shunted now, `added` were so far, `refused` found no room. `packets` and
    `bytes` (IP, as on the wire) are not in StreamStats; `lost_packets` of them are in no row.
    """

    directions: int
    added: int
    refused: int
    packets: int
    bytes: int
    lost_packets: int


class Stream(Closing):
    """Iterates over batches; the batch is one object whose memory each step writes anew."""

    def __init__(self, source: Any, options: StreamOptions, batch: Batch) -> None:
        out = ffi.new("fx_stream **")
        _check(lib.fx_stream_new(source, _native_options(options), out))
        self._source = source
        self._stream = ffi.gc(out[0], lib.fx_stream_free)
        self._batch = batch
        self._ended = False

    def __iter__(self) -> Iterator[Batch]:
        batch = self._batch
        while not self._ended:
            flags = lib.fx_stream_next(self._open(), batch.memory)
            _check(flags)
            batch.tick_closed = bool(flags & lib.FX_NEXT_TICK_CLOSED)
            batch.end = self._ended = bool(flags & lib.FX_NEXT_END)
            if flags:
                yield batch

    def stats(self) -> StreamStats:
        """Counters of what went through so far."""
        out = ffi.new("fx_stream_stats *")
        lib.fx_stream_stats_read(self._open(), out)
        return StreamStats(*(getattr(out, field.name) for field in fields(StreamStats)))

    def damages(self) -> tuple[Damage, ...]:
        """Where files were damaged so far."""
        out = ffi.new("const fx_damage **")
        count = lib.fx_stream_damages(self._open(), out)
        return tuple(
            Damage(_text(out[0][i].path), out[0][i].offset, _text(out[0][i].message))
            for i in range(count)
        )

    def ports(self) -> tuple[PortState, ...]:
        """How the ports of a live stream do, in the order of open_live(); none of a file."""
        self._open()
        return port_states(self._source)

    def replace_port(self, old: int, port: Port) -> None:
        """Read `port` in the place of the number `old`, whose counters go on.

        To be called between two batches, by the thread that takes them.
        """
        self._open()
        code = lib.fx_source_replace_port(self._source, old, native_ports([port]))
        if code < 0:
            raise port_error(code)

    def replace_xdp(self, port: "XdpPort") -> None:
        """Read `port` in the place of the one that open_xdp() was given, in the same way."""
        self._open()
        from fortress_core.af_xdp import native_queues

        code = lib.fx_source_replace_xsk(self._source, *native_queues(port))
        if code < 0:
            raise port_error(code)

    def shunt(self, map_fds: tuple[int, int]) -> None:
        """Let the tap of these maps count what follows the first FULL_PACKETS of a direction.

        Of a live stream, once, before it is read; the descriptors stay the caller's. Every packet
        is in the flows' plain counters all the same. With packet_rows="all" those packets are cut
        to their headers instead. Ports that see the same packets must not share these maps.
        ValueError if these are not a tap's maps.
        """
        _check(lib.fx_stream_shunt(self._open(), *map_fds))

    def switch_shunting(self, *, takes_new: bool) -> None:
        """Whether more directions are shunted; between two batches, by the thread that reads."""
        lib.fx_stream_shunt_switch(self._open(), takes_new)

    def shunt_stats(self) -> ShuntStats:
        """What the tap counted so far; zeros without one."""
        out = ffi.new("fx_shunt_stats *")
        lib.fx_stream_shunt_stats(self._open(), out)
        return ShuntStats(*(getattr(out, field.name) for field in fields(ShuntStats)))

    def sample(self, share: float) -> None:
        """Look at this share of all flows from now on: whole flows, chosen by their keyed hash.

        Between two batches, by the thread that reads; `packets_shed` counts what is left out.
        """
        lib.fx_stream_sample(self._open(), share)

    def outside(self, ports: Iterable[int], conntrack: Conntrack | None) -> None:
        """Count a connection through this gateway once, though ports of both its sides are read.

        `ports` are the numbers of those that face outside; packets there get the addresses that
        they have inside, by `conntrack` (None = by the one that was given before, or nothing is
        translated). Again, between two batches, when other ports face outside. Raises
        ConntrackError, ValueError for a number of no port.
        """
        fd = -1 if conntrack is None else conntrack.fd
        check(lib.fx_stream_outside(self._open(), port_bits(ports), fd))

    def inside(self, networks: Iterable[str]) -> None:
        """Tell which networks are inside, this machine's own addresses included.

        What comes in on a port that faces outside in the name of one of them is forged: in no flow
        and in no row. After outside(), again when they change, between two batches.
        """
        tell_inside(self._open(), networks)

    def forged(self, port: int) -> Forged:
        """What a port has seen of that; zeros without inside()."""
        return forged_at(self._open(), port)

    def replace_conntrack(self, conntrack: Conntrack) -> None:
        """Read another socket from now on; between two batches, by the thread that takes them."""
        check(lib.fx_stream_conntrack(self._open(), conntrack.fd))

    def nat(self) -> NatState:
        """What is known of translation and of packets seen twice; zeros without outside()."""
        return nat_state(self._open())

    def stop(self) -> None:
        """End a live stream: what was captured until now is still handed out. From any thread."""
        self._open()
        lib.fx_source_stop(self._source)

    def close(self) -> None:
        """Give the flow table and the files back; batches stay readable."""
        if self._stream is not None:
            ffi.release(self._stream)
            ffi.release(self._source)
            self._stream = None

    def _open(self) -> Any:
        if self._stream is None:
            raise ValueError("the stream is closed")
        return self._stream


def open_capture(
    paths: Sequence[Path] | Path,
    *,
    options: StreamOptions | None = None,
    batch_packets: int = 4096,
    flow_columns: Iterable[str] | None = None,
    interval_columns: Iterable[str] | None = None,
    packet_columns: Iterable[str] | None = None,
) -> Stream:
    """A stream over capture files, one after the other; "-" is standard input.

    `batch_packets` is the most rows a batch has of each table; the columns default to all.
    Raises CaptureError when a file cannot be read at all, ValueError for an unknown column or a
    bad option.
    """
    names = [
        os.fspath(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)
    ]
    if not names:
        raise ValueError("no capture file named")
    texts = [ffi.new("char[]", os.fsencode(name)) for name in names]
    out = ffi.new("fx_source **")
    if lib.fx_source_open_pcap(ffi.new("const char *[]", texts), len(texts), out) < 0:
        raise _capture_error(names)
    return stream_over(
        out[0], options, batch_packets, packet_columns, flow_columns, interval_columns
    )


def open_synth(
    profile: str,
    seed: int,
    packets: int,
    *,
    options: StreamOptions | None = None,
    batch_packets: int = 4096,
    flow_columns: Iterable[str] | None = None,
    interval_columns: Iterable[str] | None = None,
    packet_columns: Iterable[str] | None = None,
) -> Stream:
    """A stream over the seeded generator: the same frames for the same (profile, seed, packets)."""
    out = ffi.new("fx_source **")
    _check(lib.fx_source_open_synth(profile.encode(), seed, packets, out))
    return stream_over(
        out[0], options, batch_packets, packet_columns, flow_columns, interval_columns
    )


def stream_over(
    source: Any,
    options: StreamOptions | None,
    batch_packets: int,
    packet_columns: Iterable[str] | None,
    flow_columns: Iterable[str] | None,
    interval_columns: Iterable[str] | None,
) -> Stream:
    """A stream that owns the native source; the other parameters are open_capture's."""
    source = ffi.gc(source, lib.fx_source_close)
    options = options or StreamOptions()
    if batch_packets < 1:
        raise ValueError(f"batch_packets: {batch_packets} is less than 1")
    batch = new_batch(
        (
            batch_packets if options.packet_rows != "none" else 1,
            batch_packets,
            batch_packets if options.keep_intervals else 1,
        ),
        choose(PACKETS, packet_columns if options.packet_rows != "none" else ()),
        choose(FLOWS, flow_columns),
        choose(INTERVALS, interval_columns if options.keep_intervals else ()),
    )
    return Stream(source, options, batch)


def _native_options(options: StreamOptions) -> Any:
    if options.packet_rows not in _PACKET_ROWS:
        raise ValueError(f"packet_rows: {options.packet_rows!r} is not none, control or all")
    out = ffi.new("fx_stream_options *")
    for field in fields(StreamOptions):
        if field.name != "packet_rows":
            setattr(out, field.name, getattr(options, field.name))
    out.packet_rows = _PACKET_ROWS[options.packet_rows]
    return out


def _check(code: int) -> None:
    if code < 0:
        raise ValueError(_text(lib.fx_last_error()))


def _capture_error(names: list[str]) -> CaptureError:
    """The error that the library's words are about: they begin with the file's name."""
    words = _text(lib.fx_last_error())
    for name in names:
        if words.startswith(f"{name}: "):
            return CaptureError(name, 0, words[len(name) + 2 :])
    return CaptureError(names[0], 0, words)


def _text(pointer: Any) -> str:
    return ffi.string(pointer).decode(errors="surrogateescape")
