"""Network namespaces of a test's own: made, entered by a thread for a moment, taken away."""

import contextlib
import ctypes
import itertools
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.patience import patient

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET, _SO_TIMESTAMP = 0x40000000, 29
PATIENCE_S = patient(10)
_NUMBERS = itertools.count()


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace by its name in /run/netns."""

    name: str

    @property
    def path(self) -> Path:
        """Where it is mounted."""
        return Path("/run/netns") / self.name

    def ip(self, words: str) -> None:
        """Run an `ip` command in it, such as `link set lo up`."""
        subprocess.run(["ip", "-n", self.name, *words.split()], check=True, capture_output=True)

    def command(self, *words: str | Path) -> list[str]:
        """What runs the words in it (nsenter keeps the mounts, `ip netns exec` does not)."""
        return ["nsenter", f"--net={self.path}", *map(str, words)]

    def run(self, *words: str | Path) -> str:
        """What the command printed in it; CalledProcessError when it fails."""
        done = subprocess.run(self.command(*words), check=True, capture_output=True, text=True)
        return done.stdout

    def veth(self, left: str, right: str, *, gro: bool = False) -> None:
        """Make a pair of interfaces in it, both up; what is sent on one arrives at the other."""
        self.ip(f"link add {left} type veth peer name {right}")
        for side in (left, right):  # before either is up, or frames that XDP sends are dropped
            self.run("ethtool", "-K", side, "gro", "on" if gro else "off")
        for side in (left, right):
            self.ip(f"link set {side} up")

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is in it; sockets made meanwhile stay there."""
        with Path("/proc/thread-self/ns/net").open("rb") as home, self.path.open("rb") as there:
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def bridge(self, name: str, *ports: str) -> None:
        """Make a bridge of the ports that forwards and says nothing itself."""
        self.ip(f"link add name {name} type bridge mcast_snooping 0")
        for port in ports:
            self.ip(f"link set {port} master {name}")
        self.ip(f"link set {name} up")
        deadline = time.monotonic() + PATIENCE_S
        for port in ports:
            while '"state":"forwarding"' not in self.run("ip", "-d", "-j", "link", "show", port):
                assert time.monotonic() < deadline, f"{port} does not forward"
                time.sleep(0.02)

    def sender(self, interface: str) -> socket.socket:
        """A socket that sends whole frames out of an interface."""
        with self.entered():
            sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            sender.bind((interface, 0))
        return sender


def _setns(fd: int) -> None:
    if _LIBC.setns(fd, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def new_namespace() -> Iterator[Namespace]:
    """A namespace in which nothing talks by itself: no IPv6 until a test asks for it."""
    made = Namespace(f"fortress-test-{os.getpid()}-{next(_NUMBERS)}")
    subprocess.run(["ip", "netns", "add", made.name], check=True)
    try:
        quiet = [f"net.ipv6.conf.{which}.disable_ipv6=1" for which in ("all", "default")]
        subprocess.run(["ip", "netns", "exec", made.name, "sysctl", "-qw", *quiet], check=True)
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", made.name], check=True)


@contextlib.contextmanager
def stamped_once() -> Iterator[None]:
    """The kernel stamps a frame when it comes, not when it is copied: every tap has one stamp."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asks:
        asks.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMP, 1)
        yield
