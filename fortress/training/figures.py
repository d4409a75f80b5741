# SPDX-License-Identifier: Apache-2.0
"""Pictures of what a model is worth, each as PNG and as text: precision and recall, ROC,
calibration, confusion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_INCHES, _DPI = (4.8, 4.0), 90
_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
_RECALLS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_BINS = (0.0, 0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of rows with their truth and weight, for a curve with a name."""

    name: str
    score: Floats
    attack: npt.NDArray[np.bool_]
    weight: Floats


def draw(
    folder: Path,
    curves: Sequence[Scored],
    calibrated: Scored,
    confusion: tuple[Sequence[str], Sequence[str], Floats],
) -> dict[str, str]:
    """Draws all four into `folder` and returns their texts by name.

    `calibrated` has risks for scores; `confusion` is names of rows (truth), of columns (told), and
    shares of each row.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "precision_recall": _precision_recall(folder, curves),
        "roc": _roc(folder, curves),
        "calibration": _calibration(folder, calibrated),
        "confusion": _confusion(folder, *confusion),
    }
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return texts


def draw_curves(folder: Path, curves: Sequence[Scored]) -> dict[str, str]:
    """Draws precision and recall and ROC alone into `folder` and returns their texts by name."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"precision_recall": _precision_recall(folder, curves), "roc": _roc(folder, curves)}
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return texts


def table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """Plain text in columns."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    return "".join(
        "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)).rstrip() + "\n"
        for row in cells
    )


def _rates(curve: Scored) -> tuple[Floats, Floats, Floats]:
    """False-positive rate, recall and precision as the threshold falls past each score."""
    order = np.argsort(-curve.score, kind="stable")
    attack, weight, score = curve.attack[order], curve.weight[order], curve.score[order]
    hits, false = np.cumsum(weight * attack), np.cumsum(weight * ~attack)
    last = np.append(np.diff(score) != 0, True)
    hits, false = hits[last], false[last]
    return false / max(false[-1], 1e-12), hits / max(hits[-1], 1e-12), hits / (hits + false)


def _precision_recall(folder: Path, curves: Sequence[Scored]) -> str:
    rows = []
    with _Picture(folder / "precision_recall.png", "recall", "precision") as axes:
        for curve in curves:
            _, recall, precision = _rates(curve)
            axes.plot(recall, precision, label=curve.name, drawstyle="steps-post")
            best = [precision[recall >= least].max(initial=0) for least in _RECALLS]
            rows.append([curve.name, *(f"{value:.3f}" for value in best)])
    return "best precision at a recall of at least\n" + table(["", *_RECALLS], rows)


def _roc(folder: Path, curves: Sequence[Scored]) -> str:
    rows = []
    with _Picture(folder / "roc.png", "false-positive rate", "recall") as axes:
        for curve in curves:
            false, recall, _ = _rates(curve)
            axes.plot(np.maximum(false, 1e-5), recall, label=curve.name, drawstyle="steps-post")
            reached = [recall[false <= most].max(initial=0) for most in _RATES]
            rows.append([curve.name, *(f"{value:.3f}" for value in reached)])
        axes.set_xscale("log")
    return "recall at a false-positive rate of at most\n" + table(["", *_RATES], rows)


def _calibration(folder: Path, curve: Scored) -> str:
    rows, told, true = [], [], []
    for low, high in pairwise(_BINS):
        here = (curve.score >= low) & ((curve.score < high) | (high == 1))
        mass = curve.weight[here].sum()
        if here.any() and mass > 0:
            told.append(float(np.average(curve.score[here], weights=curve.weight[here])))
            true.append(float(np.average(curve.attack[here], weights=curve.weight[here])))
            rows.append([f"{low}–{high}", int(here.sum()), f"{told[-1]:.4f}", f"{true[-1]:.4f}"])
    with _Picture(folder / "calibration.png", "risk told", "share of attacks") as axes:
        axes.plot([1e-5, 1], [1e-5, 1], color="grey", linewidth=0.8)
        axes.plot(told, np.maximum(true, 1e-5), marker="o", label=curve.name)
        axes.set_xscale("log")
        axes.set_yscale("log")
    return table(["risk", "flows", "mean risk told", "share of attacks"], rows)


def _confusion(folder: Path, truths: Sequence[str], told: Sequence[str], shares: Floats) -> str:
    with _Picture(folder / "confusion.png", "told", "truth", legend=False) as axes:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(told)), told, rotation=45, ha="right")
        axes.set_yticks(range(len(truths)), truths)
        for (row, column), share in np.ndenumerate(shares):
            axes.text(
                column, row, f"{share:.2f}", ha="center", va="center",
                color="white" if share > 0.6 else "black", fontsize=8,
            )  # fmt: skip
    rows = [[name, *(f"{v:.3f}" for v in row)] for name, row in zip(truths, shares, strict=True)]
    return "rows: what it is; columns: what it is told to be\n" + table(["", *told], rows)


class _Picture:
    """A plot that is written to a file on the way out, with nothing in it that changes by time."""

    def __init__(self, path: Path, across: str, up: str, legend: bool = True) -> None:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        self._pyplot: Any = pyplot
        self._path, self._legend = path, legend
        self._figure, self._axes = pyplot.subplots(figsize=_INCHES)
        self._axes.set_xlabel(across)
        self._axes.set_ylabel(up)

    def __enter__(self) -> Any:
        return self._axes

    def __exit__(self, *failure: object) -> None:
        if self._legend:
            self._axes.legend(fontsize=8)
        if failure[0] is None:
            self._figure.tight_layout()
            facts: Mapping[str, None] = {"Software": None, "Creation Time": None}
            self._figure.savefig(self._path, dpi=_DPI, metadata=facts)
        self._pyplot.close(self._figure)
