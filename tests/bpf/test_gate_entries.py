"""The gate's entries: how they end, fill up, are counted and held to their rates."""

import errno
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest
from fortress_core import BpfError, Gate, GateEntry, GateKey, Rates
from fortress_core.gate import counter_meanings

from tests.bpf.gate_frames import ATTACKER, MAC, TCP_SYN, UDP
from tests.bpf.gate_runs import XDP_DROP, XDP_PASS, need_gate, run
from tests.need import ROOT
from tests.patience import patient

PATIENCE_S = patient(10.0)
KEY = GateKey.parse(ATTACKER)


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def addresses(count: int, first: str = "11.0.0.0") -> list[GateEntry]:
    start = int(ip_address(first))
    return [GateEntry(GateKey("addr", (start + i).to_bytes(4, "big"))) for i in range(count)]


@pytest.fixture
def gate() -> Iterator[Gate]:
    need_gate()
    with Gate.load(entries=100, prefixes=20) as loaded:
        yield loaded


def test_an_entry_ends_by_itself_and_not_before_its_time(gate: Gate) -> None:
    until_ns = now_ns() + 300_000_000
    gate.add([GateEntry(KEY, until_boot_ns=until_ns)])
    assert run(gate.program_fd(), UDP.frame()).action == XDP_DROP
    given_up = time.monotonic() + PATIENCE_S
    while run(gate.program_fd(), UDP.frame()).action == XDP_DROP:
        assert time.monotonic() < given_up, "still blocked"
        time.sleep(0.005)
    assert now_ns() >= until_ns
    assert gate.counters()["pass_expired"] == 1
    assert gate.held == 1
    assert gate.sweep() == 1
    assert gate.held == 0


def test_a_prefix_and_a_mac_end_as_well(gate: Gate) -> None:
    for text in ("203.0.113.0/24", MAC):
        gate.add([GateEntry(GateKey.parse(text), until_boot_ns=now_ns() - 10**9)])
        assert run(gate.program_fd(), UDP.frame()).action == XDP_PASS
    assert gate.counters()["pass_expired"] == 2
    assert gate.entries() == []


def test_an_entry_without_end_is_not_swept(gate: Gate) -> None:
    gate.add([GateEntry(KEY), GateEntry(GateKey.parse("198.51.100.1"), until_boot_ns=1)])
    assert gate.sweep() == 1
    assert gate.sweep() == 0
    assert [entry.key for entry, _ in gate.entries()] == [KEY]


def test_what_is_added_is_listed_as_it_was(gate: Gate) -> None:
    wanted = {
        GateEntry(GateKey.parse("192.0.2.1"), until_boot_ns=now_ns() + 10**12),
        GateEntry(GateKey.parse("192.0.2.0/25")),
        GateEntry(GateKey.parse("2001:db8::1")),
        GateEntry(GateKey.parse("2001:db8::/56"), "limit", 0, Rates(udp=1000, icmp=0)),
        GateEntry(GateKey.parse("02:aa:bb:cc:dd:ee"), "limit", 0, Rates(syn=7)),
    }
    assert gate.add(wanted) == len(wanted)
    assert {entry for entry, _ in gate.entries()} == wanted
    assert gate.remove(entry.key for entry in wanted) == len(wanted)
    assert gate.entries() == []
    assert gate.remove([KEY]) == 0


def test_an_entry_that_is_added_again_keeps_its_hits_and_gets_the_new_time(gate: Gate) -> None:
    gate.add([GateEntry(KEY, until_boot_ns=now_ns() + 10**12)])
    for _ in range(3):
        run(gate.program_fd(), UDP.frame())
    later = GateEntry(KEY, until_boot_ns=now_ns() + 2 * 10**12)
    gate.add([later])
    assert gate.entries() == [(later, 3)]
    assert gate.held == 1


