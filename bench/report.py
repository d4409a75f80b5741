"""docs/performance.md from the results of one run."""

from collections.abc import Iterator

from bench import markdown, ours, versus
from bench.captures import RECIPES
from bench.markdown import met, table
from bench.measure import Timing
from bench.results import Measured, Results

TARGETS = {"softflowd": 1.5, "nfpcapd": 2.0, "suricata": 5.0, "nfstream": 25.0}
FLOOR_RATIO = 1.6
BYTES_A_FLOW = 512
REPLAY_PACKETS_S, REPLAY_FLOWS_S = 1_000_000, 50_000


def page(results: Results) -> str:
    """The whole page as Markdown."""
    return markdown.page(
        "./dev bench",
        head(results),
        targets(results),
        *(timings(measured) for measured in results.captures),
        parts(results),
        agreement(results),
        method(results),
        GUARDS,
    )


def head(results: Results) -> Iterator[str]:
    meaning = "What Fortress costs, beside programs that do the same, on one machine in one run."
    yield from markdown.head("Performance", meaning, results.machine)
    if results.absent:
        yield ""
        yield "Not compared: " + ", ".join(f"{k} ({v})" for k, v in results.absent.items()) + "."


def targets(results: Results) -> Iterator[str]:
    yield "## Targets"
    yield ""
    yield (
        "A ratio is taken twice: of the medians and of the least CPU seconds of all rounds. "
        "Neighbours on the machine disturb the first, the second is what the work itself costs."
    )
    yield ""
    yield (
        "Flows a second are judged on big only: bulk has some 50 packets a flow, so that its "
        "packets a second decide (1,000,000 packets there are 19,000 flows)."
    )
    yield ""
    yield from table(("what", "target", "by medians", "by least", ""), target_rows(results))


def target_rows(results: Results) -> Iterator[tuple[str, ...]]:
    value = results.floor_instructions
    yield judged(
        "floor: instructions a packet", f"≤ {ours.FLOOR_LIMIT:.0f}", value, value, -ours.FLOOR_LIMIT
    )
    for measured in results.captures:
        floor, core = measured.timings["floor"], measured.timings["core"]
        values = ratio(core, floor)
        yield judged(f"{measured.name}: core ÷ floor", f"≤ {FLOOR_RATIO}", *values, -FLOOR_RATIO)
        for name, least in TARGETS.items():
            if name in measured.timings:
                for side in ("core", "core in Python"):
                    values = ratio(measured.timings[name], measured.timings[side])
                    title = f"{measured.name}: {name} ÷ {side}"
                    yield judged(title, f"≥ {least:g}", *values, least)
        replay, kept, start = (
            measured.timings[side.name] for side in (ours.REPLAY, ours.KEEP, ours.START)
        )
        for unit, count, least in (
            ("packets", measured.counted.frames, REPLAY_PACKETS_S),
            ("flows", measured.counted.count.records, REPLAY_FLOWS_S),
        ):
            if unit == "flows" and measured.name == "bulk":
                continue  # of 50 packets a flow: its packets a second are the limit
            title = f"{measured.name}: `fortress replay`, {unit} a CPU second"
            values = (count / replay.median_s, count / replay.least_s)
            yield judged(title, f"≥ {least:,}", *values, least, "{:,.0f}")
            values = (
                count / (replay.median_s - start.median_s),
                count / (replay.least_s - start.least_s),
            )
            yield judged(f"{title}, without start-up", "", *values, least, "{:,.0f}")
            values = (count / kept.median_s, count / kept.least_s)
            yield judged(f"{title}, with `--out`", "", *values, least, "{:,.0f}")
    value = results.bytes_a_flow
    yield judged("memory a flow, table full", f"≤ {BYTES_A_FLOW}", value, value, -BYTES_A_FLOW)


def judged(
    what: str, target: str, median: float, least: float, limit: float, form: str = "{:.2f}"
) -> tuple[str, ...]:
    """A row; a negative limit is an upper one."""
    by = [value >= limit if limit > 0 else value <= -limit for value in (median, least)]
    word = "met by least only" if by == [False, True] else met(all(by))
    return what, target, form.format(median), form.format(least), word


def ratio(above: Timing, below: Timing) -> tuple[float, float]:
    return above.median_s / below.median_s, above.least_s / below.least_s


def timings(measured: Measured) -> Iterator[str]:
    count = measured.counted
    yield f"## {measured.name.capitalize()}: {measured.meaning}"
    yield ""
    yield (
        f"{count.frames:,} packets ({count.count.packets:,} of them IP), {count.count.flows:,} "
        f"5-tuples, {measured.file_bytes / 1e6:.0f} MB, from the page cache. CPU seconds of the "
        "whole process, children included."
    )
    yield ""
    meanings = {side.name: side.meaning for side in ours.SIDES}
    core = measured.timings["core in Python"]
    rows = []
    for name, timing in sorted(measured.timings.items(), key=lambda item: item[1].least_s):
        rows.append(
            (
                name,
                f"{timing.median_s:.3f}",
                f"{timing.least_s:.3f}",
                f"{count.frames / timing.least_s / 1e6:.2f} M",
                f"{timing.least_s / core.least_s:.2f}",
                f"{timing.peak_rss_bytes / 1e6:.0f} MB",
                str(len(timing.usages)),
                meanings.get(name, ""),
            )
        )
    yield from table(
        ("", "CPU s, median", "least", "packets/CPU s", "× core in Python", "peak RSS", "runs", ""),
        rows,
    )
    yield ""
    calls = 1e6 * count.calls / count.frames
    yield (
        f"The core in Python takes {count.calls:,} cffi calls, {calls:.0f} for a million "
        "packets: one a batch, and a batch ends with its second of capture time. "
        f"{count.flows_peak:,} flows were alive at once. The floor maps the file into memory and "
        "has no time-outs, hence its memory."
    )


