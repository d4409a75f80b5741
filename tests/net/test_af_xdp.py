"""AF_XDP on a mirror port: the rows of the ring, losses counted, nothing taken that is in use."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from fortress_core import (
    PortError,
    Stream,
    StreamOptions,
    XdpPort,
    open_capture,
    open_xdp,
    open_xdp_port,
    xdp_refusal,
)

from tests.core.frames import Outcome, Packet, collect, write_pcap
from tests.need import ROOT, need
from tests.net.capturing import OPTIONS, SETTLE_S, _StaysOpen, differing, in_order
from tests.net.guarded import until
from tests.net.namespace import PATIENCE_S, Namespace
from tests.net.traffic import all_kinds, sample_frames, tagged
from tests.patience import patient

PACE = 10_000  # frames that the reader may be behind: places are more
TICK = StreamOptions(tick_ns=100_000_000)


@pytest.fixture(autouse=True)
def _programs() -> None:
    need("netns", "bpf")


@pytest.fixture
def port(wire: Namespace) -> Iterator[XdpPort]:
    """An AF_XDP port on the end of a wire that the kernel does nothing with."""
    with wire.entered():
        made = open_xdp_port("right")
    with made:
        yield made


def captured(port: XdpPort, wire: Namespace, frames: Sequence[bytes]) -> tuple[Outcome, Stream]:
    """What a stream makes of the frames when they are sent to the port; the stream stays open."""
    stream = open_xdp(port, options=OPTIONS)
    outcomes: list[Outcome] = []
    reader = threading.Thread(target=lambda: outcomes.append(collect(_StaysOpen(stream))))
    reader.start()
    deadline = time.monotonic() + PATIENCE_S
    with wire.sender("left") as sender:
        for number, frame in enumerate(frames):
            sender.send(frame)
            while number % PACE == PACE - 1 and stream.ports()[0].packets <= number - PACE:
                assert time.monotonic() < deadline, "the reader does not get on"
                time.sleep(0.001)
    time.sleep(SETTLE_S)
    stream.stop()
    reader.join(timeout=patient(30))
    assert outcomes, "the stream did not stop"
    return outcomes[0], stream


def test_frames_are_the_rows_of_a_file_with_the_same_frames(
    port: XdpPort, wire: Namespace, tmp_path: Path, samples: Path, seed: int
) -> None:
    frames = all_kinds(seed) + sample_frames(samples / "benign_mixed.pcap.zst")[:3000]
    frames += [tagged(frame, (0x8100, 7)) for frame in all_kinds(seed + 1) if len(frame) < 1500]
    before_ns = time.time_ns()
    live, stream = captured(port, wire, frames)
    stream.close()
    after_ns = time.time_ns()
    assert live.stats.packets == len(frames)
    assert live.stats.kernel_drops == 0
    stamps = [int(stamp) for stamp in live.packets["time_ns"]]
    assert before_ns <= stamps[0] <= stamps[-1] <= after_ns
    assert len(set(stamps)) == len(stamps), "each frame has the time at which it came"
    path = write_pcap(tmp_path / "sent.pcap", zip(stamps, frames, strict=True))
    file = collect(open_capture(path, options=OPTIONS))
    assert differing(live.packets, file.packets) == []
    flows = [in_order(outcome.flows, "flow_id") for outcome in (live, file)]
    assert differing(*flows) == []
    assert file.stats.flows == live.stats.flows > 50


def test_what_was_received_and_what_was_dropped_is_what_was_sent(wire: Namespace) -> None:
    """The reader begins when more has been sent than there are places for."""
    count, places = 5000, 1024
    with wire.entered():
        port = open_xdp_port("right", frames=places)
    frame = Packet(proto=17, payload=b"one of many").frame()
    with port, open_xdp(port, options=TICK) as stream:
        with wire.sender("left") as sender:
            for _ in range(count):
                sender.send(frame)
        stream.stop()
        flows = [int(pkts) for batch in stream for pkts in batch.flows["orig_pkts"]]
        stats, [state] = stream.stats(), stream.ports()
    assert sum(flows) == stats.packets == state.packets
    assert stats.packets + stats.kernel_drops == count
    assert stats.packets == places
    assert state.drops == count - places
    assert state.freezes > 0, "it is told that there were no places"


def test_a_reader_that_keeps_up_loses_nothing(port: XdpPort, wire: Namespace) -> None:
    frame = Packet(proto=17, payload=b"one of many").frame()
    live, stream = captured(port, wire, [frame] * 60_000)
    [state] = stream.ports()
    stream.close()
    assert live.stats.packets + live.stats.kernel_drops == 60_000
    assert live.stats.kernel_drops == 0, "more frames than there are places went through"
    assert (state.interface, state.alive, state.reason) == ("right", True, "")


@pytest.mark.parametrize(
    ("does", "words"),
    [
        (["addr add 192.0.2.1/24 dev right"], "right has an IPv4 address"),
        (["route add 198.51.100.0/24 dev right"], "right has an IPv4 route"),
        (
            ["link add name bridge type bridge", "link set right master bridge"],
            "right is a port of a bridge",
        ),
        (
            ["link add name above link right type macvlan mode bridge"],
            "right carries the packets of above",
        ),
    ],
    ids=["an address", "a route", "a bridge", "another interface"],
)
def test_an_interface_that_the_kernel_uses_is_refused(
    wire: Namespace, does: list[str], words: str
) -> None:
    for command in does:
        wire.ip(command)
    with wire.entered():
        assert words in xdp_refusal("right")
        assert xdp_refusal("left") == ""
        with pytest.raises(PortError, match=words) as raised:
            open_xdp_port("right")
    assert "mirror ports" in raised.value.remedy
    assert "xdp" not in wire.run("ip", "link", "show", "right")


def test_an_ipv6_address_is_one_too(wire: Namespace) -> None:
    with wire.entered():
        Path("/proc/sys/net/ipv6/conf/right/disable_ipv6").write_text("0", encoding="ascii")
        wire.ip("addr add 2001:db8::1/64 dev right nodad")
        with pytest.raises(PortError, match="has an IPv6 address") as raised:
            open_xdp_port("right")
    assert "disable_ipv6=1" in raised.value.remedy


def test_what_cannot_be_opened_says_why(wire: Namespace) -> None:
    wire.ip("link set lo up")
    wire.ip("link set left mtu 9000")
    with wire.entered():
        for name, words in (
            ("nowhere0", "no such interface"),
            ("lo", "no Ethernet frames"),
            ("left", "its MTU of 9000"),
        ):
            with pytest.raises(PortError, match=words):
                open_xdp_port(name)
        with pytest.raises(PortError, match="no power of two") as raised:
            open_xdp_port("right", frames=1000)
        assert "16384" in raised.value.remedy
        with pytest.raises(PortError, match="more than the budget of 1000000"):
            open_xdp_port("right", budget_bytes=1_000_000)
        with open_xdp_port("right"), pytest.raises(PortError, match="right"):
            open_xdp_port("right")


def test_an_interface_is_as_before_when_the_port_is_closed(wire: Namespace) -> None:
    frame = Packet(proto=17, payload=b"for the kernel").frame()
    with wire.entered():
        with open_xdp_port("right") as port:
            assert port.mode == "native"
            assert "xdp" in wire.run("ip", "link", "show", "right")
        assert "xdp" not in wire.run("ip", "link", "show", "right")
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x800)) as sees:
            sees.bind(("right", 0x800))
            sees.settimeout(PATIENCE_S)
            with wire.sender("left") as sender:
                sender.send(frame)
            assert sees.recv(2000)[:14] == frame[:14]


def test_a_port_is_read_once(port: XdpPort, wire: Namespace) -> None:
    frame = Packet(proto=17).frame()
    _, stream = captured(port, wire, [frame])
    stream.close()
    with pytest.raises(PortError, match="has been read before") as raised:
        open_xdp(port)
    assert "anew" in raised.value.remedy


def test_an_interface_that_goes_away_is_told(port: XdpPort, wire: Namespace) -> None:
    with open_xdp(port, options=TICK) as stream:
        wire.ip("link set left down")
        assert stream.ports()[0].reason == "right has no carrier"
        wire.ip("link set right down")
        assert (stream.ports()[0].alive, stream.ports()[0].reason) == (False, "right is down")
        wire.ip("link del right")
        assert (stream.ports()[0].alive, stream.ports()[0].reason) == (False, "right is gone")
        stream.stop()
        assert [batch.end for batch in stream][-1]


CHILD = """
import json, sys
from fortress_core import PortError, StreamOptions, XdpPort, open_xdp, open_xdp_port
from fortress_core.af_xdp import XdpQueue

