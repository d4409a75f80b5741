"""Who answers for what is found: who sent the frames, never whose address is written in them."""

from collections.abc import Callable

import pytest

from fortress.qsecbit import Pipeline, TickResult
from fortress.qsecbit.places import OurSide, Places
from fortress.verdict import Action, Verdict
from tests.detectors.world import World, mac

LAPTOP, CAMERA, SERVER = "192.168.77.20", "192.168.77.66", "203.0.113.10"
LAPTOP6, SERVER6 = "2001:db8:77::20", "2001:db8:5e::10"
LAPTOP_MAC, CAMERA_MAC, GATEWAY_MAC = (
    "02:00:5e:00:77:20",
    "02:00:5e:00:77:66",
    "02:00:5e:00:77:01",
)
OUTSIDE = 1
OURS = OurSide(
    ("192.168.77.0/24", "2001:db8:77::/64", "198.51.100.2/32"),
    frozenset(("192.168.77.1/32", "198.51.100.2/32")),
    frozenset((mac(GATEWAY_MAC),)),
    outside=frozenset((OUTSIDE,)),
)


def judged(world: World, side: OurSide | None = OURS) -> list[TickResult]:
    """What becomes of a story on the gateway."""
    pipeline = Pipeline()
    pipeline.place(side)
    return world.run(pipeline)


def verdicts(results: list[TickResult]) -> list[Verdict]:
    """Every verdict of a story."""
    return [one for result in results for one in result.verdicts]


def targets(results: list[TickResult], least: Action = Action.WATCH) -> set[str]:
    """Whom verdicts name."""
    return {one.target for one in verdicts(results) if one.action >= least}


def scan(world: World, source: str, target: str, source_mac: str, ports: int = 60) -> None:
    """Ports of the target are tried one after the other, for ten seconds."""
    for port in range(ports):
        world.flow(port * 10 / ports, source, target, 1000 + port, "REJ", source_mac=source_mac)


def sweep(world: World, source: str, target: str, source_mac: str) -> None:
    """Many hosts beside the target are tried on one port."""
    net = target.rpartition(".")[0] + "." if "." in target else target.rpartition(":")[0] + ":"
    for host in range(1, 120):
        world.flow(host / 12, source, f"{net}{host}", 445, "S0", source_mac=source_mac)


def flood(world: World, source: str, target: str, source_mac: str) -> None:
    """One port of the target is asked for a hundred connections in a tenth of a second."""
    for second in range(5):
        for _ in range(600):
            world.flow(second, source, target, 80, "S0", source_mac=source_mac)


ATTACKS = pytest.mark.parametrize("attack", [scan, sweep, flood])
Attack = Callable[[World, str, str, str], None]


@ATTACKS
@pytest.mark.parametrize(
    ("source", "target"), [(LAPTOP, SERVER), (LAPTOP6, SERVER6)], ids=["IPv4", "IPv6"]
)
def test_what_is_done_in_a_devices_name_is_its_who_sent_the_frames(
    attack: Attack, source: str, target: str
) -> None:
    """The device itself talks to the same target meanwhile, on the same ports, and more of it."""
    world = World()
    attack(world, source, target, CAMERA_MAC)
    for second in range(12):
        for port in (80, 445, 1000 + 5 * second):
            world.flow(second, source, target, port, "SF", pkts=(4000, 4000),
                       source_mac=LAPTOP_MAC)  # fmt: skip
            world.flow(second, source, target, port, "REJ", source_mac=LAPTOP_MAC)
    assert targets(judged(world)) == {CAMERA_MAC}


@ATTACKS
def test_a_device_that_attacks_in_its_own_name_is_named_by_its_mac(attack: Attack) -> None:
    world = World()
    attack(world, CAMERA, SERVER, CAMERA_MAC)
    assert targets(judged(world)) == {CAMERA_MAC}


@ATTACKS
@pytest.mark.parametrize(
    ("source", "target"),
    [(LAPTOP, CAMERA), (LAPTOP6, "2001:db8:77::66")],
    ids=["IPv4", "IPv6"],
)
def test_of_what_this_machine_forwards_in_a_devices_name_nobody_is_accused(
    attack: Attack, source: str, target: str
) -> None:
    """As where the LAN alone is watched, and somebody outside forges its addresses."""
    world = World()
    attack(world, source, target, GATEWAY_MAC)
    results = judged(world)
    assert targets(results) == set()
    told = [one for result in results for one in result.opened]
    assert told
    assert {one.host == one.target for one in told} == {True}
    assert all("nobody is to blame" in one.reason for one in told)


