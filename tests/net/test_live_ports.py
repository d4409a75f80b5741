"""Ports that come and go, what cannot be captured, and what a stream says of it."""

import contextlib
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fortress_core import (
    Port,
    PortError,
    PortState,
    Stream,
    StreamOptions,
    open_live,
    open_port,
    ring_share,
)

from tests.core.frames import Packet
from tests.need import ROOT
from tests.net.capturing import OPTIONS, capturing, ports_on
from tests.net.namespace import PATIENCE_S, Namespace

SMALL = 1 << 20
TICK_NS = 100_000_000


def open_descriptors() -> set[str]:
    """The files that this process has open."""
    return {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.exists()}


@contextlib.contextmanager
def nothing_stays_open() -> Iterator[None]:
    """Fail when the body leaves a descriptor open."""
    before = open_descriptors()
    yield
    assert open_descriptors() == before


def error_of(call: Callable[[], object]) -> PortError:
    """The PortError that the call raises, leaving nothing open."""
    with nothing_stays_open(), pytest.raises(PortError) as raised:
        call()
    return raised.value


def test_an_interface_that_does_not_exist_is_named(namespace: Namespace) -> None:
    with namespace.entered():
        error = error_of(lambda: open_port("nowhere0"))
    assert "nowhere0: there is no such interface" in error.what
    assert "ip link" in error.remedy


@pytest.mark.parametrize("ring_bytes", [0, 1000, SMALL - 1, SMALL + 1, (1 << 30) + (128 << 10)])
def test_a_ring_of_a_bad_size_is_refused(wire: Namespace, ring_bytes: int) -> None:
    with wire.entered():
        error = error_of(lambda: open_port("left", ring_bytes=ring_bytes))
    assert f"a ring of {ring_bytes} bytes" in error.what
    assert "1048576" in error.remedy


def test_an_interface_that_is_down_is_captured_from_when_it_is_up(wire: Namespace) -> None:
    wire.ip("link set right down")
    with ports_on(wire, "right") as ports, open_live(ports, options=OPTIONS) as stream:
        assert stream.ports()[0].reason == "right is down"
        wire.ip("link set right up")
        wait_for(stream, 0, lambda state: state.alive)
        assert packets_after(stream, wire, "left", 20) == 20


def test_a_filter_that_is_no_program_is_refused(wire: Namespace) -> None:
    with wire.entered(), Path("/dev/null").open("rb") as file:
        error = error_of(lambda: open_port("left", filter_fd=file.fileno()))
    assert "left: cannot attach BPF program" in error.what


def test_an_interface_of_another_kind_is_refused(namespace: Namespace) -> None:
    with tun(namespace, "radio", hardware=803), namespace.entered():
        error = error_of(lambda: open_port("radio"))
    assert error.what == "radio: is in monitor mode (ARPHRD 803)"
    assert "managed" in error.remedy


def test_without_the_capability_the_error_says_who_has_it(wire: Namespace) -> None:
    script = (
        "from fortress_core import open_port, PortError\n"
        "try: open_port('left')\n"
        "except PortError as error: print(error)\n"
    )
    told = wire.run(*without_capabilities(), sys.executable, "-c", script)
    assert "left: cannot open a packet socket: Operation not permitted" in told
    assert "CAP_NET_RAW" in told
    assert "guard" in told


def without_capabilities() -> tuple[str, ...]:
    """What runs a command without any capability, and unable to get one."""
    return ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")


def test_a_process_without_capabilities_reads_a_port_that_was_handed_to_it(wire: Namespace) -> None:
    script = (
        "import json, sys\n"
        "from fortress_core import Port, open_live\n"
        "with open_live([Port(*json.loads(sys.argv[1]))]) as stream:\n"
        "    print('ready', flush=True)\n"
        "    for batch in stream:\n"
        "        if stream.stats().packets >= 50: stream.stop()\n"
        "    print(stream.stats().packets, flush=True)\n"
    )
    with ports_on(wire, "right") as [port], wire.sender("left") as sender:
        facts = [port.fd, port.interface, port.ifindex, port.linktype, port.ring_bytes, port.fanout]
        words = [*without_capabilities(), sys.executable, "-c", script, json.dumps(facts)]
        with subprocess.Popen(
            wire.command(*words), stdout=subprocess.PIPE, text=True, pass_fds=[port.fd]
        ) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
            for _ in range(50):
                sender.send(Packet().frame())
            assert reader.stdout.readline() == "50\n"


