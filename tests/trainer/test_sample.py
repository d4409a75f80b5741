"""The sample of an archive: the same for every order of files, bounded, and stratified."""

import numpy as np
import pyarrow as pa
import pytest

from fortress.archive.arrow import array, schema
from fortress.features import flow
from fortress.services.trainer import sample as sampling
from fortress.services.trainer.house import raised
from fortress.services.trainer.labels import ATTACK, BENIGN, LEFT_OUT, NEAR_NS, Labeller
from fortress.services.trainer.sample import COLUMNS, DAY_NS, House, sample
from fortress.store.opinions import Opined
from tests.archive.world import COLUMNS as ALL
from tests.archive.world import Flows
from tests.trainer.world import TODAY, on_day

CHOSEN = [column for column in ALL if column.name in COLUMNS]
FOUND = Opined(
    1, 0, "port_scan", "scan", "10.0.0.5", "10.0.0.1", "10.0.0.5", "10.0.0.1", None, None
)


def batch(flows: Flows) -> pa.RecordBatch:
    return pa.record_batch(
        [array(column, flows[column.name]) for column in CHOSEN], schema=schema(CHOSEN)
    )


def test_the_order_of_the_files_does_not_matter() -> None:
    days = [batch(on_day(TODAY - day)) for day in range(4)]
    one, other = (sample(order, Labeller([]), per_day=50) for order in (days, days[::-1]))
    assert one.digest == other.digest
    assert len(one.day) == 4 * 50


def test_each_day_has_so_many_flows_at_most_and_counts_them_all() -> None:
    small, large = on_day(TODAY - 1, slice(0, 3000)), on_day(TODAY)
    house = sample([batch(small), batch(large), batch(large)], Labeller([]), per_day=100)
    assert np.unique(house.day, return_counts=True)[1].tolist() == [100, 100]
    assert house.flows[TODAY] == 2 * large.rows
    whole = flow.judgeable({name: large[name] for name in flow.COLUMNS})
    assert house.judged[TODAY] == 2 * whole.sum()


def test_only_the_newest_days_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MOST_DAYS", 3)
    days = [batch(on_day(TODAY - day, slice(0, 500))) for day in range(6, -1, -1)]
    assert sample(days, Labeller([])).days == (TODAY - 2, TODAY - 1, TODAY)


def flows_between(source: str, target: str, ends: list[int]) -> pa.RecordBatch:
    rows = on_day(TODAY, slice(0, len(ends)))
    made = batch(rows).to_pydict()
    made |= {"orig_addr": [source] * len(ends), "resp_addr": [target] * len(ends)}
    made |= {"first_ns": ends, "last_ns": ends}
    return pa.RecordBatch.from_pydict(made)


@pytest.mark.parametrize(
    ("opinion", "there", "before", "elsewhere"),
    [
        (None, LEFT_OUT, LEFT_OUT, LEFT_OUT),
        ("confirmed", ATTACK, LEFT_OUT, LEFT_OUT),
        ("false_alarm", BENIGN, BENIGN, BENIGN),
    ],
)
def test_what_is_said_of_a_finding_labels_its_flows(
    opinion: str | None, there: int, before: int, elsewhere: int
) -> None:
    now = TODAY * DAY_NS
    told = Opined(*(*_fields(FOUND)[:1], now, *_fields(FOUND)[2:-1], opinion))
    labeller = Labeller([told])
    ends = [now - 1, now - NEAR_NS // 2, now - 2 * NEAR_NS]
    assert labeller.label(flows_between("10.0.0.5", "10.0.0.1", ends)).tolist() == [
        there,
        before,
        BENIGN,
    ]
    other = labeller.label(flows_between("10.0.0.5", "10.0.0.9", [now - 1]))
    assert other.tolist() == [elsewhere]
    assert labeller.label(flows_between("10.0.0.7", "10.0.0.8", [now])).tolist() == [BENIGN]


def _fields(one: Opined) -> tuple[object, ...]:
    return tuple(getattr(one, name) for name in Opined.__slots__)


def house_of(risks: list[float], rows: int = 100) -> House:
    """A network whose n-th day has flows of the n-th risk, three days to judge on behind them."""
    days = [*risks, 0.1, 0.1, 0.1]
    return House(
        np.zeros((rows * len(days), 1), np.float32),
        np.zeros(rows * len(days), np.bool_),
        np.repeat(np.arange(len(days)), rows),
        dict.fromkeys(range(len(days)), rows),
        dict.fromkeys(range(len(days)), rows),
        0,
        0,
    )


def test_fewer_than_half_of_the_days_cannot_raise_the_threshold() -> None:
    for risks, wanted in (([0.1] * 4 + [0.9] * 3, 0.5), ([0.1] * 3 + [0.6] * 4, 0.6)):
        house = house_of(risks)
        risk = np.repeat(np.array([*risks, 0.1, 0.1, 0.1], np.float32), 100)
        assert raised(risk, house, 0.5) == pytest.approx(wanted, abs=1e-5)


def test_no_number_of_days_raises_it_more_than_half_way_to_certainty() -> None:
    house = house_of([0.999] * 9)
    assert raised(np.full(1200, 0.999, np.float32), house, 0.5) == 0.75
