# SPDX-License-Identifier: Apache-2.0
"""Captures into columns: the one door to Fortress's data plane, which is written in C."""

from fortress_core.capture import (
    CaptureError,
    Damage,
    Stream,
    StreamOptions,
    StreamStats,
    open_capture,
    open_synth,
)
from fortress_core.flows import (
    CONN_STATES,
    END_REASONS,
    Batch,
    Rows,
    addr_words,
    format_addr,
    format_mac,
)
from fortress_core.schema import FLOWS, INTERVALS, PACKETS, Column, columns

__all__ = [
    "CONN_STATES",
    "END_REASONS",
    "FLOWS",
    "INTERVALS",
    "PACKETS",
    "Batch",
    "CaptureError",
    "Column",
    "Damage",
    "Rows",
    "Stream",
    "StreamOptions",
    "StreamStats",
    "addr_words",
    "columns",
    "format_addr",
    "format_mac",
    "open_capture",
    "open_synth",
]
