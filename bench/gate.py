"""What the gate costs a frame: `./dev bench gate` measures and writes docs/performance-gate.md.

Needs root. The programs are run by the kernel on a frame in memory (BPF_PROG_TEST_RUN), and on a
veth pair in network namespaces of their own beside nftables and xdp-filter.
"""

import argparse
import json
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from ipaddress import ip_address
from pathlib import Path

from fortress_core import BpfObject, Gate, GateEntry, GateKey

from bench import gate_wire, machine
from bench.gate_report import Found, Way, missed, page
from tests.bpf import kernel
from tests.bpf.gate_frames import MAC, UDP
from tests.bpf.gate_runs import compiled, facts, run
from tests.need import ROOT

PAGE = ROOT / "docs" / "performance-gate.md"
STORED = ROOT / ".cache" / "bench" / "gate.json"
SIZES = (1, 10_000, 1_000_000)
RUNS, ROUNDS = 1_000_000, 7
CHUNK = 50_000
GOLDEN = 2654435761  # odd: multiples of it are different addresses, far from each other
INVERSE = pow(GOLDEN, -1, 1 << 32)


PROGRAMS = {"sources": False, "sources and destinations": True}


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench gate", description=__doc__)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="entries at most")
    parser.add_argument("--again", action="store_true", help="the page of the last run, no new one")
    parser.add_argument("--no-page", action="store_true", help="print, but write no page")
    options = parser.parse_args(words)
    if not options.again:
        STORED.parent.mkdir(parents=True, exist_ok=True)
        STORED.write_text(json.dumps(asdict(measure(options.most)), indent=1))
    values = json.loads(STORED.read_text())
    values["ways"] = [Way(**one) for one in values["ways"]]
    found = Found(**values)
    print(page(found))
    if not options.no_page:
        PAGE.write_text(page(found))
    for line in missed(found):
        print(f"bench gate: not met: {line}", file=sys.stderr)
    return 1 if missed(found) else 0


def measure(most: int) -> Found:
    """The whole of it; neighbours on the machine disturb, so the least of several rounds counts."""
    programs = compiled(ROOT / "bench" / "gate_bench.bpf.c", STORED.parent)
    told = machine.facts()
    with BpfObject.load(programs) as bench:
        empty = bench.program_fd("pass_all")
        empty_ns = least(empty, UDP.frame())
        ways = [one for size in SIZES if size <= most for one in of_size(size, empty, programs)]
    with Gate.load() as gate:
        known = {name: facts(gate.program_fd(destinations=d)) for name, d in PROGRAMS.items()}
        add_us = adding(gate)
    wire, absent = gate_wire.costs(programs)
    return Found(
        told, empty_ns, ways,
        {name: one.instructions for name, one in known.items()},
        {name: one.verified for name, one in known.items()},
        add_us, wire, absent,
    )  # fmt: skip


def source(number: int, *, prefix: bool) -> int:
    """The address that gate_bench.bpf.c makes of a number."""
    mixed = number * GOLDEN & 0xFFFFFFFF
    return (mixed << 8 | 1) & 0xFFFFFFFF if prefix else mixed


def entries(count: int, *, prefix: bool) -> Iterator[list[GateEntry]]:
    """Entries for `count` sources, in chunks."""
    for start in range(0, count, CHUNK):
        chunk = []
        for number in range(start, min(count, start + CHUNK)):
            address = source(number, prefix=prefix)
            if prefix:
                key = GateKey("prefix", (address & ~255).to_bytes(4), 24)
            else:
                key = GateKey("addr", address.to_bytes(4))
            chunk.append(GateEntry(key))
        yield chunk


def has_entry(address: int, size: int) -> bool:
    """Whether an address is one of the first `size` sources."""
    return address * INVERSE & 0xFFFFFFFF < size


def stranger(size: int) -> str:
    """An address that is in no entry and in no prefix of the first `size`."""
    number = size
    while has_entry(source(number, prefix=True), size):
        number += 1
    return str(ip_address(source(number, prefix=True)))


def of_size(size: int, empty: int, programs: Path) -> Iterator[Way]:
    """Every way through a gate with so many addresses, then as many prefixes beside them."""
    never = ("192.168.0.0/16", "fe80::/10", "224.0.0.0/4", "ff00::/8")
    with Gate.load(entries=size + 1, prefixes=size) as gate:
        gate.never(map(GateKey.parse, never))
        for prefix, what in ((False, "address"), (True, "prefix")):
            for chunk in entries(size, prefix=prefix):
                gate.add(chunk)
            number = size // 2
            while prefix and has_entry(source(number, prefix=True), size):
                number += 1
            address = str(ip_address(source(number, prefix=prefix)))
            hot = timed(what, size, empty, gate, replace(UDP, src=address).frame())
            yield replace(hot, random_ns=randomly(programs, gate, size, prefix=prefix))
        yield timed("nothing fits", size, empty, gate, replace(UDP, src=stranger(size)).frame())
        gate.add([GateEntry(GateKey.parse(MAC))])
        yield timed("MAC", size, empty, gate, UDP.frame())


def timed(what: str, size: int, empty: int, gate: Gate, frame: bytes) -> Way:
    """One frame again and again; the program that does nothing is run in between."""
    fd = gate.program_fd()
    beyond = [run(fd, frame, RUNS).ns - run(empty, frame, RUNS).ns for _ in range(ROUNDS)]
    return Way(what, size, max(0, min(beyond)), None)


def least(fd: int, frame: bytes) -> int:
    return min(run(fd, frame, RUNS).ns for _ in range(ROUNDS))


def randomly(programs: Path, gate: Gate, size: int, *, prefix: bool) -> int:
    """The same with another source each time, beyond a program that only draws the source."""
    with BpfObject.load(programs, constants={"keys": size, "prefixes": prefix}) as bench:
        driver, slot = bench.program_fd("another"), bench.map_fd("tested")
        spent = []
        for tested in (bench.program_fd("pass_all"), gate.program_fd()):
            kernel.put(slot, bytes(4), struct.pack("<I", tested))
            spent.append(least(driver, UDP.frame()))
    return spent[1] - spent[0]


def adding(gate: Gate) -> dict[str, float]:
    """Microseconds for each entry that is added: alone, and in one call with 100,000."""
    one = [GateEntry(GateKey("addr", (0x0A000000 + number).to_bytes(4))) for number in range(1000)]
    begun = time.process_time()
    for entry in one:
        gate.add([entry])
    alone = (time.process_time() - begun) / len(one)
    many = [entry for chunk in entries(100_000, prefix=False) for entry in chunk]
    begun = time.process_time()
    gate.add(many)
    return {"alone": 1e6 * alone, "of 100,000": 1e6 * (time.process_time() - begun) / len(many)}
