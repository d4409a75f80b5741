# SPDX-License-Identifier: Apache-2.0
"""What every sink promises; `check` runs all of it on one, in tests and for sinks of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from fortress.errors import OutputError
from fortress.events import Stats, Value, event
from fortress.sinks.sink import Sink
from fortress.verdict import Action, Finding, Layer, Notice, Score, Source, Status, Verdict

Arrived = Mapping[str, list[int]]


@dataclass(frozen=True, slots=True)
class Case:
    """A sink under test: how to open it, and when which kinds of value arrived behind it.

    `opened` gives a new sink on a new place; `arrived` looks at the place opened last, names kinds
    by the value's class (`{"Finding": [time_ns, …], …}`), leaving out what the sink does not keep.
    """

    opened: Callable[[], Sink]
    arrived: Callable[[], Arrived]


def check(case: Case) -> None:
    """AssertionError with the promise that is broken."""
    for promise in PROMISES:
        promise(case)


def what_was_applied_has_arrived_after_close(case: Case) -> None:
    """Nothing is lost between `apply` and `close`, and each kind keeps its order."""
    sink = case.opened()
    for value in examples(700):
        sink.apply(event(value))
    sink.close()
    _all_arrived(case, 700)


def flush_hands_everything_over(case: Case) -> None:
    """After `flush` the world has everything, though the sink stays open."""
    sink = case.opened()
    for value in examples(3):
        sink.apply(event(value))
    sink.flush()
    _all_arrived(case, 3)
    sink.close()


def closing_twice_is_closing_once(case: Case) -> None:
    """`close` may be called again."""
    sink = case.opened()
    sink.close()
    sink.close()


def a_closed_sink_refuses_events(case: Case) -> None:
    """`apply` after `close` is an OutputError, not silence."""
    sink = case.opened()
    sink.close()
    try:
        sink.apply(event(examples(1)[0]))
    except OutputError:
        return
    raise AssertionError(f"{sink.name}: took an event after it was closed")


def it_has_a_name(case: Case) -> None:
    """`name` is the word for configuration, metric label and messages."""
    sink = case.opened()
    sink.close()
    assert sink.name.isidentifier(), f"{sink.name!r} is no word"


PROMISES: tuple[Callable[[Case], None], ...] = (
    it_has_a_name,
    what_was_applied_has_arrived_after_close,
    flush_hands_everything_over,
    closing_twice_is_closing_once,
    a_closed_sink_refuses_events,
)


def examples(count: int) -> list[Value]:
    """`count` findings, verdicts, scores and notices, a microsecond apart, and the stats."""
    finding = Finding(
        time_ns=0,
        detector="example",
        signature="An example",
        signature_id=1,
        category="Example",
        layer=Layer.L4,
        source=Source.RULE,
        technique="T0000",
        severity=0.9,
        confidence=0.9,
        reason="an example — with ünusual text\nand a line end",
        host="192.0.2.1",
    )
    verdict = Verdict(0, Action.BLOCK, "192.0.2.1", "address", 1, "example", (1,))
    kinds = (finding, verdict, Score(0, 0.5, Status.AMBER, 1.0), Notice(0, "example", "an example"))
    values: list[Value] = []
    for time_ns in _times(count):
        values.extend(replace(kind, time_ns=time_ns) for kind in kinds)
    return [*values, Stats(time_ns, **dict.fromkeys(_STATS, 0), interrupted=False)]


_STATS = tuple(
    name for name in Stats.__dataclass_fields__ if name not in ("time_ns", "interrupted")
)


def _all_arrived(case: Case, count: int) -> None:
    for kind, times in case.arrived().items():
        wanted = _times(count)[-1:] if kind == "Stats" else _times(count)
        assert times == wanted, f"{kind}: {len(times)} of {len(wanted)} arrived, or in disorder"


def _times(count: int) -> list[int]:
    return [1000 * number for number in range(1, count + 1)]
