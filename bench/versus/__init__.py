"""The rivals, one file each: same captures, none timed before its counts agree with ours."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

RIVALS_PYTHON = Path(__file__).resolve().parents[2] / ".cache" / "rivals" / "bin" / "python"
PROGRAMS = Path(__file__).resolve().parents[1] / "programs"


@dataclass(frozen=True, slots=True)
class Count:
    """What a contender found in a capture."""

    packets: int  # IP packets it counted to flows
    flows: int  # different 5-tuples, both directions as one
    records: (
        int  # flow records it wrote: a flow is split by time-outs, and by direction in some tools
    )


@dataclass(frozen=True, slots=True)
class Rival:
    """A program that does what we do; `command` and `count` get the capture and an empty folder."""

    name: str
    target: float | None  # at least so many times our CPU seconds
    command: Callable[[Path, Path], list[str | Path]]
    count: Callable[[Path, Path], Count]
    version: Callable[[], str]  # raises FileNotFoundError where it is not installed
    packets_within: float  # relative difference of counts that `differs_because` explains
    flows_within: float
    differs_because: str
    rounds: int = 5
