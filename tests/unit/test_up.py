"""Which interface `fortress up` watches when none is named."""

from fortress.services.agent.sides import default_route, default_route6

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"


def row(name: str, target: str, metric: int, mask: str) -> str:
    return f"{name}\t{target}\t0102000A\t0003\t0\t0\t{metric}\t{mask}\t0\t0\t0\n"


def test_the_interface_of_the_default_route_with_the_least_metric() -> None:
    lan = row("lan0", "0002000A", 0, "00FFFFFF")
    table = HEAD + lan + row("wlan0", "0" * 8, 600, "0" * 8) + row("wan0", "0" * 8, 100, "0" * 8)
    assert default_route(table) == "wan0"
    assert default_route(HEAD + lan) == ""
    assert default_route("") == ""


def test_the_interface_of_the_ipv6_default_route_is_found_and_one_that_refuses_is_none() -> None:
    none = "0" * 32
    router = "fe80" + "0" * 24 + "0001"
    refused = f"{none} 00 {none} 00 {none} ffffffff 00000001 00000000 00200200 lo\n"
    lan = f"20010db8{'0' * 24} 40 {none} 00 {none} 00000100 1 0 00000001 lan0\n"
    wan = f"{none} 00 {none} 00 {router} 00000400 1 0 00450003 wan0\n"
    lte = f"{none} 00 20010db8{'0' * 24} 38 {router} 00000800 1 0 00450003 lte0\n"
    assert default_route6(refused + lan + lte + wan) == "wan0"
    assert default_route6(lte) == "lte0"
    assert default_route6(refused + lan) == ""
