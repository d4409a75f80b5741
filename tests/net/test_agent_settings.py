"""What settings of the live agent do, by an agent on a wire; tests/contract names the test of every
key.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.need import need
from tests.net.agents import FORTRESS, OURS, THEIRS, Site, site, until
from tests.net.test_agent_load import flood
from tests.patience import patient
from tests.surface.asking import ask


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Site]:
    """A gateway and a stranger on a wire."""
    need("netns")
    with site(tmp_path) as made:
        yield made


def ping(lan: Site, count: int = 3) -> None:
    """The stranger pings the gateway."""
    words = ("ping", "-n", "-q", "-c", str(count), "-i", "0.2", "-W", "1", OURS)
    subprocess.run(lan.stranger.command(*words), check=False, capture_output=True)


def start_by_file(lan: Site) -> subprocess.Popen[str]:
    """An agent that is told nothing but its configuration."""
    agent = lan.begin("--flows")  # else a test's agent is told its interface
    until(lambda: agent.poll() is not None or lan.state() == "running")
    assert agent.poll() is None, agent.communicate()[1]
    return agent


def test_interfaces_and_source_are_taken_from_the_file(lan: Site) -> None:
    need("bpf")
    lan.config = '[capture]\ninterfaces = ["lan0"]\n'
    agent = start_by_file(lan)
    assert lan.ask("/status").json["source"] == "packet"
    assert lan.sensor("lan0")["state"] == "live"
    lan.stop(agent)
    lan.gateway.ip("addr flush dev lan0")
    lan.config = '[capture]\ninterfaces = ["lan0"]\nsource = "af_xdp"\n'
    start_by_file(lan)
    assert lan.ask("/status").json["source"] == "af_xdp"


def test_outside_names_the_side_where_no_default_route_does(lan: Site) -> None:
    lan.gateway.ip("link add wan0 type veth peer name wan1")
    lan.gateway.ip("link set wan0 up")
    both = ("--interface", "lan0", "--interface", "wan0")
    agent = lan.start(*both)
    assert "capture.outside" in lan.sensor("conntrack")["reason"]
    lan.stop(agent)
    lan.config = '[capture]\noutside = ["wan0"]\n'
    lan.start(*both)
    assert "capture.outside" not in lan.sensor("conntrack")["reason"]


def test_a_small_flow_budget_lets_the_oldest_flows_go(lan: Site) -> None:
    lan.config = "[capture]\nflow_budget_mib = 1\n"
    lan.start()
    assert flood(lan, 8000, 4000).wait(patient(60)) == 0
    until(lambda: lan.ask("/status").json["drops"]["flows_evicted"] > 1000)
    assert lan.ask("/status").json["flows_active"] < 4000


def test_ring_mib_is_the_memory_of_the_rings(lan: Site) -> None:
    lan.config = "[capture]\nring_mib = 3\n"
    agent = lan.start()
    maps = Path(f"/proc/{agent.pid}/maps").read_text().splitlines()
    rings = [line.split()[0].split("-") for line in maps if "socket:" in line]
    assert [int(end, 16) - int(begin, 16) for begin, end in rings] == [3 << 20]


@pytest.mark.parametrize("enabled", [True, False])
def test_flows_are_archived_at_the_path_unless_it_is_switched_off(lan: Site, enabled: bool) -> None:
    lan.config = f'[archive]\nenabled = {str(enabled).lower()}\npath = "kept/flows"\n'
    agent = lan.start()
    ping(lan)
    until(lambda: lan.ask("/status").json["totals"]["packets"] >= 3)
    lan.stop(agent)
    assert bool(list(lan.folder.glob("state/kept/flows/day=*/hour=*/*.parquet"))) == enabled
    assert not (lan.folder / "state" / "archive").exists()


@pytest.mark.parametrize("inside", ["lan0", "elsewhere0"])
def test_devices_are_looked_for_on_their_interfaces_and_named_by_their_vendors(
    lan: Site, inside: str
) -> None:
    (lan.folder / "oui.csv").write_text("Registry,Assignment,Name,Address\nMA-L,D83ADD,Acme,x\n")
    lan.stranger.ip("link set eth0 address d8:3a:dd:00:77:66")
    leases = lan.folder / "leases"
    leases.write_text(f"0 d8:3a:dd:00:77:66 {THEIRS} phone *\n")
    lan.config = (
        f'[devices]\ninterfaces = ["{inside}"]\nvendors = "{lan.folder}"\nleases = ["{leases}"]\n'
    )
    agent = lan.start()
    ping(lan)
    until(lambda: lan.sensor("devices")["facts"]["known"] == 1)
    lan.stop(agent)
    words = ("devices", "list", "--json", "--config", lan.folder / "fortress.toml")
    (device,) = map(json.loads, lan.gateway.run(*command(lan, *words)).splitlines())
    assert device["vendor"] == "Acme"
    assert device["interface"] == (inside if inside == "lan0" else "")


def command(lan: Site, *words: str | Path) -> tuple[str | Path, ...]:
    """The words of a fortress command that asks this site's guard, which there is none of."""
    guard = lan.folder / "guard.toml"
    guard.write_text(f'socket = "{lan.guard}"\n')
    return FORTRESS, *words, "--guard-config", guard


def test_the_token_lies_in_its_file_and_opens_the_port(lan: Site) -> None:
    path = lan.folder / "secrets" / "word"
    path.parent.mkdir(mode=0o700)
    lan.start(FORTRESS_CONTROL__TOKEN_FILE=str(path), FORTRESS_METRICS__LISTEN="127.0.0.1:9099")
    token = path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600
    assert not (lan.folder / "state" / "token").exists()
    with lan.gateway.entered():
        for word, status in ((token, 200), ("x" * 43, 401)):
            answer = ask("127.0.0.1:9099", "/reload", "POST", Authorization=f"Bearer {word}")
            assert answer.status == status


def test_files_databases_and_sockets_lie_where_the_file_says(lan: Site) -> None:
    lan.config = (
        '[eve]\npath = "said/lines.json"\n[store]\nurl = "sqlite:///facts.db"\n'
        f'[energy]\nsource = "rapl"\nsocket = "{lan.folder / "watts.sock"}"\n'
    )
    (lan.folder / "state" / "said").mkdir(parents=True)
    agent = lan.start()
    assert lan.socket.is_socket(), "control.socket, which every agent of these tests is given"
    assert str(lan.folder / "watts.sock") in lan.sensor("energy")["reason"]
    lan.stop(agent)
    assert (lan.folder / "state" / "said" / "lines.json").read_text()
    assert (lan.folder / "state" / "facts.db").exists()
    assert not (lan.folder / "state" / "eve.json").exists()
