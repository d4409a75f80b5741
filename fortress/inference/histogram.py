# SPDX-License-Identifier: Apache-2.0
"""How values are spread over bins, as a recipe keeps it and the drift monitor compares it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 10  # deciles of the reference, the usual number for a stability index
_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Histogram:
    """`shares[i]` of all values lie below `edges[i]` and not below the edge before it; the last
    share, one more than there are edges, lies at or above the last edge.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, values: npt.ArrayLike, bins: int = BINS) -> Histogram:
        """The spread of finite values over at most `bins` bins that hold about equally many.

        Raises ValueError without a finite value.
        """
        finite = np.asarray(values, np.float64).ravel()
        finite = finite[np.isfinite(finite)]
        if not len(finite):
            raise ValueError("a histogram of no finite values")
        # A quantile that is a value of the sample: a bin begins where a value begins.
        quantiles = np.quantile(finite, np.arange(1, bins) / bins, method="higher")
        edges = np.unique(np.float32(quantiles)).astype(np.float64)
        edges = edges[edges > np.float32(finite.min())]
        if not len(edges):  # all but a few are one value: the few lie above it
            values = np.unique(np.float32(finite)).astype(np.float64)
            edges = values[1:2] if len(values) > 1 else values + 1
        counts = np.bincount(
            np.searchsorted(edges, np.float32(finite), side="right"), minlength=len(edges) + 1
        )
        shares = (counts / counts.sum()).round(_DECIMALS)
        return cls(tuple(edges.tolist()), tuple(shares.tolist()))

    def table(self) -> dict[str, list[float]]:
        """The histogram as a recipe writes it."""
        return {"edges": list(self.edges), "shares": list(self.shares)}
