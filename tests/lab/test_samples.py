"""The shipped captures hold what their labels say, and no address of anyone real."""

import subprocess
from pathlib import Path

import pytest

from tests.lab.capture import bounds, within
from tests.lab.labels import labels_path, read_labels
from tests.need import ROOT, need

LARGEST_WIRE_FRAME = 1_514
OURS_V4 = ("192.168.77.0/24", "198.51.100.0/24", "203.0.113.0/24", "0.0.0.0/32")
OURS_V6 = ("2001:db8::/32", "fe80::/10", "ff02::/16", "::/128")
captures = pytest.mark.parametrize(
    "capture", sorted((ROOT / "samples").glob("*.pcap.zst")), ids=lambda path: path.name
)


@pytest.fixture
def plain(capture: Path, tmp_path: Path) -> Path:
    """Return the capture without its compression."""
    need("lab")
    path = tmp_path / "plain.pcap"
    subprocess.run(["zstd", "-q", "-d", str(capture), "-o", str(path)], check=True)
    return path


@captures
def test_counts_and_times_are_those_of_the_labels_file(capture: Path, plain: Path) -> None:
    facts, labels = read_labels(labels_path(capture))
    assert bounds(plain) == tuple(facts[key] for key in ("start", "end", "packets", "wire_bytes"))
    for label in labels:
        sides = [f"host {end}" for end in (label.src, label.dst) if end and "/" not in end]
        sides += [f"net {end}" for end in (label.src, label.dst) if end and "/" in end]
        if label.detector == "arp_spoof":
            sides = [f"arp and ether src {label.src_mac}"]
        first, last, packets = within(plain, " and ".join(sides), label.start, label.end)
        assert (first, last) == (label.start, label.end)
        assert packets >= 10


@captures
def test_frames_are_as_on_the_wire_unless_the_labels_file_says_otherwise(
    capture: Path, plain: Path
) -> None:
    facts, _ = read_labels(labels_path(capture))
    larger = _printed(plain, f"greater {LARGEST_WIRE_FRAME + 1}")
    assert bool(larger) == facts["offloads"]


@captures
def test_every_address_is_the_labs_own(capture: Path, plain: Path) -> None:
    _, labels = read_labels(labels_path(capture))
    forged = [f"not host {label.dst}" for label in labels if label.src is None]
    foreign = " or ".join(
        f"({protocol} and not ({' or '.join(f'{side} net {network}' for network in ours)}))"
        for protocol, ours in (("ip", OURS_V4), ("arp", OURS_V4), ("ip6", OURS_V6))
        for side in ("src", "dst")
    )
    assert _printed(plain, " and ".join([f"({foreign})", *forged])) == ""
    assert _printed(plain, "src net 192.168.77.0/24 or src net 2001:db8::/32") != ""


def _printed(plain: Path, expression: str) -> str:
    words = ["tcpdump", "-r", str(plain), "-n", "-q", expression]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout
