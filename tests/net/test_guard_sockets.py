"""Sockets that the guard opens for a process without capabilities: mirror ports and DHCP's."""

import contextlib
import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fortress_core import FLOWS, StreamOptions, XdpPort, columns, open_xdp

from fortress.devices.dhcp_port import heard
from fortress.errors import GuardError
from fortress.respond.client import GuardClient
from tests.core.frames import Table
from tests.devices.test_dhcp import REQUEST, message
from tests.devices.test_dhcp_port import PHONE, frame
from tests.need import ROOT, need
from tests.net.agents import OURS, Site, site, until
from tests.net.capturing import capturing, differing, in_order, ports_on
from tests.net.namespace import PATIENCE_S, Namespace
from tests.net.traffic import all_kinds, sample_frames
from tests.patience import patient

BARE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
MIRROR_BYTES = 64 << 20
PACE = 500  # frames at once: places are few where little memory may be locked
TIMES = ("ns", "us", "1/s", "bytes/s")


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Site]:
    """A gateway and a stranger on a wire."""
    need("netns", "nft")
    with site(tmp_path) as made:
        yield made


@pytest.fixture
def span(lan: Site) -> Site:
    """What arrives at the gateway's lan0 is mirrored to `mirror`, with which the kernel does
    nothing: a switch's mirror port.
    """
    need("bpf")
    mirror(lan.gateway, "lan0")
    return lan


def mirror(space: Namespace, interface: str) -> None:
    """A copy of each frame that arrives at the interface, or leaves it, comes to `mirror`."""
    space.veth("span", "mirror")
    for hook in ("ingress", "egress"):
        chain = f"{hook} {{ type filter hook {hook} device {interface} priority 0; }}"
        space.run("nft", f"table netdev span; add chain netdev span {chain}")
        space.run("nft", f"add rule netdev span {hook} dup to span")


READER = """
import json, sys
from fortress_core import StreamOptions, open_xdp
from fortress.respond.client import GuardClient
from tests.core.frames import collect
from tests.net.capturing import OPTIONS, _StaysOpen
import numpy as np, threading

with GuardClient(sys.argv[1], session="") as guard:
    port = guard.open_mirror("mirror", 64 << 20)
status = open("/proc/self/status").read()
assert all(f"{name}:\\t0000000000000000" in status for name in ("CapEff", "CapPrm", "CapBnd"))
stream = open_xdp(port, options=OPTIONS)
print(port.mode, flush=True)
threading.Thread(target=lambda: (sys.stdin.readline(), stream.stop())).start()
outcome = collect(_StaysOpen(stream))
assert outcome.stats.kernel_drops == 0
np.savez(sys.argv[2], **outcome.flows)
print(outcome.stats.packets, flush=True)
"""


