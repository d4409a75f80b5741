"""What a run of the bench found, as values."""

from dataclasses import dataclass

from bench.agreement import Agreement
from bench.measure import Timing
from bench.ours import CoreCount


@dataclass(frozen=True, slots=True)
class Part:
    """CPU time of one step within the program, alone."""

    name: str
    what: str  # what one unit is
    units: int
    least_s: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything about one capture."""

    name: str
    meaning: str
    file_bytes: int
    counted: CoreCount
    agreements: list[Agreement]
    timings: dict[str, Timing]


@dataclass(frozen=True, slots=True)
class Results:
    machine: dict[str, str]
    rounds: int
    floor_instructions: float
    versions: dict[str, str]
    absent: dict[str, str]
    captures: list[Measured]
    bytes_a_flow: float
    parts: list[Part]
