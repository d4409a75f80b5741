# SPDX-License-Identifier: Apache-2.0
"""Opens a model as it would be at work: the last check before it is put in use."""

from __future__ import annotations

from fortress.inference.entry import ModelEntry


def open_model(entry: ModelEntry) -> object:
    """The model of the entry's kind, open and warm. Raises ModelRejected."""
    if entry.recipe.kind == "flow":
        from fortress.inference.flow_classifier import FlowClassifier

        return FlowClassifier(entry)
    if entry.recipe.kind == "host":
        from fortress.inference.host_anomaly import HostAnomaly

        return HostAnomaly(entry)
    from fortress.inference.threat_sequence import ThreatSequence

    return ThreatSequence(entry)
