"""LAN and WAN watched together by the agent: one flow for each connection through the gateway."""

import subprocess
from pathlib import Path

from tests.need import need
from tests.net.agents import site, until
from tests.net.namespace import new_namespace

FAR = "198.51.100.66"


def test_a_connection_through_a_translating_gateway_is_one_flow(tmp_path: Path) -> None:
    need("netns", "nft")
    with site(tmp_path) as lan, new_namespace() as far:
        gateway = lan.gateway
        gateway.ip(f"link add wan0 type veth peer name eth0 netns {far.name}")
        gateway.ip("addr add 198.51.100.1/24 dev wan0")
        gateway.ip("link set wan0 up")
        far.ip(f"addr add {FAR}/24 dev eth0")
        far.ip("link set eth0 up")
        gateway.ip(f"route add default via {FAR}")
        lan.stranger.ip("route add default via 192.168.77.1")
        gateway.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        gateway.run(
            "nft",
            "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; };"
            " add rule ip nat post oifname wan0 masquerade",
        )
        agent = lan.start("--interface", "lan0", "--interface", "wan0")
        until(lambda: lan.sensor("conntrack")["state"] == "live")
        ping = ("ping", "-n", "-c", "5", "-i", "0.2", FAR)
        subprocess.run(lan.stranger.command(*ping), check=True, capture_output=True)
        until(lambda: lan.sensor("conntrack")["facts"]["twice"] == 10)
        lan.stop(agent)
        (stats,) = lan.events("stats")
        assert stats["stats"]["flows"] == 1
