"""What the guard remembers, and what it finds out about its machine."""

import itertools
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.kernel.netlink import attribute, attributes
from fortress.respond.ledger import Ledger
from fortress.respond.nft_rules import cover
from fortress.respond.nft_state import Element, intervals
from fortress.respond.spared import Places, Sessions, from_files, from_session
from tests.respond.world import world


def told(places: Places) -> dict[str, str]:
    """Whom files say to spare, and why."""
    return {one.target.text: one.reason for one in from_files(places)}


def test_resolvers_and_dhcp_servers_are_read_where_this_machine_has_them(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 9.9.9.9\n# nameserver 9.9.9.8\noptions x\n")
    folder = tmp_path / "dnsmasq.d"
    folder.mkdir()
    (folder / "a.conf").write_text(
        "server=1.1.1.1\nserver=/lan/192.168.1.2#5353\nserver=2001:db8::53@eth0\n#server=1.0.0.1\n"
        f"resolv-file={tmp_path}/upstream\nservers-file={tmp_path}/servers\nserver=/blocked/\n"
        "rev-server=192.168.0.0/16,192.168.1.3\n"
    )
    (tmp_path / "upstream").write_text("nameserver 8.8.8.8\n")
    (tmp_path / "servers").write_text("server=127.0.0.1#5353\nserver=8.8.4.4\n")
    (tmp_path / "leases").mkdir()
    (tmp_path / "leases" / "2").write_text("# systemd\nSERVER_ADDRESS=192.0.2.1\nADDRESS=1.2.3.4\n")
    (tmp_path / "leases" / "dhclient.leases").write_text(
        "lease {\n  option dhcp-server-identifier 192.0.2.9;\n}\n"
    )
    places = Places(
        (str(tmp_path / "resolv.conf"), str(tmp_path / "absent")),
        (str(folder),),
        (str(tmp_path / "leases"),),
    )
    found = told(places)
    upstream = {"9.9.9.9", "1.1.1.1", "192.168.1.2", "2001:db8::53", "8.8.8.8", "8.8.4.4",
                "127.0.0.1", "192.168.1.3"}  # fmt: skip
    assert {text for text, why in found.items() if "resolver" in why} == upstream
    assert {text for text, why in found.items() if "DHCP" in why} == {"192.0.2.1", "192.0.2.9"}


@given(st.binary(max_size=400))
def test_any_file_names_only_targets(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        path.write_bytes(b"nameserver " + data + b"\nserver=" + data + b"\nSERVER_ADDRESS=" + data)
        told(Places((str(path),), (str(path),), (str(path),)))


def test_logins_from_afar_are_operators(tmp_path: Path) -> None:
    record = struct.Struct("<h2xi32s4s32s256shhiii16s20x")
    four = bytes([203, 0, 113, 7]) + bytes(12)
    six = bytes.fromhex("20010db8000000000000000000000007")
    rows = [(7, four), (8, bytes([203, 0, 113, 8]) + bytes(12)), (7, bytes(16)), (7, six)]
    data = b"".join(
        record.pack(kind, 1, b"pts/0", b"", b"admin", b"", 0, 0, 0, 0, 0, address)
        for kind, address in rows
    )
    (tmp_path / "utmp").write_bytes(data + b"cut short")
    sessions = Sessions((), 150.0, tmp_path / "utmp")
    assert [one.target.text for one in sessions.look()] == ["203.0.113.7", "2001:db8::7"]
    assert Sessions((), 150.0, tmp_path / "absent").look() == ()


def test_a_peer_of_sshd_is_an_operator_only_after_the_time_for_logging_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = [0.0]
    peers = {("203.0.113.7", 5000), ("203.0.113.8", 6000)}
    monkeypatch.setattr("fortress.respond.spared.tcp_peers", lambda _: set(peers))
    sessions = Sessions((22,), 150.0, tmp_path / "absent", lambda: now[0])
    assert sessions.look() == ()
    now[0] = 100.0
    peers.remove(("203.0.113.8", 6000))
    peers.add(("203.0.113.8", 6001))  # who guesses passwords comes again and again
    assert sessions.look() == ()
    now[0] = 160.0
    assert [one.target.text for one in sessions.look()] == ["203.0.113.7"]


@pytest.mark.parametrize("text", ["", "nonsense", "UNKNOWN 1 2 3"])
def test_a_session_that_names_nobody_spares_nobody(text: str) -> None:
    assert from_session({"SSH_CONNECTION": text}) == ()


def test_a_line_that_a_kill_tore_is_left_out_and_the_rest_stands(tmp_path: Path) -> None:
    here = world(tmp_path)
    here.add("203.0.113.1", "203.0.113.2", seconds=None)
    file = tmp_path / "blocks.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    again = Ledger(file, here.clock.clocks)
    assert list(again.held) == ["203.0.113.1"]
    assert again.troubles == [f"{file}: 1 damaged lines were left out"]
    assert Ledger(file, here.clock.clocks).troubles == []


def test_the_state_file_does_not_grow_without_end(tmp_path: Path) -> None:
    here = world(tmp_path)
    for i in range(60):
        here.add(*(f"203.{i}.{j}.1" for j in range(100)), seconds=1.0, confirmed=True)
        here.clock.pass_time(2)
        here.guard.expire()
    assert here.guard.ledger.held == {}
    assert len((tmp_path / "blocks.jsonl").read_text().splitlines()) < 6000


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(24, 32)), max_size=30))
def test_a_cover_holds_every_prefix_and_no_two_overlap(prefixes: list[tuple[int, int]]) -> None:
    import ipaddress

    from fortress.respond.block import parse_target

    networks = [ipaddress.ip_network((f"203.0.113.{o}", b), strict=False) for o, b in prefixes]
    kept = cover((parse_target(str(one)), None) for one in networks)
    for one in networks:
        first, last = int(one.network_address), int(one.broadcast_address)
        assert any(k.first <= first and last <= k.last for k in kept)
    assert all(a.last < b.first for a, b in itertools.pairwise(kept))
    assert {k.text for k in kept} <= {parse_target(str(one)).text for one in networks}


def test_intervals_that_touch_and_the_last_one_are_read() -> None:
    def element(key: int, ends: bool = False) -> Element:
        return Element(key, ends, None, 0, True)

    rows = [element(10), element(20, True), element(20), element(30, True), element(250)]
    spans = [(first, last) for first, last, _ in intervals(iter(rows[::-1]), 255)]
    assert spans == [(10, 19), (20, 29), (250, 255)]


@given(st.binary(max_size=64))
def test_attributes_of_any_bytes_are_read(data: bytes) -> None:
    assert all(len(value) <= len(data) for value in attributes(memoryview(data)).values())
    assert attributes(memoryview(attribute(7, data)))[7] == data
