"""What dropping a frame of a wire costs: the gate, nftables and xdp-filter on a veth."""

import ctypes
import json
import math
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from fortress_core import BpfObject, Gate, GateEntry, GateKey
from fortress_core.bpf_object import check, extension

from tests.bpf import kernel
from tests.bpf.gate_frames import ATTACKER, UDP
from tests.bpf.gate_links import Link, inside, two_hosts

SENT, ROUNDS, TURNS, ENTRIES = 1_000_000, 2, 4, 10_000
_TEST_RUN, _LIVE_FRAMES, _BATCH = 10, 2, 64


def costs(programs: Path) -> tuple[dict[str, float], dict[str, str]]:
    """CPU ns a frame by who drops it, sending included; and who is not there, and why."""
    found: dict[str, float] = {}
    absent: dict[str, str] = {}
    home = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(home)})  # sender and receiver share a processor: nothing is lost
    try:
        with two_hosts() as link, Sender(link, programs) as sender:
            for name, blocker in list(BLOCKERS.items()) * TURNS:
                try:
                    with blocker(link, programs):
                        found[name] = min(found.get(name, math.inf), sender.cost_ns())
                except (FileNotFoundError, subprocess.CalledProcessError) as error:
                    absent[name] = " ".join(str(getattr(error, "stderr", "") or error).split())
    finally:
        os.sched_setaffinity(0, home)
    return found, absent


class Sender:
    """Sends frames of one blocked source from the far host to the near one, in the kernel."""

    def __init__(self, link: Link, programs: Path) -> None:
        self._link = link
        shown = subprocess.run(
            ["ip", "-n", link.near, "-br", "link", "show", "dev", "v0"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        near_mac = bytes.fromhex(shown.stdout.split()[2].replace(":", ""))
        frame = replace(UDP, src=ATTACKER, dst="10.9.0.2").frame()
        self._frame = near_mac + with_checksum(frame)[6:]
        with inside(link.far):
            self._program = BpfObject.load(
                programs, constants={"ifindex": socket.if_nametoindex("v1")}
            )

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, *_: object) -> None:
        self._program.close()

    def cost_ns(self) -> float:
        """CPU of this thread and of the kernel's softirq threads, for a frame; least of some."""
        return min(self._once() for _ in range(ROUNDS))

    def _once(self) -> float:
        octets = ctypes.create_string_buffer(self._frame, len(self._frame))
        fd = self._program.program_fd("send")
        words = (fd, 0, len(octets), 0, ctypes.addressof(octets), 0, SENT, 0)
        attributes = ctypes.create_string_buffer(
            struct.pack("<IIIIQQII24xIII4x", *words, _LIVE_FRAMES, 0, _BATCH),
            80,
        )  # fmt: skip
        with inside(self._link.far):
            before, begun = softirq_ns(), time.thread_time_ns()
            kernel.bpf(_TEST_RUN, attributes)
            spent = time.thread_time_ns() - begun + softirq_ns() - before
        return spent / SENT


def with_checksum(frame: bytes) -> bytes:
    """The frame with the sum in its IPv4 header, without which the kernel's stack drops it."""
    total = sum(struct.unpack_from("!10H", frame, 14)) - int.from_bytes(frame[24:26])
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return frame[:24] + total.to_bytes(2) + frame[26:]


def softirq_ns() -> int:
    """What the kernel's softirq threads have used so far."""
    spent = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "comm").read_text().startswith("ksoftirqd/"):
                spent += int((folder / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return spent


def blocked() -> list[str]:
    """The sender's address among others."""
    return [ATTACKER, *(str(ip_address(0x0B000000 + 7 * number)) for number in range(ENTRIES - 1))]


@contextmanager
def dropped_by_xdp(link: Link, programs: Path) -> Iterator[None]:
    with inside(link.near), BpfObject.load(programs) as bench:
        fd, ifindex = bench.program_fd("drop_all"), socket.if_nametoindex("v0")
        check(extension().lib.fx_xdp_attach(fd, ifindex, 0, 0))
        try:
            yield
        finally:
            check(extension().lib.fx_xdp_detach(fd, ifindex))


@contextmanager
def dropped_by_gate(whole: bool, link: Link, programs: Path) -> Iterator[None]:
    with inside(link.near), Gate.load() as gate:
        gate.add(GateEntry(GateKey.parse(one)) for one in blocked())
        mode = gate.attach(socket.if_nametoindex("v0"), keeps_super_frames=whole)
        if mode != ("generic" if whole else "native"):
            raise FileNotFoundError(f"this kernel's veth takes the gate {mode} only")
        for word in ("off", "on") if whole else ():  # so that the driver takes what XDP sends
            subprocess.run(["ethtool", "-K", "v0", "gro", word], check=True, capture_output=True)
        yield
        counted = gate.counters()["drop_address"]
    if counted < SENT * ROUNDS:
        raise RuntimeError(f"the gate saw {counted} of {SENT * ROUNDS} frames")


@contextmanager
def dropped_by_nft(family: str, hook: str, link: Link, programs: Path) -> Iterator[None]:
    nft = ["ip", "netns", "exec", link.near, "nft"]
    rules = f"""table {family} bench {{
        set blocked {{ type ipv4_addr; flags timeout; elements = {{ {", ".join(blocked())} }}; }}
        chain c {{ type filter {hook}; policy accept; ip saddr @blocked counter drop; }}
    }}"""
    with inside(link.near):
        # With GRO on the driver takes frames that XDP sends, as with a program of its own.
        for word in ("off", "on"):
            subprocess.run(["ethtool", "-K", "v0", "gro", word], check=True, capture_output=True)
    subprocess.run([*nft, "-f", "-"], input=rules, text=True, check=True, capture_output=True)
    try:
        yield
        listed = subprocess.run([*nft, "-j", "list", "table", family, "bench"],
                                check=True, capture_output=True, text=True).stdout  # fmt: skip
        counted = max(
            one["counter"]["packets"]
            for item in json.loads(listed)["nftables"] if "rule" in item
            for one in item["rule"]["expr"] if "counter" in one
        )  # fmt: skip
        if counted < SENT * ROUNDS:
            raise RuntimeError(f"nft saw {counted} of {SENT * ROUNDS} frames")
    finally:
        subprocess.run([*nft, "delete", "table", family, "bench"], check=True)


@contextmanager
def dropped_by_xdp_filter(link: Link, programs: Path) -> Iterator[None]:
    if shutil.which("xdp-filter") is None:
        raise FileNotFoundError("xdp-filter is not installed")

    def xdp_filter(*words: str) -> None:
        command = ["nsenter", f"--net=/run/netns/{link.near}", "xdp-filter", *words]
        subprocess.run(command, check=True, capture_output=True, text=True)

    xdp_filter("load", "-m", "native", "v0")
    try:
        xdp_filter("ip", "-m", "src", ATTACKER)
        yield
    finally:
        xdp_filter("unload", "v0")


BLOCKERS: dict[str, Callable[[Link, Path], AbstractContextManager[None]]] = {
    "an XDP program that drops all": dropped_by_xdp,
    "the gate, native": partial(dropped_by_gate, False),
    "the gate, generic": partial(dropped_by_gate, True),
    "nft set, netdev ingress": partial(
        dropped_by_nft, "netdev", "hook ingress device v0 priority 0"
    ),
    "nft set, inet prerouting": partial(dropped_by_nft, "inet", "hook prerouting priority raw"),
    "xdp-filter": dropped_by_xdp_filter,
}
