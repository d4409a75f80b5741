"""An implant on the phone calls home every six seconds while the phone is used."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._attacks import beaconing
from tests.lab.scenarios._everyday import browsing

SCENARIO = Scenario(
    steps=(
        browsing("phone", times=12, every=25),
        beaconing("phone", every=6, times=45, jitter=0.08).moved(1),
    ),
    max_seconds=310,
    max_packets=20_000,
    snaplen=192,
    services=("web", "dns", "c2"),
)
