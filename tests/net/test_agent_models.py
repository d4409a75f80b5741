"""A live agent takes another version of a model up between two batches, by its control socket."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fortress.config import Settings
from fortress.inference.configured import registry_of
from fortress.inference.signing import make_keys, read_private
from tests.need import need
from tests.net.agents import FORTRESS, OURS, Site, site, until
from tests.patience import patient
from tests.registry.world import NAME, shipped_as, sign_anyway


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Site]:
    """A gateway and a stranger on a wire; the gateway has keys and a published version."""
    need("netns")
    settings = Settings(state_dir=tmp_path / "state")
    make_keys(settings.model_key_path())
    key = read_private(settings.model_key_path())
    registry_of(settings).add(shipped_as(tmp_path / "new", "9.0.0"), key)
    with site(tmp_path) as made:
        yield made


def model(lan: Site) -> dict[str, Any]:
    """What the agent says of the flow classifier."""
    rows = lan.ask("/status").json["models"]
    return next(row for row in rows if row["name"] == NAME)


def command(lan: Site, *words: str) -> subprocess.CompletedProcess[str]:
    """`fortress model …` as an operator runs it."""
    return subprocess.run(
        [FORTRESS, "model", *words, "--json", "--config", str(lan.toml)],
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )


def test_a_promoted_version_is_taken_up_and_no_packet_is_lost(lan: Site) -> None:
    agent = lan.start()
    shipped = model(lan)
    assert (shipped["publisher"], shipped["mode"]) == ("shipped", "on")
    words = ("ping", "-n", "-q", "-c", "400", "-i", "0.005", "-W", "1", OURS)
    pings = subprocess.Popen(lan.stranger.command(*words), stdout=subprocess.DEVNULL)
    for _ in range(3):
        done = command(lan, "promote", NAME, "9.0.0")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["message"] == f"{NAME} 9.0.0 is in use"
        until(lambda: model(lan)["version"] == "9.0.0")
        assert command(lan, "rollback", NAME).returncode == 0
        until(lambda: model(lan)["publisher"] == "shipped")
    assert pings.wait(timeout=patient(60)) == 0
    until(lambda: lan.ask("/status").json["totals"]["packets"] >= 800)
    drops = lan.ask("/status").json["drops"]
    assert {name: drops[name] for name in ("kernel_drops", "rows_lost", "packets_shed")} == {
        "kernel_drops": 0,
        "rows_lost": 0,
        "packets_shed": 0,
    }
    lan.stop(agent)
    assert len(lan.notices("model")) == 6


def test_what_is_refused_changes_nothing_and_says_why(lan: Site, tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state")
    bad = sign_anyway(
        registry_of(settings),
        shipped_as(tmp_path / "bad", "9.1.0"),
        "9.1.0",
        read_private(settings.model_key_path()),
    )
    lan.start()
    (bad / f"{NAME}.onnx").write_bytes(b"x")
    done = command(lan, "promote", NAME, "9.1.0")
    assert (done.returncode, "sha256" in done.stderr) == (1, True)
    assert not (tmp_path / "state" / "model_state").exists()
    unknown = command(lan, "rollback", "no-such")
    assert (unknown.returncode, "no model" in unknown.stderr) == (1, True)
    # Somebody who writes the agent's folder by hand is found out too.
    (tmp_path / "state" / "model_state").mkdir()
    (tmp_path / "state" / "model_state" / NAME).write_text("9.1.0\n")
    until(lambda: any("sha256" in told for told in lan.notices("model")))
    assert model(lan)["publisher"] == "shipped"


def test_reading_the_configuration_again_changes_the_mode(lan: Site) -> None:
    lan.start()
    lan.config = '[models.flow-classifier]\nmode = "shadow"\n'
    assert lan.toml.exists()
    assert lan.ask("/reload", "POST").status == 200
    until(lambda: model(lan)["mode"] == "shadow")
    lan.config = '[models.flow-classifier]\nmode = "off"\n'
    assert lan.toml.exists()
    refused = lan.ask("/reload", "POST")
    assert (refused.status, "next start" in str(refused.json)) == (409, True)
    assert model(lan)["mode"] == "shadow"
