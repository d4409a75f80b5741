"""A gateway in namespaces: a client behind it, a server outside, both its ports captured."""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from fortress_core import (
    Conntrack,
    Forged,
    NatState,
    StreamOptions,
    Tap,
    attach_tap,
    format_addr,
    open_conntrack,
    open_live,
)

from tests.core.frames import Outcome, collect
from tests.net.capturing import OPTIONS, SETTLE_S, _StaysOpen, ports_on
from tests.net.namespace import PATIENCE_S, Namespace, new_namespace
from tests.patience import patient

CLIENT, INNER, OUTER, SERVER = "10.1.0.2", "10.1.0.1", "203.0.113.1", "203.0.113.2"
CLIENT6, INNER6, OUTER6, SERVER6 = "fd00:1::2", "fd00:1::1", "2001:db8:2::1", "2001:db8:2::2"
LAN, WAN = 0, 1
_SO_RCVBUFFORCE = 33

MASQUERADE = """
table inet nat {
    chain post {
        type nat hook postrouting priority 100
        oifname "wan" masquerade
    }
}
"""
FORWARD_PORT = f"""
table ip forwarded {{
    chain pre {{
        type nat hook prerouting priority -100
        iifname "wan" tcp dport 8080 dnat to {CLIENT}:80
        iifname "wan" udp dport 5300 dnat to {CLIENT}:53
    }}
}}
"""
TRACK_ONLY = """
table inet tracked {
    chain pass {
        type filter hook forward priority 0
        ct state invalid drop
    }
}
"""


@dataclass(frozen=True, slots=True)
class Gateway:
    """Three namespaces in a row; `lan` and `wan` are the interfaces of the one in the middle."""

    client: Namespace
    middle: Namespace
    server: Namespace

    def rules(self, text: str) -> None:
        """Load a ruleset of nft in the gateway."""
        subprocess.run(self.middle.command("nft", "-f", "-"), input=text, text=True, check=True)


@contextlib.contextmanager
def new_gateway() -> Iterator[Gateway]:
    """A gateway that forwards IPv4 and IPv6 and translates nothing until it has rules."""
    with new_namespace() as client, new_namespace() as middle, new_namespace() as server:
        for outer, name in ((client, "lan"), (server, "wan")):
            link = f"link add {name} netns {middle.name} type veth peer name eth0"
            subprocess.run(["ip", *link.split(), "netns", outer.name], check=True)
        for namespace in (client, middle, server):
            settings = ["net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.accept_dad=0"]
            if namespace is middle:
                settings += ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
            words = ["ip", "netns", "exec", namespace.name, "sysctl", "-qw", *settings]
            subprocess.run(words, check=True)
            namespace.ip("link set lo up")
        for namespace, name, address, address6 in (
            (client, "eth0", CLIENT, CLIENT6),
            (middle, "lan", INNER, INNER6),
            (middle, "wan", OUTER, OUTER6),
            (server, "eth0", SERVER, SERVER6),
        ):
            namespace.ip(f"link set {name} up")
            namespace.ip(f"addr add {address}/24 dev {name}")
            namespace.ip(f"addr add {address6}/64 dev {name} nodad")
        client.ip(f"route add default via {INNER}")
        client.ip(f"-6 route add default via {INNER6}")
        server.ip(f"route add 10.1.0.0/24 via {OUTER}")
        server.ip(f"-6 route add fd00:1::/64 via {OUTER6}")
        yield Gateway(client, middle, server)


@dataclass(slots=True)
class Seen:
    """What a capture of both sides has seen; there when it has ended."""

    outcome: Outcome | None = None
    nat: NatState | None = None
    shunted: int = 0  # packets that the tap counted
    forged: tuple[Forged, ...] = ()  # of each port

    def flows(self, proto: int) -> list[tuple[str, int, str, int, int, int]]:
        """Originator and its port, responder and its port, packets each way: in order."""
        assert self.outcome is not None
        rows = self.outcome.flows
        names = ("orig_addr", "orig_port", "resp_addr", "resp_port", "orig_pkts", "resp_pkts")
        chosen = np.flatnonzero(rows["proto"] == proto)
        return sorted(
            (format_addr(a), int(p), format_addr(b), int(q), int(m), int(n))
            for a, p, b, q, m, n in zip(*(rows[name][chosen] for name in names), strict=True)
        )


