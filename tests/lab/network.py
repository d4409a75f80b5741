"""The lab's network: a home LAN behind a gateway, and a small Internet of documentation addresses.

The gateway's namespace holds two bridges, as a home router does: ``br-lan`` (addressed; the tap
listens here, so it sees what crosses the gateway and what stations say to each other) and
``br-wan``. There is no NAT, so inside and outside addresses are seen as they are, and no route out
of the lab: packets for addresses that do not exist end in a blackhole on the gateway.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.lab.sandbox import run

TAP = "br-lan"
TAP_HOST = "gateway"


@dataclass(frozen=True, slots=True)
class Host:
    """A station: one namespace, one interface; ``extra`` addresses follow the first."""

    name: str
    ipv4: str
    ipv6: str
    mac: str
    side: str
    extra: int = 0


@dataclass(frozen=True, slots=True)
class Side:
    """A bridge of the gateway, its networks and the gateway's addresses on it."""

    bridge: str
    mac: str
    ipv4: tuple[str, ...]
    ipv6: tuple[str, ...]


SIDES = {
    "lan": Side(TAP, "02:00:5e:00:77:01", ("192.168.77.1/24",), ("2001:db8:77::1/64",)),
    "wan": Side(
        "br-wan",
        "02:00:5e:00:51:01",
        ("198.51.100.1/24", "203.0.113.1/24"),
        ("2001:db8:51::1/64", "2001:db8:bad::1/64"),
    ),
}
HOSTS = {
    host.name: host
    for host in (
        Host("nas", "192.168.77.10", "2001:db8:77::10", "02:00:5e:00:77:10", "lan"),
        Host("laptop", "192.168.77.20", "2001:db8:77::20", "02:00:5e:00:77:20", "lan"),
        Host("phone", "192.168.77.21", "2001:db8:77::21", "02:00:5e:00:77:21", "lan"),
        Host("admin", "192.168.77.22", "2001:db8:77::22", "02:00:5e:00:77:22", "lan"),
        Host("camera", "192.168.77.66", "2001:db8:77::66", "02:00:5e:00:77:66", "lan"),
        Host("web", "198.51.100.10", "2001:db8:51::10", "02:00:5e:00:51:10", "wan", extra=15),
        Host("c2", "203.0.113.66", "2001:db8:bad::66", "02:00:5e:00:51:66", "wan"),
        Host("outsider", "203.0.113.99", "2001:db8:bad::99", "02:00:5e:00:51:99", "wan"),
    )
}


def placeholders() -> dict[str, str]:
    """What the braces in a scenario's commands stand for: addresses of hosts and of the gateway."""
    names = {"gateway": "192.168.77.1", "gateway6": "2001:db8:77::1"}
    for host in HOSTS.values():
        names |= {host.name: host.ipv4, f"{host.name}6": host.ipv6, f"{host.name}_mac": host.mac}
    return names


@dataclass(frozen=True, slots=True)
class Network:
    """A network that exists: namespaces by host name."""

    namespaces: dict[str, str]

    def prefix(self, actor: str) -> tuple[str, ...]:
        """The words before a command that make it run in the actor's namespace."""
        return ("nsenter", f"--net=/run/netns/{self.namespaces[actor]}", "--")

    def inside(self, actor: str, *command: str) -> str:
        """Output of a short command run in the actor's namespace."""
        return run(*self.prefix(actor), *command)


@contextmanager
def build(offloads: bool) -> Iterator[Network]:
    """The network of all ``HOSTS``; its namespaces are deleted on the way out."""
    # /run/netns is the sandbox's own: no other recording sees these names
    names = {name: f"fxlab-{name}" for name in (TAP_HOST, *HOSTS)}
    network = Network(names)
    made: list[str] = []
    try:
        for namespace in names.values():
            run("ip", "netns", "add", namespace)
            made.append(namespace)
        _make_gateway(network)
        for host in HOSTS.values():
            _plug_in(network, host, offloads)
        yield network
    finally:
        for namespace in made:
            run("ip", "netns", "delete", namespace)


def _make_gateway(network: Network) -> None:
    gateway = [
        "net.ipv4.ip_forward=1",
        "net.ipv6.conf.all.forwarding=1",
        "net.ipv6.conf.default.accept_dad=0",
        "net.ipv4.conf.all.rp_filter=0",
        "net.ipv4.conf.default.rp_filter=0",
    ]
    network.inside(TAP_HOST, "sysctl", "-q", "-w", *gateway)
    network.inside(TAP_HOST, "ip", "link", "set", "lo", "up")
    for side in SIDES.values():
        link = ("type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0")
        network.inside(TAP_HOST, "ip", "link", "add", side.bridge, "address", side.mac, *link)
        network.inside(TAP_HOST, "ip", "link", "set", side.bridge, "up")
        for address in side.ipv4:
            network.inside(TAP_HOST, "ip", "addr", "add", address, "dev", side.bridge)
        for address in side.ipv6:
            network.inside(
                TAP_HOST, "ip", "-6", "addr", "add", address, "dev", side.bridge, "nodad"
            )
    network.inside(TAP_HOST, "ip", "route", "add", "blackhole", "default")
    network.inside(TAP_HOST, "ip", "-6", "route", "add", "blackhole", "default", "metric", "9999")


def _plug_in(network: Network, host: Host, offloads: bool) -> None:
    side = SIDES[host.side]
    namespace, gateway = network.namespaces[host.name], network.namespaces[TAP_HOST]
    port = f"p-{host.name}"
    ends = ("eth0", "address", host.mac, "netns", namespace)
    run("ip", "link", "add", *ends, "type", "veth", "peer", "name", port, "netns", gateway)
    network.inside(TAP_HOST, "ip", "link", "set", port, "master", side.bridge, "up")
    if not offloads:
        for actor, device in ((host.name, "eth0"), (TAP_HOST, port)):
            network.inside(actor, "ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off")
    network.inside(host.name, "sysctl", "-q", "-w", "net.ipv6.conf.default.accept_dad=0")
    network.inside(host.name, "sysctl", "-q", "-w", "net.ipv6.conf.eth0.accept_dad=0")
    network.inside(host.name, "ip", "link", "set", "lo", "up")
    network.inside(host.name, "ip", "link", "set", "eth0", "up")
    home4, home6 = _home(side.ipv4, host.ipv4), _home(side.ipv6, host.ipv6)
    for ipv4, ipv6 in _addresses(host):
        network.inside(host.name, "ip", "addr", "add", f"{ipv4}/24", "dev", "eth0")
        network.inside(host.name, "ip", "-6", "addr", "add", f"{ipv6}/64", "dev", "eth0", "nodad")
    network.inside(host.name, "ip", "route", "add", "default", "via", home4)
    network.inside(host.name, "ip", "-6", "route", "add", "default", "via", home6)


def _addresses(host: Host) -> Iterator[tuple[str, str]]:
    for offset in range(host.extra + 1):
        head4, tail4 = host.ipv4.rsplit(".", 1)
        head6, tail6 = host.ipv6.rsplit("::", 1)
        yield f"{head4}.{int(tail4) + offset}", f"{head6}::{int(tail6) + offset}"


def _home(gateways: tuple[str, ...], address: str) -> str:
    """The gateway's address in the network of ``address``: both end in the same prefix text."""
    cut = "::" if ":" in address else "."
    head = address.rsplit(cut, 1)[0]
    for gateway in gateways:
        if gateway.rsplit(cut, 1)[0] == head:
            return gateway.split("/")[0]
    raise ValueError(f"{address} has no gateway among {gateways}")
