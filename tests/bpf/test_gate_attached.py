"""The gate on real interfaces: it blocks, ends, stands beside nobody and leaves no trace."""

import errno
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fortress_core import BpfError, BpfObject, Gate, GateEntry, GateKey

from tests.bpf.gate_links import Link, inside, ip, two_hosts
from tests.bpf.gate_runs import compiled, need_gate
from tests.need import need
from tests.patience import patient

HERE = Path(__file__).parent
FAR, FAR6, NEAR, NEAR6 = "10.9.0.1", "fd00:9::1", "10.9.0.2", "fd00:9::2"
PATIENCE_S = patient(15.0)
LEFT_BEHIND = """
import sys, time
from fortress_core import Gate, GateEntry, GateKey
gate = Gate.load(entries=16, prefixes=16)
until_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + int(float(sys.argv[2]) * 1e9)
gate.add([GateEntry(GateKey.parse("10.9.0.1"), until_boot_ns=until_ns)])
gate.attach(int(sys.argv[1]))
print(gate.program_id(), flush=True)
time.sleep(60)
"""
WHOLE_LIFE = """
import sys
from fortress_core import BpfError, Gate, GateEntry, GateKey
ifindex = int(sys.argv[1])
one, other = Gate.load(16, 16), Gate.load(16, 16)
mode = one.attach(ifindex)
print(mode, one.add([GateEntry(GateKey.parse("10.9.0.1"))]), len(one.entries()))
try:
    other.attach(ifindex)
except BpfError as error:
    print(error.what.partition("(")[0])
print(other.attach(ifindex, replaces=one.program_id()))
other.close()
"""


@pytest.fixture(scope="module")
def link() -> Iterator[Link]:
    need("netns")
    need_gate()
    with two_hosts() as made:
        yield made


@pytest.fixture
def near(link: Link) -> Iterator[int]:
    """The index of v0; the test runs on the near host."""
    with inside(link.near):
        yield socket.if_nametoindex("v0")


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate.load(entries=16, prefixes=16) as loaded:
        yield loaded


def drops(gate: Gate) -> int:
    return sum(count for name, count in gate.counters().items() if name.startswith("drop"))


def test_a_blocked_host_is_not_heard_and_an_unblocked_one_is(
    link: Link, near: int, gate: Gate
) -> None:
    assert link.ping(NEAR)
    assert gate.attach(near) == "native"
    assert gate.attached == {near: "native"}
    assert link.ping(NEAR)
    gate.add([GateEntry(GateKey.parse(FAR))])
    assert not link.ping(NEAR)
    assert drops(gate) >= 2
    assert link.ping(NEAR6)
    gate.remove([GateKey.parse(FAR)])
    assert link.ping(NEAR)


