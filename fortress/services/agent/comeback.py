# SPDX-License-Identifier: Apache-2.0
"""Interfaces that went away and came again: what is open on them is opened anew.

Opening may take the guard's time, so a thread does it; the loop takes what it brings.
"""

from __future__ import annotations

import queue
import socket
from collections.abc import Callable, Iterator, Sequence
from threading import Event, Thread
from typing import Generic, Protocol, TypeVar

from fortress_core import PortError

from fortress.errors import FortressError

LOOK_S = 1.0  # how often it is looked whether an interface has come back
_CLOSE_S = 10.0
_IS_HERE = "it is back"


class Closes(Protocol):
    """What is open on an interface."""

    def close(self) -> None:
        """Give it back."""


T = TypeVar("T", bound=Closes)


class Comeback(Generic[T]):
    """Opens anew, by `open_one`, what was open on interfaces that are others now."""

    def __init__(self, interfaces: Sequence[str], open_one: Callable[[str], T]) -> None:
        self._interfaces, self._open_one = tuple(interfaces), open_one
        self._gone: dict[int, str] = {}  # what is to be opened anew, and why it is not yet
        self._fresh: queue.Queue[tuple[int, T]] = queue.Queue()
        self._stop = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread = Thread(target=self._bring_back, name="ports", daemon=True)
        self._thread.start()

    def taken(self) -> Iterator[tuple[int, T]]:
        """What came back since the last time, by the number of its interface: the caller's now."""
        while not self._fresh.empty():
            number, opened = self._fresh.get_nowait()
            yield number, opened
            self._gone.pop(number, None)

    def miss(self, number: int, ifindex: int) -> None:
        """An interface does not work: if the one of this index is no more, wait for another."""
        if number not in self._gone and _is_no_more(ifindex):
            self._gone[number] = ""

    def why_gone(self, number: int) -> str:
        """Why it could not be opened anew, "" if that was not tried."""
        return self._gone.get(number, "")

    def close(self) -> None:
        """Stop looking, and close what nobody has taken."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)
        while not self._fresh.empty():
            self._fresh.get_nowait()[1].close()

    # ---- the thread ----

    def _bring_back(self) -> None:
        while not self._stop.wait(LOOK_S):
            for number in tuple(self._gone):
                name = self._interfaces[number]
                if self._gone.get(number) == _IS_HERE:  # the loop has not taken it yet
                    continue
                try:
                    socket.if_nametoindex(name)
                    opened = self._open_one(name)
                    self._gone[number] = _IS_HERE
                    self._fresh.put((number, opened))
                except OSError:
                    self._gone[number] = f"{name} does not exist"
                except (PortError, FortressError) as error:
                    self._gone[number] = str(error)


def _is_no_more(ifindex: int) -> bool:
    """Whether the interface is no more; down is not gone."""
    try:
        return socket.if_indextoname(ifindex) == ""
    except OSError:
        return True
