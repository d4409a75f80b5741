# SPDX-License-Identifier: Apache-2.0
"""From features to findings, verdicts and the score."""

from fortress.qsecbit.catalogue import catalogue
from fortress.qsecbit.pipeline import Pipeline, PipelineSettings, TickResult

__all__ = ["Pipeline", "PipelineSettings", "TickResult", "catalogue"]
