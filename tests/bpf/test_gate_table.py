"""What the gate makes of a frame, one sentence each, by the program itself in the kernel."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from fortress_core import Gate, GateEntry, GateKey, Rates

from tests.bpf.gate_frames import (
    ATTACKER,
    ATTACKER6,
    MAC,
    PING,
    PING6,
    SYN6,
    TCP_ACK,
    TCP_SYN,
    UDP,
    UDP6,
    VICTIM,
    VICTIM6,
    arp,
    extended,
    pppoe,
    tagged,
)
from tests.bpf.gate_runs import XDP_DROP, XDP_PASS, need_gate, run

FRAGMENT = UDP.frame()[:20] + b"\x20\0" + UDP.frame()[22:]  # more to come, offset 0
SNAP = UDP.frame()[:12] + b"\0\x30\xaa\xaa\x03\0\0\0\x08\0" + UDP.frame()[14:]


@dataclass(frozen=True, slots=True)
class Case:
    """A frame, what was blocked and never to be blocked, and what the gate counts it as."""

    sentence: str
    frame: bytes
    outcome: str
    blocked: tuple[str, ...] = (ATTACKER,)
    never: tuple[str, ...] = ()
    limit: Rates | None = None
    destinations: bool = False


def case(sentence: str, frame: bytes, outcome: str, *blocked: str, **more: object) -> Case:
    return Case(sentence, frame, outcome, blocked or (ATTACKER,), **more)  # type: ignore[arg-type]


NONE = Rates(syn=0, udp=0, icmp=0)
CASES = [
    case("nothing is blocked by an empty gate", UDP.frame(), "pass", "198.51.100.1"),
    case("a blocked IPv4 source is dropped", UDP.frame(), "drop_address"),
    case("its neighbour is not", UDP.frame(), "pass", "203.0.113.67"),
    case("an address with its octets turned round is another", UDP.frame(), "pass", "66.113.0.203"),
    case("a blocked IPv6 source is dropped", UDP6.frame(), "drop_address", ATTACKER6),
    case("an IPv6 source whose halves are swapped is another", UDP6.frame(), "pass",
         "0:0:0:66:2001:db8:bad:0"),
    case("TCP is dropped like UDP", TCP_ACK.frame(), "drop_address"),
    case("a destination is not looked up where sources are", UDP.frame(), "pass", VICTIM),
    case("a destination is looked up on a port to the LAN", UDP.frame(), "drop_address", VICTIM,
         destinations=True),
    case("an IPv6 destination too", UDP6.frame(), "drop_address", VICTIM6, destinations=True),
    case("a destination in a prefix too", UDP6.frame(), "drop_prefix", "2001:db8::/64",
         destinations=True),
    case("the source still counts there", UDP.frame(), "drop_address", destinations=True),
    case("an IPv4 prefix holds its addresses", UDP.frame(), "drop_prefix", "203.0.113.0/24"),
    case("a prefix of an odd length", UDP.frame(), "drop_prefix", "203.0.113.64/30"),
    case("the prefix beside it does not", UDP.frame(), "pass", "203.0.113.68/30"),
    case("a prefix shorter than an octet", UDP.frame(), "drop_prefix", "192.0.0.0/3"),
    case("an IPv6 prefix holds its addresses", UDP6.frame(), "drop_prefix", "2001:db8:bad::/64"),
    case("an IPv6 prefix of an odd length", UDP6.frame(), "drop_prefix", "2001:db8:ba0::/43"),
    case("the IPv6 prefix beside it does not", UDP6.frame(), "pass", "2001:db8:bae::/48"),
    case("an IPv6 prefix says nothing of IPv4", UDP.frame(), "pass", "::/1"),
    case("an address counts before its prefix", UDP.frame(), "drop_address", ATTACKER,
         "203.0.113.0/24"),
    case("a blocked MAC is dropped", UDP.frame(), "drop_mac", MAC),
    case("a blocked MAC's IPv6 is dropped", UDP6.frame(), "drop_mac", MAC),
    case("a blocked MAC's ARP is dropped", arp(), "drop_mac", MAC),
    case("a MAC turned round is another", UDP.frame(), "pass", "99:00:00:00:00:02"),
    case("a MAC with the same last octet is another", UDP.frame(), "pass", "02:00:00:00:01:99"),
    case("a MAC as destination is not looked up", UDP.frame(), "pass", "02:00:00:00:00:01",
         destinations=True),
    case("a MAC counts before the address", UDP.frame(), "drop_mac", MAC, ATTACKER),
    case("ARP from a blocked address passes", arp(), "pass_no_address"),
    case("a tagged frame is read", tagged(UDP.frame(), (0x8100, 5)), "drop_address"),
    case("a frame with two tags is read", tagged(UDP.frame(), (0x88A8, 7), (0x8100, 5)),
         "drop_address"),
    case("four tags are read", tagged(UDP6.frame(), *[(0x8100, 5)] * 4), "drop_address", ATTACKER6),
    case("five tags are not", tagged(UDP.frame(), *[(0x8100, 5)] * 5), "pass_no_address"),
    case("the MAC of five tags is", tagged(UDP.frame(), *[(0x8100, 5)] * 5), "drop_mac", MAC),
    case("PPPoE is read", pppoe(UDP.frame()), "drop_address"),
    case("IPv6 in PPPoE is read", pppoe(UDP6.frame()), "drop_address", ATTACKER6),
    case("tagged PPPoE is read", tagged(pppoe(UDP.frame()), (0x8100, 7)), "drop_address"),
    case("IPv4 behind SNAP is read", SNAP, "drop_address"),
    case("a first fragment is dropped", FRAGMENT, "drop_address"),
    case("a later fragment is dropped", FRAGMENT[:20] + b"\0\x80" + FRAGMENT[22:], "drop_address"),
    case("an IPv6 fragment is dropped", extended(UDP6.frame(), 44), "drop_address", ATTACKER6),
    case("an address cut off is not guessed", UDP.frame()[:33], "pass_no_address"),
    case("20 octets of IPv4 are enough", UDP.frame()[:34], "drop_address"),
    case("an IPv6 address cut off is not guessed", UDP6.frame()[:53], "pass_no_address", ATTACKER6),
    case("40 octets of IPv6 are enough", UDP6.frame()[:54], "drop_address", ATTACKER6),
    case("a tag cut off has no address", tagged(UDP.frame(), (0x8100, 5))[:16], "pass_no_address"),
    case("PPPoE cut off has no address", pppoe(UDP.frame())[:20], "pass_no_address"),
    case("a link header alone has a MAC", UDP.frame()[:14], "drop_mac", MAC),
    case("IPv6 announced as IPv4 is not read", UDP6.frame()[:12] + b"\x08\0" + UDP6.frame()[14:],
         "pass_no_address", "::/0", "0.0.0.0/0"),
    case("what is never blocked passes", UDP.frame(), "pass_never", never=(ATTACKER,)),
    case("what lies in a prefix that is never blocked passes", UDP.frame(), "pass_never",
         never=("203.0.113.0/24",)),
    case("a prefix shorter than an octet is never blocked", UDP.frame(), "pass_never",
         never=("192.0.0.0/3",)),
    case("never wins over a prefix", UDP.frame(), "pass_never", "203.0.113.0/24",
         never=(ATTACKER,)),
    case("never wins over address and prefix", UDP.frame(), "pass_never", ATTACKER, "203.0.0.0/16",
         never=(ATTACKER,)),
    case("never wins for IPv6", UDP6.frame(), "pass_never", ATTACKER6, "2001:db8:bad::/48",
         never=("2001:db8:bad::/64",)),
    case("never wins over a limit", UDP.frame(), "pass_never", never=(ATTACKER,), limit=NONE),
    case("another in its octet that is never blocked changes nothing", UDP.frame(), "drop_address",
         never=("203.0.113.1", "fe80::/10")),
    case("a MAC that is never blocked passes", UDP.frame(), "pass_never", MAC, never=(MAC,)),
    case("an address that is never blocked does not save a blocked MAC", UDP.frame(), "drop_mac",
         MAC, never=(ATTACKER,)),
    case("a MAC that is never blocked does not save a blocked address", UDP.frame(),
         "drop_address", ATTACKER, MAC, never=(MAC,)),
    case("what goes to an address that is never blocked passes", UDP.frame(), "pass_never", VICTIM,
         never=(VICTIM,), destinations=True),
    case("a limit of none drops UDP", UDP.frame(), "drop_limit", limit=Rates(udp=0)),
    case("a limit on UDP leaves TCP", TCP_SYN.frame(), "pass_limit", limit=Rates(udp=0)),
    case("a limit on SYN drops it", TCP_SYN.frame(), "drop_limit", limit=Rates(syn=0)),
    case("a limit on SYN leaves established TCP", TCP_ACK.frame(), "pass_limit", limit=NONE),
    case("a limit on SYN drops IPv6 too", SYN6.frame(), "drop_limit", ATTACKER6,
         limit=Rates(syn=0)),
    case("a limit on ICMP drops ping", PING.frame(), "drop_limit", limit=Rates(icmp=0)),
    case("a limit on ICMP drops ping of IPv6", PING6.frame(), "drop_limit", ATTACKER6,
         limit=Rates(icmp=0)),
    case("a limit reads past extension headers", extended(UDP6.frame(), 0, 60), "drop_limit",
         ATTACKER6, limit=Rates(udp=0)),
    case("a chain too long to read is held like SYN", extended(UDP6.frame(), *[60] * 9),
         "drop_limit", ATTACKER6, limit=Rates(syn=0)),
    case("a limit reads tagged frames", tagged(TCP_SYN.frame(), (0x8100, 5)), "drop_limit",
         limit=Rates(syn=0)),
    case("TCP whose flags are cut off is held like SYN", TCP_ACK.frame()[:40], "drop_limit",
         limit=Rates(syn=0)),
    case("a later fragment of UDP is held like UDP", FRAGMENT[:20] + b"\0\x80" + FRAGMENT[22:],
         "drop_limit", limit=Rates(udp=0)),
    case("a limited prefix shares its rate", UDP.frame(), "drop_limit", "203.0.113.0/24",
         limit=Rates(udp=0)),
    case("a limited MAC", UDP.frame(), "drop_limit", MAC, limit=Rates(udp=0)),
]  # fmt: skip


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    need_gate()
    with Gate.load(entries=64, prefixes=64) as loaded:
        yield loaded


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.sentence)
def test_the_gate(gate: Gate, one: Case) -> None:
    entries = [
        GateEntry(GateKey.parse(text), "limit" if one.limit else "drop", 0, one.limit)
        for text in one.blocked
    ]
    gate.never(map(GateKey.parse, one.never))
    gate.add(entries)
    before = gate.counters()
    try:
        ran = run(gate.program_fd(destinations=one.destinations), one.frame)
        hits = sum(count for _, count in gate.entries())
    finally:
        gate.remove(entry.key for entry in entries)
    counted = {name: n - before[name] for name, n in gate.counters().items() if n != before[name]}
    assert counted == {one.outcome: 1}
    refused = one.outcome.startswith("drop")
    assert ran.action == (XDP_DROP if refused else XDP_PASS)
    assert hits == refused


def test_a_limit_on_one_key_does_not_hide_a_block_by_another(gate: Gate) -> None:
    limited = GateEntry(GateKey.parse(ATTACKER), "limit", 0, Rates(udp=1000))
    blocked = GateEntry(GateKey.parse("203.0.113.0/24"))
    gate.never([])
    gate.add([limited, blocked])
    assert run(gate.program_fd(), UDP.frame()).action == XDP_DROP
    assert [hits for entry, hits in gate.entries() if entry.action == "drop"] == [1]
    gate.remove([limited.key, blocked.key])
