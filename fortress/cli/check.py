# SPDX-License-Identifier: Apache-2.0
"""What `fortress doctor` answers with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One answer: `state` is ok, missing (the main job needs it) or note; `how` is the way out."""

    name: str
    state: str
    what: str
    how: str = ""
