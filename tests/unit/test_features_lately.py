"""Ticks of a tenth of a second judged as seconds are, without blaming answers under way."""

import numpy as np

from fortress.features.lately import LastSecond, Unsettled
from fortress.features.windows import INTERVAL_COLUMNS
from fortress.qsecbit import Pipeline, PipelineSettings, TickResult
from tests.detectors.world import SECOND, START_NS, World, columns, findings

TENTH = SECOND // 10


def rows(*told: dict[str, object]) -> dict[str, np.ndarray]:
    """Interval rows of flows that began unanswered, with what is told of each."""
    world = World()
    for one in told:
        world.flow(0, "10.0.0.9", "10.0.0.1", 80, "S0")
        world.intervals[0][-1] |= {"flow_id": 1, "first_ns": START_NS} | one
    return columns(world.intervals[0], INTERVAL_COLUMNS)


def answer() -> dict[str, np.ndarray]:
    """A row of the first flow's answer."""
    return rows({"is_new": 0, "resp_pkts": 1, "resp_pkts_total": 1, "orig_pkts": 2})


def test_a_flow_of_several_ticks_is_one_row_of_the_second() -> None:
    lately = LastSecond(INTERVAL_COLUMNS)
    lately.add(START_NS, rows({}, {"flow_id": 2}))
    lately.add(START_NS + TENTH, answer())
    second = lately.over(START_NS + SECOND)
    assert second is not None
    assert second["flow_id"].tolist() == [1, 2]
    assert second["is_new"].tolist() == [1, 1]
    assert second["orig_pkts"].tolist() == [3, 1]
    assert second["resp_pkts"].tolist() == [1, 0]
    assert second["resp_pkts"].dtype == np.uint32


def test_what_is_older_than_a_second_is_not_in_it() -> None:
    lately = LastSecond(INTERVAL_COLUMNS)
    for tick in range(14):
        lately.add(START_NS + tick * TENTH, rows({"flow_id": tick, "orig_pkts": 60}))
    flooded = lately.flooded(START_NS + 13 * TENTH)
    assert flooded is not None
    assert flooded["flow_id"].tolist() == list(range(4, 14))


def test_a_calm_tick_after_a_flood_is_not_judged_as_one() -> None:
    lately = LastSecond(INTERVAL_COLUMNS)
    lately.add(START_NS, rows({"orig_pkts": 500}))
    assert lately.flooded(START_NS) is not None
    lately.add(START_NS + TENTH, {})
    assert lately.flooded(START_NS + TENTH) is None


def test_an_attempt_waits_for_its_answer_and_is_told_once() -> None:
    unsettled = Unsettled(INTERVAL_COLUMNS)
    assert not len(unsettled.settle(START_NS, rows({})).get("flow_id", ()))
    told = unsettled.settle(START_NS + TENTH, answer())
    assert (told["is_new"].tolist(), told["resp_pkts"].tolist()) == ([1], [1])
    assert not unsettled.settle(START_NS + 9 * TENTH, {})


def test_an_attempt_that_nobody_answers_is_told_after_a_while() -> None:
    unsettled = Unsettled(INTERVAL_COLUMNS)
    told = [
        len(
            unsettled.settle(START_NS + tick * TENTH, rows({}) if tick == 0 else {}).get(
                "flow_id", ()
            )
        )
        for tick in range(6)
    ]
    assert told == [0, 0, 1, 0, 0, 0]


def test_a_storm_of_attempts_is_not_waited_for() -> None:
    unsettled = Unsettled(INTERVAL_COLUMNS)
    one = rows({})
    storm = {name: np.repeat(column, 9000) for name, column in one.items()}
    storm["flow_id"] = np.arange(9000, dtype=np.uint64)
    assert len(unsettled.settle(START_NS, storm)["flow_id"]) == 9000


def in_tenths(world: World, tenth_of: dict[int, int]) -> list[TickResult]:
    """A world through a live pipeline, the rows of each flow in the tenth of its second."""
    pipeline = Pipeline(PipelineSettings(tick_ns=TENTH))
    results = []
    for second in range(max(world.intervals) + 2):
        for tenth in range(10):
            mine = [
                row
                for row in world.intervals.get(second, [])
                if tenth_of.get(row["flow_id"], 0) == tenth
            ]
            ns = START_NS + second * SECOND + tenth * TENTH
            flows = world.flows.get(second, []) if tenth == 0 else []
            results.append(
                pipeline.tick(
                    ns,
                    columns(mine, pipeline.reads_interval_columns),
                    columns(flows, pipeline.reads_flow_columns),
                    {},
                )
            )
    last = pipeline.finish()
    return [*results, *([last] if last else [])]


def test_a_scan_is_found_in_the_tick_in_which_it_goes_too_far() -> None:
    world = World()
    for port in range(60):
        world.flow(0, "10.0.0.9", "10.0.0.1", 1000 + port, "REJ")
    results = in_tenths(world, {flow: (flow - 1) // 6 for flow in range(1, 61)})
    first = next(tick for tick, result in enumerate(results) if result.opened)
    assert first < 4
    (host,) = {found.host for found in findings(results)}
    assert host == "10.0.0.9"


def test_a_flood_is_told_by_its_rate_in_a_second_however_it_is_cut() -> None:
    world = World()
    for _ in range(400):
        world.flow(0, "10.0.0.9", "10.0.0.1", 80, "S0")
    whole = findings(world.run())
    parts = findings(in_tenths(world, {flow: flow % 10 for flow in range(1, 401)}))
    assert {found.detector for found in whole} == {"syn_flood"}
    assert "syn_flood" in {found.detector for found in parts}
    assert max(found.evidence["half_open"] for found in parts) >= 160, "four parts together"


def test_a_rate_that_is_harmless_in_a_second_is_harmless_in_tenths() -> None:
    world = World()
    for second in range(5):
        for _ in range(30):
            world.flow(second, "10.0.0.9", "10.0.0.1", 80, "S0")
    assert not [f for f in findings(in_tenths(world, {})) if f.detector == "syn_flood"]
