"""docs/performance-gateway.md from the results of one run of bench/gateway.py."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench import markdown
from bench.markdown import met, table

LEAST_SHARE = 0.95
MEDIAN_S, P99_S = 0.150, 0.500
ADD_MS, BATCH_US, RESTORED_S, RSS_MB = 0.5, 20.0, 1.0, 350.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Bits a second that came through, offered 2.5 Gbit/s and as many as go."""

    side: str
    paced: list[float]
    unpaced: list[float]
    is_promised: bool = True


@dataclass(frozen=True, slots=True)
class Reaction:
    """Seconds from each attacker's packet that was too much to the first that was dropped."""

    name: str
    enough: int
    seconds: list[float]
    sent: int
    arrived: int
    hits: int  # of the block that the fewest packets met

    def at(self, share: float) -> float:
        """The seconds that such a share of the attackers did not exceed."""
        return at(sorted(self.seconds), share)

    @property
    def p50(self) -> float:
        """The median of the seconds."""
        return median(self.seconds)

    @property
    def p99(self) -> float:
        """What one of a hundred attackers exceeded."""
        return self.at(0.99)

    @property
    def is_met(self) -> bool:
        """Whether all is as promised, the kernel's counters included."""
        return self.p50 <= MEDIAN_S and self.p99 <= P99_S and self.hits > 0


@dataclass(frozen=True, slots=True)
class Single:
    """Seconds of adding one block beside so many: right after another, and after a rest."""

    standing: int
    quick: list[float]
    rested: list[float]


@dataclass(frozen=True, slots=True)
class Flushed:
    """Seconds from a flush of the ruleset to the return of so many blocks."""

    standing: int
    seconds: list[float]


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds: of one, of an element of a batch, of 100,000 at once and as a list, of restoring."""

    ones: list[Single]
    many: list[float]
    hundred: float
    feed: float
    flushed: list[Flushed]

    @staticmethod
    def of(values: dict[str, Any]) -> "Costs":
        """What was kept as JSON."""
        values["ones"] = [Single(**one) for one in values["ones"]]
        values["flushed"] = [Flushed(**one) for one in values["flushed"]]
        return Costs(**values)


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
            Costs.of(values["costs"]),
            values["agent_mb"],
        )


def page(found: Found) -> str:
    """The whole page as Markdown."""
    sections = (head(found), forwarding(found), reactions(found), blocks(found), memory(found))
    return markdown.page("./dev bench gateway", *sections)


def head(found: Found) -> Iterator[str]:
    meaning = (
        "What a gateway costs with Fortress on it, and how soon an attacker is dropped: one run of "
        "`./dev bench gateway` in network namespaces on one machine, which also sends, "
        "receives and attacks. Neighbours on the machine disturb."
    )
    yield from markdown.head("Performance of a gateway", meaning, found.machine)


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
        "entry: on veth not in the driver, where it would get no super-frames "
        "([decision 0013](decisions/0013-generic-xdp-on-veth.md))."
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
        rows.append(
            (
                one.name,
                str(one.enough),
                str(len(one.seconds)),
                *map(ms, (min(one.seconds), one.p50, one.at(0.9), one.p99, max(one.seconds))),
                met(one.is_met),
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
    yield (
        "Through the guard's socket into nftables, written to the guard's file and audited before "
        "the answer. After a rest of 20 ms the caches are cold, and sleepers are to be woken: that "
        "is told, and not judged."
    )
    yield ""
    yield from table(("what", "median", "p99", "target", ""), list(_block_rows(found.costs)))


def _block_rows(costs: Costs) -> Iterator[tuple[str, ...]]:
    for single in costs.ones:
        quick, rested = sorted(single.quick), sorted(single.rested)
        beside = f"one block beside {single.standing:,}"
        p99 = at(quick, 0.99)
        yield (
            beside, f"{1e3 * median(quick):.2f} ms", f"{1e3 * p99:.2f} ms",
            f"≤ {ADD_MS} ms", met(1e3 * p99 <= ADD_MS),
        )  # fmt: skip
        yield (
            f"{beside}, after a rest",
            f"{1e3 * median(rested):.2f} ms", f"{1e3 * at(rested, 0.99):.2f} ms", "", "",
        )  # fmt: skip
    many = sorted(costs.many)
    yield (
        "one of 10,000 at once", f"{1e6 * median(many):.1f} µs", f"{1e6 * many[-1]:.1f} µs",
        f"≤ {BATCH_US:.0f} µs", met(1e6 * median(many) <= BATCH_US),
    )  # fmt: skip
    share_us = 10 * costs.hundred
    is_met = met(share_us <= BATCH_US)
    yield "one of 100,000 at once", f"{share_us:.1f} µs", "", f"≤ {BATCH_US:.0f} µs", is_met
    yield "a list of 100,000", f"{costs.feed:.2f} s", "", "", ""
    for number, flushed in enumerate(costs.flushed):
        worst = max(flushed.seconds)
        yield (
            f"{flushed.standing:,} blocks are back after a flush",
            f"{1e3 * median(flushed.seconds):.0f} ms", f"{1e3 * worst:.0f} ms",
            *(("", "") if number else (f"≤ {1000 * RESTORED_S:.0f} ms", met(worst <= RESTORED_S))),
        )  # fmt: skip


def missed(found: Found) -> list[str]:
    """What is promised and was not reached, a line each."""
    alone = median(found.paces[0].paced)
    lines = [
        f"forwarding, {pace.side}: {median(pace.paced) / alone:.1%} (target ≥ {LEAST_SHARE:.0%})"
        for pace in found.paces
        if pace.is_promised and median(pace.paced) < LEAST_SHARE * alone
    ]
    lines += [
        f"reaction, {one.name}: median {ms(one.p50)} ms, p99 {ms(one.p99)} ms, {one.hits} hits"
        for one in found.reactions
        if not one.is_met
    ]
    for row in _block_rows(found.costs):
        if row[-1] and row[-1] != met(True):
            lines.append(f"{row[0]}: {row[1]} {row[2]} (target {row[3]})")
    if found.agent_mb > RSS_MB:
        lines.append(
            f"the agent's resident set: {found.agent_mb:.0f} MB (target ≤ {RSS_MB:.0f} MB)"
        )
    return lines


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
