# SPDX-License-Identifier: Apache-2.0
"""What is opened is closed when its context ends."""

from __future__ import annotations

from typing import Self


class Closing:
    """Has a `close()`, and as a context calls it at the end."""

    __slots__ = ()

    def close(self) -> None:
        """Give back what is held; a second time it does nothing."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
