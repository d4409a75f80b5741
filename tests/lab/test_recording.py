"""The lab really records: real tools, in namespaces that leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.capture import within
from tests.lab.labels import read_labels
from tests.lab.network import build
from tests.lab.record import record
from tests.lab.sandbox import SandboxError, run, run_inside
from tests.lab.scenario import Scenario, Step, catalogue
from tests.need import ROOT, need


@pytest.fixture
def tools() -> None:
    """Skip unless this machine can record."""
    need("netns", "lab")


def traces(word: str) -> set[str]:
    """Return what a recording might leave: namespaces, mounts, processes of this word or ours."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found = {line for line in mounts if "lab" in line}
    found |= {str(path) for path in Path("/run").glob("*/fxlab-*")}
    found |= {str(path) for path in Path("/run").glob("lab")}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            parent = (process / "stat").read_text().rpartition(") ")[2].split()[1]
        except OSError:
            continue
        if word in words or parent == str(os.getpid()):
            found.add(f"{process.name} {words}")
    return found


@pytest.mark.usefixtures("tools")
def test_a_port_sweep_is_recorded_with_its_label_and_leaves_nothing(tmp_path: Path) -> None:
    before = traces(str(tmp_path))
    capture = record(catalogue()["address_sweep_port"], tmp_path)
    assert traces(str(tmp_path)) == before
    facts, labels = read_labels(tmp_path / "address_sweep_port.labels.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "address_sweep_port.labels.json",
        "address_sweep_port.pcap.zst",
    ]
    plain = tmp_path / "plain.pcap"
    run("zstd", "-q", "-d", str(capture), "-o", str(plain))
    probes = "src host 192.168.77.66 and dst net 198.51.100.0/24 and tcp[13] = 2 and dst port 445"
    first, last, packets = within(plain, probes, facts["start"], facts["end"])
    assert packets == 256
    assert [(label.start, label.end) for label in labels] == [(first, last)]
    assert facts["tools"]["nmap"].startswith("nmap ")


@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_recording_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    before = traces(str(tmp_path))
    words = [sys.executable, "-m", "tests.lab", "record", "port_scan", "--out", str(tmp_path)]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as recording:
        assert recording.stderr is not None
        assert "curl" in recording.stderr.readline()  # the first step has begun
        recording.send_signal(number)
        expected = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
        assert recording.wait(timeout=30) == expected[number]
    for _ in range(100):
        if traces(str(tmp_path)) == before:
            break
        time.sleep(0.1)
    assert traces(str(tmp_path)) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("tools")
def test_a_tool_that_fails_fails_the_recording(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    step = Step("laptop", "curl -s -m 2 http://{nas}:8123/")
    broken = Scenario((step,), max_seconds=5, max_packets=100, services=(), name="broken")
    with pytest.raises(SandboxError, match="broken was not recorded"):
        record(broken, tmp_path)
    assert "http://192.168.77.10:8123/: ended with 7" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("tools")
def test_more_packets_than_allowed_fail_the_recording(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    step = Step("laptop", "ping -n -q -c 20 -i 0.01 {nas}")
    flood = Scenario((step,), max_seconds=10, max_packets=20, services=(), name="flood")
    with pytest.raises(SandboxError):
        record(flood, tmp_path)
    assert "more than the 20 packets" in capfd.readouterr().err


@pytest.mark.usefixtures("tools")
def test_nothing_in_the_lab_reaches_the_machines_own_network(tmp_path: Path) -> None:
    machine = subprocess.run(["ip", "-j", "addr"], capture_output=True, text=True, check=True)
    seen = tmp_path / "seen"

    def look() -> int:
        with build(offloads=False) as network:
            routes = [network.inside(host, "ip", "route") for host in network.namespaces]
            links = [network.inside(host, "ip", "-o", "link") for host in network.namespaces]
            seen.write_text("\n".join(routes + links))
        return 0

    assert run_inside(look) == 0
    assert "192.168.77.1" in seen.read_text()
    for address in ("default dev", "enp", "wlan"):
        assert address not in seen.read_text()
    after = subprocess.run(["ip", "-j", "addr"], capture_output=True, text=True, check=True)
    assert after.stdout == machine.stdout


def test_without_root_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SandboxError, match="needs root"):
        run_inside(lambda: 0)
