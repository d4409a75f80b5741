# SPDX-License-Identifier: Apache-2.0
"""Sockets that the guard opens for the agent: a port with its ring, and a tap for it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from fortress.errors import GuardError
from fortress.respond.messages import OpenPort, PortFacts

if TYPE_CHECKING:
    from fortress_core import Port
    from fortress_core.tap import Tap


def open_granted(asked: OpenPort, allowed: tuple[str, ...]) -> tuple[PortFacts, list[int]]:
    """What the agent needs to know of the port, and descriptors that are the caller's to close:
    the port's, then (with a tap) the tap's program, its keys and its slots.

    GuardError says why there is no port; why there is no tap is in the facts.
    """
    if allowed and asked.interface not in allowed:
        raise GuardError(
            f"interface {asked.interface} is not in guard.toml's capture list",
            f"it names {', '.join(allowed)}",
        )
    from fortress_core.live import PortError, open_port

    try:
        port = open_port(asked.interface, ring_bytes=asked.ring_bytes, fanout=asked.fanout)
    except PortError as error:
        raise GuardError(error.what, error.remedy) from error
    with ExitStack() as stack:
        stack.callback(port.close)
        fds = [os.dup(port.fd)]
        reason = "not asked for"
        if asked.tap:
            tap_fds, reason = _tap_fds(port, stack)
            fds += tap_fds
        facts = PortFacts(
            port.interface, port.ifindex, port.linktype, port.ring_bytes, port.fanout, reason
        )
        return facts, fds


def _tap_fds(port: Port, stack: ExitStack) -> tuple[list[int], str]:
    """The tap's descriptors, or none and why."""
    from fortress_core.bpf_object import BpfError

    try:
        tap: Tap = stack.enter_context(_load_tap())
        return [os.dup(fd) for fd in (tap.program_fd_for(port.linktype), *tap.map_fds)], ""
    except BpfError as error:
        return [], str(error)


def _load_tap() -> Tap:
    from fortress_core.tap import Tap

    return Tap.load()
