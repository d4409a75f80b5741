"""One source floods a web server with SYNs, 2,000 a second."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._attacks import syn_flood
from tests.lab.scenarios._everyday import browsing

SCENARIO = Scenario(
    steps=(
        browsing("laptop", times=4, every=3),
        syn_flood("camera", "web", count=8_000, gap_us=400).moved(4),
    ),
    max_seconds=40,
    max_packets=60_000,
    snaplen=192,
)