def test_a_veth_keeps_its_super_frames_where_the_kernel_takes_them_whole(
    link: Link, near: int, gate: Gate
) -> None:
    major, minor = (int(word) for word in platform.release().split(".")[:2])
    mode = "generic" if (major, minor) >= (6, 9) else "native"
    assert gate.attach(near, keeps_super_frames=True) == mode
    features = subprocess.run(
        ["ip", "netns", "exec", link.far, "ethtool", "-k", "v1"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert ("tcp-segmentation-offload: on" in features) == (mode == "generic")
    assert received(link, 30 << 20) == 30 << 20
    assert drops(gate) == 0
    gate.add([GateEntry(GateKey.parse(FAR))])
    assert not link.ping(NEAR)
    assert drops(gate) >= 2


def received(link: Link, octets: int) -> int:
    """How many of so many octets, sent by TCP from the far to the near host, arrive."""
    with inside(link.near):
        listener = socket.create_server((NEAR, 0))
        listener.settimeout(patient(10))
    with inside(link.far):
        sender = socket.create_connection(listener.getsockname(), timeout=patient(10))
    taken, _ = listener.accept()
    with listener, sender, taken, ThreadPoolExecutor(1) as pool:
        taken.settimeout(patient(10))
        done = pool.submit(sender.sendall, bytes(octets))
        count = 0
        while count < octets and (part := taken.recv(1 << 20)):
            count += len(part)
        done.result(timeout=patient(10))
    return count


def test_jumbo_frames_are_blocked_in_the_driver(link: Link, near: int, gate: Gate) -> None:
    for name, interface in ((link.near, "v0"), (link.far, "v1")):
        ip("-n", name, "link", "set", interface, "mtu", "9000")
    try:
        assert gate.attach(near) == "native"
        assert link.ping(NEAR, octets=8900)
        gate.add([GateEntry(GateKey.parse(FAR))])
        assert not link.ping(NEAR, octets=8900)
    finally:
        gate.close()
        for name, interface in ((link.near, "v0"), (link.far, "v1")):
            ip("-n", name, "link", "set", interface, "mtu", "1500")


def test_ipv6_is_blocked_by_its_prefix(link: Link, near: int, gate: Gate) -> None:
    gate.attach(near)
    gate.add([GateEntry(GateKey.parse("fd00:9::/64"))])
    assert not link.ping(NEAR6)
    gate.never([GateKey.parse(FAR6)])
    assert link.ping(NEAR6)


def test_a_blocked_mac_is_not_heard(link: Link, near: int, gate: Gate) -> None:
    shown = subprocess.run(
        ["ip", "-n", link.far, "-br", "link", "show", "dev", "v1"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    gate.attach(near)
    gate.add([GateEntry(GateKey.parse(shown.stdout.split()[2]))])
    assert not link.ping(NEAR)
    assert not link.ping(NEAR6)
    assert gate.counters()["drop_mac"] == drops(gate) > 0


def test_a_block_ends_in_the_kernel(link: Link, near: int, gate: Gate) -> None:
    gate.attach(near)
    until_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 6 * 10**9
    gate.add([GateEntry(GateKey.parse(FAR), until_boot_ns=until_ns)])
    assert not link.ping(NEAR)
    wait_for_ping(link)
    assert time.clock_gettime_ns(time.CLOCK_BOOTTIME) >= until_ns


def test_what_is_sent_to_a_blocked_host_is_dropped_on_a_port_to_the_lan(
    link: Link, near: int, gate: Gate
) -> None:
    gate.add([GateEntry(GateKey.parse(NEAR))])
    gate.attach(near)
    assert link.ping(NEAR)
    gate.attach(near, destinations=True)
    assert not link.ping(NEAR)


def test_an_interface_whose_driver_has_no_xdp_gets_the_generic_one(link: Link, gate: Gate) -> None:
    with inside(link.near):
        ip("link", "add", "br0", "type", "bridge")
        try:
            ip("link", "set", "br0", "up")
            index = socket.if_nametoindex("br0")
            assert gate.attach(index) == "generic"
            assert "xdpgeneric" in link.near_link("br0")
            gate.detach(index)
            assert "xdp" not in link.near_link("br0")
        finally:
            ip("link", "del", "br0")


def test_generic_xdp_blocks_as_well(link: Link, gate: Gate) -> None:
    with inside(link.near):
        ip("link", "add", "br0", "type", "bridge")
        try:
            ip("addr", "flush", "dev", "v0")
            ip("link", "set", "v0", "master", "br0")
            ip("addr", "add", f"{NEAR}/24", "dev", "br0")
            ip("link", "set", "br0", "up")
            wait_for_ping(link)
            gate.attach(socket.if_nametoindex("br0"))
            gate.add([GateEntry(GateKey.parse(FAR))])
            assert not link.ping(NEAR)
            gate.remove([GateKey.parse(FAR)])
            assert link.ping(NEAR)
        finally:
            gate.close()
            ip("link", "del", "br0")
            ip("addr", "add", f"{NEAR}/24", "dev", "v0")
            ip("addr", "add", f"{NEAR6}/64", "dev", "v0", "nodad")


def test_a_closed_gate_leaves_nothing_behind(link: Link, near: int) -> None:
    with Gate.load(entries=16, prefixes=16) as gate:
        gate.add([GateEntry(GateKey.parse(FAR))])
        gate.attach(near)
        assert "prog/xdp" in link.near_link()
    assert "prog/xdp" not in link.near_link()
    assert link.ping(NEAR)


def test_two_gates_on_one_interface_are_an_error(link: Link, near: int, gate: Gate) -> None:
    gate.attach(near)
    with Gate.load(entries=16, prefixes=16) as other:
        with pytest.raises(BpfError, match=r"v0 has another gate \(XDP program \d+\)") as raised:
            other.attach(near)
        assert raised.value.code == errno.EBUSY
        assert "xdp off" in raised.value.remedy
        assert other.attached == {}
    gate.add([GateEntry(GateKey.parse(FAR))])
    assert not link.ping(NEAR)  # the first one is as it was


def test_somebody_elses_program_is_left_alone(
    link: Link, near: int, gate: Gate, tmp_path: Path
) -> None:
    need("bpf")
    theirs = compiled(HERE / "pass_all.bpf.c", tmp_path)
    ip("link", "set", "dev", "v0", "xdpgeneric", "object", str(theirs), "section", "xdp.frags")
    try:
        with pytest.raises(BpfError, match=r"v0 has another XDP program \(pass_all, \d+\)"):
            gate.attach(near, replaces=gate.program_id())
        assert gate.attached == {}
        assert "prog/xdp" in link.near_link()
    finally:
        ip("link", "set", "dev", "v0", "xdpgeneric", "off")


def test_a_killed_process_leaves_its_blocks_until_they_are_over(link: Link, near: int) -> None:
    leave_behind(near, seconds=6.0)
    assert not link.ping(NEAR)
    wait_for_ping(link)
    ip("link", "set", "dev", "v0", "xdp", "off")


def test_what_a_killed_process_left_can_be_taken_over(link: Link, near: int, gate: Gate) -> None:
    left = leave_behind(near, seconds=60.0)
    assert not link.ping(NEAR)
    with pytest.raises(BpfError, match="another gate"):
        gate.attach(near, replaces=left + 1)
    assert gate.attach(near, replaces=left) == "native"
    assert link.ping(NEAR)
    gate.detach(near)
    assert "prog/xdp" not in link.near_link()


def test_a_gate_that_leaves_goes_on_blocking(link: Link, near: int) -> None:
    gate = Gate.load(entries=16, prefixes=16)
    gate.attach(near)
    gate.add([GateEntry(GateKey.parse(FAR))])
    gate.leave()
    assert not link.ping(NEAR)
    ip("link", "set", "dev", "v0", "xdp", "off")
    assert link.ping(NEAR)


def test_an_interface_that_is_gone_is_no_error_when_detaching(link: Link, gate: Gate) -> None:
    with inside(link.near):
        ip("link", "add", "d0", "type", "veth", "peer", "d1")
        index = socket.if_nametoindex("d0")
        gate.attach(index)
        ip("link", "del", "d0")
        gate.detach(index)
        assert gate.attached == {}


@pytest.mark.parametrize("kind", ["lo", "tun"])
def test_an_interface_without_ethernet_is_left_to_nft(link: Link, gate: Gate, kind: str) -> None:
    if kind == "tun" and not Path("/dev/net/tun").exists():
        pytest.skip("needs /dev/net/tun (modprobe tun)")
    with inside(link.near):
        if kind == "tun":  # raw IP, as wwan0 and ppp0 are
            ip("tuntap", "add", "tun9", "mode", "tun")
        name = {"tun": "tun9", "lo": "lo"}[kind]
        try:
            with pytest.raises(BpfError, match=f"{name} carries no Ethernet frames") as raised:
                gate.attach(socket.if_nametoindex(name))
            assert "nft" in raised.value.remedy
        finally:
            if kind == "tun":
                ip("tuntap", "del", "tun9", "mode", "tun")


def test_a_life_with_three_capabilities(link: Link, near: int) -> None:
    kept = ("setpriv", "--bounding-set=-all,+bpf,+perfmon,+net_admin", "--inh-caps=-all")
    words = [*kept, sys.executable, "-c", WHOLE_LIFE, str(near)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    told = ["native 1 1", "v0 has another XDP program ", "native"]  # its name may not be asked for
    assert done.stdout.splitlines() == told, done.stderr
    assert "prog/xdp" not in link.near_link()


def test_an_interface_that_is_not_there_is_named(near: int, gate: Gate) -> None:
    with pytest.raises(BpfError, match="no interface with index 4242"):
        gate.attach(4242)


def test_a_program_of_the_tests_loads_by_its_path(tmp_path: Path) -> None:
    need("bpf")
    need_gate()
    with BpfObject.load(compiled(HERE / "pass_all.bpf.c", tmp_path)) as loaded:
        assert loaded.program_fd("pass_all") > 0
        with pytest.raises(BpfError, match="no program nonsense"):
            loaded.program_fd("nonsense")
        with pytest.raises(BpfError, match="no map nonsense"):
            loaded.map_fd("nonsense")


def leave_behind(ifindex: int, seconds: float) -> int:
    """Have a process attach a gate, block the far host for so long, and kill it: its program."""
    words = [sys.executable, "-c", LEFT_BEHIND, str(ifindex), str(seconds)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        program_id = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    return program_id


def wait_for_ping(link: Link) -> None:
    given_up = time.monotonic() + PATIENCE_S
    while not link.ping(NEAR):
        assert time.monotonic() < given_up, "nothing comes through"
