"""The same traffic by ring and by file: the same rows, whatever way it took into the ring."""

import socket
from pathlib import Path

import pytest
from fortress_core import open_capture

from tests.core.frames import START, Outcome, collect, write_pcap
from tests.net.capturing import OPTIONS, capturing, differing, in_order, ports_on, recording
from tests.net.namespace import Namespace, stamped_once
from tests.net.traffic import all_kinds, sample_frames, tagged

UNKNOWN_TO_THE_BRIDGE = bytes.fromhex("0200000000aa 0200000000bb")


def from_file(path: Path) -> Outcome:
    """What the stream makes of the file."""
    return collect(open_capture(path, options=OPTIONS))


def assert_same(live: Outcome, file: Outcome) -> None:
    """Every flow and every packet is the same in every column."""
    assert live.stats.kernel_drops == 0
    for name in ("packets", "bytes", "captured_bytes", "flows", "malformed", "non_ip", "truncated"):
        assert getattr(live.stats, name) == getattr(file.stats, name), name
    flows = [in_order(outcome.flows, "flow_id") for outcome in (live, file)]
    assert differing(*flows) == []
    assert differing(live.packets, file.packets) == []


@pytest.mark.parametrize("direction", ["incoming", "outgoing"])
def test_a_ring_gives_the_rows_that_a_recorded_file_gives(
    wire: Namespace, tmp_path: Path, samples: Path, seed: int, direction: str
) -> None:
    frames = all_kinds(seed) + sample_frames(samples / "benign_mixed.pcap.zst")[:5000]
    seen = "right" if direction == "incoming" else "left"
    path = tmp_path / "seen.pcap"
    with (
        stamped_once(),
        recording(wire, seen, path, len(frames)),
        ports_on(wire, seen) as ports,
        capturing(ports) as live,
        wire.sender("left") as sender,
    ):
        for frame in frames:
            sender.send(frame)
    assert live.outcome is not None
    assert live.outcome.stats.packets == len(frames)
    assert_same(live.outcome, from_file(path))


def test_two_rings_share_the_packets_and_give_the_rows_of_one(
    wire: Namespace, tmp_path: Path, samples: Path, seed: int
) -> None:
    # Fragments are left out: rings of a group are shown the datagram that they make.
    frames = [frame for frame in all_kinds(seed) if frame[20] & 0x3F == 0 and frame[21] == 0]
    frames += sample_frames(samples / "syn_flood.pcap.zst")[:3000]
    path = tmp_path / "seen.pcap"
    with (
        stamped_once(),
        recording(wire, "right", path, len(frames)),
        ports_on(wire, "right", rings=2) as ports,
        capturing(ports) as live,
        wire.sender("left") as sender,
    ):
        for frame in frames:
            sender.send(frame)
    assert live.outcome is not None
    shares = [state.packets for state in live.ports]
    assert sum(shares) == len(frames), "each packet is in one of the rings"
    assert min(shares) > len(frames) // 10, "both rings are used"
    file = from_file(path)
    flows = [in_order(outcome.flows, "flow_id") for outcome in (live.outcome, file)]
    assert differing(*flows, but=["iface"]) == []
    assert differing(live.outcome.packets, file.packets, but=["iface"]) == []
    by_ring = [set(ring_flows(live.outcome, number)) for number in (0, 1)]
    assert not by_ring[0] & by_ring[1], "both directions of a flow are in the same ring"


def ring_flows(outcome: Outcome, number: int) -> list[frozenset[bytes]]:
    """The pairs of ends of the TCP and UDP packets that came by a ring."""
    rows = outcome.packets
    chosen = (rows["iface"] == number) & ((rows["proto"] == 6) | (rows["proto"] == 17))
    ends = zip(
        *(rows[name][chosen] for name in ("src_addr", "src_port", "dst_addr", "dst_port")),
        strict=True,
    )
    return [
        frozenset((a.tobytes() + p.tobytes(), b.tobytes() + q.tobytes())) for a, p, b, q in ends
    ]


@pytest.mark.parametrize(
    "tags",
    [[(0x8100, 7)], [(0x88A8, 100)], [(0x88A8, 100), (0x8100, 7)], [(0x8100, 0x2007), (0x8100, 9)]],
    ids=["tagged", "service tag", "QinQ", "two tags"],
)
@pytest.mark.parametrize("direction", ["incoming", "outgoing", "forwarded"])
def test_vlan_tags_are_where_they_were_on_the_wire(
    namespace: Namespace, tmp_path: Path, seed: int, direction: str, tags: list[tuple[int, int]]
) -> None:
    """The kernel takes the outer tag off incoming frames, and forwarded ones never get it back."""
    frames = [tagged(frame, *tags) for frame in all_kinds(seed) if len(frame) <= 1500]
    frames = [UNKNOWN_TO_THE_BRIDGE + frame[12:] for frame in frames]
    namespace.veth("left", "right")
    namespace.veth("near", "far")
    namespace.bridge("bridge", "right", "near")
    seen = {"incoming": "right", "outgoing": "left", "forwarded": "near"}[direction]
    path = write_pcap(tmp_path / "sent.pcap", ((START, frame) for frame in frames))
    with (
        ports_on(namespace, seen) as ports,
        capturing(ports) as live,
        namespace.sender("left") as sender,
    ):
        for frame in frames:
            sender.send(frame)
    assert live.outcome is not None
    assert live.outcome.stats.packets == len(frames)
    timeless = ["time_ns"]
    assert differing(live.outcome.packets, from_file(path).packets, but=timeless) == []
    assert set(live.outcome.packets["vlan_id"].tolist()) == {tags[0][1] & 0xFFF}


def test_loopback_shows_each_packet_once(namespace: Namespace) -> None:
    namespace.ip("link set lo up")
    with (
        ports_on(namespace, "lo") as ports,
        capturing(ports) as live,
        namespace.entered(),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source,
    ):
        sink.bind(("127.0.0.1", 0))
        for number in range(100):
            source.sendto(number.to_bytes(4, "big"), sink.getsockname())
    assert live.outcome is not None
    assert live.outcome.stats.packets == 100
    assert live.outcome.flows["orig_pkts"].tolist() == [100]
