"""ARP spoofing, and what looks like it."""

from tests.detectors.cases import ALERT, NOTICE, QUIET, Case, Recorded
from tests.detectors.world import World

GATEWAY, GATEWAY_MAC = "10.0.0.1", "02:00:00:00:00:aa"
VICTIM, VICTIM_MAC = "10.0.0.5", "02:00:00:00:00:05"
ATTACKER, ATTACKER_MAC = "10.0.0.9", "02:00:00:00:00:bb"


def _resolves(world: World, at: float) -> None:
    world.arp(at, 1, VICTIM, VICTIM_MAC, GATEWAY)
    world.arp(at, 2, GATEWAY, GATEWAY_MAC, VICTIM)


def arpspoof(world: World) -> None:
    _resolves(world, 0)
    world.arp(1, 1, ATTACKER, ATTACKER_MAC, GATEWAY)
    world.arp(1, 2, GATEWAY, GATEWAY_MAC, ATTACKER)
    for second in range(10, 40, 2):
        world.arp(second, 2, GATEWAY, ATTACKER_MAC, VICTIM)
        world.arp(second, 2, VICTIM, ATTACKER_MAC, GATEWAY)


def began_before_us(world: World) -> None:
    for second in range(0, 30, 2):
        world.arp(second, 2, GATEWAY, ATTACKER_MAC, VICTIM)
    _resolves(world, 31)
    for second in range(38, 60, 2):
        world.arp(second, 2, GATEWAY, ATTACKER_MAC, VICTIM)


def nobody_contradicts(world: World) -> None:
    for second in range(60):
        world.arp(second, 2, GATEWAY, ATTACKER_MAC, VICTIM)


def resolving(world: World) -> None:
    for second in range(0, 600, 30):
        _resolves(world, second)


def announcing(world: World) -> None:
    for second in range(100):
        world.arp(second, 2, VICTIM, VICTIM_MAC, VICTIM)


def new_lease(world: World) -> None:
    world.arp(0, 1, VICTIM, VICTIM_MAC, GATEWAY)
    world.arp(900, 1, VICTIM, "02:00:00:00:00:06", GATEWAY)
    world.arp(910, 1, VICTIM, "02:00:00:00:00:06", GATEWAY)


def wrong_setting(world: World) -> None:
    """Two devices have the same address by mistake; both ask, neither lies to others."""
    for second in range(0, 100, 10):
        world.arp(second, 1, VICTIM, VICTIM_MAC, GATEWAY)
        world.arp(second + 5, 1, VICTIM, "02:00:00:00:00:06", GATEWAY)


def proxy_arp(world: World) -> None:
    for second in range(60):
        world.arp(second, 1, VICTIM, VICTIM_MAC, f"10.0.9.{second + 1}")
        world.arp(second, 2, f"10.0.9.{second + 1}", GATEWAY_MAC, VICTIM)


CASES = (
    Case("arpspoof between a host and the gateway", arpspoof, ALERT, ATTACKER, GATEWAY, 1601, 20),
    Case("an attack that began before the capture", began_before_us, ALERT, target=GATEWAY),
    Case("the gateway itself is never heard", nobody_contradicts, ALERT, target=GATEWAY),
    Case("two devices with one address by mistake", wrong_setting, NOTICE, target=VICTIM),
    Case("hosts that ask and are answered", resolving, QUIET),
    Case("a device that announces its own address", announcing, QUIET),
    Case("an address that goes to another device", new_lease, QUIET),
    Case("proxy ARP", proxy_arp, QUIET),
)
CAPTURES = (
    Recorded("arpspoof", ALERT, "arp_spoof.pcap.zst", host="192.168.77.66"),
    Recorded("a household's day", QUIET, "benign_mixed.pcap.zst"),
    Recorded("an ARP sweep", QUIET, "address_sweep_arp.pcap.zst"),
)
