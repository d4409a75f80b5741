"""SYNs with forged sources flood the web server of the NAS from outside."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._attacks import syn_flood
from tests.lab.scenarios._everyday import browsing

SCENARIO = Scenario(
    steps=(
        browsing("laptop", times=4, every=3),
        syn_flood("outsider", "nas", count=5_000, gap_us=400, spoofed=True).moved(4),
    ),
    max_seconds=40,
    max_packets=60_000,
    snaplen=192,
)
