"""What a client's DHCP message tells, well formed, cut short, hostile, and noise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.devices.dhcp import DhcpTold, parse_dhcp

MAC = bytes.fromhex("02005e007766")


def message(options: bytes, *, op: int = 1, file: bytes = b"", sname: bytes = b"") -> bytes:
    """A DHCP message of a client with these options."""
    head = bytes([op, 1, 6, 0]) + bytes(8) + bytes(16) + MAC + bytes(10)
    return head + sname.ljust(64, b"\0") + file.ljust(128, b"\0") + b"\x63\x82\x53\x63" + options


def option(number: int, value: bytes) -> bytes:
    """One option."""
    return bytes([number, len(value)]) + value


REQUEST = option(53, b"\3")


def test_a_request_tells_name_kind_and_what_it_asks_for() -> None:
    told = parse_dhcp(
        message(
            REQUEST
            + option(12, b"phone")
            + option(60, b"android-dhcp-14")
            + option(55, bytes([1, 3, 6, 15, 26, 28, 51, 58, 59, 43]))
            + option(50, bytes([192, 168, 77, 66]))
            + b"\xff"
        )
    )
    assert told == DhcpTold(
        "02:00:5e:00:77:66",
        3,
        "phone",
        "android-dhcp-14",
        "1,3,6,15,26,28,51,58,59,43",
        "192.168.77.66",
    )


def test_options_in_several_parts_and_in_borrowed_fields_are_read() -> None:
    told = parse_dhcp(
        message(
            REQUEST + option(52, b"\3") + option(12, b"pho") + b"\xff",
            file=option(12, b"ne") + b"\xff",
            sname=option(60, b"x") + b"\xff",
        )
    )
    assert told is not None
    assert (told.host_name, told.vendor_class) == ("phone", "x")


@pytest.mark.parametrize(
    ("value", "name"),
    [(b"\0\0\0tv.lan", "tv"), (b"\4\0\0\2tv\3lan\0", "tv"), (b"\4\0\0\xc0tv", ""), (b"\0", "")],
)
def test_the_first_label_of_a_full_name_stands_for_a_missing_host_name(
    value: bytes, name: str
) -> None:
    told = parse_dhcp(message(REQUEST + option(81, value)))
    assert told is not None
    assert told.host_name == name


def test_a_hostile_name_is_made_harmless() -> None:
    told = parse_dhcp(message(REQUEST + option(12, b"tv\x1b[2J\n\xff\xfe\0")))
    assert told is not None
    assert told.host_name == "tv [2J \ufffd\ufffd"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        message(REQUEST)[:239],
        message(REQUEST, op=2),
        message(REQUEST).replace(b"\x63\x82\x53\x63", b"\0\0\0\0"),
        message(option(12, b"no type")),
        message(REQUEST).replace(MAC, b"\xff" * 6),
        message(b"\x35\xff\3"),
    ],
)
def test_what_is_no_clients_message_tells_nothing(data: bytes) -> None:
    assert parse_dhcp(data) is None


@given(st.binary(max_size=700))
def test_no_options_break_the_parser(options: bytes) -> None:
    told = parse_dhcp(message(REQUEST + options))
    if told is not None:
        assert told.host_name.isprintable()
        assert told.vendor_class.isprintable()


@given(st.binary(max_size=1600), st.integers(0, 700))
def test_no_bytes_break_the_parser(data: bytes, cut: int) -> None:
    parse_dhcp(data)
    parse_dhcp(message(REQUEST + option(12, b"phone"))[:cut])


@given(st.lists(st.tuples(st.integers(1, 254), st.binary(max_size=20)), max_size=20))
def test_well_formed_options_are_all_walked(options: list[tuple[int, bytes]]) -> None:
    others = b"".join(option(number, value) for number, value in options if number not in (52, 12))
    told = parse_dhcp(message(REQUEST + others + option(12, b"last")))
    if not any(number == 53 for number, _ in options):
        assert told is not None
        assert told.host_name == "last"
