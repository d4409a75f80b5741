"""A home in namespaces: a phone and a laptop on one bridge, a NAS on a second LAN, a server on the
Internet, and between them a gateway that routes, translates addresses and answers DNS.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fortress.devices.policy import DeviceRule, parse_policy, parse_window
from fortress.respond.answers import DeviceStanding
from tests.net.guarded import FORTRESS, Gateway, environment_without_session, plug, until
from tests.net.namespace import Namespace, new_namespace
from tests.patience import patient

PHONE_MAC, LAPTOP_MAC, NAS_MAC = "02:00:5e:00:77:66", "02:00:5e:00:77:20", "02:00:5e:00:78:10"
SERVER_MAC, GATEWAY_MAC = "02:00:5e:00:51:66", "02:00:5e:00:77:01"
PHONE4, PHONE6 = "192.168.77.66", "2001:db8:77::66"
LAPTOP4, LAPTOP6 = "192.168.77.20", "2001:db8:77::20"
NAS4, NAS6 = "192.168.78.10", "2001:db8:78::10"
SERVER4, SERVER6 = "198.51.100.66", "2001:db8:51::66"
GATEWAY4, GATEWAY6 = "192.168.77.1", "2001:db8:77::1"
HTTP = 8080
NAME = "server.test"

# What the phone may try, and what of it each policy lets pass; `curl` is TCP, `ping` ICMP.
TRIES = {
    "internet4": ("ping", SERVER4),
    "internet6": ("ping", SERVER6),
    "internet tcp4": ("curl", f"http://{SERVER4}:{HTTP}/"),
    "internet tcp6": ("curl", f"http://[{SERVER6}]:{HTTP}/"),
    "neighbour4": ("ping", LAPTOP4),
    "neighbour6": ("ping", LAPTOP6),
    "neighbour tcp4": ("curl", f"http://{LAPTOP4}:{HTTP}/"),
    "other lan4": ("ping", NAS4),
    "other lan6": ("ping", NAS6),
    "other lan tcp6": ("curl", f"http://[{NAS6}]:{HTTP}/"),
    "gateway4": ("ping", GATEWAY4),
    "gateway6": ("ping", GATEWAY6),
    "dns4": ("dig", f"@{GATEWAY4}"),
    "dns6": ("dig", f"@{GATEWAY6}"),
    "dns tcp4": ("dig", f"@{GATEWAY4} +tcp"),
    "foreign dns4": ("dig", f"@{SERVER4}"),
}
INTERNET = {"internet4", "internet6", "internet tcp4", "internet tcp6", "foreign dns4"}
GATEWAY = {"gateway4", "gateway6", "dns4", "dns6", "dns tcp4"}
SEGMENT = {"neighbour4", "neighbour6", "neighbour tcp4"}
OTHER_LAN = {"other lan4", "other lan6", "other lan tcp6"}
LAN = SEGMENT | OTHER_LAN
REACHES = {
    "full": INTERNET | GATEWAY | LAN,
    "internet-only": INTERNET | GATEWAY,
    "lan-only": GATEWAY | LAN,
    "quarantined": GATEWAY,
    "paused": set[str](),
}


@dataclass(slots=True)
class Home:
    """The home, with the gateway's guard."""

    gateway: Gateway
    nas: Namespace
    phone: Namespace
    laptop: Namespace
    server: Namespace

    def policy(self, policy: str, *windows: tuple[str, str], **known: object) -> DeviceStanding:
        """The phone's policy is set by an operator who works on the gateway itself."""
        session = str(known.pop("session", ""))
        spans = tuple(parse_window(which, when) for which, when in windows)
        mac, forced = str(known.pop("mac", PHONE_MAC)), bool(known.pop("forced", False))
        with self.gateway.client(session=session) as client:
            rule = DeviceRule(mac, parse_policy(policy), spans, forced)
            return client.set_devices([rule])[0]

    def reaches(self, *names: str, space: Namespace | None = None) -> set[str]:
        """Which of the tries (all when none are named) succeed from the phone, side by side."""
        tries = {name: TRIES[name] for name in names or TRIES}
        return _succeed(space or self.phone, tries)

    def devices(self, *words: str) -> str:
        """What `fortress devices` says on the gateway."""
        return self.gateway.namespace.run(*self._devices(words))

    def devices_refused(self, *words: str, **environ: str) -> str:
        """What `fortress devices` says on standard error when it ends with an error."""
        command = self.gateway.namespace.command(*self._devices(words))
        known = environment_without_session() | environ
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=known)
        assert done.returncode in (1, 2), done.stdout
        return done.stderr

    def _devices(self, words: tuple[str, ...]) -> list[str | Path]:
        folder = self.gateway.folder
        config = folder / "fortress.toml"
        config.write_text(f'state_dir = "{folder}/fortress"\n[devices]\nleases = []\n')
        files = ("--config", config, "--guard-config", self.gateway.toml)
        return [FORTRESS, "devices", *words, *files]

    def settle_phone(self) -> None:
        """The phone's eth0 has its addresses and routes."""
        _address(self.phone, PHONE4, PHONE6, GATEWAY4, GATEWAY6)

    def reached_from(self) -> set[str]:
        """From where the phone is reached: its own segment, the other LAN, outside, the gateway."""
        ways = {"neighbour": self.laptop, "other lan": self.nas, "internet": self.server}
        found = set()
        for name, space in (*ways.items(), ("gateway", self.gateway.namespace)):
            both = _succeed(space, {"4": ("ping", PHONE4), "6": ("ping", PHONE6)})
            found |= {f"{name}{version}" for version in both}
        return found


