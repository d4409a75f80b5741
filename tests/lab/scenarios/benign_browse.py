"""Three people open web pages for a minute: many short connections, many names."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._everyday import browsing, lookups

SCENARIO = Scenario(
    steps=(
        browsing("laptop", times=12, every=4),
        browsing("phone", times=9, every=6),
        browsing("admin", times=7, every=7),
        lookups("laptop", times=6, every=9),
    ),
    max_seconds=110,
    max_packets=60_000,
    snaplen=160,
)
