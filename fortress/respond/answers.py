# SPDX-License-Identifier: Apache-2.0
"""What the guard answers: a frozen value for each of the requests in messages.py, and events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fortress.devices.policy import DeviceRule, Policy
from fortress.kernel.offloads import Flowtable
from fortress.respond.block import Standing


@dataclass(frozen=True, slots=True)
class GuardFacts:
    """Who the guard is: its protocol, process, backends and the role it sees in the asker."""

    protocol: int
    pid: int
    version: str
    role: str
    backends: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be said of the target number `at` of an Add or Remove; those without are done."""

    at: int
    done: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Notes:
    """The answer to Add, Remove and Undo: `targets` are named where the asker did not name them."""

    notes: tuple[Note, ...] = ()
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StandingList:
    """The answer to Blocks; `pardoned` tells for how many seconds more targets that an operator
    unblocked are left alone.
    """

    blocks: tuple[Standing, ...]
    pardoned: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that holds for a target: its own block, wider ones, lists, and what would be refused."""

    target: str
    blocked: bool
    blocks: tuple[Standing, ...] = ()
    feeds: tuple[str, ...] = ()
    never: str = ""
    pardoned_s: float | None = None


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The answer to Subscribe; events follow."""


@dataclass(frozen=True, slots=True)
class FeedLoaded:
    """How many entries of a list stand now, and which were left out and why (the first ones)."""

    name: str
    entries: int
    refused: int
    first_refusals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceStanding:
    """A device's rule, the policy that holds now, until when (seconds of 1970; None: no schedule),
    and why the rule is not followed, if it is not.
    """

    rule: DeviceRule
    in_force: Policy
    change_s: float | None = None
    held_off: str = ""


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The answer to Devices and SetDevices."""

    devices: tuple[DeviceStanding, ...]


@dataclass(frozen=True, slots=True)
class PortFacts:
    """A port that was opened; `tap_reason` says why there is no tap with it, nothing if there is.

    Beside it come the port's descriptor and, with a tap, those of its program and its two maps.
    """

    interface: str
    ifindex: int
    linktype: int
    ring_bytes: int
    fanout: int
    tap_reason: str


@dataclass(frozen=True, slots=True)
class MirrorQueue:
    """A queue of a mirror port: the fields of fortress_core's XdpQueue that are no descriptors."""

    ifindex: int
    queue: int
    frames: int
    frame_bytes: int


@dataclass(frozen=True, slots=True)
class MirrorFacts:
    """A mirror port that was opened; beside it come the descriptors of XdpPort.fds, in order."""

    interface: str
    mode: Literal["native", "generic"]
    queues: tuple[MirrorQueue, ...]


@dataclass(frozen=True, slots=True)
class DhcpOpened:
    """The answer to OpenDhcp, with the socket beside it."""


@dataclass(frozen=True, slots=True)
class ConntrackAsked:
    """The answer to OpenConntrack, with the socket beside it, and to AskConntrack: the kernel was
    asked for the whole table.
    """


@dataclass(frozen=True, slots=True)
class GuardEvent:
    """Something that the guard did or saw: `kind` is blocked, unblocked, expired, refused, feed,
    device, restored or world.
    """

    kind: str
    target: str
    reason: str
    origin: str = ""


@dataclass(frozen=True, slots=True)
class GuardStatus:
    """How the guard is."""

    pid: int
    uptime_s: float
    backends: tuple[str, ...]
    ports: tuple[str, ...]
    ports_absent: tuple[str, ...]
    blocks: int
    feeds: dict[str, int]
    spared: tuple[str, ...]
    automatic_left: int
    acts: int
    refusals: int
    restored: int
    missed_events: int
    troubles: tuple[str, ...] = ()
    flowtables: tuple[Flowtable, ...] = ()  # of this namespace: what they serve may pass unseen
    confined: tuple[str, ...] = field(default_factory=tuple)
