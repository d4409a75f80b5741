"""An evening at home: pages, a call, a copied file, a mistyped log-in, a service gone."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._everyday import (
    announcement,
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
        browsing("laptop", times=8, every=9),
        browsing("phone", times=6, every=13),
        lookups("phone", times=5, every=15),
        call("admin", seconds=30, at=10),
        copy("laptop", at=45),
        login("admin", times=3, every=20, at=8),
        mistyped_login("admin", times=1, every=0, at=50),
        monitoring_ping("admin", "gateway", count=75),
        closed_port("phone", times=4, every=15),
        announcement("phone", at=30),
    ),
    max_seconds=130,
    max_packets=60_000,
    snaplen=160,
    services=("web", "dns", "ssh", "iperf"),
)
