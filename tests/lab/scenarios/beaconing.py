"""An implant on the phone calls home each five seconds while the phone is used."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._attacks import beaconing
from tests.lab.scenarios._everyday import browsing

SCENARIO = Scenario(
    steps=(
        browsing("phone", times=8, every=12),
        beaconing("phone", every=5, times=22, jitter=0.08).moved(1),
    ),
    max_seconds=125,
    max_packets=20_000,
    snaplen=192,
    services=("web", "dns", "c2"),
)
