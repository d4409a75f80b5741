"""A house in namespaces: stations behind a gateway, an upstream router, a server and an attacker.

    laptop .20   camera .66                          server 203.0.113.10, 2001:db8:5e::10
        └── br-lan ──┘                                  │
          192.168.77.1, 2001:db8:77::1               upstream 198.51.100.1, 2001:db8:51::1
                gateway ── wan0 198.51.100.2 ───────────┤
                                2001:db8:51::2          │
                                                     attacker 198.18.0.66, 2001:db8:bad::66

The gateway forwards; guard and agent work in its namespace. There is no route out of the house,
and no NAT unless it is asked for.
"""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fortress.verdict import Action
from tests.net.guarded import (
    CAMERA,
    CAMERA_MAC,
    FORTRESS,
    LAPTOP,
    LAPTOP6,
    WAIT_S,
    Gateway,
    pings,
    plug,
    until,
)
from tests.net.namespace import Namespace, new_namespace

LAN, LAN6 = "192.168.77.1", "2001:db8:77::1"
WAN, WAN6 = "198.51.100.2", "2001:db8:51::2"
UPSTREAM, UPSTREAM6 = "198.51.100.1", "2001:db8:51::1"
SERVER, SERVER6 = "203.0.113.10", "2001:db8:5e::10"
ATTACKER, ATTACKER6, ATTACKER6_SITE = "198.18.0.66", "2001:db8:bad::66", "2001:db8:bad::/64"
ATTACKERS = "198.19.0.0/16"  # the attacker has every one of these addresses as well
CAMERA6, LAPTOP_SITE = "2001:db8:77::66", "2001:db8:77::/64"
LAPTOP_MAC, WAN_MAC = "02:00:5e:00:77:20", "02:00:5e:00:51:02"
AGENT_READY_S = 60.0  # ten times and more what it takes

GUARD = 'lan_ports = ["p-laptop", "p-camera"]\nwan_ports = ["wan0"]\n'


