"""What forwards packets past a watched interface, as the kernel's messages tell it."""

import pytest

from fortress.kernel.netlink import attribute
from fortress.kernel.offloads import Flowtable, hidden, parse_flowtable

MASTERS = {"lan1": "br-lan", "lan2": "br-lan", "wan0": "br-wan"}


def message(flags: int, *devices: str) -> memoryview:
    """A flowtable as nfnetlink tells of it."""
    names = b"".join(attribute(1, name.encode() + b"\0") for name in devices)
    payload = bytes(4) + attribute(1, b"home\0") + attribute(2, b"fast\0")
    payload += attribute(3 | 0x8000, attribute(1, bytes(4)) + attribute(3 | 0x8000, names))
    return memoryview(payload + attribute(7, flags.to_bytes(4, "big")))


def test_a_flowtable_is_read_with_all_its_devices() -> None:
    told = parse_flowtable(message(1, "lan1", "lan2", "wan0"))
    assert told == Flowtable("home fast", ("lan1", "lan2", "wan0"), True)
    assert not parse_flowtable(message(2, "lan1")).in_hardware
    assert parse_flowtable(memoryview(bytes(4))) == Flowtable(" ", (), False)


@pytest.mark.parametrize(
    ("flags", "devices", "watched", "told"),
    [
        (1, ("lan1", "wan0"), ["lan1"], {"lan1"}),
        (1, ("lan1", "wan0"), ["br-lan", "ppp0"], {"br-lan"}),
        (1, ("lan1", "wan0"), ["ppp0"], set()),
        (0, ("lan1", "wan0"), ["lan1", "wan0"], set()),
        (0, ("lan1", "wan0"), ["br-lan"], {"br-lan"}),
        (0, ("br-lan", "wan0"), ["br-lan"], set()),
        (0, ("br-lan", "lan1"), ["br-lan"], set()),
    ],
    ids=[
        "hardware hides what it serves",
        "and the bridge above it",
        "and nothing else",
        "software shows the packets of its devices",
        "and takes them past the bridge",
        "that it does not serve itself",
        "else it shows them",
    ],
)
def test_it_is_told_where_packets_pass_unseen(
    flags: int, devices: tuple[str, ...], watched: list[str], told: set[str]
) -> None:
    found = hidden(watched, [parse_flowtable(message(flags, *devices))], MASTERS)
    assert found.keys() == told
    assert all("flowtable home fast" in why for why in found.values())
