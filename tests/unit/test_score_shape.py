"""The two curves that confidence is made from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from fortress.qsecbit.shape import BENIGN_FAILS, SCANNER_FAILS, failing, rises

COUNTS = st.integers(0, 10_000)


@given(COUNTS, COUNTS)
def test_the_share_of_failures_is_taken_at_scipys_wilson_bound(failed: int, fine: int) -> None:
    if failed + fine == 0:
        return
    bound = binomtest(failed, failed + fine, alternative="greater").proportion_ci(0.9, "wilson").low
    look = np.clip((bound - BENIGN_FAILS) / (SCANNER_FAILS - BENIGN_FAILS), 0, 1)
    assert failing(np.array([failed]), np.array([fine]))[0] == pytest.approx(look, abs=1e-4)


@given(COUNTS, COUNTS)
def test_a_failure_more_never_makes_it_look_better_and_a_success_never_worse(
    failed: int, fine: int
) -> None:
    few, more, better = failing(
        np.array([failed, failed + 1, failed]), np.array([fine, fine, fine + 1])
    )
    assert better <= few + 1e-12
    assert few <= more + 1e-12


def test_few_failures_say_less_than_many_of_the_same_share() -> None:
    three, many = failing(np.array([3, 300]), np.array([1, 100]))
    assert three < many


def test_a_count_is_half_sure_at_its_middle_and_surer_beyond() -> None:
    sure = rises(np.array([0.0, 6.0, 12.0, 24.0, 1e9]), 12.0)
    assert sure[0] == 0
    assert sure[2] == 0.5
    assert sure[1] == pytest.approx(1 / 9)
    assert sure[3] == pytest.approx(8 / 9)
    assert sure[4] <= 1
