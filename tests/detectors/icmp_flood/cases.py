"""ICMP floods, and what looks like one."""

from tests.detectors.cases import ALERT, QUIET, Case, Recorded
from tests.detectors.world import ICMP, World

ATTACKER, VICTIM = "10.0.0.9", "10.0.0.1"


def ping_flood(world: World) -> None:
    for second in range(3):
        world.flow(second, ATTACKER, VICTIM, 0, "SF", proto=ICMP, pkts=(1000, 1000))


def from_many(world: World) -> None:
    for number in range(600):
        source = f"{20 + number % 180}.9.{number % 250}.{number % 200 + 1}"
        world.flow(number / 300, source, VICTIM, 0, "OTH", proto=ICMP, pkts=(3, 0))


def reflected(world: World) -> None:
    """Echo replies that nobody asked for."""
    for number in range(600):
        source = f"{20 + number % 180}.9.{number % 250}.{number % 200 + 1}"
        world.flow(number / 300, source, VICTIM, 0, "OTH", proto=ICMP, pkts=(10, 0))
        world.intervals[int(number / 300)][-1]["orig_port"] = 0


def ping(world: World) -> None:
    for second in range(100):
        world.flow(second, ATTACKER, VICTIM, 0, "SF", proto=ICMP, pkts=(5, 5))


def monitoring(world: World) -> None:
    for second in range(30):
        for host in range(1, 9):
            world.flow(second, ATTACKER, f"10.0.0.{10 + host}", 0, "SF", proto=ICMP, pkts=(3, 3))


def unreachables(world: World) -> None:
    for second in range(10):
        world.flow(second, VICTIM, ATTACKER, 0, "OTH", proto=ICMP, pkts=(90, 0))
        world.intervals[second][-1]["orig_port"] = 3


CASES = (
    Case("1,000 pings a second", ping_flood, ALERT, ATTACKER, VICTIM, 1501, within_s=10),
    Case("pings from everywhere", from_many, ALERT, VICTIM, VICTIM, 1501, within_s=10),
    Case("echo replies nobody asked for", reflected, ALERT, VICTIM, VICTIM, 1501, within_s=10),
    Case("five pings a second", ping, QUIET),
    Case("a monitor that pings eight hosts", monitoring, QUIET),
    Case("a host that tells another it is unreachable", unreachables, QUIET),
)
CAPTURES = (
    Recorded("hping3 --icmp", ALERT, "icmp_flood.pcap.zst", host="192.168.77.66",
             target="192.168.77.10"),
    Recorded("an administrator's day", QUIET, "benign_admin.pcap.zst"),
    Recorded("IPv6 pings with authentication headers", ALERT,
             shared="attack/c3cd2a47_suricata-verify__denial6-5.pcap", target="2001:db8:1::1"),
    Recorded("pings of all IPv6 nodes in their own name", ALERT,
             shared="attack/5598ec50_suricata-verify__rsmurf6.pcap", target="ff02::1"),
)  # fmt: skip
