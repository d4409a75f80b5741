# SPDX-License-Identifier: Apache-2.0
"""Models at work: a registry that verifies them and sessions that run them (ONNX Runtime, one
thread).
"""

from __future__ import annotations

from fortress.inference.flow_classifier import Classification, FlowClassifier
from fortress.inference.histogram import Histogram
from fortress.inference.recipe import Calibration, Recipe
from fortress.inference.registry import Listing, ModelEntry, Registry
from fortress.inference.rejection import ModelRejected

__all__ = [
    "Calibration",
    "Classification",
    "FlowClassifier",
    "Histogram",
    "Listing",
    "ModelEntry",
    "ModelRejected",
    "Recipe",
    "Registry",
]
