# SPDX-License-Identifier: Apache-2.0
"""The tap on the first interface: counts elephants in the kernel while that saves something.

One interface alone has it: a packet that is seen on two would be counted on both. Its place is the
LAN, named first.
"""

from __future__ import annotations

from collections.abc import Sequence

from fortress_core import BpfError, PortError, Stream
from fortress_core.tap import Tap, TapSwitch, attach_tap, detach_tap

from fortress.respond.client import PortGrant


class Tapping:
    """Attaches and takes off the tap as traffic asks for it; `why` says why there is none."""

    def __init__(self, first: PortGrant | None, *, load: bool) -> None:
        self.why = ""
        self.attached = False
        self._own: Tap | None = None
        self._switch = TapSwitch()
        self._known = (0, 0)
        self._on: PortGrant | None = None
        if first is None:
            return
        if first.tap_map_fds is None and load:
            try:
                self._own = Tap.load()
            except BpfError as error:
                self.why = str(error)
        elif first.tap_map_fds is None:
            self.why = first.tap_reason

    def join(self, stream: Stream, first: PortGrant | None) -> None:
        """Give the stream the tap's counts, before it is read."""
        if first is None:
            return
        fds = self._own.map_fds if self._own else first.tap_map_fds
        if fds is not None:
            stream.shunt(fds)

    def look(self, stream: Stream, grants: Sequence[PortGrant], frames: int, bytes_: int) -> None:
        """After a second: `frames` and `bytes_` are totals of what was seen, counted ones too."""
        if not grants:
            return
        first = grants[0]
        program = self._own.program_fd_for(first.port.linktype) if self._own else None
        program = first.tap_program_fd if program is None else program
        before, self._known = self._known, (frames, bytes_)
        if program is None:
            return
        if self._on is not first:  # a new port has no filter
            self.attached, self._on = False, first
        wanted = self._switch.wanted(bytes_ - before[1], frames - before[0], attached=self.attached)
        if wanted == self.attached:
            return
        try:
            if wanted:
                attach_tap(first.port, program)
            else:
                detach_tap(first.port)
        except PortError as error:
            self.why = str(error)
            return
        stream.switch_shunting(takes_new=wanted)
        self.attached = wanted

    def close(self) -> None:
        """Give the tap back; what was granted is its grant's."""
        if self._own is not None:
            self._own.close()
