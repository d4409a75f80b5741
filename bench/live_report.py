"""docs/performance-live.md from the results of one run of bench/live.py."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench import gateway_report, markdown
from bench.live_readers import READERS
from bench.live_traffic import AT_RATE, ELEPHANTS, LONG, LONG_RATE, Run
from bench.markdown import met, table

SMALL = f"small, {AT_RATE}"
TAP_SHARE = 0.5  # of what long flows cost the plain ring
ONLY_PLAIN, TAPPED = "packet", "packet with tap"


@dataclass(frozen=True, slots=True)
class Found:
    """All that a run measured; `lossless` is packets a second by reader."""

    machine: dict[str, str]
    rounds: int
    lossless: dict[str, int]
    runs: list[Run]

    @staticmethod
    def of(values: dict[str, Any]) -> "Found":
        """What was kept as JSON."""
        runs = [Run(**one) for one in values["runs"]]
        return Found(values["machine"], values["rounds"], values["lossless"], runs)

    def of_kind(self, reader: str, traffic: str) -> list[Run]:
        """The runs of a reader on one kind of traffic."""
        return [run for run in self.runs if (run.reader, run.traffic) == (reader, traffic)]

    def has_added(self, reader: str, traffic: str) -> bool:
        """Whether there is something to compare."""
        return bool(self.of_kind(reader, traffic) and self.of_kind("none", traffic))


def page(found: Found, gateway: gateway_report.Found | None) -> str:
    """The whole page as Markdown; `gateway` is what the bench of a gateway kept, if it ran."""
    sections = (head(found), targets(found), readers(found), loss(found), agent(gateway))
    return markdown.page("./dev bench live", *sections)


def head(found: Found) -> Iterator[str]:
    meaning = (
        "What it costs to read a live interface, beside programs that do the same: one run of "
        "`./dev bench live` on a veth pair, in turns. A generator in the kernel sends and, in the "
        "same context, delivers; all share two processors. Neighbours on the machine disturb."
    )
    yield from markdown.head("Performance of live capture", meaning, found.machine)


def targets(found: Found) -> Iterator[str]:
    yield "## Targets"
    yield ""
    rows = [(what, target, value, met(is_met)) for what, target, value, is_met in _judged(found)]
    yield from table(("what", "target", "measured", ""), rows)


def missed(found: Found) -> list[str]:
    """What is promised and was not reached, a line each."""
    return [
        f"{what}: {value} (target {target})"
        for what, target, value, is_met in _judged(found)
        if not is_met
    ]


def _judged(found: Found) -> Iterator[tuple[str, str, str, bool]]:
    for name in (ONLY_PLAIN, TAPPED):
        if name in found.lossless:
            best = found.lossless[name]
            target = f"≥ {AT_RATE:,} packets/s"
            yield f"{name}: small packets without loss", target, f"{best:,}", _about(best, AT_RATE)
    if found.has_added(ONLY_PLAIN, LONG) and found.has_added(TAPPED, LONG):
        plain, tapped = (added_us(found.runs, name, LONG)[1] for name in (ONLY_PLAIN, TAPPED))
        value = f"{tapped / plain:.0%} ({tapped:.2f} of {plain:.2f} µs)"
        what = "CPU with the tap ÷ plain ring, long flows"
        yield what, f"≤ {TAP_SHARE:.0%}", value, tapped <= TAP_SHARE * plain


def _about(best: int, rate: int) -> bool:
    """Whether a rate was reached: the generator's pace is off by up to a hundredth."""
    return best >= 0.99 * rate


def readers(found: Found) -> Iterator[str]:
    yield "## Readers"
    yield ""
    yield (
        f"Mice: 64-byte UDP packets, ten a flow, {AT_RATE:,} a second. Elephants: 1,500-byte "
        f"packets of eight flows that do not end, {LONG_RATE:,} a second; and a TCP transfer of "
        "iperf3 in the super-frames of both hosts' offloads (for each packet of the wire). CPU is "
        "microseconds a packet over no capture at all, reader and flow update included, of "
        "everything that works for it (generator, reader with its children, softirq threads): the "
        f"least of all runs, in brackets of the medians; {found.rounds} rounds. A rate with ≥ was "
        "limited by the generator. The first three make flows by Fortress's core; tcpdump writes "
        "to /dev/null and makes none."
    )
    yield ""
    rows = []
    for name, best in found.lossless.items():
        lost = any(
            run.seen != run.sent
            for run in found.runs
            if run.reader == name and run.traffic.startswith("small")
        )
        cells = [name, f"{best:,}" if lost else f"≥ {best:,}"]
        for traffic in (SMALL, LONG, ELEPHANTS):
            if traffic == ELEPHANTS and READERS[name].takes_all:
                cells.append("not its traffic")
            elif not found.has_added(name, traffic):
                cells.append("")
            else:
                middle, least = added_us(found.runs, name, traffic)
                cells.append(f"{least:.2f} ({middle:.2f})")
        rows.append(tuple(cells))
    yield from table(
        ("reader", "mice/s without loss", "mice, µs", "elephants, µs", "in super-frames, µs"), rows
    )


def loss(found: Found) -> Iterator[str]:
    yield f"## At {AT_RATE:,} packets a second"
    yield ""
    yield (
        "Small packets, as offered and as they came about; what a reader did not see, of all that "
        "was sent in its runs, and what it says itself that it lost."
    )
    yield ""
    rows = []
    for name in found.lossless:
        runs = found.of_kind(name, SMALL)
        if runs:
            sent, seen = sum(run.sent for run in runs), sum(run.seen for run in runs)
            rate = median(run.sent / run.seconds for run in runs)
            told = sum(run.lost for run in runs)
            unseen = f"{max(0, sent - seen) / sent:.2%}"
            rows.append((name, f"{rate:,.0f}", f"{sent:,}", unseen, f"{told:,}"))
    yield from table(("reader", "packets/s", "sent", "not seen", "said to be lost"), rows)


def agent(found: gateway_report.Found | None) -> Iterator[str]:
    yield "## The agent"
    yield ""
    if found is None:
        yield "Not measured yet: `./dev bench gateway`."
        return
    yield (
        "On a gateway under attack, with the default flow budget and ring; "
        "[how it is measured](performance-gateway.md)."
    )
    yield ""
    rows = [
        (
            "resident set, at most",
            f"≤ {gateway_report.RSS_MB:.0f} MB",
            f"{found.agent_mb:.0f} MB",
            met(found.agent_mb <= gateway_report.RSS_MB),
        )
    ]
    limits = f"≤ {1000 * gateway_report.MEDIAN_S:.0f} / {1000 * gateway_report.P99_S:.0f} ms"
    for one in found.reactions:
        rows.append(
            (
                f"{one.name}: too much → dropped, median / p99",
                limits,
                f"{gateway_report.ms(one.p50)} / {gateway_report.ms(one.p99)} ms",
                met(one.is_met),
            )
        )
    yield from table(("what", "target", "measured", ""), rows)


def added_us(runs: list[Run], reader: str, traffic: str) -> tuple[float, float]:
    """CPU microseconds a packet over no capture: of the medians, and of the least of all runs."""

    def spent(name: str) -> list[float]:
        return [r.cpu_s / r.sent * 1e6 for r in runs if (r.reader, r.traffic) == (name, traffic)]

    with_it, without = spent(reader), spent("none")
    return median(with_it) - median(without), min(with_it) - min(without)
