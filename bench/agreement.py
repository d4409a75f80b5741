"""Before anything is timed: all contenders must have found the same packets and flows."""

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.ours import CoreCount, count_core, count_floor
from bench.versus import Count, Rival


@dataclass(frozen=True, slots=True)
class Agreement:
    """What one contender found beside what the core found."""

    name: str
    count: Count
    packets_apart: float  # relative difference
    flows_apart: float
    why: str


class Disagreement(Exception):
    """A contender's counts differ from the core's by more than what explains the difference."""


def check(capture: Path, rivals: list[Rival]) -> tuple[CoreCount, list[Agreement]]:
    """The core's counts and each contender's; Disagreement if any is too far apart."""
    ours = count_core(capture)
    floor = compare("floor", count_floor(capture), ours.count, (0.0005, 0.005))
    agreements = [Agreement(*floor, "it does not look into tunnels")]
    for rival in rivals:
        found = counted(rival, capture)
        within = (rival.packets_within, rival.flows_within)
        agreements.append(
            Agreement(*compare(rival.name, found, ours.count, within), rival.differs_because)
        )
    return ours, agreements


def counted(rival: Rival, capture: Path) -> Count:
    """What the rival finds; asked once for each version of it and of the capture."""
    stamp = (capture.stat().st_size, capture.stat().st_mtime_ns, rival.version())
    key = hashlib.sha256(f"{stamp} {rival.command(capture, Path('scratch'))}".encode()).hexdigest()
    stored = capture.with_name(f"count-{rival.name}-{key[:16]}.json")
    if not stored.exists():
        with tempfile.TemporaryDirectory() as scratch:
            stored.write_text(json.dumps(asdict(rival.count(capture, Path(scratch)))))
    return Count(**json.loads(stored.read_text()))


def compare(
    name: str, found: Count, ours: Count, within: tuple[float, float]
) -> tuple[str, Count, float, float]:
    """How far apart the counts are, relative to ours; Disagreement if further than `within`."""
    apart = tuple(
        abs(theirs - own) / own
        for theirs, own in ((found.packets, ours.packets), (found.flows, ours.flows))
    )
    if apart[0] > within[0] or apart[1] > within[1]:
        raise Disagreement(f"{name} found {found}, the core {ours}: further apart than {within}")
    return name, found, apart[0], apart[1]
