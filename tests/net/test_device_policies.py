"""What a device may reach is enforced by the guard, shown with real tools from a phone at home."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fortress.devices.policy import POLICIES, told
from fortress.errors import GuardError
from tests.need import need
from tests.net.guarded import plug, until
from tests.net.home import (
    GATEWAY_MAC,
    LAPTOP_MAC,
    PHONE4,
    PHONE6,
    PHONE_MAC,
    REACHES,
    SEGMENT,
    SERVER4,
    SERVER_MAC,
    Home,
    at_home,
)
from tests.patience import patient

RESTRICTED = [told(one) for one in POLICIES if one != "full"]
REACHED_FROM = {
    "full": {"neighbour", "other lan", "internet", "gateway"},
    "internet-only": {"internet", "gateway"},
    "lan-only": {"neighbour", "other lan", "gateway"},
    "quarantined": {"gateway"},
    "paused": set[str](),
}


@pytest.fixture(scope="module")
def guarded_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    need("netns", "nft", "home")
    with at_home(tmp_path_factory.mktemp("home")) as made:
        made.gateway.start()
        yield made


@pytest.fixture
def home(guarded_home: Home) -> Iterator[Home]:
    """A home whose guard runs and where no device has a policy."""
    yield guarded_home
    if not guarded_home.gateway.answers():
        guarded_home.gateway.start()
    for mac in (PHONE_MAC, LAPTOP_MAC):
        guarded_home.policy("full", mac=mac)


@pytest.mark.parametrize("policy", RESTRICTED)
def test_a_policy_lets_pass_what_it_names_and_nothing_else(home: Home, policy: str) -> None:
    home.policy(policy)
    assert home.reaches() == REACHES[policy]
    assert home.reached_from() == both(REACHED_FROM[policy])
    home.policy("full")
    assert home.reaches() == REACHES["full"]


@pytest.mark.parametrize("policy", RESTRICTED)
def test_without_lan_ports_only_what_is_routed_is_seen(tmp_path: Path, policy: str) -> None:
    need("netns", "nft", "home")
    with at_home(tmp_path, ports=False) as home:
        home.gateway.start()
        home.policy(policy)
        assert home.reaches() == REACHES[policy] | SEGMENT
        outside = REACHED_FROM[policy] - {"neighbour"}
        assert home.reached_from() == both(outside | {"neighbour"})


def test_other_devices_are_left_alone(home: Home) -> None:
    home.policy("paused")
    assert home.reaches("internet4", space=home.laptop) == {"internet4"}
    assert home.reaches("other lan6", "dns4", space=home.laptop) == {"other lan6", "dns4"}


def test_a_paused_device_keeps_its_place_on_the_network(home: Home) -> None:
    home.policy("paused")
    home.laptop.ip("neigh flush all")
    home.laptop.run("arping", "-c", "1", "-w", "3", "-I", "eth0", PHONE4)
    assert not home.reaches("gateway4", "neighbour4")


def test_a_connection_that_stands_is_cut_both_ways(home: Home) -> None:
    with ExitStack() as stack:
        with home.server.entered():
            listener = stack.enter_context(socket.create_server((SERVER4, 7777)))
        with home.phone.entered():
            here = stack.enter_context(
                socket.create_connection((SERVER4, 7777), timeout=patient(5))
            )
        there = stack.enter_context(listener.accept()[0])
        here.sendall(b"before")
        there.settimeout(patient(5))
        assert there.recv(64) == b"before"
        home.policy("lan-only")
        here.sendall(b"after")
        there.sendall(b"after")
        for one in (here, there):
            one.settimeout(1.5)
            with pytest.raises(TimeoutError):
                one.recv(64)
        home.policy("full")
        for one in (here, there):
            one.settimeout(patient(20))
            assert one.recv(64) == b"after", "TCP sends again what was dropped"


def test_a_new_address_of_a_device_does_not_free_it(home: Home) -> None:
    home.policy("internet-only")
    home.phone.ip("addr add 2001:db8:77::abcd/64 dev eth0 nodad")
    try:
        home.phone.ip("-6 route replace default via 2001:db8:77::1 src 2001:db8:77::abcd")
        assert home.reaches("internet6", "other lan6", "neighbour6") == {"internet6"}
        until(
            lambda: "2001:db8:77::abcd" in home.gateway.nft("list map inet fortress_devices gets6")
        )
    finally:
        home.phone.ip("-6 route replace default via 2001:db8:77::1")
        home.phone.ip("addr del 2001:db8:77::abcd/64 dev eth0")


def test_the_kernel_holds_a_policy_when_the_guard_was_killed(home: Home) -> None:
    home.policy("lan-only")
    home.gateway.kill(home.gateway.guards[-1])
    assert home.reaches("internet4", "internet6", "other lan4") == {"other lan4"}
    home.gateway.nft("flush ruleset")
    _translate_again(home)
    assert home.reaches("internet4") == {"internet4"}
    home.gateway.start()
    assert home.reaches("internet4", "internet6", "other lan4") == {"other lan4"}
    with home.gateway.client() as client:
        assert [one.rule.policy for one in client.devices()] == ["lan_only"]


@pytest.mark.parametrize(
    "command", ["flush ruleset", "delete table inet fortress_devices", "flush map inet sends"]
)
def test_tables_that_somebody_else_changed_are_restored(home: Home, command: str) -> None:
    home.policy("quarantined")
    home.gateway.nft(command.replace("inet sends", "inet fortress_devices sends"))
    until(lambda: PHONE_MAC in home.gateway.nft("list ruleset"))
    _translate_again(home)
    assert home.reaches("internet4", "other lan6", "dns6") == {"dns6"}


def test_a_port_that_was_made_anew_enforces_again(home: Home) -> None:
    router = home.gateway.namespace
    home.policy("internet-only")
    router.ip("link del p-phone")
    plug(home.gateway, home.phone, "p-phone", PHONE_MAC)
    router.ip("link set p-phone master br-lan")
    home.settle_phone()
    until(lambda: home.reaches("gateway4"), within_s=20)
    until(lambda: not home.reaches(*SEGMENT), within_s=20)
    assert home.reaches("internet4", "internet6") == {"internet4", "internet6"}


def test_no_table_is_there_while_nothing_is_forbidden(home: Home) -> None:
    home.policy("paused")
    assert home.gateway.nft("list tables").count("fortress_devices") == 2
    home.policy("full")
    assert "fortress_devices" not in home.gateway.nft("list tables")


def test_a_policy_holds_in_its_window_and_ends_with_it(home: Home) -> None:
    """The last of the window's minutes is this one: the guard's own clock ends it."""
    now = datetime.now(UTC)
    ends = now + timedelta(minutes=1)
    begins = now - timedelta(minutes=5)
    holds = home.policy("full", ("lan-only", f"{begins:%H:%M}-{ends:%H:%M}"))
    assert holds.in_force == "lan_only"
    assert holds.change_s is not None
    assert 0 < holds.change_s - time.time() <= 60
    assert home.reaches("internet4", "other lan4") == {"other lan4"}
    time.sleep(max(0.0, holds.change_s - time.time()))
    until(lambda: home.reaches("internet4"))
    with home.gateway.client() as client:
        assert [one.in_force for one in client.devices()] == ["full"]


@pytest.mark.parametrize(
    ("mac", "reason"),
    [(SERVER_MAC, "a default gateway's MAC"), (GATEWAY_MAC, "an interface of this machine")],
)
def test_the_gateway_and_what_is_behind_it_are_never_cut_off(
    home: Home, mac: str, reason: str
) -> None:
    for forced in (False, True):
        with pytest.raises(GuardError, match=f"never blocked: {reason}"):
            home.policy("paused", mac=mac, forced=forced)
    assert home.reaches("internet4") == {"internet4"}


def test_the_operators_own_device_is_not_locked_out_but_by_force(home: Home) -> None:
    for address in (PHONE4, PHONE6):
        with pytest.raises(
            GuardError, match=f"{address}: the operator's own SSH session"
        ) as caught:
            home.policy("paused", session=f"{address} 50000 192.168.77.1 22")
        assert "--force" in caught.value.remedy
    assert home.reaches("gateway4", "internet6") == {"gateway4", "internet6"}
    with pytest.raises(GuardError, match="SSH session"):
        home.policy("full", ("paused", "mon 03:00-04:00"), session=PHONE4)
    home.policy("full", session=PHONE4)
    home.policy("paused", session=PHONE4, forced=True)
    assert not home.reaches("gateway4", "internet6")


def test_every_change_is_in_the_audit(home: Home) -> None:
    home.policy("quarantined", ("paused", "daily 21:00-07:00"))
    line = home.gateway.audit("device_policy")[-1]
    assert line["target"] == PHONE_MAC
    assert (line["policy"], line["windows"]) == ("quarantined", ["paused daily 21:00-07:00"])


def test_a_foreign_table_of_our_name_stops_the_guard_and_is_not_touched(home: Home) -> None:
    home.policy("paused")
    home.policy("full")
    home.gateway.stop(home.gateway.guards[-1])
    home.gateway.nft("add table inet fortress_devices")
    guard = home.gateway.begin()
    said = guard.communicate(timeout=patient(20))[1]
    assert guard.returncode == 1
    assert "nft table inet fortress_devices exists and is not the guard's" in said
    assert "Traceback" not in said
    assert "fortress_devices" in home.gateway.nft("list tables")
    home.gateway.nft("delete table inet fortress_devices")


@pytest.mark.parametrize(("option", "reached"), [("--keep", set()), ("--remove", {"internet4"})])
def test_on_stop_the_operator_chooses_what_becomes_of_policies(
    home: Home, option: str, reached: set[str]
) -> None:
    home.gateway.stop(home.gateway.guards[-1])
    guard = home.gateway.start(option)
    home.policy("paused")
    home.gateway.stop(guard)
    assert home.reaches("internet4") == reached
    home.gateway.start()


def test_the_command_finds_a_device_and_says_what_it_may_reach(home: Home) -> None:
    listed = {
        one["mac"]: one for one in map(json.loads, home.devices("list", "--json").splitlines())
    }
    assert listed[PHONE_MAC]["interface"] == "br-lan"
    assert {PHONE4, PHONE6} <= set(listed[PHONE_MAC]["addresses"])
    assert SERVER_MAC not in listed, "who is beyond the default route is no device of ours"
    assert listed[PHONE_MAC]["policy"]["in_force"] == "full"
    home.devices("name", PHONE4, "Phone")
    said = home.devices("policy", "phone", "internet-only", "--during", "21:00-21:01", "paused")
    assert "daily 21:00-21:01 paused" in said
    assert home.reaches("internet6", "neighbour6", "other lan4") == {"internet6"}
    assert "internet-only" in home.devices("list")
    assert "otherwise     internet-only" in home.devices("show", "phone")
    refused = home.devices_refused("policy", "phone", "paused", SSH_CONNECTION=f"{PHONE4} 5 x 22")
    assert "the operator's own SSH session" in refused
    assert "--force" in refused
    overlap = ("--during", "sat 10:00-12:00", "paused", "--during", "sat 11:00-13:00", "lan-only")
    assert "overlap" in home.devices_refused("policy", "phone", "full", *overlap)
    home.devices("policy", "phone", "full")
    assert home.reaches("neighbour6") == {"neighbour6"}


def both(names: set[str]) -> set[str]:
    """The names, over IPv4 and IPv6."""
    return {f"{one}{version}" for one in names for version in (4, 6)}


def _translate_again(home: Home) -> None:
    """The translation of addresses is not the guard's: who flushes all makes it again."""
    home.gateway.namespace.run("nft", "-f", home.gateway.folder / "nat.nft")
    until(lambda: home.reaches("gateway4", space=home.laptop) == {"gateway4"})
