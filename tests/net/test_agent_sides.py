"""LAN and WAN watched together by the agent: one flow for each connection through the gateway."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fortress.errors import GuardError
from fortress.respond.client import GuardClient
from tests.core.frames import Packet
from tests.need import need
from tests.net.agents import Site, site, until
from tests.net.namespace import Namespace, new_namespace
from tests.patience import patient

FAR = "198.51.100.66"
BOTH = ("--interface", "lan0", "--interface", "wan0")
NO_CAPABILITY = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Site]:
    """A gateway that translates between a stranger on lan0 and FAR on wan0; no default route."""
    need("netns", "nft")
    with site(tmp_path) as made, new_namespace() as far:
        gateway = made.gateway
        gateway.ip(f"link add wan0 type veth peer name eth0 netns {far.name}")
        gateway.ip("addr add 198.51.100.1/24 dev wan0")
        gateway.ip("link set wan0 up")
        far.ip(f"addr add {FAR}/24 dev eth0")
        far.ip("link set eth0 up")
        made.stranger.ip("route add default via 192.168.77.1")
        gateway.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        gateway.run(
            "nft",
            "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; };"
            " add rule ip nat post oifname wan0 masquerade",
        )
        yield made


def ping_far(lan: Site) -> None:
    """The stranger pings through the gateway: five packets each way, in one connection."""
    ping = ("ping", "-n", "-c", "5", "-i", "0.2", FAR)
    subprocess.run(lan.stranger.command(*ping), check=True, capture_output=True)


def flows(lan: Site) -> int:
    """How many flows the agent had seen when it ended."""
    (stats,) = lan.events("stats")
    return int(stats["stats"]["flows"])


def confidence(lan: Site) -> float:
    """How far the agent trusts its score: from 0.5 on when it begins, half of it while stale."""
    return float(lan.ask("/score").json["score"]["confidence"])


def test_a_connection_through_a_translating_gateway_is_one_flow(lan: Site) -> None:
    lan.gateway.ip(f"route add default via {FAR}")
    agent = lan.start(*BOTH)
    until(lambda: lan.sensor("conntrack")["state"] == "live")
    ping_far(lan)
    until(lambda: lan.sensor("conntrack")["facts"]["twice"] == 10)
    assert confidence(lan) >= 0.5
    lan.stop(agent)
    assert flows(lan) == 1


def test_an_agent_without_a_capability_has_translations_from_the_guard(lan: Site) -> None:
    lan.gateway.ip(f"route add default via {FAR}")
    guard = lan.start_guard()
    agent = lan.begin_as(NO_CAPABILITY, *BOTH)
    until(lambda: agent.poll() is not None or lan.state() == "running")
    until(lambda: lan.sensor("conntrack")["state"] == "live")
    ping_far(lan)
    until(lambda: lan.sensor("conntrack")["facts"]["twice"] == 10)
    guard.kill()
    guard.wait(patient(10))
    lan.start_guard()
    audit = lan.folder / "guard.jsonl"
    until(lambda: audit.read_text().count("open_conntrack") == 2, within_s=40)
    until(lambda: lan.sensor("conntrack")["state"] == "live")
    ping_far(lan)
    until(lambda: lan.sensor("conntrack")["facts"]["twice"] == 20)
    lan.stop(agent)
    assert flows(lan) == 2


def test_without_a_default_route_it_is_said_that_a_side_must_be_named(lan: Site) -> None:
    agent = lan.start(*BOTH)
    until(lambda: lan.sensor("conntrack")["state"] == "stale")
    assert "set capture.outside (there is no default route)" in lan.sensor("conntrack")["reason"]
    ping_far(lan)
    until(lambda: lan.sensor("lan0")["facts"]["packets"] >= 10)
    until(lambda: confidence(lan) < 0.5)
    lan.stop(agent)
    assert flows(lan) >= 2, "the reason is true: each side has its own"


def test_a_default_route_that_comes_after_packets_is_followed_without_a_restart(lan: Site) -> None:
    agent = lan.start(*BOTH)
    ping_far(lan)
    until(lambda: lan.sensor("conntrack")["state"] == "stale")
    lan.gateway.ip(f"route add default via {FAR}")
    until(lambda: lan.sensor("conntrack")["state"] == "live")
    assert lan.notices("sides") == ["wan0 faces outside from now on: a default route leads there"]
    before = lan.sensor("conntrack")["facts"]["twice"]
    ping_far(lan)
    until(lambda: lan.sensor("conntrack")["facts"]["twice"] == before + 10)
    lan.stop(agent)
    assert len(lan.events("stats")) == 1, "it is the same run"
    assert flows(lan) >= 2


@pytest.mark.parametrize("version", [4, 6])
def test_a_default_route_that_fails_over_to_another_uplink_is_followed(
    lan: Site, version: int
) -> None:
    """The first one stays outside: what comes back there later is nobody's inside."""
    gateway = lan.gateway
    gateway.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0")
    with new_namespace() as lte:
        gateway.ip(f"link add lte0 type veth peer name eth0 netns {lte.name}")
        gateway.ip("addr add 203.0.113.1/24 dev lte0")
        gateway.ip("addr add 2001:db8:6::1/64 dev lte0 nodad")
        gateway.ip("addr add 2001:db8:5::1/64 dev wan0 nodad")
        gateway.ip("link set lte0 up")
        lte.ip("link set eth0 up")
        old, new = ("198.51.100.66", "203.0.113.2") if version == 4 else (
            "2001:db8:5::2", "2001:db8:6::2")  # fmt: skip
        gateway.ip(f"-{version} route add default via {old} dev wan0")
        agent = lan.start(*BOTH, "--interface", "lte0")
        until(lambda: lan.sensor("conntrack")["state"] == "live")
        gateway.ip(f"-{version} route replace default via {new} dev lte0")
        until(lambda: lan.notices("sides"))
        (told,) = lan.notices("sides")
        assert told == (
            "lte0 faces outside from now on: a default route leads there"
            " (as wan0 did before, and still does)"
        )
        assert lan.sensor("conntrack")["state"] == "live"
        forge(lte, "192.168.77.20", "192.168.77.66")
        until(lambda: any(one.startswith("lte0: ") for one in lan.notices("forged")))
        lan.stop(agent)


