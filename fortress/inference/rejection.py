# SPDX-License-Identifier: Apache-2.0
"""Why a model is not used."""

from __future__ import annotations

from pathlib import Path

from fortress.errors import ModelError


class ModelRejected(ModelError):
    """A model does not fit this program or is not what its recipe says; `reason` is a word, the
    message a sentence.
    """

    def __init__(self, reason: str, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.reason = reason
        self.path = path
