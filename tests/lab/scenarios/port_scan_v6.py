"""A SYN scan of the NAS's 1,000 most used ports over IPv6."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._attacks import port_scan

SCENARIO = Scenario(
    steps=(port_scan("camera", "nas6", "-6 --max-rate 400").moved(1),),
    max_seconds=40,
    max_packets=10_000,
)
