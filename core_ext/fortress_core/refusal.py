# SPDX-License-Identifier: Apache-2.0
"""What every error of the live side says: what is wrong, and what to do about it."""

from __future__ import annotations


class Refusal(Exception):
    """Something cannot be had: `what` is wrong, and the `remedy`."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"
