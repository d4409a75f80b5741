# SPDX-License-Identifier: Apache-2.0
"""Training of the models that Fortress ships: data sets, evaluation, export (needs the extra
`train`).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fortress.errors import InputError, UsageError

if TYPE_CHECKING:
    from fortress.inference import ModelEntry

Progress = Callable[[str, float], None]
MODELS = ("flow-classifier", "host-anomaly", "threat-lstm")
_NEEDS = ("sklearn", "skl2onnx", "onnx", "scipy", "onnxruntime", "torch")


def train(
    name: str,
    *,
    data: Path,
    out: Path,
    progress: Progress = lambda _step, _share: None,
    samples: Path | None = None,
) -> ModelEntry:
    """Train the model `name` anew and return it, published as the folder `out`/`name` and verified
    as the registry does.

    `data` is the folder of shared data (or its `data/` or `data/pcap/`), `samples` that of the
    labelled lab captures (default: the checkout's); `progress` is told each step and the share
    done, 0 to 1. Takes minutes on one core. Raises UsageError for an unknown name or a missing
    package, InputError where `data` or `samples` hold nothing to train on.
    """
    if name not in MODELS:
        raise UsageError(f"no model {name!r} can be trained; there is: {', '.join(MODELS)}")
    missing = [package for package in _NEEDS if find_spec(package) is None]
    if missing:
        raise UsageError(
            f"training needs {', '.join(missing)}: install the extra `train` (./dev setup does)"
        )
    if samples is None:
        samples = Path(__file__).resolve().parents[2] / "samples"
    if not any(samples.glob("*.labels.json")):
        raise InputError(
            f"{samples}: no labelled captures (*.labels.json) there; name the checkout's samples "
            "with --samples, or record them with ./dev lab"
        )
    if name == "threat-lstm":
        from fortress.training.threat_lstm import train_threat_lstm

        return train_threat_lstm(data, samples, out, progress)
    if name == "host-anomaly":
        from fortress.training.host_anomaly import train_host_anomaly

        return train_host_anomaly(data, samples, out, progress)
    from fortress.training.flow_classifier import train_flow_classifier

    return train_flow_classifier(data, samples, out, progress)


__all__ = ["MODELS", "Progress", "train"]
