"""What each setting of guard.toml does, by a guard in a namespace; tests/contract names the test
of every key.
"""

import contextlib
import grp
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fortress.errors import GuardError
from fortress.respond.client import GuardClient
from fortress.verdict import Action
from tests.need import need
from tests.net.guarded import (
    CAMERA,
    GATEWAY_LAN,
    LAPTOP,
    STRANGER,
    Gateway,
    blocked,
    gateway,
    pings,
    until,
)

NOBODY = 65534
AGENTS, OPERATORS = "games", "adm"  # groups that every Debian has
HOSTS = [f"203.0.113.{n}" for n in range(1, 8)]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway without a guard."""
    need("netns", "nft")
    with gateway(tmp_path) as made:
        yield made


def test_socket_state_and_audit_lie_where_they_are_said_to(home: Gateway) -> None:
    guard = home.start()
    home.block(STRANGER)
    assert home.socket.is_socket()
    assert STRANGER in (home.folder / "state" / "blocks.jsonl").read_text()
    assert home.audit("block")
    home.stop(guard)


@pytest.mark.parametrize(("on_stop", "answered"), [("keep", 0), ("remove", 1)])
def test_on_stop_in_the_file_chooses_what_becomes_of_blocks(
    home: Gateway, on_stop: str, answered: int
) -> None:
    home.config = f'on_stop = "{on_stop}"\n{home.config}'
    until(lambda: pings(home.laptop, STRANGER))
    guard = home.start()
    home.block(STRANGER, seconds=600)
    home.stop(guard)
    assert pings(home.laptop, STRANGER) == answered


@pytest.mark.parametrize(
    ("group", "role", "refused"),
    [
        (OPERATORS, "operator", ""),
        (AGENTS, "agent", "may not act as an operator"),
        ("mail", "", "may not ask the guard"),
    ],
)
def test_groups_of_access_may_do_what_their_role_may(group: str, role: str, refused: str) -> None:
    need("netns", "nft", "root")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        Path(folder).chmod(0o755)
        with gateway(Path(folder)) as home:
            home.config += f'[access]\nagent = "{AGENTS}"\noperators = "{OPERATORS}"\n'
            home.start()
            home.socket.parent.chmod(0o755)
            told = as_member(group, home.socket)
    assert (told["role"], refused in told["refused"]) == (role, True)


def as_member(group: str, path: Path) -> dict[str, str]:
    """What a user of nothing but this group hears: its role, and why it may block nobody."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        told = {"role": "", "refused": ""}
        try:
            gid = grp.getgrnam(group).gr_gid
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            with GuardClient(path, session="") as client:
                told["role"] = client.hello().role
                client.add([blocked(HOSTS[0])])
        except GuardError as error:
            told["refused"] = str(error)
        finally:
            os.write(theirs, json.dumps(told).encode())
            os._exit(0)
    os.close(theirs)
    os.waitpid(child, 0)
    told = os.read(ours, 65_536)
    os.close(ours)
    found: dict[str, str] = json.loads(told)
    return found


def test_limits_hold_for_who_asks(home: Gateway) -> None:
    home.config += (
        "[limits]\nautomatic_per_minute = 2\nautomatic_most_seconds = 60\n"
        "unconfirmed = 3\nmost_blocks = 5\n"
    )
    home.start()
    with home.client() as client:
        with pytest.raises(GuardError, match=r"lasts 0\.001 to 60"):
            client.add([blocked(HOSTS[0], 61, origin="automatic")])
        with pytest.raises(GuardError, match="4 targets are more than the 3"):
            client.add([blocked(one) for one in HOSTS[:4]])
        assert [one.done for one in client.add([blocked(one) for one in HOSTS[:3]])] == [True] * 3
        asked = [blocked(one, 60, origin="automatic") for one in HOSTS[3:6]]
        assert [one.done for one in client.add(asked)] == [True, True, False]
        (full,) = client.add([blocked(HOSTS[6])], confirmed=True)
        assert "5 blocks stand already" in full.reason
    elements = home.nft("-j list map inet fortress addr4")
    assert [host in elements for host in HOSTS] == [True] * 5 + [False] * 2