def parts(results: Results) -> Iterator[str]:
    yield "## Parts of the program"
    yield ""
    yield f"On {results.captures[-1].name}, each step alone, thread CPU time, least of three."
    yield ""
    rows = (
        (part.name, f"{part.least_s:.3f}", f"{part.units:,}", part.what,
         f"{1e6 * part.least_s / part.units:.2f}" if part.units else "")
        for part in results.parts
    )  # fmt: skip
    yield from table(("step", "CPU s", "units", "unit", "µs a unit"), rows)


def agreement(results: Results) -> Iterator[str]:
    yield "## Agreement"
    yield ""
    yield (
        "Checked before time is taken: IP packets counted, and different 5-tuples with both "
        "directions as one. Records are what each writes: time-outs and directions split flows."
    )
    for measured in results.captures:
        rows = [("core", *numbers(measured.counted.count), "", "")]
        rows += [
            (
                one.name,
                *numbers(one.count),
                f"{100 * one.packets_apart:.2f} %",
                f"{100 * one.flows_apart:.2f} %",
            )
            for one in measured.agreements
        ]
        yield ""
        yield f"### On {measured.name}"
        yield ""
        heads = ("", "IP packets", "5-tuples", "records", "packets apart", "5-tuples apart")
        yield from table(heads, rows)
    yield ""
    yield "Why they differ:"
    yield ""
    for one in results.captures[-1].agreements:
        yield f"- {one.name}: {one.why}."


def numbers(count: versus.Count) -> tuple[str, str, str]:
    return f"{count.packets:,}", f"{count.flows:,}", f"{count.records:,}"


def method(results: Results) -> Iterator[str]:
    yield "## How"
    yield ""
    yield (
        "`./dev bench` builds two captures from the shared ones (they are not part of the "
        "project), checks that all contenders find the same, and runs them in turn, so that a "
        "slow minute hits all of them."
    )
    yield ""
    yield (
        "Floor and core are held alike: both ask for huge pages, neither touches memory before its "
        "time is taken. Two things outside them once moved the floor by a third and more, and are "
        "now the same in each round. Pages that a virtual machine reports as free go back to its "
        "host, and the next one to take them waits for others (8 ms of page faults became 245): "
        "so before each command as much memory as any needs is written to and given back. And how "
        "large the pieces are in which a file lies in the page cache, by which the floor, which "
        "maps it, takes 600 or 5,700 page faults on big (9 or 24 ms), depends on how it came "
        "there: so it is read anew, from its begin to its end, before the rounds. That is the "
        "floor's better case, and makes no difference to the core, which reads."
    )
    yield ""
    for recipe in RECIPES:
        copies = ", ".join(f"{group} {count}×" for group, count in recipe.copies.items())
        yield f"- **{recipe.name}**: {recipe.meaning}; {copies}."
    yield ""
    yield from table(("contender", "version", "command"), commands(results))


def commands(results: Results) -> Iterator[tuple[str, str, str]]:
    versions = results.versions
    yield "floor", "", "`floor CAPTURE`"
    yield "core", "", "`core_driver CAPTURE`"
    yield "core in Python", "", "`python bench/programs/core_flows.py CAPTURE`"
    yield "fortress replay", "", "`fortress replay CAPTURE`"
    yield "fortress replay --out", "", "`fortress replay CAPTURE --out DIR`"
    yield from (
        (name, versions[name], f"`{command}`")
        for name, command in COMMANDS.items()
        if name in versions
    )


COMMANDS = {
    "softflowd": "softflowd -r CAPTURE -d -v 9 -m 400000 -n 127.0.0.1:19999",
    "nfpcapd": "nfpcapd -r CAPTURE -w DIR -e 1800,120",
    "suricata": "suricata -c bench/versus/suricata.yaml -r CAPTURE -l DIR -k none -S /dev/null "
    "--runmode single",
    "nfstream": "python bench/programs/nfstream_flows.py CAPTURE",
    "dpkt": "python bench/programs/dpkt_flows.py CAPTURE",
}
GUARDS = """\
## Against regressions

Two guards, neither of which needs the shared captures:

- `tests/instructions` counts instructions with callgrind and fails above + 5 % of what was
  recorded: it does not depend on the machine's mood, and runs with the tests.
- `bench/` is a pytest-benchmark suite over the shipped samples. Save a run, change something,
  compare:

```sh
.venv/bin/pytest bench --benchmark-only --benchmark-autosave
.venv/bin/pytest bench --benchmark-only --benchmark-compare --benchmark-compare-fail=median:10%
```

The second command fails when a median got more than 10 % slower than in the last saved run; runs
are kept in `.benchmarks`. `bench/show_regression.sh` shows that it does: it saves a run, makes the
benched code slower by `FORTRESS_BENCH_SLOWER=0.5` (a busy loop in the bench, none in the product),
and expects the comparison to fail.
""".splitlines()