@contextlib.contextmanager
def reading(site_: Site, out: Path) -> Iterator[None]:
    """A process without capabilities reads the mirror port while the body sends; its flows are in
    `out` afterwards.
    """
    words = [*BARE, sys.executable, "-c", READER, str(site_.guard), str(out)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        site_.gateway.command(*words), stdin=pipe, stdout=pipe, text=True, cwd=ROOT
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "native\n"
        yield
        said, _ = child.communicate("stop\n", timeout=3 * PATIENCE_S)
        assert child.returncode == 0
        assert int(said) > 0


def timeless(flows: Table) -> Table:
    """Flows without what depends on when a frame came."""
    units = {one.name: one.unit for one in columns(FLOWS)}
    kept = {name: flows[name] for name in flows if units[name] not in TIMES}
    return in_order(kept, "flow_id")


def test_flows_of_a_mirror_port_through_the_guard_are_those_of_the_ring(
    span: Site, samples: Path, tmp_path: Path, seed: int
) -> None:
    """One wire, two ends that see the same frames: the ring where they leave, AF_XDP where they
    arrive, in a process without a capability.
    """
    frames = all_kinds(seed) + sample_frames(samples / "benign_mixed.pcap.zst")[:4000]
    span.start_guard()
    out = tmp_path / "flows.npz"
    with (
        ports_on(span.gateway, "span") as ports,
        reading(span, out),
        capturing(ports) as ring,
        span.gateway.sender("span") as sender,
    ):
        for number, one in enumerate(frames):
            sender.send(one)
            if number % PACE == PACE - 1:
                time.sleep(0.05)
    assert ring.outcome is not None
    mine, theirs = timeless(ring.outcome.flows), timeless(dict(np.load(out)))
    assert len(mine["flow_id"]) > 50
    assert len(mine) > 80
    assert differing(mine, theirs) == []


def opened_again(guard: GuardClient) -> XdpPort:
    """The mirror port; the kernel counts locked memory as such until some time after its end."""
    ports: list[XdpPort] = []

    def opens() -> bool:
        with contextlib.suppress(GuardError):
            ports.append(guard.open_mirror("mirror", MIRROR_BYTES))
        return bool(ports)

    until(opens)
    return ports[0]


def test_an_interface_is_as_before_when_the_reader_of_its_frames_has_gone(span: Site) -> None:
    span.start_guard()
    with span.client() as guard:
        with guard.open_mirror("mirror", MIRROR_BYTES) as port:
            assert "xdp" in span.gateway.run("ip", "link", "show", "mirror")
            with open_xdp(port, options=StreamOptions()) as stream:
                with span.gateway.sender("span") as sender:
                    sender.send(frame(b"one"))
                until(lambda: stream.ports()[0].packets or next(iter(stream)) is None)
        assert "xdp" not in span.gateway.run("ip", "link", "show", "mirror")
        with opened_again(guard) as again:
            assert again.memory_bytes <= MIRROR_BYTES
            with pytest.raises(GuardError, match=r"another XDP program|cannot lock") as raised:
                guard.open_mirror("mirror", MIRROR_BYTES)
            assert raised.value.remedy
    opened = span.audit("open_mirror")
    assert [(one["interface"], one["mode"]) for one in opened] == [("mirror", "native")] * 2


@pytest.mark.parametrize(
    ("does", "words"),
    [
        ("addr add 192.0.2.1/24 dev mirror", "mirror has an IPv4 address"),
        ("route add 198.51.100.0/24 dev mirror", "mirror has an IPv4 route"),
        ("link set mirror master bridge", "mirror is a port of a bridge"),
    ],
    ids=["an address", "a route", "a bridge"],
)
def test_the_guard_refuses_an_interface_that_the_kernel_uses_with_the_remedy(
    span: Site, does: str, words: str
) -> None:
    span.start_guard()
    span.gateway.ip("link add name bridge type bridge")
    span.gateway.ip(does)
    with span.client() as guard:
        with pytest.raises(GuardError, match=words) as raised:
            guard.open_mirror("mirror", MIRROR_BYTES)
        assert "mirror ports" in raised.value.remedy
        assert guard.hello(), "the connection goes on"
    assert "xdp" not in span.gateway.run("ip", "link", "show", "mirror")


def test_only_interfaces_that_guard_toml_names_are_taken_away(span: Site) -> None:
    span.start_guard('capture = ["lan0"]\n')
    with span.client() as guard, pytest.raises(GuardError, match="capture list"):
        guard.open_mirror("mirror", MIRROR_BYTES)


def test_who_is_given_a_port_cannot_bind_it_to_an_interface_that_is_not_to_be_captured(
    lan: Site,
) -> None:
    lan.start_guard('capture = ["lan0"]\n')
    with lan.client() as guard, guard.open_port("lan0", 1 << 20, tap=False).port as port:
        refused = pytest.raises(OSError, match=os.strerror(errno.EINVAL))
        with socket.socket(fileno=os.dup(port.fd)) as ours, refused:
            ours.bind(("lo", 0x0003))


def test_an_agent_without_a_capability_sees_a_scan_on_a_mirror_port(span: Site) -> None:
    need("lab")
    span.start_guard()
    agent = span.begin_as(BARE, "--interface", "mirror", "--source", "af_xdp")
    until(lambda: agent.poll() is not None or span.state() == "running")
    status = span.ask("/status").json
    assert status["source"] == "af_xdp"
    assert "the guard" in status["notes"][0]
    words = ("nmap", "-n", "-Pn", "-sS", "-T4", "--host-timeout", "3s", "-p", "1-1000", OURS)
    subprocess.run(
        span.stranger.command(*words), check=False, capture_output=True, timeout=patient(60)
    )
    until(lambda: span.events("alert"))
    assert {one["in_iface"] for one in span.events("alert")} == {"mirror"}
    span.stop(agent)
    assert "xdp" not in span.gateway.run("ip", "link", "show", "mirror")


def test_an_agent_without_a_capability_and_guard_says_what_a_mirror_port_needs(lan: Site) -> None:
    refused = lan.begin_as(BARE, "--interface", "lan0", "--source", "af_xdp")
    said = refused.communicate(timeout=patient(30))[1]
    assert refused.returncode == 1
    assert "fortress guard run" in said


def test_what_dhcp_clients_say_is_heard_without_a_capability(lan: Site) -> None:
    lan.start_guard()
    leases = lan.folder / "leases"
    leases.write_text(f"0 {PHONE.hex(':')} 192.168.77.9 * *\n")
    lan.config = f'[devices]\nleases = ["{leases}"]\n'
    agent = lan.begin_as(BARE)
    until(lambda: agent.poll() is not None or lan.state() == "running")
    until(lambda: lan.audit("open_dhcp"))
    said = frame(message(REQUEST + b"\x0c\x06tablet\xff"))
    with lan.stranger.sender("eth0") as sender:
        sender.send(said)
    until(lambda: "tablet" in devices(lan), within_s=30)
    assert devices(lan)["tablet"] == PHONE.hex(":")


def devices(site_: Site) -> dict[str, str]:
    """MACs of what the agent has stored, by the name they gave themselves."""
    import sqlite3

    path = site_.folder / "state" / "fortress.sqlite"
    if not path.exists():
        return {}
    with contextlib.closing(sqlite3.connect(path)) as base:
        return dict(base.execute("SELECT host_name, mac FROM devices WHERE host_name <> ''"))


def test_who_has_the_dhcp_socket_hears_nothing_else_whatever_it_does(lan: Site) -> None:
    """The filter cannot be taken off or exchanged, and of another protocol it lets nothing by."""
    lan.start_guard()
    with lan.client() as guard, guard.open_dhcp() as port, lan.stranger.sender("eth0") as sender:
        for option in (26, 27):  # SO_ATTACH_FILTER, SO_DETACH_FILTER
            with pytest.raises(PermissionError):
                port.setsockopt(socket.SOL_SOCKET, option, bytes(16))
        with pytest.raises(PermissionError):
            port.setsockopt(socket.SOL_SOCKET, 44, 0)  # SO_LOCK_FILTER
        with lan.gateway.entered():
            port.bind(("lan0", 3))  # ETH_P_ALL
        sender.send(frame(b"to another port, longer than a header", port=53))
        sender.send(frame(message(REQUEST)))
        found: list[object] = []
        until(lambda: found.extend(heard(port)) or found)
        assert len(found) == 1
