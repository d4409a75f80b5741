"""A camera asks every address of a routed network who is there: echo, SYN to 443, ACK to 80, timestamp."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._attacks import address_sweep
from tests.lab.scenarios._everyday import browsing

SCENARIO = Scenario(
    name="address_sweep",
    sentence="A camera asks every address of a routed network who is there: echo, SYN to 443, ACK to 80, timestamp.",
    steps=(
        browsing("laptop", times=3, every=3),
        address_sweep("camera", "198.51.100.0/24", "-sn --max-rate 200").moved(3),
    ),
    max_seconds=100,
    max_packets=10_000,
    snaplen=192,
)
