"""The servers of the lab: real daemons, each in the namespace of its host."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.network import Network
from tests.lab.sandbox import ROOM, SandboxError

_READY_SECONDS, _LOOK_SECONDS = 10.0, 0.05


@dataclass(frozen=True, slots=True)
class Service:
    """A daemon: its host, program and arguments, and the port that shows that it is ready.

    ``needs`` names further programs that it starts.
    """

    host: str
    tool: str
    arguments: tuple[str, ...]
    port: int
    needs: tuple[str, ...] = ()

    @property
    def log(self) -> str:
        """Where its standard output and error go."""
        return f"{ROOM}/logs/{Path(self.tool).name}-{self.host}"


def _nginx(host: str) -> Service:
    return Service(host, "nginx", ("-c", f"{ROOM}/etc/nginx-{host}"), 80)


def _resolver(host: str) -> Service:
    """A name server that has an answer for every name below lan-party.example."""
    answers = ("--no-resolv", "--no-hosts", "--address=/lan-party.example/203.0.113.66")
    words = ("-k", "-C", "/dev/null", "--user=root", "--group=root", "--pid-file=", *answers)
    return Service(host, "dnsmasq", words, 53)


SERVICES: dict[str, tuple[Service, ...]] = {
    "c2": (_nginx("c2"),),
    "dns": (Service("gateway", "dnsmasq", ("-k", "-C", f"{ROOM}/etc/dnsmasq"), 53),),
    # where stolen files go: a server outside that takes them by SSH, HTTP and DNS
    "drop": (
        Service("outsider", "/usr/sbin/sshd", ("-D", "-e", "-f", f"{ROOM}/etc/sshd"), 22),
        _nginx("outsider"),
        _resolver("outsider"),
        _resolver("c2"),
    ),
    "ftp": (Service("nas", "vsftpd", (f"{ROOM}/etc/vsftpd",), 21),),
    "iperf": tuple(Service(host, "iperf3", ("-s",), 5201) for host in ("nas", "web")),
    "rdp": (
        Service(
            "nas",
            "sh",
            (f"{ROOM}/etc/rdp",),
            3389,
            needs=("Xvfb", "freerdp-shadow-cli", "winpr-hash"),
        ),
    ),
    # sshd runs itself again for each connection and wants its whole path
    "ssh": (Service("nas", "/usr/sbin/sshd", ("-D", "-e", "-f", f"{ROOM}/etc/sshd"), 22),),
    "web": (_nginx("web"), _nginx("nas")),
}


@contextmanager
def started(network: Network, names: tuple[str, ...]) -> Iterator[None]:
    """The named services, answering; stopped again on the way out."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        for service in (service for name in names for service in SERVICES[name]):
            words = [*network.prefix(service.host), service.tool, *service.arguments]
            with Path(service.log).open("wb") as log:
                daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            running.append(daemon)
            _wait_until_listening(network, service, daemon)
        yield
    finally:
        for daemon in running:
            daemon.terminate()
        for daemon in running:
            daemon.wait(timeout=10)


def _wait_until_listening(
    network: Network, service: Service, daemon: subprocess.Popen[bytes]
) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and daemon.poll() is None:
        if f":{service.port} " in network.inside(service.host, "ss", "-Hlntu"):
            return
        time.sleep(_LOOK_SECONDS)
    said = Path(service.log).read_text(errors="replace")[-500:].strip()
    raise SandboxError(f"{service.tool} on {service.host} does not listen: {said or 'no word'}")