queues, link_fd, mode = json.loads(sys.argv[1])
port = XdpPort(tuple(XdpQueue(**queue) for queue in queues), link_fd, mode)
stream = open_xdp(port, options=StreamOptions(tick_ns=100_000_000))
print("ready", flush=True)
sys.stdin.readline()
stream.stop()
print(sum(int(pkts) for batch in stream for pkts in batch.flows["orig_pkts"]))
"""


def test_a_process_without_capabilities_reads_what_another_opened(wire: Namespace) -> None:
    frame = Packet(proto=17).frame()
    with wire.entered():
        port = open_xdp_port("right")
    with port:
        queues = [{name: getattr(q, name) for name in q.__slots__} for q in port.queues]
        words = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        words += [sys.executable, "-c", CHILD, json.dumps([queues, port.link_fd, port.mode])]
        pipe = subprocess.PIPE
        child = subprocess.Popen(
            words, stdin=pipe, stdout=pipe, text=True, pass_fds=port.fds, cwd=ROOT
        )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        with wire.sender("left") as sender:
            for _ in range(500):
                sender.send(frame)
        out, _ = child.communicate("stop\n", timeout=PATIENCE_S)
    assert out == "500\n"
    assert "xdp" not in wire.run("ip", "link", "show", "right"), "it went with its last reader"


def test_a_port_may_not_be_opened_without_capabilities(wire: Namespace) -> None:
    script = "from fortress_core import open_xdp_port; open_xdp_port('right')"
    words = wire.command("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    done = subprocess.run(
        [*words, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ,
    )
    assert "Operation not permitted" in done.stderr
    assert "fortress guard" in done.stderr


def test_a_stream_goes_on_with_the_port_of_an_interface_that_was_made_anew(wire: Namespace) -> None:
    """Twice before a batch is taken, and with another number of queues: counts go on."""
    frame = Packet(proto=17, payload=b"again").frame()

    def sent(stream: Stream, count: int) -> None:
        before = counted()
        with wire.sender("left") as sender:
            for _ in range(count):
                sender.send(frame)
        until(lambda: next(batches) and counted() == before + count)

    def counted() -> int:
        return sum(state.packets for state in stream.ports())

    def made_anew(queues: int) -> XdpPort:
        wire.ip("link del right")
        many = f"numtxqueues {queues} numrxqueues {queues}"
        wire.ip(f"link add left {many} type veth peer name right {many}")
        for side in ("left", "right"):
            wire.ip(f"link set {side} up")
        with wire.entered():
            return open_xdp_port("right", frames=1024)

    with wire.entered():
        first = open_xdp_port("right", frames=1024)
    with first, open_xdp(first, options=TICK) as stream:
        batches = iter(stream)
        sent(stream, 500)
        with made_anew(1) as second:
            assert not stream.ports()[0].alive
            stream.replace_xdp(second)
            assert stream.ports()[0].alive
            third = made_anew(2)
        with third:
            with pytest.raises(PortError, match="0 queues"):
                stream.replace_xdp(second)  # has been closed
            stream.replace_xdp(third)
            assert [state.alive for state in stream.ports()] == [True, True]
            sent(stream, 700)
            stream.stop()
            flows = sum(int(pkts) for batch in batches for pkts in batch.flows["orig_pkts"])
            stats = stream.stats()
    assert stats.packets == flows == 1200
    assert stats.kernel_drops == 0
