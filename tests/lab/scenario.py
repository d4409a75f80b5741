"""What a scenario is: who runs which real command when, and what a detector ought to say about it."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, replace

from tests.lab import scenarios as _folder


@dataclass(frozen=True, slots=True)
class Truth:
    """What a step really is: the label written when the step has been recorded.

    ``src`` and ``dst`` are host names of the topology, literal addresses or networks; None means many or forged.
    ``packets`` is a pcap filter with the same placeholders as a command; the first and last packet
    that match it while the step runs give the label its start and end.
    """

    detector: str
    technique: str
    note: str
    packets: str
    src: str | None
    dst: str | None
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One command of one actor, at a time, perhaps repeated.

    ``command`` may name hosts in braces: ``{nas}`` is a host's IPv4 address, ``{nas6}`` its IPv6 address;
    ``{page}`` is another curl list of a web page's objects on each run. Times are seconds after the start.
    ``seconds`` bounds one run; reaching it is an error unless ``endless`` says that the tool never ends by itself.
    """

    actor: str
    command: str
    at: float = 0.0
    seconds: float = 30.0
    times: int = 1
    every: float = 0.0
    jitter: float = 0.0
    endless: bool = False
    exits: tuple[int, ...] = (0,)
    truth: Truth | None = None

    def moved(self, at: float) -> Step:
        """The same step, ``at`` seconds later."""
        return replace(self, at=self.at + at)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole recording: its steps and its bounds.

    ``tail`` is the number of quiet seconds recorded after the last step; ``snaplen`` the bytes kept of a packet;
    with ``offloads`` senders hand over segments of up to 64 KiB, as a tap in front of a NIC with TSO sees them.
    """

    name: str
    sentence: str
    steps: tuple[Step, ...]
    max_seconds: float
    max_packets: int
    snaplen: int = 262_144
    offloads: bool = False
    lead: float = 1.0
    tail: float = 1.0
    services: tuple[str, ...] = ("web", "dns", "ssh")

    @property
    def truths(self) -> tuple[Truth, ...]:
        """The labels that this scenario promises, in the order of their steps."""
        return tuple(step.truth for step in self.steps if step.truth is not None)

    @property
    def detectors(self) -> tuple[str, ...]:
        """Detectors that ought to see something, sorted; none for benign traffic."""
        return tuple(sorted({truth.detector for truth in self.truths}))

    @property
    def techniques(self) -> tuple[str, ...]:
        """ATT&CK ids, sorted."""
        return tuple(sorted({truth.technique for truth in self.truths}))

    @property
    def actors(self) -> tuple[str, ...]:
        """Hosts that run a command, sorted."""
        return tuple(sorted({step.actor for step in self.steps}))


def catalogue() -> dict[str, Scenario]:
    """Every scenario by name: one for each file in the folder ``scenarios``."""
    found = {}
    for module_info in pkgutil.iter_modules(_folder.__path__):
        if module_info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{_folder.__name__}.{module_info.name}")
        scenario: Scenario = module.SCENARIO
        if scenario.name != module_info.name:
            raise ValueError(
                f"{module.__file__}: SCENARIO.name is {scenario.name!r}, not the file's name"
            )
        found[scenario.name] = scenario
    return found
