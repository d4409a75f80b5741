"""Backups and a call: few large flows at full speed, seen in segments of up to 64 KiB."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._everyday import browsing, bulk, call, copy

SCENARIO = Scenario(
    steps=(
        copy("laptop", times=3, every=10),
        bulk("admin", megabytes=150, at=5),
        call("phone", seconds=15, at=8),
        browsing("phone", times=2, every=10),
    ),
    max_seconds=90,
    max_packets=60_000,
    snaplen=128,
    offloads=True,
    services=("web", "dns", "ssh", "iperf"),
)
