# SPDX-License-Identifier: Apache-2.0
"""The words every room shares: findings, verdicts and scores, plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NamedTuple


class Layer(StrEnum):
    """Where in the stack a finding lies."""

    L2 = "L2"
    L3 = "L3"
    L4 = "L4"
    L5 = "L5"
    L7 = "L7"


class Source(StrEnum):
    """What kind of judge made a finding."""

    RULE = "rule"
    MODEL = "model"
    DRIFT = "drift"
    ENERGY = "energy"


class Action(IntEnum):
    """What should happen to a host's traffic, in order of force."""

    PASS = 0
    WATCH = 1
    LIMIT = 2
    BLOCK = 3
    QUARANTINE = 4


class Status(StrEnum):
    """The score in one word."""

    GREEN = "GREEN"
    AMBER = "AMBER"
    RED = "RED"


@dataclass(frozen=True, slots=True)
class Finding:
    """A score above its threshold, with its reason.

    `risk` is severity times confidence, both in [0, 1]; times are nanoseconds since 1970 of the
    capture's clock; addresses are text, `host` is the party held responsible, `target` the one it
    was done to.
    """

    time_ns: int
    detector: str
    signature: str
    signature_id: int
    category: str
    layer: Layer
    source: Source
    technique: str
    severity: float
    confidence: float
    reason: str
    host: str
    target: str = ""
    src_ip: str = ""
    src_port: int | None = None
    dest_ip: str = ""
    dest_port: int | None = None
    src_mac: str = ""
    proto: str = ""
    flow_id: int | None = None
    community_id: str = ""
    in_iface: str = ""
    evidence: Mapping[str, float | int | str] = field(default_factory=dict)

    @property
    def risk(self) -> float:
        """Severity times confidence, in [0, 1]."""
        return self.severity * self.confidence


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done about a host, until when and why."""

    time_ns: int
    action: Action
    target: str
    target_kind: str
    until_ns: int
    why: str
    signatures: tuple[int, ...] = ()


class Share(NamedTuple):
    """A part of the score: who or what contributes how much; shares add up to the value.

    Scores have dozens of them: a tuple is made in a third of a dataclass's time.
    """

    name: str
    value: float


DIVISIONS = ("by_host", "by_layer", "by_source", "by_finding")


class Shares:
    """Who and what a score is made of: four divisions, each of which adds up to its value.

    `later` puts off adding them up until somebody reads one: most scores are never told.
    """

    __slots__ = ("_add_up", "_known")

    def __init__(
        self,
        by_host: tuple[Share, ...] = (),
        by_layer: tuple[Share, ...] = (),
        by_source: tuple[Share, ...] = (),
        by_finding: tuple[Share, ...] = (),
    ) -> None:
        self._known: tuple[tuple[Share, ...], ...] = (by_host, by_layer, by_source, by_finding)
        self._add_up: Callable[[], tuple[tuple[Share, ...], ...]] | None = None

    @classmethod
    def later(cls, add_up: Callable[[], tuple[tuple[Share, ...], ...]]) -> Shares:
        """The shares that `add_up` gives, in the order of DIVISIONS, when they are wanted."""
        shares = cls()
        shares._add_up = add_up
        return shares

    def read(self) -> tuple[tuple[Share, ...], ...]:
        """All four, in the order of DIVISIONS."""
        if (add_up := self._add_up) is not None:
            self._known = add_up()
            self._add_up = None
        return self._known

    def __eq__(self, other: object) -> bool:
        """Whether they are the same shares in the same order."""
        return isinstance(other, Shares) and self.read() == other.read()

    def __hash__(self) -> int:
        """As equal shares have it."""
        return hash(self.read())

    def __repr__(self) -> str:
        """The call that makes the same."""
        told = zip(DIVISIONS, self.read(), strict=True)
        return f"Shares({', '.join(f'{name}={shares!r}' for name, shares in told)})"


@dataclass(frozen=True, slots=True)
class Score:
    """The network's risk in [0, 1] (0 is calm), its status, and how far to trust the sensors."""

    time_ns: int
    value: float
    status: Status
    confidence: float
    shares: Shares = field(default_factory=Shares)

    @property
    def by_host(self) -> tuple[Share, ...]:
        """The part of each host."""
        return self.shares.read()[0]

    @property
    def by_layer(self) -> tuple[Share, ...]:
        """The part of each layer."""
        return self.shares.read()[1]

    @property
    def by_source(self) -> tuple[Share, ...]:
        """The part of each kind of judge."""
        return self.shares.read()[2]

    @property
    def by_finding(self) -> tuple[Share, ...]:
        """The part of each finding."""
        return self.shares.read()[3]


@dataclass(frozen=True, slots=True)
class Act:
    """What became of a block: `outcome` is told, asked, done, refused, waiting or over.

    `reason` says why it is not done; `offence` counts the target's blocks, this one included.
    """

    time_ns: int
    outcome: str
    action: Action
    target: str
    target_kind: str
    until_ns: int
    why: str
    reason: str = ""
    offence: int = 1
    signatures: tuple[int, ...] = ()

    def sentence(self) -> str:
        """The same for people."""
        doing = f"{self.action.name.lower()} {self.target}"
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.outcome}: {doing}, {self.why}{why}"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth saying that is no finding: a clock step, a damaged file, a stale sensor."""

    time_ns: int
    kind: str
    message: str
    facts: Mapping[str, float | int | str] = field(default_factory=dict)
