"""What a scenario is: who runs which real command when, and what ought to be detected in it."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, replace

from tests.lab import scenarios as _folder
from tests.lab import training as _training


@dataclass(frozen=True, slots=True)
class Truth:
    """What a step really is: the label written when the step has been recorded.

    ``src`` and ``dst`` are hosts of the lab, addresses or networks; None means many or forged.
    ``packets`` is a pcap filter with the same placeholders as a command; the first and last packet
    that match it while the step runs give the label its start and end. ``also`` names other
    detectors that are right to speak of it. With ``notice`` a finding below an alert's risk will
    do: regularity alone, say, is no alarm. ``kind`` and ``tool`` say of a capture for training
    what its flows are and what made them; there ``detector`` may be empty.
    """

    detector: str
    technique: str
    note: str
    packets: str
    src: str | None
    dst: str | None
    also: tuple[str, ...] = ()
    notice: bool = False
    kind: str = ""
    tool: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One command of one actor, at a time, perhaps repeated.

    ``command`` may name hosts in braces: ``{nas}`` is a host's IPv4 address, ``{nas6}`` its IPv6
    address, ``{nas_mac}`` its hardware address; ``{page}`` is a web page's curl list, another one
    on each run. ``at`` counts seconds from the start, ``every`` from run to run, ``jitter`` is a
    share of ``every``. ``seconds`` bounds one run; reaching it is an error unless ``endless`` says
    that the tool never ends by itself.
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

    ``lead`` and ``tail`` are quiet seconds before and after the steps; ``snaplen`` is what is kept
    of a packet; with ``offloads`` senders hand over segments of up to 64 KiB, as a tap in front of
    a NIC with TSO sees them. The catalogue gives each its file's name and docstring.
    """

    steps: tuple[Step, ...]
    max_seconds: float
    max_packets: int
    snaplen: int = 262_144
    offloads: bool = False
    lead: float = 1.0
    tail: float = 1.0
    services: tuple[str, ...] = ("web", "dns", "ssh")
    name: str = ""
    sentence: str = ""

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


def training_catalogue() -> dict[str, Scenario]:
    """Every scenario that is recorded for training only: those of all files in ``training``."""
    found = {}
    for entry in pkgutil.iter_modules(_training.__path__):
        if entry.name.startswith("_"):
            continue
        module = importlib.import_module(f"{_training.__name__}.{entry.name}")
        for name, (sentence, scenario) in module.SCENARIOS.items():
            found[name] = replace(scenario, name=name, sentence=sentence)
    return found


def catalogue() -> dict[str, Scenario]:
    """Every scenario by name: one for each file in the folder ``scenarios``."""
    found = {}
    for entry in pkgutil.iter_modules(_folder.__path__):
        if entry.name.startswith("_"):
            continue
        module = importlib.import_module(f"{_folder.__name__}.{entry.name}")
        scenario: Scenario = module.SCENARIO
        sentence = (module.__doc__ or "").strip()
        found[entry.name] = replace(scenario, name=entry.name, sentence=sentence)
    return found
