"""Port scans, and what looks like one."""

from tests.detectors.cases import ALERT, QUIET, Case, Recorded
from tests.detectors.world import UDP, World

SCANNER, VICTIM = "10.0.0.9", "10.0.0.1"


def syn_scan(world: World) -> None:
    for port in range(200):
        world.flow(port * 0.005, SCANNER, VICTIM, 1 + port, "REJ")


def filtered(world: World) -> None:
    for port in range(60):
        world.flow(port * 0.1, SCANNER, VICTIM, 1 + port, "S0")


def mostly_open(world: World) -> None:
    for port in range(40):
        world.flow(port * 0.1, SCANNER, VICTIM, 1 + port, "REJ" if port % 4 else "RSTO")


def stealth(world: World) -> None:
    for number, flags in enumerate((1, 0, 41, 1, 0, 41, 1, 0)):  # FIN, NULL, Xmas
        world.flow(number, SCANNER, VICTIM, 20 + number, "OTH", flags=flags)


def slow(world: World) -> None:
    for port in range(60):
        world.flow(port * 45, SCANNER, VICTIM, 1 + port, "S0")


def udp(world: World) -> None:
    for port in range(80):
        world.flow(port * 0.05, SCANNER, VICTIM, 1 + port, "OTH", proto=UDP, pkts=(1, 0))


def over_ipv6(world: World) -> None:
    for port in range(60):
        world.flow(port * 0.05, "fd00::9", "fd00::1", 1 + port, "REJ")


def a_few_ports(world: World) -> None:
    for port in (80, 443, 8080, 8443, 631, 9100):
        world.flow(1, SCANNER, VICTIM, port, "REJ")


def one_dead_port(world: World) -> None:
    for second in range(300):
        world.flow(second, SCANNER, VICTIM, 5432, "REJ")


def passive_ftp(world: World) -> None:
    for number in range(100):
        world.flow(number, SCANNER, VICTIM, 30_000 + 13 * number, "SF")


def many_clients(world: World) -> None:
    for number in range(300):
        world.flow(number * 0.01, f"10.1.{number // 250}.{number % 250 + 1}", VICTIM, 443, "S0")


def traceroute(world: World) -> None:
    for hop in range(90):
        world.flow(hop * 0.05, SCANNER, "203.0.113.1", 33_434 + hop, "OTH", proto=UDP, pkts=(1, 0))


def answers_alone(world: World) -> None:
    for port in range(200):
        world.flow(1, VICTIM, SCANNER, 40_000 + port, "OTH", proto=UDP, source_port=53, pkts=(1, 0))


def one_direction(world: World) -> None:
    for port in range(60):
        world.flow(1, SCANNER, VICTIM, 1 + port, "S0", flags=2 | 16, pkts=(9, 0))


def slow_answers(world: World) -> None:
    for port in range(60):
        world.flow(1 + port // 6, SCANNER, VICTIM, 1 + port, "S0")
        world.answer_late(2 + port // 6, SCANNER, VICTIM, 1 + port)


CASES = (
    Case("a SYN scan of 200 closed ports", syn_scan, ALERT, SCANNER, VICTIM, 1101, within_s=1),
    Case("a scan of silent ports, ten a second", filtered, ALERT, SCANNER, VICTIM, 1101, 10),
    Case("a scan of a host with a port in four open", mostly_open, ALERT, SCANNER, VICTIM, 1101),
    Case("eight FIN, NULL and Xmas probes", stealth, ALERT, SCANNER, VICTIM, 1101, within_s=10),
    Case("a port every 45 seconds", slow, ALERT, SCANNER, VICTIM, 1101),
    Case("a UDP scan", udp, ALERT, SCANNER, VICTIM, 1102, within_s=10),
    Case("a scan over IPv6", over_ipv6, ALERT, "fd00::9", "fd00::1", 1101, within_s=10),
    Case("a program that tries six usual ports", a_few_ports, QUIET),
    Case("a client that asks a dead service for five minutes", one_dead_port, QUIET),
    Case("passive FTP: many ports that all work", passive_ftp, QUIET),
    Case("many clients of one service that does not answer", many_clients, QUIET),
    Case("traceroute by UDP", traceroute, QUIET),
    Case("the answers of a resolver without the questions", answers_alone, QUIET),
    Case("one direction of an asymmetric route", one_direction, QUIET),
    Case("ports that answer in the next second", slow_answers, QUIET),
)
CAPTURES = (
    Recorded("nmap SYN scan", ALERT, "port_scan.pcap.zst", host="192.168.77.66",
             target="192.168.77.10", signature_id=1101),
    Recorded("three probes a second", ALERT, "port_scan_slow.pcap.zst", host="192.168.77.66"),
    Recorded("nmap over IPv6", ALERT, "port_scan_v6.pcap.zst", host="2001:db8:77::66"),
    Recorded("nmap UDP scan", ALERT, "port_scan_udp.pcap.zst", host="192.168.77.66",
             signature_id=1102),
    Recorded("an administrator's day", QUIET, "benign_admin.pcap.zst"),
    Recorded("a household's day", QUIET, "benign_mixed.pcap.zst"),
    Recorded("programs that ask many and dead servers", QUIET, "benign_busy.pcap.zst"),
    Recorded("three stealth probes and three others", ALERT,
             shared="attack/7aa824ee_nDPI__tcp_scan.pcap", host="192.168.1.178"),
    Recorded("a torrent's peers", QUIET, shared="benign/e626c330_nDPI__bittorrent_tcp_miss.pcapng"),
)  # fmt: skip
