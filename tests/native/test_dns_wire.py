"""The core's reader and writer of DNS messages against two codecs that others wrote."""

import subprocess
from collections.abc import Sequence

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import dnslib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native.programs import built

DROP, FORMERR, NOTIMP, BADVERS = -1, 1, 4, 16
MODES = {"zero": 0, "nxdomain": 1, "nodata": 2, "refused": 3, "custom": 4}
TITLE = "Lïst of €"

labels = st.binary(min_size=1, max_size=63)
names = (
    st.lists(labels, max_size=127)
    .filter(lambda parts: sum(len(part) + 1 for part in parts) < 255)
    .map(lambda parts: dns.name.Name((*parts, b"")))
)
types = st.sampled_from([1, 2, 5, 6, 12, 15, 16, 28, 33, 64, 65, 255, 4660])
ttls = st.integers(0, 2**31 - 1)


def told(lines: Sequence[str]) -> list[list[str]]:
    """The words that fxdns, built with sanitizers, prints for each line."""
    program = built("sanitized") / "fxdns"
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run([program], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def fault(message: bytes) -> int:
    return int(told([f"query {message.hex()}"])[0][0])


def blocked(query: bytes, mode: str) -> bytes:
    answer = told([f"{MODES[mode]} {query.hex()}"])[0][0]
    return b"" if answer == "-" else bytes.fromhex(answer)


def asked(name: str = "Ads.Example.COM", rdtype: str = "A", *, edns: bool = True) -> bytes:
    query = dns.message.make_query(name, rdtype, id=7)
    if edns:
        query.use_edns(0, 0, 1400)
    return query.to_wire()


@settings(max_examples=60)
@given(names, types, st.integers(0, 65535), st.booleans(), st.integers(0, 65535), st.booleans())
def test_a_query_that_dnspython_wrote_is_read_as_it_was_meant(
    name: dns.name.Name, rdtype: int, number: int, edns: bool, payload: int, dnssec: bool
) -> None:
    query = dns.message.make_query(name, rdtype, id=number)
    if edns:
        query.use_edns(0, dns.flags.DO if dnssec else 0, payload)
    words = told([f"query {query.to_wire().hex()}"])[0]
    lower = b"".join(bytes([len(one)]) + one for one in name.labels).lower()
    udp_bytes = min(max(payload, 512), 1232) if edns else 512
    assert words == [
        *("0", str(number), str(int(query.flags)), str(rdtype), "1", str(udp_bytes)),
        *(str(int(edns)), str(int(edns and dnssec)), str(len(name) - 1), lower.hex()),
    ]


@settings(max_examples=60)
@given(names, st.lists(st.tuples(names, ttls), max_size=6), ttls, ttls, st.booleans())
def test_an_answer_that_dnspython_compressed_has_its_records_counted_and_its_least_ttl_found(
    name: dns.name.Name,
    links: list[tuple[dns.name.Name, int]],
    soa_ttl: int,
    minimum: int,
    edns: bool,
) -> None:
    query = dns.message.make_query(name, "A", id=9)
    answer = dns.message.make_response(query)
    for target, ttl in links:
        rdata = dns.rdata.from_text("IN", "CNAME", target.to_text())
        answer.answer.append(dns.rrset.from_rdata(name, ttl, rdata))
    soa = dns.rrset.from_text(".", soa_ttl, "IN", "SOA", f"a. b. 1 2 3 4 {minimum}")
    answer.authority.append(soa)
    if edns:
        answer.use_edns(0, 0, 4096)
    wire = answer.to_wire()
    words = told([f"answer {wire.hex()}"])[0]
    least = min([soa_ttl, *(ttl for _, ttl in links)])
    records = len(links) + 1
    assert words[:6] == ["0", "9", str(int(answer.flags)), "0", "1", "1"]
    assert words[6:] == [
        *(str(records), str(records), str(least), str(min(soa_ttl, minimum))),
        str(len(wire) - 11 * edns),
    ]


@pytest.mark.parametrize(("message", "expected"), [
    ("00", DROP),
    ("000781000001000000000000 00 00010001", DROP),  # is an answer itself
    ("000711000001000000000000 00 00010001", NOTIMP),
    ("000701000000000000000000", FORMERR),
    ("000701000002000000000000 00 00010001 00 00010001", FORMERR),
    ("000701000001000100000000 00 00010001", FORMERR),
    ("000701000001000000000000 00 00010001 00", FORMERR),  # an octet too many
    ("000701000001000000000000 00 000100", FORMERR),
    ("000701000001000000000000 c00c 00010001", FORMERR),  # a pointer to itself
    ("000701000001000000000000 4061 00010001", FORMERR),
    ("000701000001000000000000 3f" + "61" * 62, FORMERR),
    ("000701000001000000000000" + ("3f" + "61" * 63) * 4 + "00 00010001", FORMERR),
    ("000701000001000000000001 00 00010001 00 0029 04d0 00010000 0000", BADVERS),
    ("000701000001000000000002 00 00010001" + 2 * "00002904d0000000000000", FORMERR),
    ("000701000001000000000001 00 00010001 016100 0029 04d0 00000000 0000", FORMERR),
    ("000701000001000000000001 00 00010001 00 0029 04d0 00000000 0005 000a0002ff",
     FORMERR),
])  # fmt: skip
def test_a_query_that_is_wrong_is_refused_with_the_right_code(message: str, expected: int) -> None:
    assert fault(bytes.fromhex(message)) == expected


@pytest.mark.parametrize("pointer", ["c01d", "c00b", "c0ff"])
def test_an_answer_whose_records_leave_the_message_is_dropped(pointer: str) -> None:
    head = "00078180000100010000000001610000010001"
    whole = bytes.fromhex(head + pointer + "000100010000003c0004c0000201")
    assert int(told([f"answer {whole.hex()}"])[0][0]) == 0  # owners are not followed to be counted
    for cut in range(len(whole)):
        assert int(told([f"answer {whole[:cut].hex()}"])[0][0]) == DROP


@settings(max_examples=30)
@given(names.filter(lambda name: len(name) > 1), st.data())
def test_an_owner_that_points_into_the_question_is_read_whole(
    name: dns.name.Name, data: st.DataObject
) -> None:
    query = dns.message.make_query(name, "A", id=9).to_wire()
    skipped = data.draw(st.integers(0, len(name) - 2))
    before = data.draw(st.lists(labels, max_size=2))
    tail = name.labels[skipped:]
    pointer = 0xC000 | 12 + sum(len(one) + 1 for one in name.labels[:skipped])
    owner = b"".join(bytes([len(one)]) + one for one in before) + pointer.to_bytes(2, "big")
    record = owner + bytes.fromhex("0001 0001 0000003c 0004 c0000201")
    answer = query[:2] + bytes.fromhex("8180 0001 0001 0000 0000") + query[12:] + record
    words = told([f"owner {answer.hex()}"])[0]
    whole = b"".join(bytes([len(one)]) + one for one in (*before, *tail))
    if len(whole) > 255:
        assert words == ["-"]
    else:
        assert words == [str(len(query) + len(owner)), whole.lower().hex()]


@pytest.mark.parametrize("pointer", ["c01d", "c00b", "c020", "ffff"])
def test_an_owner_that_points_at_itself_forward_or_into_the_header_is_not_read(
    pointer: str,
) -> None:
    question = "000781800001000100000000 0b6162636465666768696a6b 00 00010001"
    whole = bytes.fromhex(question + pointer + "0001 0001 0000003c 0004 c0000201")
    assert told([f"owner {whole.hex()}"])[0] == ["-"]


def test_random_and_mutated_messages_are_taken_only_where_dnspython_takes_them(
    rng: np.random.Generator,
) -> None:
    seed = asked(edns=False)
    lines, messages = [], []
    for _ in range(3000):
        message = bytearray(seed)
        for _ in range(rng.integers(1, 4)):
            message[rng.integers(4, len(message))] = rng.integers(0, 256)
        messages.append(bytes(message))
        lines.append(f"query {message.hex()}")
    taken = 0
    for message, words in zip(messages, told(lines), strict=True):
        if words[0] != "0":
            continue
        taken += 1
        theirs = dns.message.from_wire(message, ignore_trailing=False)
        assert theirs.question[0].rdtype == int(words[3])
    assert 0 < taken < len(messages)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rdtype", ["A", "AAAA", "TXT"])
def test_both_codecs_read_what_a_blocked_name_is_answered(mode: str, rdtype: str) -> None:
    wire = blocked(asked(rdtype=rdtype), mode)
    answer = dns.message.from_wire(wire)
    theirs = dnslib.DNSRecord.parse(wire)
    assert answer.id == theirs.header.id == 7
    assert answer.question[0].name.to_text() == str(theirs.q.qname) == "Ads.Example.COM."
    codes = {"nxdomain": "NXDOMAIN", "refused": "REFUSED"}
    assert dns.rcode.to_text(answer.rcode()) == codes.get(mode, "NOERROR")
    addresses = {"zero": ("0.0.0.0", "::"), "custom": ("192.0.2.9", "2001:db8::9")}
    if mode in addresses and rdtype != "TXT":
        expected = addresses[mode][rdtype == "AAAA"]
        assert [one.to_text() for one in answer.answer[0]] == [expected]
        assert [str(one.rdata) for one in theirs.rr] == [expected]
        assert answer.answer[0].ttl == 77
        assert not answer.authority
    else:
        assert not answer.answer
        assert len(answer.authority) == (mode != "refused")
    for soa in answer.authority:
        assert (soa.rdtype, soa.ttl, soa[0].minimum) == (dns.rdatatype.SOA, 77, 77)
    reason = answer.options[0]
    assert isinstance(reason, dns.edns.EDEOption)
    assert (reason.code, reason.text) == (15, TITLE)


def test_an_asker_without_edns_gets_none() -> None:
    answer = dns.message.from_wire(blocked(asked(edns=False), "nxdomain"))
    assert answer.edns == -1
    assert not answer.additional


def test_a_query_of_another_edns_version_is_answered_badvers_and_an_answer_is_not_answered() -> (
    None
):
    query = dns.message.make_query("a.example", "A", use_edns=1)
    assert dns.message.from_wire(blocked(query.to_wire(), "zero")).rcode() == BADVERS
    answer = dns.message.make_response(dns.message.make_query("a.example", "A"))
    assert blocked(answer.to_wire(), "zero") == b""


def test_the_longest_question_still_has_room_for_its_reason() -> None:
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    query = dns.message.make_query(longest, "TXT", use_edns=0, payload=512).to_wire()
    wire = blocked(query, "nodata")
    assert len(wire) <= 512
    assert dns.message.from_wire(wire).options[0].to_text().endswith(TITLE)
