"""A gateway in namespaces with a real guard on it: stations behind a bridge, a stranger outside."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fortress.errors import GuardError
from fortress.respond.block import Block, make_block
from fortress.respond.client import GuardClient
from fortress.verdict import Action
from tests.net.namespace import Namespace, new_namespace
from tests.patience import patient

FORTRESS = Path(sys.executable).parent / "fortress"
GATEWAY_LAN, GATEWAY_WAN = "192.168.77.1", "198.51.100.1"
LAPTOP, CAMERA, STRANGER, OTHER = "192.168.77.20", "192.168.77.66", "198.51.100.66", "198.51.100.67"
CAMERA_MAC = "02:00:5e:00:77:66"
LAPTOP6, STRANGER6, STRANGER6_SITE = "2001:db8:77::20", "2001:db8:51::66", "2001:db8:51::/64"
GATEWAY6_LAN, GATEWAY6_WAN = "2001:db8:77::1", "2001:db8:51::1"
WAIT_S = 10.0


def until(true: Callable[[], object], within_s: float = WAIT_S) -> None:
    """Return when it is true; AssertionError when it is not in time."""
    most_s = patient(within_s)
    end_s = time.monotonic() + most_s
    while not true():
        assert time.monotonic() < end_s, f"not so within {most_s:g} s"
        time.sleep(0.02)


@dataclass(slots=True)
class Gateway:
    """The gateway and those around it; `config` is what guard.toml says beyond paths."""

    namespace: Namespace
    laptop: Namespace
    camera: Namespace
    stranger: Namespace
    folder: Path
    config: str = 'lan_ports = ["p-laptop", "p-camera"]\n'
    guards: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        """Where the guard listens."""
        return self.folder / "run" / "guard.sock"

    @property
    def toml(self) -> Path:
        """The guard's configuration file, written anew."""
        path = self.folder / "guard.toml"
        paths = {"socket": self.socket, "state": self.folder / "state", "audit": self.audit_file}
        lines = [f"{key} = {json.dumps(str(value))}" for key, value in paths.items()]
        path.write_text("\n".join((*lines, self.config)))
        return path

    @property
    def audit_file(self) -> Path:
        """The guard's audit."""
        return self.folder / "log" / "guard.jsonl"

    def start(self, *options: str) -> subprocess.Popen[str]:
        """A guard that answers."""
        guard = self.begin(*options)
        until(lambda: guard.poll() is not None or self.answers())
        assert guard.poll() is None, guard.communicate()[1]
        return guard

    def begin(self, *options: str) -> subprocess.Popen[str]:
        """A guard that may or may not come up."""
        words = (FORTRESS, "guard", "run", "--guard-config", self.toml, *options)
        command = self.namespace.command(*words)
        guard = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.guards.append(guard)
        return guard

    def stop(self, guard: subprocess.Popen[str]) -> str:
        """What the guard said on standard error, having been asked to stop."""
        guard.send_signal(signal.SIGTERM)
        said = guard.communicate(timeout=WAIT_S)[1]
        assert guard.returncode == 0, said
        return said

    def kill(self, guard: subprocess.Popen[str]) -> None:
        """The guard is killed with -9."""
        guard.kill()
        guard.communicate(timeout=WAIT_S)

    def answers(self) -> bool:
        """Whether a guard answers."""
        with contextlib.suppress(GuardError), self.client() as client:
            return bool(client.status())
        return False

    def client(self, **known: Any) -> GuardClient:
        """A connection of an operator who works on the machine itself."""
        return GuardClient(self.socket, session=known.pop("session", ""), **known)

    def block(self, *targets: str, seconds: float | None = None, **known: Any) -> None:
        """These are blocked by an operator, or the test fails."""
        with self.client() as client:
            blocks = [blocked(text, seconds, **known) for text in targets]
            outcomes = client.add(blocks, confirmed=True)
        assert all(one.done for one in outcomes), outcomes

    def nft(self, command: str) -> str:
        """What nft says in the gateway's namespace."""
        return self.namespace.run("nft", *command.split())

    def audit(self, act: str) -> list[dict[str, Any]]:
        """The audit's lines of an act."""
        lines = [json.loads(line) for line in self.audit_file.read_text().splitlines()]
        return [line for line in lines if line["act"] == act]


