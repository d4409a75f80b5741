"""Targets, messages and files that the guard reads: strictly, with the place of what is wrong."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.errors import ConfigError
from fortress.respond import channel, messages
from fortress.respond.answers import StandingList
from fortress.respond.block import Standing, Target, make_block, parse_target, site_of
from fortress.respond.guard_settings import GuardSettings, load_settings
from fortress.respond.messages import Add, Group, encode_answer
from fortress.respond.never_block import NeverBlock, spare
from fortress.respond.plain import Misread, plain, read
from fortress.verdict import Action
from tests.need import ROOT


@pytest.mark.parametrize(
    ("text", "form", "kind"),
    [
        ("203.0.113.9", "203.0.113.9", "addr"),
        (" 203.0.113.9 ", "203.0.113.9", "addr"),
        ("203.0.113.9/32", "203.0.113.9", "addr"),
        ("203.0.113.0/24", "203.0.113.0/24", "prefix"),
        ("2001:DB8::0:1", "2001:db8::1", "addr"),
        ("2001:db8::/64", "2001:db8::/64", "prefix"),
        ("::ffff:203.0.113.9", "203.0.113.9", "addr"),
        ("::ffff:203.0.113.0/120", "203.0.113.0/24", "prefix"),
        ("0.0.0.0/0", "0.0.0.0/0", "prefix"),
        ("02-00-5E-00-77-66", "02:00:5e:00:77:66", "mac"),
        ("02:00:5e:00:77:66", "02:00:5e:00:77:66", "mac"),
    ],
)
def test_a_target_has_one_form(text: str, form: str, kind: str) -> None:
    target = parse_target(text)
    assert (target.text, target.kind) == (form, kind)
    assert parse_target(form) == target


@pytest.mark.parametrize(
    "text",
    ["", "example.org", "203.0.113.9/33", "203.0.113.9/24", "203.0.113", "1.2.3.4.5", "1.2.3.4\0",
     "fe80::1%eth0", "02:00:5e:00:77", "2001:db8::1/64", "0x7f000001", "x" * 10_000],
)  # fmt: skip
def test_what_is_no_target_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is no address, prefix or MAC") as told:
        parse_target(text)
    assert len(str(told.value)) < 400


@given(st.ip_addresses())
def test_every_address_is_its_own_target_and_in_its_site(address: Any) -> None:
    target = parse_target(str(address))
    if target.version == address.version:
        assert target.text == str(address)
        assert (target.first, target.last, target.bits) == (
            int(address),
            int(address),
            address.max_prefixlen,
        )
        if address.version == 6:
            site = parse_target(site_of(target))
            assert site.first <= target.first <= site.last
            assert site.bits == 64


@given(
    st.lists(st.ip_addresses(network="10.0.0.0/24"), max_size=20),
    st.ip_addresses(network="10.0.0.0/23"),
    st.integers(20, 32),
)
def test_never_block_finds_exactly_what_overlaps(
    spared: list[Any], address: Any, bits: int
) -> None:
    import ipaddress

    network = ipaddress.ip_network((int(address), bits), strict=False)
    never = NeverBlock(spare(str(one), "it is ours") for one in spared)
    refused = never.refusal(parse_target(str(network)))
    assert bool(refused) == any(one in network for one in spared)


REQUESTS = [
    messages.Hello(),
    Add((Group(Action.BLOCK, 1.5, "why", "operator", ("1.2.3.4",), (7,)),), True, "192.0.2.1"),
    messages.Remove(("1.2.3.4",), "automatic"),
    messages.Blocks(),
    messages.Undo(),
    messages.Explain("1.2.3.4"),
    messages.LoadFeed("name", ("1.2.3.4",), 60.0),
    messages.Status(),
    messages.Subscribe(),
    messages.OpenPort("eth0", 1 << 20, False, 3),
    messages.OpenMirror("span0", 64 << 20),
    messages.OpenDhcp(),
    messages.OpenConntrack(),
    messages.AskConntrack(),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: type(one).__name__)
def test_a_request_arrives_as_it_was_sent(request_: messages.Request) -> None:
    assert messages.decode_request(messages.encode_request(request_)) == request_


def test_every_verb_is_among_the_requests_tested() -> None:
    elsewhere = {"devices", "set_devices"}  # tests/devices
    here = {verb for verb, kind in messages.VERBS.items() if kind in map(type, REQUESTS)}
    assert here == set(messages.VERBS) - elsewhere


GROUP = '{"action":3,"seconds":1,"why":"","origin":"operator","targets":["1.2.3.4"]'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no JSON"),
        ("[]", "a message is a JSON object"),
        ("{}", "verb: 'None' is none of hello"),
        ('{"verb":"Hello"}', "verb: 'Hello' is none of"),
        ('{"verb":["hello"]}', "is none of"),
        ('{"verb":"hello","verb":"undo"}', "a key is there twice"),
        ('{"verb":"hello","extra":1}', "extra: there is no such key"),
        ('{"verb":"explain","targets":"1.2.3.4"}', "targets: there is no such key; did you mean"),
        ('{"verb":"explain"}', "target: is missing"),
        ('{"verb":"explain","target":7}', "target: wants text, not 7"),
        ('{"verb":"explain","target":"\\u0007"}', "characters that do not print"),
        ('{"verb":"add","groups":{}}', "groups: wants a list"),
        ('{"verb":"add","groups":[7]}', "groups: wants an object"),
        (f'{{"verb":"add","groups":[{GROUP},"signatures":[1.5]}}]}}', "wants a whole number"),
        (f'{{"verb":"add","groups":[{GROUP},"confirmed":1}}]}}', "no such key"),
        (f'{{"verb":"add","confirmed":1,"groups":[{GROUP}}}]}}', "wants true or false"),
        (f'{{"verb":"add","groups":[{GROUP.replace("3", "9", 1)}}}]}}', "9 is none of"),
        (f'{{"verb":"add","groups":[{GROUP.replace("3", "true", 1)}}}]}}', "True is none of"),
        (f'{{"verb":"add","groups":[{GROUP.replace("1", "NaN", 1)}}}]}}', "NaN is no number"),
        (f'{{"verb":"add","groups":[{GROUP.replace("1", "1e999", 1)}}}]}}', "wants a number"),
        ('{"verb":"explain","target":' + "[" * 100_000, "no JSON"),
        ('{"verb":"explain","target":' + "9" * 5000 + "}", "no JSON"),
        ('{"verb":"explain","target":"' + "9" * 5000 + '"}', "too many"),
    ],
)  # fmt: skip
def test_a_malformed_message_is_named(text: str, told: str) -> None:
    with pytest.raises(Misread) as raised:
        messages.decode_request(text.encode())
    assert told in str(raised.value)
    assert len(str(raised.value)) < 500


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_misread(data: bytes) -> None:
    with pytest.raises(Misread):
        messages.decode_request(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)
KEYS = ("groups", "targets", "target", "origin", "name", "seconds", "interface", "action", "why")


@given(
    st.sampled_from(sorted(messages.VERBS)),
    st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6),
)
def test_a_verb_with_any_fields_is_a_request_or_misread(verb: str, fields: dict[str, Any]) -> None:
    data = json.dumps({**fields, "verb": verb}).encode()
    try:
        request = messages.decode_request(data)
    except Misread:
        return
    assert isinstance(request, messages.VERBS[verb])
    assert messages.decode_request(messages.encode_request(request)) == request


def test_large_messages_travel_in_a_sealed_memfd() -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    message = b'{"verb":"' + b"x" * 1_000_000 + b'"}'
    with here, there:
        channel.send(here, message)
        assert channel.receive(there, 2_000_000) == (message, [])
        channel.send(here, message)
        with pytest.raises(channel.Malformed, match="too large"):
            channel.receive(there, 999_999)


@pytest.mark.parametrize("sealed", [False, None])
def test_what_may_still_change_is_not_read(sealed: bool | None, tmp_path: Path) -> None:
    import os

    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    (tmp_path / "f").write_bytes(b"{}")
    fd = os.memfd_create("m") if sealed is False else os.open(tmp_path / "f", os.O_RDONLY)
    try:
        with here, there:
            socket.send_fds(here, [channel.MEMFD], [fd])
            with pytest.raises(channel.Malformed, match="memfd"):
                channel.receive(there, 100)
            there.setblocking(False)
            here.send(channel.MEMFD)
            with pytest.raises(channel.Malformed, match="there is none"):
                channel.receive(there, 100)
            here.send(b"x" * (channel.INLINE_BYTES + 1))
            with pytest.raises(channel.Malformed, match="larger than"):
                channel.receive(there, 100)
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lan_port = ['a']", "lan_port: there is no such key; did you mean lan_ports?"),
        ("[limit]\n", "limit: there is no such key; did you mean limits?"),
        ("[limits]\nautomatic_per_min = 3", "limits.automatic_per_min: there is no such key; did"),
        ("[limits]\nautomatic_per_minute = '3'", "automatic_per_minute: wants a whole number"),
        ("[limits]\nautomatic_per_minute = -3", "limits.automatic_per_minute: -3 is not between"),
        ("backends = ['iptables']", "backends: 'iptables' is none of nftables, xdp"),
        ("backends = []", "backends: name at least one"),
        ("lan_ports = ['a b']", "'a b' is no name of an interface"),
        ("lan_ports = ['this-name-is-too-long']", "is no name of an interface"),
        ("on_stop = 'leave'", "on_stop: 'leave' is none of keep, remove"),
        ("[protect]\nnever = ['example.org']", "protect.never: 'example.org' is no address"),
        ("[access]\nagent = 'no-such-group'", "access.agent: there is no group 'no-such-group'"),
        ("[feeds.'a/b']\n", "a name has letters, digits"),
        ("[feeds.a]\nmost = 0", "feeds.a.most: 0 is not between"),
        ("socket = ", "Invalid value"),
        ("socket = 7", "socket: wants text, not 7"),
    ],
)  # fmt: skip
def test_a_wrong_guard_toml_is_named(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "guard.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_settings(file)
    assert str(raised.value).startswith(f"{file}: ")
    assert told in str(raised.value)


def test_a_guard_toml_says_everything_that_settings_have(tmp_path: Path) -> None:
    values = plain(GuardSettings())
    assert read(GuardSettings, values) == GuardSettings()
    with pytest.raises(ConfigError, match="there is no such file"):
        load_settings(tmp_path / "absent.toml")


def test_a_block_is_made_of_text_that_names_a_target() -> None:
    block = make_block("::ffff:1.2.3.4", Action.BLOCK, 60, why="w", origin="operator")
    assert (block.target, block.kind) == ("1.2.3.4", "addr")
    assert parse_target("1.2.3.4") == Target("1.2.3.4", "addr", 4, 0x01020304, 0x01020304)


def test_the_page_of_the_guard_names_every_setting() -> None:
    page = (ROOT / "docs" / "respond.md").read_text()
    values = plain(GuardSettings())
    keys = {
        f"{name}.{key}" for name, part in values.items() if isinstance(part, dict) for key in part
    }
    keys |= {name for name, part in values.items() if not isinstance(part, dict)} | {
        "feeds.NAME.most"
    }
    assert {key for key in keys if f"| `{key}` |" not in page} == set()


def test_a_list_of_blocks_is_written_as_any_other_answer() -> None:
    terms = (Action.BLOCK, 59.5, 5.0, 'a "list", \\ and é', "operator", (7, 8), 3)
    blocks = (
        Standing("192.0.2.1", "addr", *terms),
        Standing("2001:db8::/64", "prefix", *terms[:-1], None),
        Standing("02:00:5e:00:00:01", "mac", Action.QUARANTINE, None, 6.25, "", "automatic"),
    )
    for answer in (StandingList(blocks, {"192.0.2.9": 0.1}), StandingList(())):
        told = json.loads(encode_answer(answer))
        assert told == {"ok": True, "answer": plain(answer)}
        assert read(StandingList, told["answer"]) == answer
