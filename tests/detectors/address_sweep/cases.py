"""Address sweeps, and what looks like one."""

from tests.detectors.cases import ALERT, QUIET, Case, Recorded
from tests.detectors.world import ICMP, UDP, World

SWEEPER, MAC = "10.0.0.9", "02:00:00:00:00:09"


def smb_worm(world: World) -> None:
    for host in range(1, 60):
        world.flow(host * 0.1, SWEEPER, f"10.0.1.{host}", 445, "S0")


def telnet_worm(world: World) -> None:
    for host in range(200):
        world.flow(host * 0.04, SWEEPER, f"{20 + host}.7.{host}.9", 23, "S0")


def lost_laptop(world: World) -> None:
    for host in range(12):
        target = "192.168.178.1" if host == 6 else f"{20 + host}.7.{host}.9"
        world.flow(host, SWEEPER, target, 443, "S0")


def ping_sweep(world: World) -> None:
    for host in range(1, 100):
        answered = host % 10 == 0
        world.flow(host * 0.05, SWEEPER, f"10.0.1.{host}", 0, "OTH", proto=ICMP, pkts=(1, answered))
        world.intervals[int(host * 0.05)][-1]["resp_pkts_total"] = int(answered)


def arp_sweep(world: World) -> None:
    for host in range(2, 200):
        world.arp(host * 0.03, 1, SWEEPER, MAC, f"10.0.0.{host}")


def slow_sweep(world: World) -> None:
    for host in range(1, 90):
        world.flow(host * 30, SWEEPER, f"10.0.1.{host}", 22, "S0")


def torrent(world: World) -> None:
    for peer in range(400):
        port = 6881 if peer % 8 == 0 else 10_000 + 97 * peer % 50_000
        state = "S0" if peer % 3 else "SF"
        world.flow(peer * 0.1, SWEEPER, f"{20 + peer % 180}.3.{peer % 250}.8", port, state)


def browsing(world: World) -> None:
    for site in range(300):
        state = "S0" if site % 15 == 0 else "SF"
        world.flow(site * 0.2, SWEEPER, f"{20 + site % 180}.5.{site % 250}.8", 443, state)


def resolver(world: World) -> None:
    for server in range(400):
        pkts = (1, 0) if server % 12 == 0 else (1, 1)
        world.flow(
            server * 0.1, SWEEPER, f"{20 + server % 180}.6.{server % 250}.8", 53,
            "OTH" if pkts[1] == 0 else "SF", proto=UDP, pkts=pkts,
        )  # fmt: skip


def few_neighbours(world: World) -> None:
    for second in range(60):
        for host in range(2, 8):
            world.arp(second, 1, SWEEPER, MAC, f"10.0.0.{host}")


def answered_arp(world: World) -> None:
    for host in range(2, 40):
        world.arp(host, 1, SWEEPER, MAC, f"10.0.0.{host}")
        world.arp(host, 2, f"10.0.0.{host}", f"02:00:00:00:01:{host:02x}", SWEEPER)


CASES = (
    Case("a worm looks for SMB in the LAN", smb_worm, ALERT, SWEEPER, "", 1203, within_s=10),
    Case("a bot looks for telnet on the Internet", telnet_worm, ALERT, SWEEPER, "", 1203, 10),
    Case("a ping sweep with one host in ten there", ping_sweep, ALERT, SWEEPER, "", 1202, 10),
    Case("an ARP sweep", arp_sweep, ALERT, SWEEPER, "", 1201, within_s=10),
    Case("an address every half minute", slow_sweep, ALERT, SWEEPER, "", 1203),
    Case("a torrent whose peers are mostly gone", torrent, QUIET),
    Case("a browser that meets a dead server now and then", browsing, QUIET),
    Case("a resolver that asks many servers", resolver, QUIET),
    Case("a laptop without a route, one of whose services is a printer", lost_laptop, QUIET),
    Case("a host that asks for six neighbours again and again", few_neighbours, QUIET),
    Case("a host that asks for neighbours which are there", answered_arp, QUIET),
)
CAPTURES = (
    Recorded("nmap ping sweep through the gateway", ALERT, "address_sweep.pcap.zst",
             host="192.168.77.66", signature_id=1202),
    Recorded("nmap ARP sweep", ALERT, "address_sweep_arp.pcap.zst", host="192.168.77.66",
             signature_id=1201),
    Recorded("a sweep for SMB", ALERT, "address_sweep_port.pcap.zst", host="192.168.77.66",
             signature_id=1203),
    Recorded("a household's day", QUIET, "benign_mixed.pcap.zst"),
    Recorded("nmap of a home network", ALERT, shared="attack/f1706357_zeek__nmap-vsn.pcap",
             host="192.168.1.71", signature_id=1201),
    Recorded("an ARP sweep on Wi-Fi", ALERT,
             shared="attack/53598d17_StratosphereLinuxIPS__test8-malicious.pcap",
             host="192.168.1.247"),
    Recorded("a ping sweep of live hosts", ALERT,
             shared="attack/045653a7_StratosphereLinuxIPS__test12-icmp-portscan.pcap",
             host="192.168.1.109", signature_id=1202),
)  # fmt: skip
