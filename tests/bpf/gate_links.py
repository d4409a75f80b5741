"""Two hosts and a link between them, in network namespaces of a test's own."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNET = 0x4000_0000
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Link:
    """`near` is where the gate stands (10.9.0.2, fd00:9::2), `far` where pings come from (…1)."""

    near: str
    far: str

    def ping(self, address: str, octets: int = 56) -> bool:
        """Whether `address` answers the far host within two seconds."""
        words = ["ip", "netns", "exec", self.far, "ping", "-q", "-i", "0.2", "-c", "2", "-w", "2"]
        return (
            subprocess.run(
                [*words, "-s", str(octets), address], capture_output=True, check=False
            ).returncode
            == 0
        )

    def near_link(self, name: str = "v0") -> str:
        """What `ip link` shows of an interface of the near host."""
        words = ["ip", "-n", self.near, "-d", "link", "show", "dev", name]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@contextmanager
def two_hosts() -> Iterator[Link]:
    """A veth pair, v0 on the near host, v1 on the far one, with addresses of both IP versions."""
    link = Link(f"fortress-gate-near-{os.getpid()}", f"fortress-gate-far-{os.getpid()}")
    try:
        for name in (link.near, link.far):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", link.near, "link", "add", "v0", "type", "veth", "peer", "v1", "netns", link.far)
        for name, interface, number in ((link.near, "v0", 2), (link.far, "v1", 1)):
            ip("-n", name, "addr", "add", f"10.9.0.{number}/24", "dev", interface)
            ip("-n", name, "addr", "add", f"fd00:9::{number}/64", "dev", interface, "nodad")
            ip("-n", name, "link", "set", interface, "up")
        yield link
    finally:
        for name in (link.near, link.far):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread in a network namespace, and back again."""
    with Path("/proc/thread-self/ns/net").open() as home:
        try:
            with Path("/run/netns", namespace).open() as there:
                _enter(there.fileno())
            yield
        finally:
            _enter(home.fileno())


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
