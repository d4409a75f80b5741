"""Which interface `fortress up` watches when none is named."""

from fortress.services.agent.sides import default_route

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"


def row(name: str, target: str, metric: int, mask: str) -> str:
    return f"{name}\t{target}\t0102000A\t0003\t0\t0\t{metric}\t{mask}\t0\t0\t0\n"


def test_the_interface_of_the_default_route_with_the_least_metric() -> None:
    lan = row("lan0", "0002000A", 0, "00FFFFFF")
    table = HEAD + lan + row("wlan0", "0" * 8, 600, "0" * 8) + row("wan0", "0" * 8, 100, "0" * 8)
    assert default_route(table) == "wan0"
    assert default_route(HEAD + lan) == ""
    assert default_route("") == ""
