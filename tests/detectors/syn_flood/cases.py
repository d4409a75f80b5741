"""SYN floods, and what looks like one."""

from tests.detectors.cases import ALERT, QUIET, Case, Recorded
from tests.detectors.world import World

ATTACKER, VICTIM = "10.0.0.9", "10.0.0.1"


def from_one(world: World) -> None:
    for number in range(900):
        world.flow(number / 300, ATTACKER, VICTIM, 80, "S0")


def spoofed(world: World) -> None:
    for number in range(900):
        source = f"{20 + number % 180}.{number % 7}.{number % 250}.{number % 200 + 1}"
        world.flow(number / 300, source, VICTIM, 443, "S0")


def reset_by_a_stack(world: World) -> None:
    """The target answers and the sender's own stack resets: SYN, SYN+ACK, RST without ACK."""
    for number in range(900):
        world.flow(number / 300, ATTACKER, VICTIM, 80, "RSTO", flags=2 | 4, pkts=(2, 1))


def busy_server(world: World) -> None:
    for number in range(2000):
        state = "S0" if number % 20 == 0 else "SF"
        world.flow(number / 500, f"10.2.{number % 200}.{number % 250 + 1}", VICTIM, 443, state)


def scan(world: World) -> None:
    for port in range(2000):
        world.flow(port / 1000, ATTACKER, VICTIM, 1 + port, "S0")


def dead_server(world: World) -> None:
    for number in range(300):
        world.flow(number / 10, f"10.2.0.{number % 30 + 1}", VICTIM, 80, "S0")


def half_seen(world: World) -> None:
    for number in range(900):
        world.flow(number / 300, f"10.2.0.{number % 30 + 1}", VICTIM, 80, "S0", flags=2 | 16)


CASES = (
    Case("300 SYNs a second from one host", from_one, ALERT, ATTACKER, VICTIM, 1301, within_s=10),
    Case("300 SYNs a second from everywhere", spoofed, ALERT, VICTIM, VICTIM, 1301, within_s=10),
    Case("SYNs whose answers are reset", reset_by_a_stack, ALERT, ATTACKER, VICTIM, 1301, 10),
    Case("a busy server whose clients are slow now and then", busy_server, QUIET),
    Case("a fast port scan", scan, QUIET),
    Case("thirty clients of a dead server", dead_server, QUIET),
    Case("one direction of a busy server's connections", half_seen, QUIET),
)
CAPTURES = (
    Recorded("hping3 from its own address", ALERT, "syn_flood.pcap.zst", host="192.168.77.66",
             target="198.51.100.10"),
    Recorded("hping3 with made-up sources", ALERT, "syn_flood_spoofed.pcap.zst",
             target="192.168.77.10"),
    Recorded("an nmap scan", QUIET, "port_scan.pcap.zst"),
    Recorded("streams, a speed test, a dead server", QUIET, "benign_busy.pcap.zst"),
)  # fmt: skip
