"""A worm-like sweep: one SYN to port 445 of every address of a routed network."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._attacks import address_sweep

SCENARIO = Scenario(
    steps=(
        address_sweep(
            "camera", "198.51.100.0/24", "-Pn -sS -p 445 --max-rate 100 --max-retries 0"
        ).moved(1),
    ),
    max_seconds=100,
    max_packets=10_000,
    services=("web",),
)
