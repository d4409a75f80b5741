"""A compromised camera SYN-scans the 1,000 most used ports of the NAS."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._attacks import port_scan
from tests.lab.scenarios._everyday import browsing

SCENARIO = Scenario(
    steps=(
        browsing("laptop", times=3, every=3),
        port_scan("camera", "nas", "--max-rate 400").moved(3),
    ),
    max_seconds=40,
    max_packets=10_000,
    snaplen=192,
)
