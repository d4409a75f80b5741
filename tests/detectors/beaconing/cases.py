"""Beaconing, and what looks like it. Regularity alone is a notice, whatever it is."""

from tests.detectors.cases import ALERT, NOTICE, QUIET, Case, Recorded
from tests.detectors.world import UDP, World

IMPLANT, HOME = "10.0.0.7", "203.0.113.66"
JITTER = (0.1, -0.3, 0.25, -0.05, 0.3, -0.2, 0.0, 0.15, -0.25, 0.05, -0.1, 0.2)


def by_the_minute(world: World) -> None:
    for number in range(20):
        world.flow(number * 60, IMPLANT, HOME, 8081, said=(200, 400))


def with_jitter(world: World) -> None:
    at = 0.0
    for number in range(30):
        at += 45 * (1 + JITTER[number % len(JITTER)])
        world.flow(at, IMPLANT, HOME, 8888, said=(150 + number % 3, 230))


def by_tls(world: World) -> None:
    for number in range(20):
        world.flow(number * 60, IMPLANT, HOME, 8443, said=(900, 4200), data_pkts=(4, 5))


def admin(world: World) -> None:
    for number in range(20):
        world.flow(number * 60, IMPLANT, "10.0.0.1", 22, said=(3600, 8300), data_pkts=(15, 19))


def service_that_is_gone(world: World) -> None:
    for number in range(40):
        world.flow(number * 30, IMPLANT, "10.0.0.1", 8123, "REJ")


def and_a_scan(world: World) -> None:
    by_the_minute(world)
    for port in range(60):
        world.flow(1090 + port * 0.05, IMPLANT, "10.0.0.1", 1 + port, "REJ")


def browsing(world: World) -> None:
    at = 0.0
    for number in range(60):
        at += 5 + (number * 7919 % 97)
        size = 900 + number * 6151 % 70_000
        world.flow(at, IMPLANT, HOME, 443, said=(700, size))


def clock(world: World) -> None:
    for number in range(40):
        world.flow(number * 64, IMPLANT, HOME, 123, "SF", proto=UDP, pkts=(1, 1))


def resolver(world: World) -> None:
    for number in range(60):
        world.flow(number * 30, IMPLANT, "10.0.0.1", 53, "SF", proto=UDP, pkts=(1, 1))


def announcements(world: World) -> None:
    for number in range(60):
        world.flow(number * 30, IMPLANT, "239.255.255.250", 1901, "OTH", proto=UDP, pkts=(1, 0))


def busy_service(world: World) -> None:
    for number in range(600):
        world.flow(number, IMPLANT, HOME, 443)


CASES = (
    Case("a call every minute", by_the_minute, NOTICE, IMPLANT, HOME, 1801),
    Case("a call every 45 seconds give or take a third", with_jitter, NOTICE, IMPLANT, HOME, 1801),
    Case("a call by TLS every minute", by_tls, NOTICE, IMPLANT, HOME, 1801),
    Case("a call every minute of a host that scans, too", and_a_scan, ALERT, IMPLANT, HOME, 1801),
    Case("somebody reads pages", browsing, QUIET),
    Case("commands run over SSH every minute", admin, QUIET),
    Case("a program that looks for a service that is gone", service_that_is_gone, QUIET),
    Case("a clock that is set every minute", clock, QUIET),
    Case("a resolver that is asked every half minute", resolver, QUIET),
    Case("announcements to a group", announcements, QUIET),
    Case("a service that is asked all the time", busy_service, QUIET),
)
CAPTURES = (
    Recorded("an implant that calls every 20 s", NOTICE, "beaconing.pcap.zst",
             host="192.168.77.21", target="203.0.113.66"),
    Recorded("an implant that sleeps between 30 and 60 s", NOTICE,
             shared="attack/54ecdfd4_zeek-caldera-detector__ragdoll.pcap", host="172.18.0.3",
             target="172.18.0.2"),
    Recorded("a household's day", QUIET, "benign_mixed.pcap.zst"),
    Recorded("an administrator's day", QUIET, "benign_admin.pcap.zst"),
    Recorded("of attacks, an administrator and a program without its service: who calls home",
             NOTICE, "attack_day.pcap.zst", host="192.168.77.66", target="203.0.113.66"),
)  # fmt: skip