def test_a_full_gate_says_so_and_holds_what_it_held(gate: Gate) -> None:
    first = addresses(98)
    gate.add(first)
    with pytest.raises(BpfError, match="entries are full: 98 of 100 taken, 3 new") as raised:
        gate.add([*addresses(3, "12.0.0.0"), *addresses(50)])
    assert raised.value.code == errno.E2BIG
    assert "remove entries" in raised.value.remedy
    assert {entry for entry, _ in gate.entries()} == set(first)
    gate.add([*addresses(2, "12.0.0.0"), *addresses(50)])
    assert gate.held == 100
    for entry in first:
        sent = replace(UDP, src=str(entry.key)).frame()
        assert run(gate.program_fd(), sent).action == XDP_DROP


def test_full_prefixes_say_so_and_take_no_address_of_the_same_call(gate: Gate) -> None:
    prefixes = [GateEntry(GateKey.parse(f"10.{i}.0.0/16")) for i in range(21)]
    with pytest.raises(BpfError, match="prefixes4 are full: 0 of 20 taken, 21 new"):
        gate.add([GateEntry(KEY), *prefixes])
    assert gate.entries() == []
    gate.add(prefixes[:20])
    gate.add(prefixes[:20])  # what is there may be renewed when all is taken
    gate.add(GateEntry(GateKey.parse(f"2001:db8:{i:x}::/48")) for i in range(20))
    assert gate.held == 40


def test_entries_that_are_over_make_room_when_it_is_needed(gate: Gate) -> None:
    over = now_ns() - 10**9
    gate.add(replace(entry, until_boot_ns=over) for entry in addresses(100))
    assert gate.held == 100
    gate.add(addresses(60, "12.0.0.0"))
    assert gate.held == 60


def test_a_hundred_thousand_entries_go_in_and_come_out() -> None:
    need_gate()
    entries = addresses(100_000)
    with Gate.load() as gate:
        assert gate.add(entries) == 100_000
        assert {entry for entry, _ in gate.entries()} == set(entries)
        sent = replace(UDP, src="11.1.134.159").frame()  # the last one
        assert run(gate.program_fd(), sent).action == XDP_DROP
        assert run(gate.program_fd(), replace(UDP, src="11.1.134.160").frame()).action == XDP_PASS
        assert gate.remove(entry.key for entry in entries) == 100_000
        assert gate.held == 0


def test_a_million_entries_go_in() -> None:
    need_gate()
    with Gate.load(entries=1_000_000) as gate:
        for part in range(10):
            gate.add(addresses(100_000, f"{20 + part}.0.0.0"))
        assert gate.held == 1_000_000
        with pytest.raises(BpfError, match="full: 1000000 of 1000000"):
            gate.add([GateEntry(KEY)])
        assert run(gate.program_fd(), replace(UDP, src="29.1.134.159").frame()).action == XDP_DROP


def test_a_second_worth_of_frames_passes_at_once_and_then_no_more(gate: Gate) -> None:
    gate.add([GateEntry(KEY, "limit", 0, Rates(udp=5))])
    for _ in range(20):
        run(gate.program_fd(), UDP.frame())
    told = gate.counters()
    assert (told["pass_limit"], told["drop_limit"]) == (5, 15)
    assert [hits for _, hits in gate.entries()] == [15]
    assert run(gate.program_fd(), TCP_SYN.frame()).action == XDP_PASS


@pytest.mark.parametrize(("burst_s", "passed"), [(1, 5), (2.4, 12), (60, 300)])
def test_so_many_seconds_worth_pass_at_once_as_the_gate_was_loaded_for(
    burst_s: float, passed: int
) -> None:
    need_gate()
    with Gate.load(entries=10, prefixes=1, burst_s=burst_s) as gate:
        gate.add([GateEntry(KEY, "limit", 0, Rates(udp=5))])
        for _ in range(310):
            run(gate.program_fd(), UDP.frame())
        assert passed <= gate.counters()["pass_limit"] <= passed + 4, "it fills again meanwhile"
    for wrong in (0.5, 0, 1e9):
        with pytest.raises(ValueError, match="burst_s"):
            Gate.load(entries=10, prefixes=1, burst_s=wrong)


