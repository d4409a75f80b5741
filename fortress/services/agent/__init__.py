# SPDX-License-Identifier: Apache-2.0
"""The agent: capture → flows → findings → score → verdicts → sinks."""

from fortress.services.agent.replay import BATCH_PACKETS, Moment, Replay, run
from fortress.services.agent.report import Report

__all__ = ["BATCH_PACKETS", "Moment", "Replay", "Report", "run"]
