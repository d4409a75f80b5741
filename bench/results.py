"""What a run of the bench found, as values."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.agreement import Agreement
from bench.measure import Timing, Usage
from bench.ours import CoreCount
from bench.versus import Count


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


def store(results: Results, path: Path) -> None:
    """Keeps the results, so that the page can be written again without measuring."""
    path.write_text(json.dumps(asdict(results), indent=1))


def stored(path: Path) -> Results:
    """What `store` kept; FileNotFoundError when nothing was measured yet."""
    values: dict[str, Any] = json.loads(path.read_text())
    values["captures"] = [_measured(one) for one in values["captures"]]
    values["parts"] = [Part(**one) for one in values["parts"]]
    return Results(**values)


def _measured(values: dict[str, Any]) -> Measured:
    counted = values["counted"]
    values["counted"] = CoreCount(**counted | {"count": Count(**counted["count"])})
    values["agreements"] = [
        Agreement(**one | {"count": Count(**one["count"])}) for one in values["agreements"]
    ]
    values["timings"] = {
        name: Timing(tuple(Usage(**usage) for usage in one["usages"]))
        for name, one in values["timings"].items()
    }
    return Measured(**values)
