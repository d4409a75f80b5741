"""Which share of the flows is looked at, second by second."""

from fortress.services.agent.shed import CALM_SECONDS, LEAST, Second, Shedding

CALM, LATE = Second(0.06, 1000, 0, 0.1), Second(0.9, 1000, 0, 0.1)


def after(shedding: Shedding, second: Second, times: int = 1) -> float:
    for _ in range(times):
        shedding.after(second)
    return shedding.share


def test_a_calm_loop_looks_at_every_flow() -> None:
    assert after(Shedding(), CALM, 100) == 1


def test_a_loop_that_is_behind_halves_the_share_each_second_to_a_bound() -> None:
    shedding = Shedding()
    assert after(shedding, LATE) == 1, "it has just begun: this came meanwhile"
    assert [after(shedding, LATE) for _ in range(3)] == [0.5, 0.25, 0.125]
    assert "behind" in shedding.why
    assert after(shedding, LATE, 50) == LEAST


def test_lost_packets_halve_it_but_one_in_a_million_does_not() -> None:
    assert after(Shedding(), Second(0.06, 1_000_000, 1, 0.1)) == 1
    shedding = Shedding()
    assert after(shedding, Second(0.06, 1000, 500, 0.1)) == 0.5
    assert "500 packets" in shedding.why


def test_it_recovers_step_by_step_after_calm_seconds_in_a_row() -> None:
    shedding = Shedding()
    after(shedding, LATE, 3)
    assert after(shedding, CALM, CALM_SECONDS - 1) == 0.25
    assert after(shedding, CALM) == 0.5
    assert after(shedding, Second(0.06, 1000, 0, 0.9), 50) == 0.5, "busy: twice is too much"
    assert after(shedding, CALM, CALM_SECONDS) == 1


def test_a_loop_that_catches_up_goes_on_with_every_flow() -> None:
    shedding = Shedding()
    for lag_s in (1.5, 1.1, 0.7, 0.06):
        assert after(shedding, Second(lag_s, 1000, 0, 0.9)) == 1
    assert after(shedding, Second(0.9, 1000, 0, 0.9)) == 0.5
