"""What a whole process costs: CPU seconds with its children, wall seconds, peak memory."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.build import ROOT, compiled

# For all alike: importing numpy would start threads of a BLAS that none of them uses; and what is
# written in Python runs from bytecode, as it does where pip installed it, even if the environment
# forbids to write any in the checkout.
ALIKE = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONPYCACHEPREFIX": str(ROOT / ".cache" / "bench" / "bytecode"),
}


@dataclass(frozen=True, slots=True)
class Usage:
    user_s: float
    system_s: float
    wall_s: float
    peak_rss_bytes: int

    @property
    def cpu_s(self) -> float:
        return self.user_s + self.system_s


@dataclass(frozen=True, slots=True)
class Timing:
    """CPU seconds of one contender on one capture over all rounds of one interleaved run."""

    usages: tuple[Usage, ...]

    @property
    def median_s(self) -> float:
        return median(usage.cpu_s for usage in self.usages)

    @property
    def least_s(self) -> float:
        return min(usage.cpu_s for usage in self.usages)

    @property
    def peak_rss_bytes(self) -> int:
        return max(usage.peak_rss_bytes for usage in self.usages)


def cache_anew(path: Path) -> None:
    """Has the file in the page cache as reading it once, from its begin to its end, puts it there.

    How large the pieces are in which it lies there decides what mapping it costs, and they depend
    on how it came there. The core, which reads, takes the same time either way; the floor maps.
    """
    with path.open("rb", buffering=0) as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(1 << 20):
            pass


class CommandFailed(Exception):
    """A contender ended with an error; the message holds the command and the end of its output."""


def spend(command: Sequence[str | Path], scratch: Path) -> Usage:
    """What the command used, run to its end in the folder; CommandFailed if it failed."""
    report = scratch / "usage"
    with (scratch / "output").open("w+") as output:
        done = subprocess.run(
            [compiled("launch"), report, *command],
            cwd=scratch,
            stdout=output,
            stderr=output,
            timeout=900,
            env=os.environ | ALIKE,
        )
        if done.returncode:
            output.seek(0)
            raise CommandFailed(f"{command}: exit {done.returncode}\n{output.read()[-2000:]}")
    user, system, wall, peak = map(int, report.read_text().split())
    return Usage(user / 1e6, system / 1e6, wall / 1e6, peak * 1024)


def interleave(runs: dict[str, Callable[[], Usage]], rounds: dict[str, int]) -> dict[str, Timing]:
    """Each run as often as its rounds say, taking turns, so that a slow minute hits all."""
    usages: dict[str, list[Usage]] = {name: [] for name in runs}
    for name in _turns(rounds):
        usages[name].append(runs[name]())
    return {name: Timing(tuple(taken)) for name, taken in usages.items()}


def _turns(rounds: dict[str, int]) -> Iterator[str]:
    for turn in range(max(rounds.values(), default=0)):
        yield from (name for name, count in rounds.items() if turn < count)
