"""UDP floods, and what looks like one."""

from tests.detectors.cases import ALERT, NOTICE, QUIET, Case, Recorded
from tests.detectors.world import UDP, World

ATTACKER, VICTIM = "10.0.0.9", "203.0.113.7"


def new_ports(world: World) -> None:
    for number in range(3000):
        world.flow(number / 1000, ATTACKER, VICTIM, 53, "OTH", proto=UDP, pkts=(1, 0))


def one_flow_of_small_packets(world: World) -> None:
    for second in range(3):
        world.flow(second, ATTACKER, VICTIM, 9, "S0", proto=UDP, pkts=(30_000, 0))


def to_everyone(world: World) -> None:
    world.flow(0, "10.0.0.9", "255.255.255.255", 67, "OTH", proto=UDP, pkts=(5000, 0))


def reflected(world: World) -> None:
    for number in range(2000):
        source = f"{20 + number % 180}.{number % 7}.{number % 250}.{number % 200 + 1}"
        world.flow(number / 1000, source, VICTIM, 40_000, "OTH", proto=UDP, pkts=(3, 0),
                   source_port=123)  # fmt: skip


def _stream(world: World, pkts: tuple[int, int], size: int) -> None:
    for second in range(5):
        world.flow(second, ATTACKER, VICTIM, 5201, "SF", proto=UDP, pkts=pkts)
        world.intervals[second][-1] |= {"orig_bytes": pkts[0] * size, "is_new": second == 0}


def speed_test(world: World) -> None:
    _stream(world, (80_000, 0), 1400)


def video_call(world: World) -> None:
    _stream(world, (3000, 2500), 1100)


def camera(world: World) -> None:
    _stream(world, (2500, 60), 1350)


def game(world: World) -> None:
    _stream(world, (128, 64), 90)


def busy_resolver(world: World) -> None:
    for number in range(3000):
        world.flow(number / 600, f"10.0.{number % 9}.{number % 250 + 1}", VICTIM, 53, "SF",
                   proto=UDP, pkts=(1, 1))  # fmt: skip


CASES = (
    Case("1,000 new flows a second", new_ports, ALERT, ATTACKER, VICTIM, 1401, within_s=10),
    Case("30,000 small packets a second in one flow", one_flow_of_small_packets, ALERT, ATTACKER,
         VICTIM, 1401, within_s=10),
    Case("5,000 packets to everyone", to_everyone, ALERT, ATTACKER, "255.255.255.255", 1401, 10),
    Case("answers of strangers nobody asked", reflected, ALERT, VICTIM, VICTIM, 1401, within_s=10),
    Case("a speed test by UDP that nobody answers", speed_test, NOTICE, ATTACKER, VICTIM),
    Case("a video call", video_call, QUIET),
    Case("a camera's stream", camera, QUIET),
    Case("a game", game, QUIET),
    Case("a resolver's clients", busy_resolver, QUIET),
)  # fmt: skip
CAPTURES = (
    Recorded("hping3 --udp", ALERT, "udp_flood.pcap.zst", host="192.168.77.66",
             target="198.51.100.10"),
    Recorded("streams, a speed test, a dead server", QUIET, "benign_busy.pcap.zst"),
    Recorded("DHCP requests by the thousand", ALERT,
             shared="attack/4145d77a_suricata-verify__test.pcap", target="255.255.255.255"),
    Recorded("a video conference", QUIET, shared="benign/790d9f3d_nDPI__teams.pcap"),
)  # fmt: skip
