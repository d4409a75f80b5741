# SPDX-License-Identifier: Apache-2.0
"""The registry that the configuration names."""

from __future__ import annotations

from fortress.config import Settings
from fortress.inference.registry import Registry
from fortress.inference.signing import read_trusted


def registry_of(settings: Settings) -> Registry:
    """The registry with the models that ship behind it. Raises ConfigError about a key."""
    return Registry(
        settings.registry_path(),
        settings.model_state_path(),
        read_trusted(settings.trusted_paths()),
        variants=settings.models.variants(),
    )
