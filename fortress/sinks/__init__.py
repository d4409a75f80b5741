# SPDX-License-Identifier: Apache-2.0
"""Where events go, one file each."""

from fortress.sinks.sink import Outputs, Sink

__all__ = ["Outputs", "Sink"]
