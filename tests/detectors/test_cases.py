"""Every case of every detector folder: attacks are found, look-alikes stay quiet."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from fortress.events import ALERT_RISK
from fortress.qsecbit import catalogue
from fortress.verdict import Finding
from tests.detectors.cases import ALERT, NOTICE, QUIET, Case, Recorded
from tests.detectors.replay import replay
from tests.detectors.world import SECOND, START_NS, World, findings
from tests.need import need

NAMES = list(catalogue())


def _of(name: str, kind: str) -> Iterator[object]:
    module = importlib.import_module(f"tests.detectors.{name}.cases")
    for case in getattr(module, kind):
        yield pytest.param(name, case, id=f"{name}: {case.sentence}")


def _all(kind: str) -> list[object]:
    return [param for name in NAMES for param in _of(name, kind)]


@pytest.mark.parametrize(("name", "case"), _all("CASES"))
def test_a_story_made_by_hand(name: str, case: Case) -> None:
    world = World()
    case.tell(world)
    told = [found for found in findings(world.run()) if found.detector == name]
    _judge(told, case)
    if case.within_s is not None:
        first = next(found for found in told if found.risk >= ALERT_RISK)
        assert (first.time_ns - START_NS) / SECOND <= case.within_s


@pytest.mark.parametrize(("name", "case"), _all("CAPTURES"))
def test_a_real_capture(
    name: str, case: Recorded, samples: Path, shared_captures_if_there: Callable[[str], Path]
) -> None:
    if case.sample:
        path = samples / case.sample
    else:
        group, _, file = case.shared.partition("/")
        path = shared_captures_if_there(group) / group / file
    _judge([found for found in findings(replay(path)) if found.detector == name], case)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_has_attacks_and_look_alikes_made_and_real(name: str) -> None:
    module = importlib.import_module(f"tests.detectors.{name}.cases")
    for kind in (module.CASES, module.CAPTURES):
        expected = {case.expect for case in kind}
        assert expected & {ALERT, NOTICE}
        assert QUIET in expected
    assert any(case.sample for case in module.CAPTURES)


@pytest.fixture(scope="session")
def shared_captures_if_there() -> Callable[[str], Path]:
    """A function to the folder of a shared group; it skips where there is none."""

    def folder(group: str) -> Path:
        need("shared")
        from tests.shared_data import unpacked

        return unpacked(group)

    return folder


def _judge(told: Sequence[Finding], case: Case | Recorded) -> None:
    alerts = [found for found in told if found.risk >= ALERT_RISK]
    if case.expect == ALERT:
        assert alerts, f"nothing above a notice: {[f.reason for f in told]}"
    else:
        assert not alerts, alerts[0].reason
    if case.expect == NOTICE:
        assert told
    if case.expect == QUIET:
        assert not told, told[0].reason
        return
    right = [
        found
        for found in (alerts or told)
        if (not case.host or found.host == case.host)
        and (case.target is None or found.target == case.target)
        and (case.signature_id is None or found.signature_id == case.signature_id)
    ]
    named = [(found.host, found.target, found.signature_id) for found in told]
    assert right, f"{named} names nobody expected"
