"""A camera asks by ARP for every address of its own network."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._attacks import address_sweep
from tests.lab.scenarios._everyday import browsing

SCENARIO = Scenario(
    steps=(
        browsing("laptop", times=2, every=4),
        address_sweep("camera", "192.168.77.0/24", "-sn --max-rate 100", by_arp=True).moved(2),
    ),
    max_seconds=60,
    max_packets=10_000,
    snaplen=192,
)
