# SPDX-License-Identifier: Apache-2.0
"""What may be asked of the guard and what it answers: frozen values, strictly read.

A request is one JSON object with its `verb`; an answer is `{"ok": true, "answer": …}` or
`{"ok": false, "what": …, "remedy": …}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from fortress.devices.policy import DeviceRule, Policy
from fortress.errors import GuardError
from fortress.respond.block import Origin, Standing
from fortress.respond.plain import Misread, plain, read
from fortress.verdict import Action

PROTOCOL = 1


@dataclass(frozen=True, slots=True)
class Hello:
    """Who are you?"""


@dataclass(frozen=True, slots=True)
class Group:
    """Targets that get the same block."""

    action: Action
    seconds: float | None
    why: str
    origin: Origin
    targets: tuple[str, ...]
    signatures: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Add:
    """Block these; `session` is the address the asking operator works from, `confirmed` says that
    the number of targets was shown to a person.
    """

    groups: tuple[Group, ...]
    confirmed: bool = False
    session: str = ""


@dataclass(frozen=True, slots=True)
class Remove:
    """Unblock these."""

    targets: tuple[str, ...]
    origin: Origin
    why: str = ""


@dataclass(frozen=True, slots=True)
class Blocks:
    """What stands?"""


@dataclass(frozen=True, slots=True)
class Undo:
    """Take the last act of an operator back."""


@dataclass(frozen=True, slots=True)
class Explain:
    """What holds for this target, and why?"""

    target: str
    session: str = ""


@dataclass(frozen=True, slots=True)
class LoadFeed:
    """Replace a block list's entries by these, for so many seconds."""

    name: str
    targets: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class SetDevices:
    """Let these rules hold for their devices; `session` as in Add."""

    rules: tuple[DeviceRule, ...]
    session: str = ""


@dataclass(frozen=True, slots=True)
class Devices:
    """What may these devices reach (all that have a rule when none are named)?"""

    macs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """How are you?"""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Tell me what happens from now on."""


@dataclass(frozen=True, slots=True)
class OpenPort:
    """Give me a socket that sees an interface's packets, with a tap if that can be."""

    interface: str
    ring_bytes: int
    tap: bool = True
    fanout: int | None = None


@dataclass(frozen=True, slots=True)
class OpenConntrack:
    """Give me a socket that the kernel tells of translated connections; who reads it needs nothing.

    The guard keeps it too, for AskConntrack, until this connection ends.
    """


@dataclass(frozen=True, slots=True)
class AskConntrack:
    """Have the whole table sent to the socket that OpenConntrack gave to this connection."""


Request: TypeAlias = (
    Hello
    | Add
    | Remove
    | Blocks
    | Undo
    | Explain
    | LoadFeed
    | SetDevices
    | Devices
    | Status
    | Subscribe
    | OpenPort
    | OpenConntrack
    | AskConntrack
)
VERBS: dict[str, type[Request]] = {
    "hello": Hello,
    "add": Add,
    "remove": Remove,
    "blocks": Blocks,
    "undo": Undo,
    "explain": Explain,
    "load_feed": LoadFeed,
    "set_devices": SetDevices,
    "devices": Devices,
    "status": Status,
    "subscribe": Subscribe,
    "open_port": OpenPort,
    "open_conntrack": OpenConntrack,
    "ask_conntrack": AskConntrack,
}


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
    """The answer to Blocks."""

    blocks: tuple[Standing, ...]


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
    confined: tuple[str, ...] = field(default_factory=tuple)


def encode_request(request: Request) -> bytes:
    """A request as bytes."""
    verb = next(verb for verb, kind in VERBS.items() if isinstance(request, kind))
    return _dump({"verb": verb, **plain(request)})


def decode_request(data: bytes) -> Request:
    """The request that bytes hold; Misread says what is wrong with them."""
    message = _load(data)
    verb = message.pop("verb", None)
    kind = VERBS.get(verb) if isinstance(verb, str) else None
    if kind is None:
        raise Misread(f"verb: {str(verb)[:64]!r} is none of {', '.join(VERBS)}")
    return read(kind, message)


def encode_answer(answer: object) -> bytes:
    """An answer as bytes."""
    return _dump({"ok": True, "answer": plain(answer)})


def encode_refusal(what: str, remedy: str) -> bytes:
    """A refusal as bytes."""
    return _dump({"ok": False, "what": what, "remedy": remedy})


def decode_answer(data: bytes) -> Any:
    """The plain answer; GuardError when it is a refusal, or no answer of a guard."""
    try:
        message = _load(data)
    except Misread as error:
        raise GuardError(f"the guard's answer makes no sense: {error}", _OTHER) from error
    if message.get("ok") is True:
        return message.get("answer")
    raise GuardError(str(message.get("what", "refused")), str(message.get("remedy", "")))


_OTHER = "is something else listening there, or a guard of another version?"


def _dump(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def _load(data: bytes) -> dict[str, Any]:
    try:
        message = json.loads(data, parse_constant=_no_constant, object_pairs_hook=_once)
    except Misread:
        raise
    except (ValueError, RecursionError) as error:
        raise Misread(f"no JSON: {str(error)[:200]}") from None
    if not isinstance(message, dict):
        raise Misread("a message is a JSON object")
    return message


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Misread("a key is there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise Misread(f"{name} is no number of JSON")
