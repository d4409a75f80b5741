"""Every detector there is keeps the promises of fortress.qsecbit.checks, and the checks notice
those that do not.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fortress.errors import ConfigError
from fortress.features.windows import TABLES
from fortress.qsecbit import Pipeline, checks, detectors
from fortress.qsecbit.catalogue import catalogue, chosen
from fortress.qsecbit.contract import Detector, Signature, configured, declared, detector
from fortress.qsecbit.fuse import (
    BACKGROUND_WEIGHT,
    LOCAL_WEIGHT,
    REMOTE_WEIGHT,
    STEPS,
    FuseSettings,
)
from fortress.qsecbit.score import AMBER, RED
from fortress.verdict import Layer

FOUND = list(catalogue().values())


@pytest.mark.parametrize("found", FOUND, ids=[one.name for one in FOUND])
@pytest.mark.parametrize("promise", checks.PROMISES, ids=lambda promise: promise.__name__)
def test_a_detector_keeps_its_promise(
    found: Detector, promise: Callable[..., None], rng: np.random.Generator
) -> None:
    promise(configured(found, {}), checks.random_table(found.table, rng))


def test_the_folder_listing_is_the_catalogue(root: Path) -> None:
    files = sorted(
        path.stem for path in Path(detectors.__path__[0]).glob("*.py") if path.stem != "__init__"
    )
    assert [one.name for one in FOUND] == files
    folders = root / "tests" / "detectors"
    assert [name for name in files if not (folders / name).is_dir()] == []


def test_signature_numbers_are_never_shared_between_detectors() -> None:
    owner: dict[int, str] = {}
    for one in FOUND:
        for signature in one.signatures.values():
            assert owner.setdefault(signature.id, one.name) == one.name


def test_every_column_of_every_table_is_documented_as_it_is(root: Path) -> None:
    text = (root / "docs" / "detection.md").read_text()
    for name, columns in TABLES.items():
        section = text.split(f"### {name}\n")[1].split("\n#")[0]
        rows = [f"| `{column}` | {meaning} |" for column, meaning in columns.items()]
        assert [line for line in section.splitlines() if line.startswith("| `")] == rows


def test_the_example_of_the_documentation_keeps_every_promise(root: Path) -> None:
    text = (root / "docs" / "detection.md").read_text()
    names = {"np": np, "detector": detector, "Signature": Signature, "Layer": Layer}
    exec(text.split("```python\n")[1].split("```")[0], names)
    found = declared(names["too_many_ports"])
    assert found is not None
    checks.check(found)


def test_numbers_of_the_documentation_are_those_of_the_code(root: Path) -> None:
    text = (root / "docs" / "score.md").read_text()
    assert f"AMBER from {AMBER:.2f}, RED from {RED:.2f}" in text
    assert f"τ = {FuseSettings().tau_s:.0f} s" in text
    for least, action, _ in STEPS:
        assert f"| from {least:.2f}" in text
        assert f"| {action.name} |" in text
    for one in (LOCAL_WEIGHT, REMOTE_WEIGHT, BACKGROUND_WEIGHT):
        assert f"| {one} |" in text
    megabytes = Pipeline().memory_bytes / 1e6
    assert f"together {megabytes:.0f} MB" in (root / "docs" / "detection.md").read_text()


def _declare(function: Callable[..., object], **changes: object) -> Detector:
    words: dict[str, object] = {
        "table": "pairs",
        "layer": Layer.L4,
        "technique": "T1046",
        "category": "test",
        "severity": 0.5,
        "signatures": {0: Signature(1, "test")},
        "reason": "{host} {ports:.0f}",
        "evidence": ("ports",),
        "rises_with": "ports",
    }
    found = declared(detector(**(words | changes))(function))  # type: ignore[arg-type]
    assert found is not None
    return found


def ports_over_hundred(ports, *, most=100.0):
    """A score that keeps every promise."""
    return np.clip(ports / most, 0, 1).astype(np.float32)


def test_a_plain_detector_keeps_every_promise() -> None:
    checks.check(_declare(ports_over_hundred))


def _writes(ports):
    """Writes to its input."""
    ports += 1
    return np.clip(ports * 0, 0, 1).astype(np.float32)


def _ranks(ports):
    """Looks at other rows."""
    return (ports / max(ports.max(initial=0), 1)).astype(np.float32)


def _falls(ports):
    """Falls."""
    return np.clip(ports / 100 - ports / 50 * (ports > 60), 0, 1).astype(np.float32)


def _divides(ports, failed):
    """Divides by zero."""
    return np.nan_to_num(np.clip(ports / failed, 0, 1)).astype(np.float32)


def _widens(ports):
    """Gives float64."""
    return np.clip(ports / 100, 0, 1)


def _cries(ports):
    """Always sure."""
    return np.ones(len(ports), np.float32)


@pytest.mark.parametrize("broken", [_writes, _ranks, _falls, _divides, _widens, _cries])
def test_the_checks_notice_a_detector_that_breaks_a_promise(broken: Callable[..., object]) -> None:
    with pytest.raises(checks.BrokenPromise, match=broken.__name__):
        checks.check(_declare(broken))


def test_a_reason_with_an_unknown_column_is_noticed() -> None:
    found = _declare(ports_over_hundred, reason="{host} {hosts}")
    with pytest.raises(checks.BrokenPromise, match="hosts: no such column"):
        checks.check(found)


def test_a_detector_that_reads_a_column_no_table_has_is_refused() -> None:
    def reads_nothing_real(portz):
        """Reads a column that is not there."""
        return portz

    with pytest.raises(TypeError, match="pairs has no column portz"):
        _declare(reads_nothing_real)


def test_the_decorator_returns_the_function_itself() -> None:
    assert declared(ports_over_hundred) is not None
    assert ports_over_hundred(np.array([50.0])) == np.float32(0.5)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"port_scam": {}}, r"detectors\.port_scam: no such detector"),
        ({"port_scan": {"half_port": 3.0}}, r"detectors\.port_scan\.half_port: no such setting"),
        ({"port_scan": {"half_ports": "x"}}, r"detectors\.port_scan\.half_ports: 'x' is not a num"),
        (
            {"port_scan": {"half_ports": -1}},
            r"detectors\.port_scan\.half_ports: -1 is not a number",
        ),
        ({"port_scan": {"half_ports": True}}, r"detectors\.port_scan\.half_ports: True is not a n"),
        ({"port_scan": {"enabled": 1}}, r"detectors\.port_scan\.enabled: 1 is not true or false"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_the_key(
    section: dict[str, dict[str, object]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        chosen(section)  # type: ignore[arg-type]


def test_a_detector_can_be_switched_off_and_set() -> None:
    settings = chosen({"port_scan": {"enabled": False}, "syn_flood": {"half_rate": 7}})
    names = {setting.detector.name: setting for setting in settings}
    assert "port_scan" not in names
    assert names["syn_flood"].values["half_rate"] == 7


OTHERS = """
from fortress.qsecbit.contract import Signature, detector
from fortress.verdict import Layer

@detector(table="pairs", layer=Layer.L4, technique="T1046", category="reconnaissance",
          severity=0.5, signatures={0: Signature(9001, "theirs")}, reason="{host}",
          evidence=("ports",), rises_with="ports")
def theirs(ports):
    return (ports > 9).astype("float32")
"""


def test_detectors_of_installed_packages_are_found_and_only_then_looked_for(tmp_path: Path) -> None:
    told = "from fortress.qsecbit import catalogue; import sys; names = set(catalogue())\n"
    alone = told + "print('theirs' in names, 'importlib.metadata' in sys.modules)"
    (tmp_path / "others.py").write_text(OTHERS)
    installed = tmp_path / "others-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    said = []
    for points in (
        "[console_scripts]\nx = others:x\n",
        "[fortress.detectors]\nt = others:theirs\n",
    ):
        (installed / "entry_points.txt").write_text(points)
        run = [sys.executable, "-c", alone]
        environ = os.environ | {"PYTHONPATH": str(tmp_path)}
        said.append(subprocess.run(run, env=environ, capture_output=True, text=True).stdout.split())
    assert said == [["False", "False"], ["True", "True"]]