def test_interfaces_that_show_the_same_packets_are_not_captured_together(
    wire: Namespace,
) -> None:
    wire.veth("third", "fourth")
    wire.bridge("bridge", "right", "third")
    pairs = {
        ("bridge", "right"): "a bridge and a port of it",
        ("right", "third"): "two ports of one bridge",
        ("left", "right"): "the packets of one go through the other",
        ("fourth", "fourth"): "one interface, and not one group of rings",
    }
    for pair, reason in pairs.items():
        with ports_on(wire, *pair) as ports, wire.entered():
            error = error_of(lambda ports=ports: open_live(ports))  # type: ignore[misc]
        assert reason in error.what
        assert pair[0] in error.what
    with ports_on(wire, "left", "fourth") as ports, wire.entered():
        open_live(ports).close()


def test_all_rings_keep_one_budget(wire: Namespace) -> None:
    wire.veth("third", "fourth")
    with wire.entered(), open_port("left") as a, open_port("third", ring_bytes=SMALL) as b:
        error = error_of(lambda: open_live([a, b]))
    assert "the rings of 2 ports are 68157440 bytes, the budget is 67108864" in error.what
    assert str(ring_share(2)) in error.remedy
    assert 2 * ring_share(2) <= 64 << 20


def test_closing_gives_every_descriptor_and_mapping_back(wire: Namespace) -> None:
    with nothing_stays_open(), wire.entered():
        before = Path("/proc/self/maps").read_text().count("socket:")
        for _ in range(3):
            with open_port("left", ring_bytes=SMALL) as port, open_live([port]):
                pass
        assert Path("/proc/self/maps").read_text().count("socket:") == before


def test_a_reader_that_stalls_loses_packets_and_counts_each_of_them(wire: Namespace) -> None:
    with (
        wire.entered(),
        open_port("right", ring_bytes=SMALL) as port,
        wire.sender("left") as sender,
        open_live([port], options=OPTIONS) as stream,
    ):
        frame = Packet(payload=bytes(1400)).frame()
        for _ in range(5000):
            sender.send(frame)
        threading.Timer(0.2, stream.stop).start()
        for _ in stream:
            pass
        [state] = stream.ports()
        assert state.packets + state.drops == 5000
        assert state.drops > 3000, "a MiB does not hold 5000 frames of 1454 bytes"
        assert state.freezes >= 1
        assert stream.stats().kernel_drops == state.drops
        assert stream.stats().packets == state.packets


def test_time_passes_without_packets(wire: Namespace) -> None:
    with wire.entered(), open_port("left", ring_bytes=SMALL) as port:
        began = time.time_ns()
        ticks = []
        with open_live([port], options=OPTIONS) as stream:
            for batch in stream:
                assert batch.tick_closed
                late_ns = time.time_ns() - batch.tick_ns - TICK_NS
                assert 0 <= late_ns < PATIENCE_S * 1_000_000_000
                ticks.append(batch.tick_ns)
                if len(ticks) == 8:
                    break
            assert stream.stats().packets == 0
    assert all(step % TICK_NS == 0 and step > 0 for step in np.diff(ticks).tolist())
    assert ticks[0] <= began + PATIENCE_S * 1_000_000_000
    assert all(tick % TICK_NS == 0 for tick in ticks)


