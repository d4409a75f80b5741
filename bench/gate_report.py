"""docs/performance-gate.md from the results of one run of bench/gate.py."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench import markdown
from bench.markdown import met, table

LIMITS_NS = {"address": 80, "prefix": 150}  # one hot key, beyond a program that does nothing
ADD_LIMITS_US = {"alone": 500.0, "of 100,000": 20.0}


@dataclass(frozen=True, slots=True)
class Way:
    """A way through the program: ns a frame beyond a program that does nothing."""

    what: str
    entries: int
    hot_ns: int
    random_ns: int | None


@dataclass(frozen=True, slots=True)
class Found:
    """All that a run measured."""

    machine: dict[str, str]
    empty_ns: int
    ways: list[Way]
    instructions: dict[str, int]
    verified: dict[str, int]
    add_us: dict[str, float]
    wire: dict[str, float]
    absent: dict[str, str]


def page(found: Found) -> str:
    """The whole page as Markdown."""
    sections = (head(found), ways(found), program(found), adding(found), wire(found))
    return markdown.page("./dev bench gate", *sections)


def missed(found: Found) -> list[str]:
    """What is promised and was not reached, a line each."""
    lines = [
        f"{way.what}, {way.entries:,} entries, one hot key: {way.hot_ns} ns beyond an empty program"
        f" (target ≤ {LIMITS_NS[way.what]})"
        for way in found.ways
        if way.what in LIMITS_NS and way.hot_ns > LIMITS_NS[way.what]
    ]
    lines += [
        f"an entry added {how}: {spent:.1f} µs (target ≤ {ADD_LIMITS_US[how]:g})"
        for how, spent in found.add_us.items()
        if spent > ADD_LIMITS_US[how]
    ]
    return lines


def head(found: Found) -> Iterator[str]:
    meaning = (
        "What [the gate](gate.md) costs a frame, on one machine in one run of `./dev bench "
        "gate`. Neighbours on the machine disturb: a figure is the least of several rounds."
    )
    yield from markdown.head("Performance of the gate", meaning, found.machine)


def ways(found: Found) -> Iterator[str]:
    yield "## A frame in memory"
    yield ""
    yield (
        "The kernel runs the program on one frame a million times (BPF_PROG_TEST_RUN). Figures "
        f"are nanoseconds beyond an XDP program that does nothing ({found.empty_ns} ns). One hot "
        "key is the same source each time, random keys another one of all entries each time: "
        "then the memory is what takes the time. The gate holds as many addresses as the table "
        "says, and for the prefixes (/24) as many of these beside them; some prefixes are never "
        "blocked."
    )
    yield ""
    rows = []
    for way in found.ways:
        limit = LIMITS_NS.get(way.what)
        verdict = "" if limit is None else met(way.hot_ns <= limit)
        rows.append(
            (
                way.what,
                f"{way.entries:,}",
                str(way.hot_ns),
                "" if limit is None else f"≤ {limit}",
                verdict,
                "" if way.random_ns is None else str(way.random_ns),
            )
        )
    yield from table(("what fits", "entries", "one hot key", "target", "", "random keys"), rows)


def program(found: Found) -> Iterator[str]:
    yield "## The program"
    yield ""
    yield (
        "Instructions as the kernel has them, and how many its check looked at; "
        "`tests/bpf/test_gate_frames.py` holds them to what was recorded, "
        "and `tests/instructions` those that each way through the program takes, and its lookups."
    )
    yield ""
    rows = ((n, f"{found.instructions[n]:,}", f"{found.verified[n]:,}") for n in found.instructions)
    yield from table(("looks at", "instructions", "verified"), rows)


def adding(found: Found) -> Iterator[str]:
    yield "## Adding entries"
    yield ""
    yield "CPU time of `Gate.add()` for an entry, alone and in one call."
    yield ""
    rows = (
        (
            how,
            f"{spent:.1f}",
            f"≤ {ADD_LIMITS_US[how]:g}",
            met(spent <= ADD_LIMITS_US[how]),
        )
        for how, spent in found.add_us.items()
    )
    yield from table(("entry", "µs", "target", ""), rows)


def wire(found: Found) -> Iterator[str]:
    yield "## A frame over a wire"
    yield ""
    yield (
        "Frames of one blocked source are sent over a veth pair by the kernel itself (live frames "
        "of BPF_PROG_TEST_RUN); sender and receiver share a processor. CPU nanoseconds a frame, "
        "sending and the driver included: the difference to the first row is what blocking costs. "
        "Each blocker holds 10,000 addresses and counts what it drops."
    )
    yield ""
    least = min(found.wire.values(), default=0.0)
    rows = ((name, f"{ns:.0f}", f"+{ns - least:.0f}") for name, ns in found.wire.items())
    yield from table(("dropped by", "CPU ns", "beyond the cheapest"), rows)
    if found.absent:
        yield ""
        yield "Not compared: " + "; ".join(f"{k}: {v}" for k, v in found.absent.items()) + "."