def blocked(
    text: str, seconds: float | None = None, *, origin: Any = "operator", action: Any = Action.BLOCK
) -> Block:
    """A block for a test."""
    return make_block(text, action, seconds, why="a test", origin=origin)


def pings(source: Namespace, target: str, count: int = 1, wait_s: float = 0.6) -> int:
    """How many of `count` echo requests are answered."""
    command = source.command("ping", "-n", "-q", "-c", str(count), "-i", "0.02")
    command += ["-W", str(wait_s), target]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patient(60))
    words = done.stdout.partition(" received")[0].split()
    return int(words[-1]) if words else 0


@contextlib.contextmanager
def gateway(folder: Path) -> Iterator[Gateway]:
    """A gateway without a guard; guards that a test leaves behind are killed on the way out."""
    with contextlib.ExitStack() as stack:
        spaces = [stack.enter_context(new_namespace()) for _ in range(4)]
        made = Gateway(*spaces, folder)
        _wire_up(made)
        try:
            yield made
        finally:
            for guard in made.guards:
                if guard.poll() is None:
                    made.kill(guard)
                if guard.stderr is not None:
                    guard.stderr.close()


def _wire_up(made: Gateway) -> None:
    home = made.namespace
    for space in (home, made.laptop, made.camera, made.stranger):
        for which in ("all", "default"):
            space.run("sysctl", "-q", "-w", f"net.ipv6.conf.{which}.disable_ipv6=0")
    home.ip("link set lo up")
    home.ip("link add br-lan type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
    home.ip("link set br-lan address 02:00:5e:00:77:01 up")
    for station, name, mac in (
        (made.laptop, "p-laptop", "02:00:5e:00:77:20"),
        (made.camera, "p-camera", CAMERA_MAC),
    ):
        plug(made, station, name, mac)
        home.ip(f"link set {name} master br-lan")
    plug(made, made.stranger, "wan0", "02:00:5e:00:51:66")
    keys = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    home.run("sysctl", "-q", "-w", *keys)
    for interface, *addresses in (
        ("br-lan", f"{GATEWAY_LAN}/24", f"{GATEWAY6_LAN}/64"),
        ("wan0", f"{GATEWAY_WAN}/24", f"{GATEWAY6_WAN}/64"),
    ):
        for address in addresses:
            home.ip(f"addr add {address} dev {interface}" + _nodad(address))
    for station, addresses, routers in (
        (made.laptop, [f"{LAPTOP}/24", f"{LAPTOP6}/64"], (GATEWAY_LAN, GATEWAY6_LAN)),
        (made.camera, [f"{CAMERA}/24"], (GATEWAY_LAN, "")),
        (
            made.stranger,
            [f"{STRANGER}/24", f"{OTHER}/24", f"{STRANGER6}/64"],
            (GATEWAY_WAN, GATEWAY6_WAN),
        ),
    ):
        for address in addresses:
            station.ip(f"addr add {address} dev eth0" + _nodad(address))
        for router in filter(None, routers):
            station.ip(f"route add default via {router}")


def plug(made: Gateway, station: Namespace, port: str, mac: str) -> None:
    """A wire from the gateway's port to the station's eth0, both up."""
    there = f"netns {station.name} type veth peer name {port} netns {made.namespace.name}"
    subprocess.run(["ip", "link", "add", "eth0", "address", mac, *there.split()], check=True)
    station.ip("link set lo up")
    station.ip("link set eth0 up")
    made.namespace.ip(f"link set {port} up")


def _nodad(address: str) -> str:
    return " nodad" if ":" in address else ""


def environment_without_session() -> dict[str, str]:
    """This process's environment as if nobody had come by SSH."""
    return {key: value for key, value in os.environ.items() if not key.startswith("SSH_")}
