"""A camera scans, guesses, listens in, calls home and floods, on top of everyday traffic."""

from tests.lab.scenario import Scenario, Step
from tests.lab.scenarios._attacks import (
    address_sweep,
    arp_spoof,
    beaconing,
    password_guess,
    port_scan,
    syn_flood,
)
from tests.lab.scenarios._everyday import (
    browsing,
    call,
    closed_port,
    copy,
    login,
    lookups,
    mistyped_login,
    monitoring_ping,
)

SCENARIO = Scenario(
    steps=(
        Step("camera", "sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0"),
        # everyday traffic, lively at first, then calm: the score must find its way back
        browsing("laptop", times=34, every=9),
        browsing("phone", times=22, every=14),
        browsing("laptop", times=20, every=28, at=320),
        browsing("phone", times=12, every=45, at=330),
        lookups("phone", times=34, every=26),
        call("admin", seconds=20, at=12),
        copy("laptop", at=40),
        login("admin", times=18, every=48, at=5),
        mistyped_login("admin", times=3, every=150, at=48),
        monitoring_ping("admin", "nas", count=890),
        closed_port("phone", times=35, every=25),
        # the story
        beaconing("camera", every=15, times=24, jitter=0.1).moved(35),
        address_sweep("camera", "198.51.100.0/24", "-sn --max-rate 200").moved(60),
        port_scan("camera", "nas", "--max-rate 400").moved(85),
        password_guess("camera", "ssh", guesses=80).moved(100),
        arp_spoof("camera", "phone", seconds=12).moved(180),
        syn_flood("camera", "web", count=8_000, gap_us=400).moved(215),
    ),
    max_seconds=960,
    max_packets=100_000,
    snaplen=160,
    services=("web", "dns", "ssh", "iperf", "c2"),
)