def test_a_bucket_fills_again_by_its_rate(gate: Gate) -> None:
    gate.add([GateEntry(KEY, "limit", 0, Rates(udp=10))])
    begun = now_ns()
    passed = 0
    while now_ns() - begun < 1_000_000_000:
        passed += run(gate.program_fd(), UDP.frame()).action == XDP_PASS
        time.sleep(0.002)
    seconds = (now_ns() - begun) / 1e9
    assert 15 <= passed <= 10 + 10 * seconds + 1


def test_each_kind_has_a_bucket_of_its_own(gate: Gate) -> None:
    gate.add([GateEntry(KEY, "limit", 0, Rates(udp=2, syn=3))])
    frames = [UDP.frame()] * 10 + [TCP_SYN.frame()] * 10
    passed = [run(gate.program_fd(), frame).action == XDP_PASS for frame in frames]
    assert (sum(passed[:10]), sum(passed[10:])) == (2, 3)


def test_renewing_a_limit_does_not_fill_its_bucket(gate: Gate) -> None:
    entry = GateEntry(KEY, "limit", 0, Rates(udp=2))
    gate.add([entry])
    for _ in range(4):
        run(gate.program_fd(), UDP.frame())
    gate.add([entry])
    assert run(gate.program_fd(), UDP.frame()).action == XDP_DROP


def test_a_list_of_what_is_never_blocked_replaces_the_one_before(gate: Gate) -> None:
    gate.add([GateEntry(KEY)])
    gate.never([KEY])
    assert run(gate.program_fd(), UDP.frame()).action == XDP_PASS
    gate.never([GateKey.parse("203.0.113.1")])
    assert run(gate.program_fd(), UDP.frame()).action == XDP_DROP
    gate.never([])
    assert run(gate.program_fd(), UDP.frame()).action == XDP_DROP
    assert gate.counters()["pass_never"] == 1


def test_too_long_a_list_of_what_is_never_blocked_is_refused(gate: Gate) -> None:
    with pytest.raises(BpfError, match="never blocked"):
        gate.never(entry.key for entry in addresses(5000))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GateKey.parse("192.0.2.1/24"), "host bits"),
        (lambda: GateKey("prefix", bytes([192, 0, 2, 1]), 24), "host bits"),
        (lambda: GateKey("prefix", bytes(4), 33), "/33 is no prefix"),
        (lambda: GateKey("addr", bytes(5)), "is no addr"),
        (lambda: GateKey("mac", bytes(4)), "is no mac"),
        (lambda: GateKey("addr", bytes(4), 24), "no prefix length"),
        (lambda: GateKey("addr", bytes(10) + b"\xff\xff\1\2\3\4"), "four octets"),
        (lambda: GateKey.parse("::ffff:1.2.3.4"), "four octets"),
        (lambda: GateEntry(KEY, "limit"), "rates belong"),
        (lambda: GateEntry(KEY, "drop", 0, Rates()), "rates belong"),
        (lambda: GateEntry(KEY, until_boot_ns=-1), "no time"),
        (lambda: Rates(udp=-1), "no rate"),
    ],
)  # fmt: skip
def test_what_the_gate_cannot_hold_is_an_error_that_names_it(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # type: ignore[operator]


def test_the_page_of_the_gate_tells_of_every_counter() -> None:
    need_gate()
    page = (ROOT / "docs" / "gate.md").read_text()
    for name, action, meaning in counter_meanings():
        assert f"| `{name}` | {meaning} |" in page
        assert name.startswith(action.lower())


def test_a_closed_gate_says_that_it_is() -> None:
    need_gate()
    gate = Gate.load(entries=1, prefixes=1)
    gate.close()
    gate.close()
    with pytest.raises(ValueError, match="closed"):
        gate.add([GateEntry(KEY)])


def test_maps_that_do_not_fit_are_an_error_with_a_remedy() -> None:
    need_gate()
    with pytest.raises(BpfError, match="smaller"):
        Gate.load(entries=2**31)