def test_the_finding_names_the_mac_where_the_address_is_known_to_be_anothers() -> None:
    world = World()
    world.arp(0, 1, LAPTOP, LAPTOP_MAC, "192.168.77.1")
    for port in range(60):
        world.flow(1 + port / 6, LAPTOP, SERVER, 1000 + port, "REJ", source_mac=CAMERA_MAC)
    found = [one for result in judged(world) for one in result.opened]
    assert {one.host for one in found} == {CAMERA_MAC}
    assert {one.src_ip for one in found} == {LAPTOP}
    assert f"sent by {CAMERA_MAC}, and {LAPTOP} is {LAPTOP_MAC}'s" in found[0].reason


def claim_in_the_name_of(world: World, sender_mac: str, written: str, *, iface: int = 0) -> None:
    """The gateway's address is claimed again and again, by frames of one MAC that name another."""
    world.arp(0, 1, "192.168.77.1", GATEWAY_MAC, LAPTOP)
    world.arp(0, 1, CAMERA, CAMERA_MAC, "192.168.77.1")
    for second in range(1, 20):
        world.arp(second, 2, "192.168.77.1", written, LAPTOP)
        world.packets[second][-1] |= {"src_mac": mac(sender_mac), "iface": iface}
        world.arp(second, 1, "192.168.77.1", GATEWAY_MAC, LAPTOP)


def test_who_writes_another_devices_mac_into_arp_is_quarantined_and_not_that_device() -> None:
    world = World()
    claim_in_the_name_of(world, CAMERA_MAC, LAPTOP_MAC)
    results = judged(world)
    assert targets(results, Action.QUARANTINE) == {CAMERA_MAC}
    assert targets(results) == {CAMERA_MAC}


def test_who_tells_of_macs_outside_gets_no_device_into_trouble() -> None:
    """Not even with the device's own MAC as the frame's sender: outside it means nothing."""
    world = World()
    for second in range(20):
        world.arp(second, 2, "198.51.100.1", CAMERA_MAC, "198.51.100.2")
        world.packets[second][-1]["iface"] = OUTSIDE
        world.arp(second, 1, "198.51.100.1", "02:00:5e:00:51:01", "198.51.100.2")
        world.packets[second][-1]["iface"] = OUTSIDE
    assert targets(judged(world)) == set()
    assert targets(judged(world, None)) == {CAMERA_MAC}, "a machine that knows no sides"


def test_a_private_address_that_is_not_inside_is_a_strangers() -> None:
    """A gateway behind another one: what is upstream is no device, and has no MAC of one."""
    world = World()
    scan(world, "10.9.9.9", LAPTOP, GATEWAY_MAC)
    assert targets(judged(world)) == {"10.9.9.9"}


def test_nobody_makes_his_prefix_ours_by_neighbour_discovery_from_outside() -> None:
    world = World()
    for second in range(3):
        world.arp(second, 135, "2001:db8:bad::66", "02:00:5e:00:51:01", "2001:db8:bad::1")
        world.packets[second][-1]["iface"] = OUTSIDE
    scan(world, "2001:db8:bad::66", LAPTOP6, GATEWAY_MAC)
    assert targets(judged(world)) == {"2001:db8:bad::/64"}


def test_a_device_cannot_make_itself_a_gateway_by_forging_addresses_from_elsewhere() -> None:
    world = World()
    world.flow(0, "198.18.7.7", SERVER, 80, source_mac=CAMERA_MAC)
    scan(world, CAMERA, SERVER, CAMERA_MAC)
    assert targets(judged(world)) == {CAMERA_MAC}


def test_what_is_local_is_what_is_known_to_be() -> None:
    places = Places()
    assert places.is_local("10.9.9.9")
    places.know(OURS)
    local = {host: places.is_local(host) for host in (
        "10.9.9.9", LAPTOP, LAPTOP6, "2001:db8:78::1", "fe80::1", "198.51.100.2", "198.51.100.1",
        CAMERA_MAC)}  # fmt: skip
    assert local == {
        "10.9.9.9": False, LAPTOP: True, LAPTOP6: True, "2001:db8:78::1": False, "fe80::1": True,
        "198.51.100.2": True, "198.51.100.1": False, CAMERA_MAC: True,
    }  # fmt: skip
    places.know(None)
    assert places.is_local("10.9.9.9")