def test_a_message_larger_than_message_mib_is_refused(home: Gateway) -> None:
    home.config += "[limits]\nmessage_mib = 1\n[feeds.big]\n"
    home.start()
    few = [f"{n >> 8 & 255}.{n & 255}.9.9" for n in range(4096, 8192)]
    with home.client() as client:
        assert client.load_feed("big", few, 60).entries
        with pytest.raises(GuardError, match=r"too large \(at most 1048576\)"):
            client.load_feed("big", few * 24, 60)
    assert home.answers()


def test_a_list_with_more_entries_than_most_is_refused_whole(home: Gateway) -> None:
    home.config += "[feeds.small]\nmost = 3\n"
    home.start()
    with home.client() as client:
        assert client.load_feed("small", HOSTS[:3], 60).entries == 3
        with pytest.raises(GuardError, match="has 4 entries, 3 are allowed"):
            client.load_feed("small", HOSTS[:4], 60)
    assert HOSTS[2] in home.nft("-j list set inet fortress feed_addr4")


def test_whom_protect_names_and_who_works_by_sshd_is_spared(home: Gateway) -> None:
    """sshd is where ssh_ports says; a peer counts when it has stayed for ssh_login_grace_s."""
    home.config += f'[protect]\nnever = ["{CAMERA}"]\nssh_ports = [2222]\nssh_login_grace_s = 0.3\n'
    home.start()
    with contextlib.ExitStack() as stack:
        for port in (22, 2222):
            with home.namespace.entered():
                listening = stack.enter_context(socket.create_server((GATEWAY_LAN, port)))
            who = home.laptop if port == 2222 else home.camera
            with who.entered():
                stack.enter_context(socket.create_connection((GATEWAY_LAN, port), 10))
            stack.enter_context(listening.accept()[0])
        until(lambda: spared(home, LAPTOP), 30)
        with home.client() as client:
            for host, why in ((LAPTOP, "operator"), (CAMERA, "protect.never in guard.toml")):
                (outcome,) = client.add([blocked(host)])
                assert "never blocked" in outcome.reason
                assert why in outcome.reason
            assert client.add([blocked(STRANGER)])[0].done


def spared(home: Gateway, host: str) -> bool:
    """Whether the guard spares a host; it looks around when an address of ours changes."""
    home.namespace.ip("addr replace 10.99.0.1/32 dev lo")
    home.namespace.ip("addr del 10.99.0.1/32 dev lo")
    with home.client() as client:
        return any(host in one for one in client.status().spared)


@pytest.mark.parametrize(
    ("rate", "kind"), [("syn_per_s", "tcp"), ("udp_per_s", "udp")], ids=["syn", "udp"]
)
def test_a_limited_stranger_may_send_as_much_of_a_kind_as_its_rate_says(
    home: Gateway, rate: str, kind: str
) -> None:
    home.config += f"[rates]\n{rate} = 4\nburst_s = 2\n"
    home.start()
    home.block(STRANGER, action=Action.LIMIT)
    assert 8 <= arrived(home, kind) <= 16
    other = {"tcp": "udp", "udp": "tcp"}[kind]
    assert arrived(home, other) >= 18, "another kind has another rate, of 20 or more"


def arrived(home: Gateway, kind: str, count: int = 30) -> int:
    """How many of so many packets that the stranger sends at once reach the laptop."""
    with contextlib.ExitStack() as stack:
        sockets = []
        way = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
        with home.laptop.entered():
            there = stack.enter_context(socket.socket(socket.AF_INET, way))
        there.bind((LAPTOP, 0))
        there.setblocking(False)
        if kind == "tcp":
            there.listen(count)
        for _ in range(count):
            with home.stranger.entered():
                sockets.append(stack.enter_context(socket.socket(socket.AF_INET, way)))
        for one in sockets:
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(there.getsockname())
                one.send(b"?")
        time.sleep(0.5)  # shorter than what TCP waits before it tries again
        found = 0
        while took(there, kind):
            found += 1
        return found


def took(there: socket.socket, kind: str) -> bool:
    """Whether one more had come."""
    try:
        if kind == "tcp":
            there.accept()[0].close()
        else:
            there.recv(16)
    except BlockingIOError:
        return False
    return True
