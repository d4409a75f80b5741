"""A camera asks every address of a routed network whether it is there."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._attacks import address_sweep
from tests.lab.scenarios._everyday import browsing

SCENARIO = Scenario(
    steps=(
        browsing("laptop", times=3, every=3),
        address_sweep("camera", "198.51.100.0/24", "-sn --max-rate 200").moved(3),
    ),
    max_seconds=100,
    max_packets=10_000,
    snaplen=192,
)
