"""Half of the traffic: an asymmetric route, of which only one direction comes by here."""

import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fortress_core import CONN_STATES, format_addr, open_capture

from tests.core.frames import ACK, RST, START, SYN, Packet, write_pcap
from tests.detectors.replay import replay

SAMPLES = sorted((Path(__file__).parents[2] / "samples").glob("benign_*.pcap.zst"))
LAN4, LAN6 = bytes((192, 168, 77)), bytes.fromhex("20010db80077")


def records(path: Path) -> Iterator[tuple[int, bytes]]:
    """Time and frame of each record of a sample."""
    octets = subprocess.run(["zstdcat", path], check=True, capture_output=True).stdout
    at = 24
    while at < len(octets):
        seconds, rest, kept, _ = struct.unpack_from("<IIII", octets, at)
        yield seconds * 1_000_000_000 + rest, octets[at + 16 : at + 16 + kept]
        at += 16 + kept


def is_outbound(frame: bytes) -> bool | None:
    """Whether a frame is from the LAN; None for what is no IP."""
    if frame[12:14] == b"\x08\0":
        return frame[26:29] == LAN4
    return frame[22:28] == LAN6 if frame[12:14] == b"\x86\xdd" else None


@pytest.fixture(params=["out", "in"])
def way(request: pytest.FixtureRequest) -> str:
    """The direction that is seen."""
    return str(request.param)


@pytest.fixture
def half(request: pytest.FixtureRequest, tmp_path: Path, way: str) -> Path:
    """One direction of a household's traffic."""
    frames = ((ns, frame) for ns, frame in records(request.param)
              if is_outbound(frame) in (None, way == "out"))  # fmt: skip
    return write_pcap(tmp_path / "half.pcap", frames)


@pytest.mark.parametrize("half", SAMPLES, ids=lambda path: path.name.split(".")[0], indirect=True)
def test_half_of_the_traffic_is_no_scan_and_stays_green(half: Path) -> None:
    results = replay(half)
    assert [one.reason for result in results for one in result.opened] == []
    assert max(result.score.value for result in results) < 0.45


@pytest.mark.parametrize(
    "half",
    [path for path in SAMPLES if "browse" in path.name],
    ids=["a household that browses"],
    indirect=True,
)
def test_the_state_of_a_connection_tells_which_half_was_seen(half: Path, way: str) -> None:
    """Zeek's SH and SHR: who asked, or who answered, was seen to begin and to end it."""
    states: Counter[str] = Counter()
    with open_capture([half]) as stream:
        for batch in stream:
            tcp = batch.flows["proto"] == 6
            states.update(CONN_STATES[code] for code in batch.flows["conn_state"][tcp])
            lan = [format_addr(address).startswith(("192.168.77.", "2001:db8:77:"))
                   for address in batch.flows["orig_addr"][tcp]]  # fmt: skip
            assert np.all(lan), "the device is the originator in both halves"
    assert states == {"SH" if way == "out" else "SHR": states.total()}
    assert states.total() > 100


@pytest.mark.parametrize(
    "flags", [SYN | ACK, RST | ACK, RST, ACK], ids=["SYN+ACK", "RST+ACK", "RST", "ACK"]
)
@pytest.mark.parametrize("device", ["192.168.77.20", "2001:db8:77::20"], ids=["IPv4", "IPv6"])
def test_whoever_sends_answers_that_nobody_asked_for_accuses_nobody_inside(
    tmp_path: Path, flags: int, device: str
) -> None:
    """From many addresses and ports, as if the device had scanned them."""
    far = "2001:db8:bad::{:x}" if ":" in device else "198.51.100.{}"
    frames = []
    for number in range(1, 250):
        for port in (80, 443, number):
            source, to = far.format(number), 40_000 + number
            packet = Packet(src=source, dst=device, sport=port, dport=to, flags=flags)
            frames.append((START + (number * 3 + port % 3) * 10_000_000, packet.frame()))
    results = replay(write_pcap(tmp_path / "answers.pcap", sorted(frames)))
    accused = {one.host for result in results for one in result.opened}
    assert device not in accused
    assert all(verdict.target != device for result in results for verdict in result.verdicts)
