"""MACs and names are read strictly, and what devices say is made harmless."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.devices.words import MOST_NAME, clean, is_randomized, parse_mac, parse_name


@pytest.mark.parametrize(
    "text", ["02:00:5E:10:00:01", "02-00-5e-10-00-01", "0200.5e10.0001", "02005e100001 "]
)
def test_a_mac_has_one_form_however_it_is_written(text: str) -> None:
    assert parse_mac(text) == "02:00:5e:10:00:01"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("02:00:5e:10:00", "is no MAC"),
        ("02:00:5e:10:00:0g", "is no MAC"),
        ("kitchen\x1b[2J", r"'kitchen\\x1b"),
        ("01:00:5e:00:00:01", "a group's MAC"),
        ("ff:ff:ff:ff:ff:ff", "a group's MAC"),
        ("00:00:00:00:00:00", "no device's MAC"),
    ],
)
def test_what_is_no_devices_mac_is_told_so(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_mac(text)


def test_a_made_up_mac_is_known_by_its_local_bit() -> None:
    assert is_randomized("da:a1:19:00:00:01")
    assert not is_randomized("d8:3a:dd:00:00:01")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("living-room\x1b[31mTV\x07", "living-room [31mTV"),
        ("a\nb\tc", "a b c"),
        ("\u202egnp.exe", "gnp.exe"),
        ("  ", ""),
        ("x" * 1000, "x" * MOST_NAME),
        ("Käthe\u0301s iPad", "Käthés iPad"),
    ],
)
def test_control_characters_of_a_host_name_do_not_reach_a_terminal(said: str, shown: str) -> None:
    assert clean(said) == shown


@given(st.text())
def test_whatever_a_device_is_called_is_printable_and_short(said: str) -> None:
    name = clean(said)
    assert name.isprintable()
    assert len(name) <= MOST_NAME
    assert clean(name) == name


@pytest.mark.parametrize("text", ["", " ", "a\x00b", "a\nb", "x" * 65])
def test_a_name_that_an_operator_gives_is_refused_rather_than_changed(text: str) -> None:
    with pytest.raises(ValueError, match=r"a name has|do not print"):
        parse_name(text)
    assert parse_name(" Käthes Tablet ") == "Käthes Tablet"
