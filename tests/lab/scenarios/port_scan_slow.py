"""A SYN scan of 120 ports at three probes a second."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._attacks import port_scan
from tests.lab.scenarios._everyday import browsing

SCENARIO = Scenario(
    steps=(
        browsing("laptop", times=4, every=10),
        port_scan(
            "camera", "nas", "--top-ports 120 --scan-delay 330ms --max-retries 0", seconds=90
        ).moved(2),
    ),
    max_seconds=120,
    max_packets=10_000,
    snaplen=192,
)