@contextlib.contextmanager
def both_sides(
    gateway: Gateway,
    *,
    options: StreamOptions = OPTIONS,
    translated: bool = True,
    conntrack: Conntrack | None = None,
    tap: Tap | None = None,
    inside: Sequence[str] = (),
) -> Iterator[Seen]:
    """Capture `lan` and `wan` of the gateway in one stream while the body makes traffic.

    A tap looks at `lan` alone; `inside` are the networks there, nothing where they are not told.
    """
    seen = Seen()
    with contextlib.ExitStack() as stack:
        ports = stack.enter_context(ports_on(gateway.middle, "lan", "wan"))
        if translated and conntrack is None:
            with gateway.middle.entered():
                conntrack = stack.enter_context(open_conntrack())
        stream = stack.enter_context(open_live(ports, options=options))
        stream.outside([WAN], conntrack)
        if inside:
            stream.inside(inside)
        if tap:
            stream.shunt(tap.map_fds)
            attach_tap(ports[LAN], tap.program_fd_for(ports[LAN].linktype))

        def read() -> None:
            seen.outcome = collect(_StaysOpen(stream))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield seen
            threading.Event().wait(SETTLE_S)
        finally:
            stream.stop()
            reader.join(timeout=patient(30))
            assert not reader.is_alive(), "the stream did not stop"
            seen.nat, seen.shunted = stream.nat(), stream.shunt_stats().packets
            seen.forged = stream.forged(LAN), stream.forged(WAN)


def listening(namespace: Namespace, kind: int, address: str, port: int) -> socket.socket:
    """A socket of the namespace that waits for peers."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with namespace.entered():
        made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 4 << 20)
    made.settimeout(PATIENCE_S)
    made.bind((address, port))
    if kind == socket.SOCK_STREAM:
        made.listen(64)
    return made


def calling(namespace: Namespace, kind: int, address: str) -> socket.socket:
    """A socket of the namespace with an address of its own, not yet connected."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with namespace.entered():
        made = socket.socket(family, kind)
    made.settimeout(PATIENCE_S)
    made.bind((address, 0))
    return made


def talk_tcp(caller: socket.socket, to: tuple[str, int], server: socket.socket, turns: int) -> int:
    """Connect, say something and be answered so many times, close; the caller's port."""
    caller.connect(to)
    peer, _ = server.accept()
    peer.settimeout(PATIENCE_S)
    port = int(caller.getsockname()[1])
    with caller, peer:
        for number in range(turns):
            caller.sendall(b"question %d" % number)
            assert peer.recv(100) == b"question %d" % number
            peer.sendall(b"answer %d" % number)
            assert caller.recv(100) == b"answer %d" % number
    return port


def ask_many(
    namespace: Namespace, address: str, count: int, to: tuple[str, int], server: socket.socket
) -> list[int]:
    """Ask three times from each of so many sockets at once, then be answered; their ports."""
    with contextlib.ExitStack() as stack:
        askers = [
            stack.enter_context(calling(namespace, socket.SOCK_DGRAM, address))
            for _ in range(count)
        ]
        for number in range(3 * count):
            askers[number // 3].sendto(b"question", to)
        for _ in range(3 * count):
            _, back = server.recvfrom(100)
            server.sendto(b"answer", back)
        for number in range(3 * count):
            assert askers[number // 3].recv(100) == b"answer"
        return sorted(int(asker.getsockname()[1]) for asker in askers)


def talk_udp(caller: socket.socket, to: tuple[str, int], server: socket.socket, turns: int) -> int:
    """Ask and be answered so many times; the caller's port."""
    with caller:
        for number in range(turns):
            caller.sendto(b"question %d" % number, to)
            words, back = server.recvfrom(100)
            server.sendto(words + b"?", back)
            assert caller.recv(100) == b"question %d?" % number
        return int(caller.getsockname()[1])
