# SPDX-License-Identifier: Apache-2.0
"""What may be asked of the guard, as frozen values, strictly read; answers.py has its answers.

A request is one JSON object with its `verb`; an answer is `{"ok": true, "answer": …}` or
`{"ok": false, "what": …, "remedy": …}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeAlias

from fortress.devices.policy import DeviceRule
from fortress.errors import GuardError
from fortress.respond.answers import StandingList
from fortress.respond.block import Origin
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
class OpenMirror:
    """Take an interface's frames away from the kernel and give them to me, by AF_XDP."""

    interface: str
    ring_bytes: int


@dataclass(frozen=True, slots=True)
class OpenDhcp:
    """Give me a socket that hears DHCP clients, of all interfaces, and nothing else."""


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
    | OpenMirror
    | OpenDhcp
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
    "open_mirror": OpenMirror,
    "open_dhcp": OpenDhcp,
    "open_conntrack": OpenConntrack,
    "ask_conntrack": AskConntrack,
}


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
    if isinstance(answer, StandingList):
        return _standing_list(answer)
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


def _standing_list(answer: StandingList) -> bytes:
    """What _dump makes of it, in a quarter of the time: of blocks that were asked for together most
    is the same, and a target's text needs no quoting.
    """
    blocks, told, same = [], "", None
    for one in answer.blocks:
        terms = (one.action, one.left_s, one.since_s, one.why, one.origin, one.signatures)
        if terms != same:
            fields = plain(replace(one, target="", kind="addr", hits=None))
            for name in ("target", "kind", "hits"):
                del fields[name]
            same, told = terms, _dump(fields)[1:-1].decode()
        hits = "null" if one.hits is None else one.hits
        blocks.append(f'{{"target":"{one.target}","kind":"{one.kind}",{told},"hits":{hits}}}')
    pardoned = _dump(answer.pardoned).decode()
    text = f'{{"ok":true,"answer":{{"blocks":[{",".join(blocks)}],"pardoned":{pardoned}}}}}'
    return text.encode()


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
