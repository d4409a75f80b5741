"""The same scan over IPv6."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._attacks import port_scan

SCENARIO = Scenario(
    name="port_scan_v6",
    sentence="The same scan over IPv6.",
    steps=(port_scan("camera", "nas6", "-6 --max-rate 400").moved(1),),
    max_seconds=40,
    max_packets=10_000,
)
