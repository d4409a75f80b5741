"""The score adds up, decays, is capped, and does not flicker."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.qsecbit.score import (
    AMBER,
    HYSTERESIS,
    MOST_P,
    MOST_SHARES,
    MOST_SOFT,
    OTHERS,
    RED,
    Part,
    decayed,
    host_risk,
    score,
    status_after,
)
from fortress.verdict import Finding, Layer, Source, Status


def finding(host: str = "10.0.0.9", source: Source = Source.RULE, **changes: object) -> Finding:
    words: dict[str, object] = {
        "time_ns": 0,
        "detector": "port_scan",
        "signature": "TCP port scan",
        "signature_id": 1101,
        "category": "reconnaissance",
        "layer": Layer.L4,
        "source": source,
        "technique": "T1046",
        "severity": 0.6,
        "confidence": 1.0,
        "reason": "because",
        "host": host,
    }
    return Finding(**(words | changes))  # type: ignore[arg-type]


HOSTS = st.sampled_from([f"10.0.0.{i}" for i in range(1, 40)])
PARTS = st.lists(
    st.builds(
        lambda host, layer, source, target, p, w: Part(
            finding(host, source, layer=layer, target=target), p, w
        ),
        HOSTS,
        st.sampled_from(Layer),
        st.sampled_from(Source),
        st.sampled_from(["", "10.0.0.1", "10.0.0.2"]),
        st.floats(0, MOST_P),
        st.floats(0.01, 2),
    ),
    max_size=60,
)


@given(PARTS)
def test_shares_add_up_to_the_value_by_every_division(parts: list[Part]) -> None:
    told = score(0, parts, Status.GREEN, 1.0)
    for shares in (told.by_host, told.by_layer, told.by_source, told.by_finding):
        assert math.isclose(sum(share.value for share in shares), told.value, abs_tol=1e-12)
        assert all(share.value >= 0 for share in shares)
        assert len(shares) <= MOST_SHARES


@given(PARTS)
def test_the_value_is_one_minus_the_product_of_what_is_left(parts: list[Part]) -> None:
    hard = [part for part in parts if part.finding.source in (Source.RULE, Source.MODEL)]
    told = score(0, hard, Status.GREEN, 1.0)
    left = math.prod((1 - part.p) ** part.weight for part in hard)
    assert math.isclose(told.value, 1 - left, abs_tol=1e-12)
    assert 0 <= told.value <= 1


@given(PARTS, st.floats(0.01, MOST_P))
def test_one_more_finding_never_lowers_the_value(parts: list[Part], p: float) -> None:
    more = [*parts, Part(finding(), p, 1.0)]
    assert score(0, more, Status.GREEN, 1).value >= score(0, parts, Status.GREEN, 1).value - 1e-12


@given(PARTS)
def test_drift_and_energy_alone_never_reach_red(parts: list[Part]) -> None:
    soft = [part for part in parts if part.finding.source in (Source.DRIFT, Source.ENERGY)]
    told = score(0, soft, Status.GREEN, 1.0)
    assert told.value <= MOST_SOFT + 1e-12
    assert told.status is not Status.RED


def test_the_cap_leaves_what_rules_say_as_it_is() -> None:
    rule = Part(finding(), 0.5, 1.0)
    soft = [Part(finding(source=Source.DRIFT), 0.9, 1.0) for _ in range(3)]
    told = score(0, [rule, *soft], Status.GREEN, 1.0)
    assert told.value == pytest.approx(1 - 0.5 * (1 - MOST_SOFT))
    by_source = {share.name: share.value for share in told.by_source}
    logs = {"rule": math.log(0.5), "drift": math.log(1 - MOST_SOFT)}
    assert by_source["rule"] == pytest.approx(told.value * logs["rule"] / sum(logs.values()))


def test_nothing_known_is_0_and_green() -> None:
    told = score(5, [], Status.GREEN, 0.7)
    assert (told.time_ns, told.value, told.status, told.confidence) == (5, 0.0, Status.GREEN, 0.7)
    assert told.by_host == told.by_finding == ()


def test_a_host_that_matters_less_contributes_less() -> None:
    whole = score(0, [Part(finding(), 0.6, 1.0)], Status.GREEN, 1).value
    part = score(0, [Part(finding(), 0.6, 0.05)], Status.GREEN, 1).value
    assert whole == pytest.approx(0.6)
    assert part == pytest.approx(1 - 0.4**0.05)


def test_many_hosts_are_named_up_to_a_number_and_the_rest_together() -> None:
    parts = [Part(finding(f"10.0.1.{i}"), 0.01 + i / 1000, 1.0) for i in range(50)]
    told = score(0, parts, Status.GREEN, 1)
    assert len(told.by_host) == MOST_SHARES
    assert told.by_host[-1].name == OTHERS
    assert told.by_host[0].name == "10.0.1.49"


def test_risk_halves_in_the_time_the_formula_says() -> None:
    tau_s = 300.0
    half_ns = int(tau_s * math.log(2) * 1e9)
    assert decayed(0.8, half_ns, tau_s) == pytest.approx(0.4)
    assert decayed(1.0, 0, tau_s) == MOST_P
    assert decayed(0.5, -5, tau_s) == 0.5


def test_host_risk_ignores_how_much_the_host_matters() -> None:
    assert host_risk([Part(finding(), 0.5, 0.1), Part(finding(), 0.5, 1.0)]) == pytest.approx(0.75)


def test_a_status_is_entered_at_its_bound_and_left_below_it() -> None:
    assert status_after(Status.GREEN, AMBER - 0.001) is Status.GREEN
    assert status_after(Status.GREEN, AMBER) is Status.AMBER
    assert status_after(Status.AMBER, AMBER - HYSTERESIS) is Status.AMBER
    assert status_after(Status.AMBER, AMBER - HYSTERESIS - 0.001) is Status.GREEN
    assert status_after(Status.AMBER, RED) is Status.RED
    assert status_after(Status.RED, RED - HYSTERESIS) is Status.RED
    assert status_after(Status.RED, RED - HYSTERESIS - 0.001) is Status.AMBER
    assert status_after(Status.RED, 0.0) is Status.GREEN


@given(st.lists(st.floats(0, 1), min_size=1))
def test_a_value_that_swings_less_than_the_hysteresis_changes_the_status_once(
    swings: list[float],
) -> None:
    status, changes = Status.GREEN, 0
    for swing in swings:
        after = status_after(status, AMBER - HYSTERESIS + swing * HYSTERESIS * 0.999)
        changes += after is not status
        status = after
    assert changes <= 1
