"""SSH sessions, a password mistyped now and then, monitoring by ping and HTTP."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._everyday import (
    announcement,
    closed_port,
    health_check,
    login,
    mistyped_login,
    monitoring_ping,
)

SCENARIO = Scenario(
    steps=(
        login("admin", times=9, every=12),
        mistyped_login("admin", times=3, every=30, at=7),
        monitoring_ping("admin", "nas", count=110),
        monitoring_ping("admin", "web", count=110),
        health_check("admin", times=11, every=10, at=2),
        closed_port("laptop", times=6, every=15),
        announcement("phone", at=20),
    ),
    max_seconds=150,
    max_packets=30_000,
)
