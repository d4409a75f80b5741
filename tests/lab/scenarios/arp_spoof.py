"""arpspoof puts a camera between the laptop and the gateway while the laptop browses."""

from tests.lab.scenario import Scenario, Step
from tests.lab.scenarios._attacks import arp_spoof
from tests.lab.scenarios._everyday import browsing

SCENARIO = Scenario(
    steps=(
        Step("camera", "sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0"),
        browsing("laptop", times=8, every=3),
        arp_spoof("camera", "laptop", seconds=20).moved(5),
    ),
    max_seconds=60,
    max_packets=20_000,
    snaplen=192,
)
