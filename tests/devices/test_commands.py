"""`fortress devices` as people and programs use it, on a real store; no guard is there."""

import json
import time
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fortress.devices.table import Device
from fortress.store import Store
from tests.e2e.command import Done, fortress

NOW_NS = time.time_ns()
TV = Device(
    "d8:3a:dd:00:00:01", 1_700_000_000 * 10**9, NOW_NS - 3 * 3600 * 10**9, ("2001:db8:77::1",),
    host_name="tv ☃ in the living room with a long name", lease_until_s=0,
)  # fmt: skip
TABLET = Device(
    "02:00:5e:00:77:66", NOW_NS, NOW_NS, ("fe80::66", "192.168.77.66"), host_name="tablet",
    randomized=True,
)  # fmt: skip
LEASED = Device("02:00:5e:00:77:67", randomized=True, host_name="tablet", lease_until_s=2**31)


class Desk:
    """Runs the command on a state folder in which the store knows three devices."""

    def __init__(self, state: Path) -> None:
        self.state = state
        with Store(f"sqlite:///{state}/fortress.sqlite") as store:
            tablet = replace(TABLET, last_seen_ns=time.time_ns())  # tests are read long before
            store.write_devices([TV, tablet, LEASED])
        config = state / "guard.toml"
        config.write_text(f'socket = "{state}/guard.sock"\n')
        toml = state / "fortress.toml"
        toml.write_text('[devices]\ninterfaces = ["none"]\nleases = []\n')
        self.files = ["--config", toml, "--guard-config", config]

    def __call__(self, *words: str) -> Done:
        return fortress("devices", *words, *self.files, state=self.state)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def columns(line: str) -> int:
    """How many columns of a terminal a line takes."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in line)


def test_the_list_reads_well_on_eighty_columns(desk: Desk) -> None:
    done = desk("list")
    lines = done.out.splitlines()
    assert lines[0].split() == ["NAME", "MAC", "ADDRESS", "POLICY", "SEEN"]
    assert [line.split()[0] for line in lines[1:]] == ["tablet", "tv", "tablet"]
    assert "192.168.77.66" in lines[1]
    assert lines[1].endswith(("now", "1 min ago"))
    assert lines[2].endswith("3 h ago")
    assert lines[3].endswith("never")
    assert all(columns(line) <= 80 for line in lines)
    assert "policies are not known: no guard at" in done.err
    assert done.code == 0


def test_programs_get_one_object_a_line_and_null_for_what_is_not_known(desk: Desk) -> None:
    told: list[dict[str, Any]] = [
        json.loads(line) for line in desk("list", "--json").out.split("\n") if line
    ]
    assert [one["mac"] for one in told] == [TABLET.mac, TV.mac, LEASED.mac]
    assert told[0]["addresses"] == ["fe80::66", "192.168.77.66"]
    assert told[0]["policy"] is None
    assert told[2]["last_seen_ns"] is None


@pytest.mark.parametrize("text", ["D8-3A-DD-00-00-01", "2001:db8:77::1"])
def test_a_device_is_named_by_mac_or_address(desk: Desk, text: str) -> None:
    shown = desk("show", text).out
    assert "d8:3a:dd:00:00:01" in shown
    assert "without end" in shown
    assert "2023-11-14" in shown


def test_a_name_of_ones_own_is_kept_and_found_by(desk: Desk) -> None:
    assert (
        desk("name", TABLET.mac, "Käthes Tablet").out == f"{TABLET.mac} is called Käthes Tablet\n"
    )
    assert TABLET.mac in desk("show", "käthes tablet").out
    assert "Käthes Tablet" in desk("list").out
    desk("name", TABLET.mac, "--remove")
    assert "Käthes" not in desk("list").out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["show", "02:00:5e:00:77"], 2, "no device is known as '02:00:5e:00:77'"),
        (["show", "02:00:5e:00:77:zz"], 2, "is no MAC"),
        (["show", "02:00:5e:00:77:99"], 2, "did you mean"),
        (["show", "tablet"], 2, "may be any of 02:00:5e:00:77:66, 02:00:5e:00:77:67"),
        (["show", "tv\x1b[2J"], 2, r"'tv\x1b[2j'"),
        (["name", TABLET.mac, "a\nb"], 2, "do not print"),
        (["name", TABLET.mac, "x" * 65], 2, "at most 64"),
        (["name", TABLET.mac], 2, "one of the arguments"),
        (["policy", TABLET.mac, "--force"], 2, "name the policy"),
        (["policy", TABLET.mac, "paused"], 1, "no guard at"),
        (["policy", TABLET.mac, "sillypolicy"], 2, "'sillypolicy' is no policy"),
        (["policy", TABLET.mac, "full", "--during", "never", "paused"], 2, "'never'"),
    ],
)
def test_what_cannot_be_done_is_told_and_how_to_do_it(
    desk: Desk, words: list[str], code: int, said: str
) -> None:
    done = desk(*words)
    assert done.code == code
    assert said.lower() in done.err.lower()
    assert "\x1b" not in done.err


def test_looking_makes_no_store(tmp_path: Path) -> None:
    config = tmp_path / "fortress.toml"
    config.write_text('[devices]\ninterfaces = ["none"]\n')
    done = fortress("devices", "list", "--config", config, state=tmp_path / "state")
    assert done.out == "no device has been seen\n"
    assert not (tmp_path / "state").exists()
