# SPDX-License-Identifier: Apache-2.0
"""The two curves that detectors make confidence from."""

from __future__ import annotations

import numpy as np

from fortress.qsecbit.contract import Values

STEEP = 3.0  # from 1/9 to 8/9 while a count grows from half to twice its middle
# Threshold random walk (Jung, Paxson, Berger, Balakrishnan 2004): first contacts of a benign host
# succeed four times in five, those of a scanner once in five.
BENIGN_FAILS, SCANNER_FAILS = 0.2, 0.8
_Z = 1.2816  # one-sided 90 %


def rises(count: Values, half: float | Values, steep: float = STEEP) -> Values:
    """From 0 towards 1 as `count` grows, 0.5 at `half` (Hill's curve)."""
    grown: Values = (np.maximum(count, 0) / half) ** steep
    return grown / (1 + grown)


def failing(failed: Values, fine: Values) -> Values:
    """How much the failures look like a scanner's: 0 at a benign host's share of them, 1 at a
    scanner's.

    The share is taken at its lower 90 % bound (Wilson 1927), so that few failures say little.
    """
    failed, fine = np.maximum(failed, 0), np.maximum(fine, 0)
    tried = np.maximum(failed + fine, 1)
    share, z2 = failed / tried, _Z * _Z / tried
    bound = (share + z2 / 2 - np.sqrt(z2 * (share * (1 - share) + z2 / 4))) / (1 + z2)
    look = (bound - BENIGN_FAILS) / (SCANNER_FAILS - BENIGN_FAILS)
    return np.asarray(np.clip(look, 0, 1), np.float64)
