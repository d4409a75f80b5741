"""The production agent on a wire: what it sees, says and survives."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.need import need
from tests.net.agents import OURS, THEIRS, Site, site, until, wire
from tests.patience import patient


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Site]:
    """A gateway and a stranger on a wire."""
    need("netns")
    with site(tmp_path) as made:
        yield made


def scan(lan: Site, ports: str = "1-1000") -> None:
    """nmap scans the gateway."""
    need("lab")
    words = ("nmap", "-n", "-Pn", "-sS", "-T4", "-p", ports, OURS)
    subprocess.run(
        lan.stranger.command(*words), check=True, capture_output=True, timeout=patient(60)
    )


def test_a_scan_on_the_wire_becomes_an_alert_and_a_verdict(lan: Site) -> None:
    agent = lan.start()
    assert lan.ask("/score").json["score"] is None, "no packet yet: no score"
    scan(lan)
    until(lambda: lan.events("alert"))
    (alert,) = lan.events("alert")
    assert alert["src_ip"] == THEIRS
    assert alert["in_iface"] == "lan0"
    assert alert["alert"]["detector"] == "port_scan"
    until(lambda: (lan.ask("/score").json["score"] or {}).get("status") in ("AMBER", "RED"))
    lan.stop(agent)
    (verdict,) = lan.events("verdict")
    assert verdict["verdict"]["mode"] == "monitor"
    (stats,) = lan.events("stats")
    assert stats["stats"]["packets"] >= 2000
    assert list((lan.folder / "state" / "archive").rglob("*.parquet"))


def test_an_interface_that_goes_and_comes_is_watched_again(lan: Site) -> None:
    lan.start()
    lan.gateway.ip("link set lan0 down")
    until(lambda: lan.sensor("lan0")["state"] == "stale")
    assert lan.sensor("lan0")["reason"] == "lan0 is down"
    lan.gateway.ip("link set lan0 up")
    until(lambda: lan.sensor("lan0")["state"] == "live")
    lan.gateway.ip("link del lan0")
    until(lambda: "does not exist" in lan.sensor("lan0")["reason"])
    confidence = lan.ask("/score").json
    wire(lan.gateway, lan.stranger)
    until(lambda: lan.sensor("lan0")["state"] == "live")
    scan(lan)
    until(lambda: lan.events("alert"))
    told = lan.notices("sensor")
    assert "lan0 is stale: lan0 is down" in told
    assert "lan0 is live" in told
    assert confidence is not None


def test_a_renamed_interface_is_still_watched(lan: Site) -> None:
    lan.start()
    lan.gateway.ip("link set lan0 down")
    lan.gateway.ip("link set lan0 name lan9")
    lan.gateway.ip("link set lan9 up")
    until(lambda: lan.sensor("lan0")["reason"] == "was named lan0")
    assert lan.sensor("lan0")["state"] == "live"
    scan(lan)
    until(lambda: lan.events("alert"))


def test_a_second_agent_on_the_interface_is_told_the_pid_of_the_first(lan: Site) -> None:
    first = lan.start()
    second = lan.begin(FORTRESS_STATE_DIR=str(lan.folder / "other"))
    said = second.communicate(timeout=patient(30))[1]
    assert second.returncode == 1
    pid = lan.ask("/health").json["pid"]
    assert f"interface lan0: another agent has it, pid {pid}" in said
    lan.stop(first)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--interface", "nowhere0"), "fortress: interface nowhere0: there is no such interface"),
        (("--interface", "lan0", "--interface", "lan0"), "one is named twice"),
        ((), "name an interface"),
    ],
)
def test_what_cannot_be_watched_is_said(lan: Site, options: tuple[str, ...], words: str) -> None:
    agent = lan.begin(*(options or ("--source", "auto")))
    said = agent.communicate(timeout=patient(30))[1]
    assert agent.returncode in (1, 2)
    assert words in said
    assert "Traceback" not in said


def test_without_guard_and_capability_the_remedy_is_named(lan: Site) -> None:
    words = lan.gateway.command(
        *("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"),
        *(Path(__file__).parents[2] / ".venv/bin/fortress", "agent", "run"),
        *("--interface", "lan0", "--config", lan.toml),
    )
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=patient(60))
    assert done.returncode == 1
    assert "CAP_NET_RAW" in done.stderr
    assert "fortress guard run" in done.stderr


def test_the_configuration_is_read_again_and_a_wrong_one_is_refused(lan: Site) -> None:
    agent = lan.start()
    lan.config = "[detectors.port_scan]\nhalf_ports = 100000\nhalf_ports_slow = 100000\n"
    assert lan.toml.exists()
    agent.send_signal(signal.SIGHUP)
    until(lambda: lan.notices("reload"))
    lan.config = "[detectors.port_scan]\nhalf_prots = 1\n"
    assert lan.toml.exists()
    agent.send_signal(signal.SIGHUP)
    until(lambda: len(lan.notices("reload")) == 2)
    assert "nothing was changed" in lan.notices("reload")[1]
    assert "half_prots" in lan.notices("reload")[1]
    scan(lan)
    lan.stop(agent)
    assert not lan.events("alert"), "the detector has the settings of the first reload"


def test_status_says_that_it_reads_its_configuration_again(lan: Site) -> None:
    agent = lan.start()
    assert lan.ask("/status").json["source"] == "packet"
    text = lan.toml.read_text()
    path = lan.folder / "fortress.toml"
    path.unlink()
    os.mkfifo(path)  # reading it takes until something is written
    agent.send_signal(signal.SIGHUP)
    until(lambda: lan.state() == "reloading")
    path.write_text(text)
    until(lambda: lan.state() == "running")
    assert lan.sensor("devices")["state"] == "live"
    lan.stop(agent)


def test_status_says_that_it_stops_while_it_waits_for_the_guard(lan: Site) -> None:
    guard = lan.start_guard()
    lan.config = '[respond]\non_stop = "remove"\n'
    agent = lan.start()
    guard.send_signal(signal.SIGSTOP)
    try:
        agent.send_signal(signal.SIGTERM)
        until(lambda: lan.state() == "stopping")
    finally:
        guard.send_signal(signal.SIGCONT)
    agent.communicate(timeout=patient(30))
    assert agent.returncode == 0


@pytest.mark.parametrize("by_option", [True, False])
def test_flows_that_ended_are_events_where_they_are_asked_for(lan: Site, by_option: bool) -> None:
    lan.config = "[flows]\nidle_timeout_s = 1\n" + ("" if by_option else "[eve]\nflows = true\n")
    agent = lan.start("--interface", "lan0", *(["--flows"] * by_option))
    ping = lan.stranger.command("ping", "-n", "-c", "2", "-i", "0.2", OURS)
    subprocess.run(ping, check=True, capture_output=True)
    until(lambda: [flow for flow in lan.events("flow") if flow.get("src_ip") == THEIRS])
    (flow, *_) = [flow for flow in lan.events("flow") if flow.get("src_ip") == THEIRS]
    assert (flow["dest_ip"], flow["proto"], flow["in_iface"]) == (OURS, "ICMP", "lan0")
    lan.stop(agent)


def test_no_flow_is_an_event_where_none_is_asked_for(lan: Site) -> None:
    agent = lan.start()
    subprocess.run(lan.stranger.command("ping", "-n", "-c", "2", OURS), check=True)
    until(lambda: lan.ask("/status").json["totals"]["packets"] >= 4)
    lan.stop(agent)
    assert lan.events("stats")[0]["stats"]["flows"] >= 1
    assert not lan.events("flow")


def test_a_mirror_port_is_watched_by_af_xdp_and_one_with_an_address_is_refused(lan: Site) -> None:
    need("bpf")
    refused = lan.begin("--interface", "lan0", "--source", "af_xdp")
    said = refused.communicate(timeout=patient(30))[1]
    assert refused.returncode == 1
    assert "address" in said
    lan.gateway.ip("addr flush dev lan0")
    agent = lan.start("--interface", "lan0", "--source", "af_xdp")
    status = lan.ask("/status").json
    assert "AF_XDP" in status["notes"][0]
    assert status["source"] == "af_xdp"
    ping = lan.stranger.command("ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", OURS)
    subprocess.run(ping, check=False, capture_output=True)
    until(lambda: lan.ask("/status").json["totals"]["packets"] >= 3)
    lan.stop(agent)
