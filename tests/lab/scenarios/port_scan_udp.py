"""A UDP scan of 60 ports: closed ones answer by ICMP, as often as the host's limit lets them."""

from tests.lab.scenario import Scenario, Step, Truth

SCENARIO = Scenario(
    steps=(
        Step(
            "camera",
            "nmap -n -Pn -sU --top-ports 60 --max-rate 20 --max-retries 0 {nas}",
            at=1,
            truth=Truth(
                detector="port_scan",
                technique="T1046",
                note="nmap -sU of 60 ports",
                packets="udp and src host {camera} and dst host {nas}",
                src="camera",
                dst="nas",
            ),
        ),
    ),
    max_seconds=40,
    max_packets=10_000,
)