def test_the_interpreter_runs_while_a_stream_waits(wire: Namespace) -> None:
    with wire.entered(), open_port("left", ring_bytes=SMALL) as port:
        options = StreamOptions(tick_ns=3600 * 1_000_000_000)  # nothing is handed out meanwhile
        with open_live([port], options=options) as stream:
            reader = threading.Thread(target=lambda: list(stream))
            reader.start()
            counted = sum(range(100_000))  # needs the interpreter's lock
            stream.stop()
            reader.join(timeout=PATIENCE_S)
            assert counted == 4999950000
            assert not reader.is_alive()


def wait_for(stream: Stream, port: int, wanted: Callable[[PortState], bool]) -> PortState:
    """Read on until the port is as wanted."""
    deadline = time.monotonic() + PATIENCE_S
    for _ in stream:
        state = stream.ports()[port]
        if wanted(state):
            return state
        assert time.monotonic() < deadline, state
    raise AssertionError("the stream ended")


def packets_after(stream: Stream, namespace: Namespace, interface: str, count: int) -> int:
    """How many packets arrive of `count` that are sent out of the interface."""
    before = stream.stats().packets
    with namespace.sender(interface) as sender:
        for _ in range(count):
            sender.send(Packet().frame())
    deadline = time.monotonic() + PATIENCE_S
    for _ in stream:
        if stream.stats().packets - before >= count or time.monotonic() > deadline:
            break
    return stream.stats().packets - before


def test_a_port_that_goes_down_and_up_again_says_so_and_the_other_goes_on(wire: Namespace) -> None:
    wire.veth("third", "fourth")
    with ports_on(wire, "right", "fourth") as ports, open_live(ports, options=OPTIONS) as stream:
        wire.ip("link set right down")
        state = wait_for(stream, 0, lambda state: not state.alive)
        assert state.reason == "right is down"
        assert stream.ports()[1].alive
        assert packets_after(stream, wire, "third", 20) == 20
        wire.ip("link set right up")
        state = wait_for(stream, 0, lambda state: state.alive)
        assert (state.interface, state.reason) == ("right", "")
        assert packets_after(stream, wire, "left", 20) == 20


def test_a_port_without_carrier_lives_and_says_so(wire: Namespace) -> None:
    with ports_on(wire, "right") as ports, open_live(ports, options=OPTIONS) as stream:
        wire.ip("link set left down")
        state = wait_for(stream, 0, lambda state: state.reason != "")
        assert (state.alive, state.reason) == (True, "right has no carrier")


def test_an_interface_made_anew_gets_a_new_port_in_the_old_place(wire: Namespace) -> None:
    wire.veth("third", "fourth")
    with ports_on(wire, "right", "fourth") as ports, open_live(ports, options=OPTIONS) as stream:
        assert packets_after(stream, wire, "left", 30) == 30
        wire.ip("link del left")
        state = wait_for(stream, 0, lambda state: not state.alive)
        assert (state.interface, state.reason) == ("right", "right is gone")
        assert packets_after(stream, wire, "third", 20) == 20
        wire.veth("left", "right")
        with wire.entered(), open_port("right", ring_bytes=ports[0].ring_bytes) as port:
            stream.replace_port(0, port)
            assert state.ifindex != port.ifindex
        state = stream.ports()[0]
        assert (state.alive, state.reason, state.ifindex) == (True, "", port.ifindex)
        assert packets_after(stream, wire, "left", 20) == 20
        assert [state.packets for state in stream.ports()] == [50, 20]
        stream.stop()
        flows = [batch.flows["orig_pkts"].sum() for batch in stream]
        assert sum(flows) == 70, "a flow goes on over the port that was replaced"


def test_a_renamed_interface_is_read_on_under_its_new_name(wire: Namespace) -> None:
    with ports_on(wire, "right") as ports, open_live(ports, options=OPTIONS) as stream:
        wire.ip("link set right down")
        wire.ip("link set right name other")
        wire.ip("link set other up")
        state = wait_for(stream, 0, lambda state: state.alive and state.interface == "other")
        assert state.reason == "was named right"
        assert packets_after(stream, wire, "left", 20) == 20