def test_an_uplink_that_is_made_anew_is_outside_again(lan: Site) -> None:
    lan.gateway.ip(f"route add default via {FAR}")
    agent = lan.start(*BOTH)
    until(lambda: lan.sensor("conntrack")["state"] == "live")
    lan.gateway.ip("link del wan0")
    until(lambda: lan.sensor("wan0")["state"] == "stale")
    with new_namespace() as far:
        lan.gateway.ip(f"link add wan0 type veth peer name eth0 netns {far.name}")
        lan.gateway.ip("addr add 198.51.100.1/24 dev wan0")
        lan.gateway.ip("link set wan0 up")
        far.ip(f"addr add {FAR}/24 dev eth0")
        far.ip("link set eth0 up")
        lan.gateway.ip(f"route add default via {FAR}")
        until(lambda: lan.sensor("wan0")["state"] == "live", within_s=30)
        twice = lan.sensor("conntrack")["facts"]["twice"]
        ping_far(lan)
        until(lambda: lan.sensor("conntrack")["facts"]["twice"] == twice + 10)
        forge(far, "192.168.77.20", "192.168.77.66")
        until(lambda: lan.notices("forged"))
        assert lan.notices("sides") == []
        lan.stop(agent)


def forge(place: Namespace, source: str, target: str) -> None:
    """Packets in somebody else's name come out of the place."""
    packet = Packet(src=source, dst=target, proto=17, dport=53, payload=b"forged")
    with place.sender("eth0") as sender:
        for _ in range(5):
            sender.send(packet.frame())


def test_a_default_route_that_comes_before_the_first_packet_is_in_time(lan: Site) -> None:
    agent = lan.start(*BOTH)
    until(lambda: lan.sensor("conntrack")["state"] == "stale")
    lan.gateway.ip(f"route add default via {FAR}")
    until(lambda: lan.sensor("conntrack")["state"] == "live")
    ping_far(lan)
    until(lambda: lan.sensor("conntrack")["facts"]["twice"] == 10)
    assert confidence(lan) >= 0.5
    lan.stop(agent)
    assert flows(lan) == 1


def test_the_guard_keeps_a_conntrack_socket_as_long_as_its_connection(lan: Site) -> None:
    guard = lan.start_guard()
    table = Path(f"/proc/{guard.pid}/net/netlink")

    def listeners() -> int:
        """How many sockets of the namespace are told of new connections."""
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
        return sum(row[1] == "12" and int(row[3], 16) & 1 for row in rows)

    with GuardClient(lan.guard, session="") as client:
        with pytest.raises(GuardError, match="send open_conntrack first"):
            client.ask_conntrack()
        for _ in range(3):
            with client.open_conntrack():
                client.ask_conntrack()
        assert listeners() == 1, "the guard's copy of the last one"
    until(lambda: listeners() == 0)