def _succeed(space: Namespace, tries: dict[str, tuple[str, str]]) -> set[str]:
    running = {}
    for name, (tool, target) in tries.items():
        command = space.command(*_words(tool, target))
        running[name] = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    return {name for name, one in running.items() if one.wait(timeout=patient(30)) == 0}


def _words(tool: str, target: str) -> list[str]:
    if tool == "ping":
        return ["ping", "-n", "-q", "-c", "1", "-W", "1", target]
    if tool == "curl":
        return ["curl", "-sS", "-o", "/dev/null", "--max-time", "2", "-g", target]
    return ["dig", "+tries=1", "+time=1", "+short", *target.split(), NAME]


@contextlib.contextmanager
def at_home(folder: Path, *, ports: bool = True) -> Iterator[Home]:
    """A home whose services answer; its gateway's guard is to be started."""
    with contextlib.ExitStack() as stack:
        outer = [stack.enter_context(new_namespace()) for _ in range(5)]
        gateway = Gateway(*outer[:4], folder)
        home = Home(gateway, outer[4], gateway.camera, gateway.laptop, gateway.stranger)
        listed = '"p-phone", "p-laptop", "lan1"' if ports else ""
        gateway.config = f"lan_ports = [{listed}]\n"
        _wire_up(home)
        for command in _services(home, folder):
            stack.enter_context(_running(command))
        stack.callback(_kill_guards, gateway)
        until(lambda: home.reaches() == REACHES["full"], within_s=30)
        yield home


def _kill_guards(gateway: Gateway) -> None:
    for guard in gateway.guards:
        if guard.poll() is None:
            gateway.kill(guard)
        if guard.stderr is not None:
            guard.stderr.close()


def _wire_up(home: Home) -> None:
    made, router = home.gateway, home.gateway.namespace
    for space in (router, home.phone, home.laptop, home.nas, home.server):
        for which in ("all", "default"):
            space.run("sysctl", "-q", "-w", f"net.ipv6.conf.{which}.disable_ipv6=0")
            space.run("sysctl", "-q", "-w", f"net.ipv6.conf.{which}.accept_dad=0")
    router.ip("link set lo up")
    router.ip("link add br-lan type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
    router.ip(f"link set br-lan address {GATEWAY_MAC} up")
    plug(made, home.phone, "p-phone", PHONE_MAC)
    plug(made, home.laptop, "p-laptop", LAPTOP_MAC)
    plug(made, home.nas, "lan1", NAS_MAC)
    plug(made, home.server, "wan0", SERVER_MAC)
    for port in ("p-phone", "p-laptop"):
        router.ip(f"link set {port} master br-lan")
    for version in ("ip", "ip6"):  # what is bridged is not shown to the inet hooks, as by default
        key = f"net.bridge.bridge-nf-call-{version}tables"
        if Path("/proc/sys", *key.split(".")).exists():
            router.run("sysctl", "-q", "-w", f"{key}=0")
    for interface, address4, address6 in (
        ("br-lan", f"{GATEWAY4}/24", f"{GATEWAY6}/64"),
        ("lan1", "192.168.78.1/24", "2001:db8:78::1/64"),
        ("wan0", "198.51.100.1/24", "2001:db8:51::1/64"),
    ):
        router.ip(f"addr add {address4} dev {interface}")
        router.ip(f"addr add {address6} dev {interface} nodad")
    router.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    router.ip(f"route add default via {SERVER4}")
    router.ip(f"route add default via {SERVER6}")
    for space, address4, address6, router4, router6 in (
        (home.phone, PHONE4, PHONE6, GATEWAY4, GATEWAY6),
        (home.laptop, LAPTOP4, LAPTOP6, GATEWAY4, GATEWAY6),
        (home.nas, NAS4, NAS6, "192.168.78.1", "2001:db8:78::1"),
        (home.server, SERVER4, SERVER6, "198.51.100.1", "2001:db8:51::1"),
    ):
        _address(space, address4, address6, router4, router6)
    rules = made.folder / "nat.nft"
    rules.write_text(
        "table ip nat {\n chain out {\n  type nat hook postrouting priority 100;\n"
        '  ip saddr 192.168.0.0/16 oifname "wan0" masquerade\n }\n}\n'
    )
    router.run("nft", "-f", rules)


def _address(space: Namespace, address4: str, address6: str, router4: str, router6: str) -> None:
    space.ip(f"addr add {address4}/24 dev eth0")
    space.ip(f"addr add {address6}/64 dev eth0 nodad")
    space.ip(f"route add default via {router4}")
    space.ip(f"route add default via {router6}")


def _services(home: Home, folder: Path) -> Iterator[list[str]]:
    web = [sys.executable, "-m", "http.server", "--bind", "::", "--directory", str(folder)]
    (folder / "index.html").write_text("here\n")
    for space in (home.laptop, home.nas, home.server):
        yield space.command(*web, str(HTTP))
    for space in (home.gateway.namespace, home.server):
        yield space.command(
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv"),
            *("--no-hosts", f"--host-record={NAME},{SERVER4}", "--user=root", "--pid-file="),
        )


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=patient(10))
