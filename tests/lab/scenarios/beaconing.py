"""An implant on the phone calls home every twenty seconds while the phone is used."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._attacks import beaconing
from tests.lab.scenarios._everyday import browsing

SCENARIO = Scenario(
    steps=(
        browsing("phone", times=13, every=26),
        beaconing("phone", every=20, times=18, jitter=0.15).moved(1),
    ),
    max_seconds=400,
    max_packets=20_000,
    snaplen=192,
    services=("web", "dns", "c2"),
)
