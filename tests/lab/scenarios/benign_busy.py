"""A video stream, a speed test, a program that asks many servers, another that asks a dead one."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._everyday import (
    announcement,
    browsing,
    call,
    dead_server,
    many_servers,
    monitoring_ping,
    speed_test,
    stream,
)

SCENARIO = Scenario(
    steps=(
        stream("camera", seconds=15, at=5),
        call("admin", seconds=15, at=10),
        speed_test("laptop", megabytes=60, at=30),
        many_servers("phone", times=5, every=12),
        dead_server("phone", times=12, every=6, at=3),
        browsing("laptop", times=6, every=8),
        monitoring_ping("admin", "web", count=70),
        announcement("laptop", at=15),
    ),
    max_seconds=120,
    max_packets=90_000,
    snaplen=128,
    offloads=True,
    services=("web", "dns", "iperf"),
)
