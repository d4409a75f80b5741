"""docs/performance-gateway.md from the results of one run of bench/gateway.py."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.report import table

NOTE = "<!-- Made by python -m bench.gateway; do not edit. -->\n"
LEAST_SHARE = 0.95
MEDIAN_S, P99_S = 0.150, 0.500
ADD_MS, BATCH_US, RESTORED_S, RSS_MB = 0.5, 20.0, 1.0, 350.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Bits a second that came through, offered 2.5 Gbit/s and as many as go."""

    side: str
    paced: list[float]
    unpaced: list[float]


@dataclass(frozen=True, slots=True)
class Reaction:
    """Seconds from each attacker's packet that was too much to the first that was dropped."""

    name: str
    enough: int
    seconds: list[float]
    sent: int
    arrived: int
    hits: int  # of the block that the fewest packets met


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds: of adding one, of an element of a batch, of a list of 100,000, of restoring."""

    one: list[float]
    many: list[float]
    feed: float
    restored: list[float]
    standing: int


@dataclass(frozen=True, slots=True)
class Found:
    """All that a run measured."""

    machine: dict[str, str]
    rounds: int
    paces: list[Pace]
    reactions: list[Reaction]
    costs: Costs
    agent_mb: float

    @staticmethod
    def of(values: dict[str, Any]) -> "Found":
        """What was kept as JSON."""
        return Found(
            values["machine"],
            values["rounds"],
            [Pace(**one) for one in values["paces"]],
            [Reaction(**one) for one in values["reactions"]],
            Costs(**values["costs"]),
            values["agent_mb"],
        )


def page(found: Found) -> str:
    """The whole page as Markdown."""
    sections = (head(found), forwarding(found), reactions(found), blocks(found), memory(found))
    return NOTE + "\n" + "\n".join(line for lines in sections for line in (*lines, ""))


def head(found: Found) -> Iterator[str]:
    yield "# Performance of a gateway"
    yield ""
    yield (
        "What a gateway costs with Fortress on it, and how soon an attacker is dropped: one run of "
        "`python -m bench.gateway` in network namespaces on one machine, which also sends, "
        "receives and attacks. Neighbours on the machine disturb."
    )
    yield ""
    yield from table(("fact", "value"), found.machine.items())


def forwarding(found: Found) -> Iterator[str]:
    yield "## Forwarding"
    yield ""
    yield (
        "iperf3 by TCP between a station and a server, through bridge, gateway and an upstream "
        "router, in both directions by turns: Mbit/s, the median and the least of "
        f"{found.rounds} rounds. The sides take turns. Offered 2.5 Gbit/s, at least "
        f"{LEAST_SHARE:.0%} of what goes through without Fortress is promised; without pace "
        "nothing is promised, and the processors that forward also send and receive."
    )
    yield ""
    alone = median(found.paces[0].paced)
    rows = []
    for pace in found.paces:
        share = median(pace.paced) / alone
        rows.append(
            (
                pace.side,
                *(f"{form(taken) / 1e6:,.0f}" for taken in (pace.paced,) for form in (median, min)),
                f"{share:.1%}",
                "" if pace is found.paces[0] else met(share >= LEAST_SHARE),
                *(f"{form(pace.unpaced) / 1e6:,.0f}" for form in (median, min)),
            )
        )
    yield from table(
        ("", "offered 2,500", "least", "share", f"≥ {LEAST_SHARE:.0%}", "unpaced", "least"), rows
    )
    yield ""
    yield (
        "The gate (XDP) is off unless guard.toml names it, and attached only while it holds an "
        "entry: a veth with native XDP gets no super-frames, so that every packet of 1,500 bytes "
        "is paid for alone."
    )


def reactions(found: Found) -> Iterator[str]:
    yield "## Reaction"
    yield ""
    yield (
        "From the packet with which an attack is too much (its risk alone asks for a block) to the "
        "first packet that the kernel drops and all after it. hping3 sends 1,000 packets a second; "
        "tcpdump where they are sent and where they would arrive is the witness, by the kernel's "
        "stamps. Two attack at a time, each from an address of its own and on a victim of its own. "
        "Milliseconds; the kernel's counter of each block has to show hits as well."
    )
    yield ""
    rows = []
    for one in found.reactions:
        ordered = sorted(one.seconds)
        p50, p99 = median(ordered), at(ordered, 0.99)
        rows.append(
            (
                one.name,
                str(one.enough),
                str(len(ordered)),
                *(ms(value) for value in (ordered[0], p50, at(ordered, 0.9), p99, ordered[-1])),
                met(p50 <= MEDIAN_S and p99 <= P99_S and one.hits > 0),
                f"{one.sent:,}",
                f"{one.sent - one.arrived:,}",
            )
        )
    limits = f"median ≤ {1000 * MEDIAN_S:.0f}, p99 ≤ {1000 * P99_S:.0f}"
    yield from table(
        ("", "too much", "attackers", "least", "median", "p90", "p99", "most", limits, "packets",
         "of them dropped"),
        rows,
    )  # fmt: skip


def blocks(found: Found) -> Iterator[str]:
    yield "## Blocks"
    yield ""
    costs = found.costs
    one, many = sorted(costs.one), sorted(costs.many)
    yield (
        "Through the guard's socket into nftables, written to the guard's file and audited before "
        f"the answer. The flushed ruleset held {costs.standing:,} blocks."
    )
    yield ""
    worst = max(costs.restored)
    yield from table(
        ("what", "median", "p99", "target", ""),
        (
            ("one block", f"{1e3 * median(one):.2f} ms", f"{1e3 * at(one, 0.99):.2f} ms",
             f"≤ {ADD_MS} ms", met(1e3 * median(one) <= ADD_MS)),
            ("one of 10,000 at once", f"{1e6 * median(many):.1f} µs", f"{1e6 * many[-1]:.1f} µs",
             f"≤ {BATCH_US:.0f} µs", met(1e6 * median(many) <= BATCH_US)),
            ("a list of 100,000", f"{costs.feed:.2f} s", "", "", ""),
            ("a flushed ruleset is back", f"{1e3 * median(costs.restored):.0f} ms",
             f"{1e3 * worst:.0f} ms", f"≤ {1000 * RESTORED_S:.0f} ms", met(worst <= RESTORED_S)),
        ),
    )  # fmt: skip


def memory(found: Found) -> Iterator[str]:
    yield "## Memory"
    yield ""
    yield (
        f"The agent's largest resident set while it was attacked: {found.agent_mb:.0f} MB, its "
        f"rings and flow table included (target ≤ {RSS_MB:.0f} MB: "
        f"{met(found.agent_mb <= RSS_MB)})."
    )


def at(ordered: list[float], share: float) -> float:
    """The value that such a share of the values does not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def ms(seconds: float) -> str:
    return "never" if math.isinf(seconds) else f"{1000 * seconds:.0f}"


def met(is_met: bool) -> str:
    return "met" if is_met else "**not met**"
