"""How long an attacker goes on: from the packet that is too much to the first that is dropped.

Witnesses that know nothing of Fortress: tcpdump where the attacker sends and where the victims
receive, both with the kernel's stamps of one clock. A packet is known by its source and source
port, which hping3 counts up.
"""

import contextlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.pcapio import locate, read_ethernet, u16
from fortress.features.rows import TCP
from fortress.qsecbit.catalogue import chosen
from fortress.qsecbit.fuse import STEPS
from fortress.verdict import Action
from tests.net.guarded import LAPTOP
from tests.net.house import House
from tests.net.namespace import Namespace
from tests.patience import patient

PACKETS = 1000  # of a round, as many a second
TRIED_PORT = 80
_FIRST_PORT = 20_000  # hping3 counts up from here
_SETTLE_S = 0.3
_BLOCK_RISK = next(least for least, action, _ in STEPS if action is Action.BLOCK)


@dataclass(frozen=True, slots=True)
class Attack:
    """What hping3 is told, and with how many of its packets it is too much."""

    name: str
    options: tuple[str, ...]
    enough: int


@dataclass(frozen=True, slots=True)
class Round:
    """One attacker: its packets that reached the victim, and how long it went on.

    `seconds` is from the packet that was too much to the first of those that no longer arrived;
    infinite when the last packet of the attack arrived.
    """

    attacker: str
    sent: int
    arrived: int
    seconds: float


def syn_flood_attack() -> Attack:
    """Connections asked for on one port, and never made."""
    return Attack(
        "SYN flood", ("-p", str(TRIED_PORT)), _enough("syn_flood", once=("ports",), never=())
    )


def port_scan_attack() -> Attack:
    """One closed port after the other, each of which the victim refuses."""
    return Attack(
        "port scan", ("-p", "++1000"), _enough("port_scan", never=("fine", "odd", "fine_slow"))
    )


def attack(house: House, kind: Attack, attacker: str, victim: str = LAPTOP) -> None:
    """One round of an attack: PACKETS in a second, from an address that the attacker has."""
    words = ["hping3", "-q", "-n", "-S", "-a", attacker, "-s", str(_FIRST_PORT), *kind.options]
    command = house.stranger.command(*words, "-i", "u1000", "-c", str(PACKETS), victim)
    subprocess.run(command, capture_output=True, check=False, timeout=patient(30))


@contextlib.contextmanager
def witnessed(house: House, folder: Path) -> Iterator[None]:
    """What attackers send and what arrives is written down while the body runs."""
    with (
        _tcpdump(house.stranger, "out", folder / "sent.pcap"),
        _tcpdump(house.laptop, "in", folder / "laptop.pcap"),
        _tcpdump(house.camera, "in", folder / "camera.pcap"),
    ):
        yield
        time.sleep(_SETTLE_S)


def rounds(folder: Path, kind: Attack) -> list[Round]:
    """What the witnesses saw, an attacker after the other."""
    sent = _read(folder / "sent.pcap")
    arrived = _read(folder / "laptop.pcap") | _read(folder / "camera.pcap")
    return [
        _round(attacker, packets, arrived[attacker], kind) for attacker, packets in sent.items()
    ]


def _round(attacker: str, sent: dict[int, int], arrived: dict[int, int], kind: Attack) -> Round:
    ports = sorted(sent, key=lambda port: sent[port])
    last = max(at for at, port in enumerate(ports) if port in arrived)
    seconds = float("inf")
    if last + 1 < len(ports):
        seconds = (sent[ports[last + 1]] - sent[ports[kind.enough - 1]]) / 1e9
    return Round(attacker, len(sent), len(arrived), seconds)


def _read(path: Path) -> dict[str, dict[int, int]]:
    """The time of each source port, for each source."""
    frames = read_ethernet(path)
    if frames is None or not len(frames):
        return {}
    headers = locate(frames)
    octets = np.concatenate([frames.octets, np.zeros(64, np.uint8)])
    found: dict[str, dict[int, int]] = {}
    ports = u16(octets, headers.transport)
    for at, frame, port in zip(headers.at, headers.frame, ports, strict=True):
        source = ".".join(str(octet) for octet in octets[at + 12 : at + 16])
        found.setdefault(source, {}).setdefault(int(port), int(frames.time_ns[frame]))
    return found


@contextlib.contextmanager
def _tcpdump(place: Namespace, direction: str, path: Path) -> Iterator[None]:
    words = place.command(
        *(
            "tcpdump",
            "-i",
            "eth0",
            "-Q",
            direction,
            "-w",
            path,
            "-n",
            "-s",
            "64",
            "--immediate-mode",
        ),
        *("--time-stamp-precision=nano", "-Z", "root"),
        "tcp[tcpflags] == tcp-syn and src net 198.18.0.0/15",
    )
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as tcpdump:
        assert tcpdump.stderr is not None
        while "listening on" not in (line := tcpdump.stderr.readline()):
            assert line, "tcpdump ended"
        try:
            yield
        finally:
            tcpdump.terminate()
            told = tcpdump.stderr.read()
    assert "0 packets dropped by kernel" in told, told


def _enough(detector: str, *, once: Sequence[str] = (), never: Sequence[str]) -> int:
    """With how many packets alone the detector's risk asks for a block.

    Columns are counts of these packets, but for those that are 1 (`once`) or 0 (`never`).
    """
    setting = next(one for one in chosen({}) if one.detector.name == detector)
    count = np.arange(1.0, PACKETS)
    table = dict.fromkeys(setting.detector.columns, count)
    table |= dict.fromkeys(once, np.ones_like(count)) | dict.fromkeys(never, np.zeros_like(count))
    table |= {"proto": np.full_like(count, TCP)}
    risk = setting.detector.severity * setting.scores(table)
    return int(count[risk >= _BLOCK_RISK][0])
