# SPDX-License-Identifier: Apache-2.0
"""The configuration: what can be set, where values come from, and what is wrong with them."""

from fortress.config.loading import Loaded, load, masked, schema
from fortress.config.settings import Plain, Settings

__all__ = ["Loaded", "Plain", "Settings", "load", "masked", "schema"]