@dataclass(slots=True, kw_only=True)
class House(Gateway):
    """The gateway and those around it; `stranger` is the attacker."""

    server: Namespace
    upstream: Namespace
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def agent_folder(self) -> Path:
        """Where the agent keeps what it writes."""
        return self.folder / "agent"

    def begin_agent(
        self, mode: str = "enforce", *interfaces: str, config: str = ""
    ) -> subprocess.Popen[bytes]:
        """An agent of the mode on the interfaces (br-lan alone) that may or may not come up."""
        folder = self.agent_folder
        folder.mkdir(exist_ok=True)
        toml = folder / "fortress.toml"
        toml.write_text(
            f'state_dir = "{folder}"\n[respond]\nmode = "{mode}"\nguard = "{self.socket}"\n'
            f'[control]\nsocket = "{folder}/agent.sock"\n{config}'
        )
        words: list[str | Path] = [FORTRESS, "agent", "run", "--config", toml]
        for interface in interfaces or ("br-lan",):
            words += ["--interface", interface]
        with (folder / "said").open("ab") as said:
            agent = subprocess.Popen(
                self.namespace.command(*words), stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        self.started.append(agent)
        return agent

    def start_agent(
        self, mode: str = "enforce", *interfaces: str, config: str = ""
    ) -> subprocess.Popen[bytes]:
        """An agent that sees packets."""
        agent = self.begin_agent(mode, *interfaces, config=config)

        def sees() -> bool:
            assert agent.poll() is None, self.said()
            pings(self.laptop, SERVER)
            return bool((self.ask("/status") or {}).get("totals", {}).get("packets"))

        until(sees, AGENT_READY_S)
        return agent

    def stop_agent(self, agent: subprocess.Popen[bytes]) -> None:
        """The agent is asked to stop, and does."""
        agent.terminate()
        assert agent.wait(timeout=WAIT_S) == 0, self.said()

    def clear(self) -> None:
        """Everybody is sent home, and what they knew is forgotten; the wires and places stay."""
        for one in (*self.started, *self.guards):
            if one.poll() is None:
                one.kill()
            one.communicate()
        self.started.clear()
        self.guards.clear()
        self.config = GUARD
        self.namespace.run("nft", "flush", "ruleset")
        for name in ("agent", "state", "log"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for station in (self.laptop, self.camera, self.namespace):
            station.ip("neigh flush all")

    def ask(self, path: str) -> Any:
        """What the agent answers on its unix socket; None while it does not."""
        words = ["curl", "-sf", "-m", "5", "--unix-socket", str(self.agent_folder / "agent.sock")]
        done = subprocess.run(
            [*words, f"http://agent{path}"], capture_output=True, check=False, timeout=30
        )
        return json.loads(done.stdout) if done.returncode == 0 else None

    def said(self) -> str:
        """What agents said on standard output and error."""
        return (self.agent_folder / "said").read_text(errors="replace")[-4000:]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The agent's events of a kind, from its EVE file."""
        file = self.agent_folder / "eve.json"
        if not file.exists():
            return []
        whole = file.read_text().rpartition("\n")[0]
        events = [json.loads(line) for line in whole.splitlines()]
        return [event for event in events if event["event_type"] == kind]

    def blocked(self) -> dict[str, str]:
        """Who stands on the guard's list, and by whose order."""
        with self.client() as client:
            return {one.target: one.origin for one in client.blocks()}

    def cut_off(self) -> set[str]:
        """Who is blocked or quarantined, not only limited."""
        with self.client() as client:
            return {one.target for one in client.blocks() if one.action >= Action.BLOCK}

    def hits(self) -> dict[str, int]:
        """How many packets met each block."""
        with self.client() as client:
            return {one.target: one.hits or 0 for one in client.blocks()}

    def settle(self) -> None:
        """Return when the agent looks at every flow: at its start it may be behind."""
        until(lambda: (self.ask("/status") or {}).get("sampled") == 1.0, AGENT_READY_S)

    def masquerade(self) -> None:
        """From now on the stations leave with the gateway's own address (IPv4)."""
        self.nft("add table ip nat")
        self.nft("add chain ip nat out { type nat hook postrouting priority 100 ; }")
        self.nft("add rule ip nat out oifname wan0 masquerade")


@contextlib.contextmanager
def house(folder: Path) -> Iterator[House]:
    """A house without guard or agent; what a test leaves running is killed on the way out."""
    with contextlib.ExitStack() as stack:
        home, laptop, camera, attacker, server, upstream = (
            stack.enter_context(new_namespace()) for _ in range(6)
        )
        made = House(
            home, laptop, camera, attacker, folder, GUARD, server=server, upstream=upstream
        )
        _wire_up(made)
        until(lambda: pings(laptop, SERVER) and pings(attacker, LAPTOP))
        until(lambda: pings(laptop, SERVER6) and pings(attacker, LAPTOP6))
        try:
            yield made
        finally:
            for one in (*made.started, *made.guards):
                one.kill()
                one.communicate()


def _wire_up(made: House) -> None:
    home, upstream = made.namespace, made.upstream
    everyone = (home, upstream, made.laptop, made.camera, made.server, made.stranger)
    for space in everyone:
        keys = [f"net.ipv6.conf.{which}.{key}" for which in ("all", "default")
                for key in ("disable_ipv6=0", "accept_dad=0")]  # fmt: skip
        space.run("sysctl", "-qw", *keys, "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")
        space.ip("link set lo up")
    for router in (home, upstream):
        router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    home.ip("link add br-lan type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
    home.ip("link set br-lan address 02:00:5e:00:77:01 up")
    for station, port, mac in (
        (made.laptop, "p-laptop", LAPTOP_MAC),
        (made.camera, "p-camera", CAMERA_MAC),
    ):
        plug(made, station, port, mac)
        home.ip(f"link set {port} master br-lan")
    _wire(home, "wan0", WAN_MAC, upstream, "home")
    _wire(made.server, "eth0", "02:00:5e:00:5e:10", upstream, "srv")
    _wire(made.stranger, "eth0", "02:00:5e:00:ba:66", upstream, "atk")
    for space, interface, addresses in (
        (home, "br-lan", f"{LAN}/24 {LAN6}/64"),
        (home, "wan0", f"{WAN}/24 {WAN6}/64"),
        (made.laptop, "eth0", f"{LAPTOP}/24 {LAPTOP6}/64"),
        (made.camera, "eth0", f"{CAMERA}/24 {CAMERA6}/64"),
        (made.server, "eth0", f"{SERVER}/24 {SERVER6}/64"),
        (made.stranger, "eth0", f"{ATTACKER}/16 {ATTACKER6}/64"),
        (upstream, "home", f"{UPSTREAM}/24 {UPSTREAM6}/64"),
        (upstream, "srv", "203.0.113.1/24 2001:db8:5e::1/64"),
        (upstream, "atk", "198.18.0.1/16 2001:db8:bad::1/64"),
    ):
        for address in addresses.split():
            space.ip(f"addr add {address} dev {interface}" + (" nodad" if ":" in address else ""))
    made.stranger.ip(f"route add local {ATTACKERS} dev lo")
    for space, routers in (
        (home, (UPSTREAM, UPSTREAM6)),
        (made.laptop, (LAN, LAN6)),
        (made.camera, (LAN, LAN6)),
        (made.server, ("203.0.113.1", "2001:db8:5e::1")),
        (made.stranger, ("198.18.0.1", "2001:db8:bad::1")),
    ):
        for router in routers:
            space.ip(f"route add default via {router}")
    upstream.ip(f"route add {ATTACKERS} via {ATTACKER}")
    upstream.ip(f"route add 192.168.77.0/24 via {WAN}")
    upstream.ip(f"route add 2001:db8:77::/64 via {WAN6}")


def _wire(one: Namespace, interface: str, mac: str, other: Namespace, port: str) -> None:
    """A wire from one's interface, which gets the MAC, to the other's port, both up."""
    there = f"netns {one.name} type veth peer name {port} netns {other.name}"
    command = ["ip", "link", "add", interface, "address", mac, *there.split()]
    subprocess.run(command, check=True)
    one.ip(f"link set {interface} up")
    other.ip(f"link set {port} up")