def test_a_port_that_is_not_there_cannot_be_replaced(wire: Namespace) -> None:
    with ports_on(wire, "left") as [port], open_live([port]) as stream:
        with nothing_stays_open(), pytest.raises(PortError, match="no port 1 to be replaced"):
            stream.replace_port(1, port)
        closed = Port(**{name: getattr(port, name) for name in Port.__slots__} | {"fd": -1})
        with nothing_stays_open(), pytest.raises(PortError, match="left: descriptor -1"):
            stream.replace_port(0, closed)
        assert stream.ports()[0].alive


@contextlib.contextmanager
def tun(namespace: Namespace, name: str, *, hardware: int = 0xFFFE) -> Iterator[int]:
    """A tun device without link layer, of the hardware type; its descriptor gives and takes IP."""
    tunsetiff, tunsetlink, iff_tun, iff_no_pi = 0x400454CA, 0x400454CD, 1, 0x1000
    with namespace.entered():
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        try:
            fcntl.ioctl(fd, tunsetiff, struct.pack("16sH22x", name.encode(), iff_tun | iff_no_pi))
            fcntl.ioctl(fd, tunsetlink, hardware)
            namespace.ip(f"link set {name} up")
            yield fd
        finally:
            os.close(fd)


def with_checksum(packet: bytes) -> bytes:
    """The IPv4 packet with the checksum of its header (RFC 1071), which a kernel looks at."""
    total = sum(struct.unpack("!10H", packet[:20]))
    total = (total & 0xFFFF) + (total >> 16)
    return packet[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + packet[12:]


@pytest.mark.parametrize(
    "hardware", [0xFFFE, 519, 512], ids=["no link layer", "raw IP (wwan)", "PPP"]
)
def test_interfaces_without_link_layer_show_ip(namespace: Namespace, hardware: int) -> None:
    ask = Packet(proto=17, src="10.9.0.2", dst="10.9.0.1", sport=7000, dport=53, payload=b"ask")
    six = Packet(proto=17, src="2001:db8::1", dst="2001:db8::2", sport=1, dport=2, payload=b"six")
    with tun(namespace, "wan", hardware=hardware) as fd:
        namespace.ip("addr add 10.9.0.1/24 dev wan")
        with (
            ports_on(namespace, "wan") as ports,
            capturing(ports) as live,
            namespace.entered(),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        ):
            assert ports[0].linktype == 101
            server.settimeout(PATIENCE_S)
            server.bind(("10.9.0.1", 53))
            os.write(fd, with_checksum(ask.frame()[14:]))
            assert server.recv(100) == b"ask"
            server.sendto(b"the answer", ("10.9.0.2", 7000))
            os.write(fd, six.frame()[14:])
    assert live.outcome is not None
    rows = live.outcome.packets
    assert rows["ip_version"].tolist() == [4, 4, 6]
    assert rows["decode"].tolist() == [0, 0, 0]
    assert rows["wire_bytes"].tolist() == [31, 38, 51]
    assert rows["payload_bytes"].tolist() == [3, 10, 3]
    assert rows["src_mac"].tolist() == [0, 0, 0]
    assert live.outcome.flows["resp_pkts"].tolist() == [1, 0]


def test_a_bridge_shows_what_goes_through_it(wire: Namespace) -> None:
    wire.veth("near", "far")
    wire.bridge("bridge", "right", "near")
    wire.ip("addr add 10.8.0.1/24 dev bridge")
    with ports_on(wire, "bridge") as ports, capturing(ports) as live, wire.sender("left") as sender:
        mac = json.loads(wire.run("ip", "-j", "link", "show", "bridge"))[0]["address"]
        frame = Packet(proto=17, dst="10.8.0.1", payload=b"to the bridge").frame()
        for _ in range(10):
            ether = bytes.fromhex(mac.replace(":", "")) + frame[6:14]
            sender.send(ether + with_checksum(frame[14:]))
    assert live.outcome is not None
    udp = live.outcome.packets["proto"] == 17
    assert int(udp.sum()) == 10


def test_the_package_of_ports_needs_no_numpy() -> None:
    script = "import sys; from fortress_core import open_port; print('numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout == "False\n"
