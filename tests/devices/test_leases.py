"""dnsmasq's lease file: lines of every kind, broken by hand, and made up by hypothesis."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.devices import leases
from fortress.devices.leases import Lease, parse_leases, read_leases
from fortress.errors import InputError

FILE = """\
1763900000 02:00:5e:00:77:66 192.168.77.66 phone 01:02:00:5e:00:77:66
0 02:00:5e:00:77:20 192.168.77.20 * *
1763900000 06-00:11:22:33:44:55 192.168.77.21 firewire *
1763900000 20-aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd 192.168.77.22 ib *
duid 00:01:00:01:2e:4f:00:00:02:00:5e:00:77:01
1763900001 5242342 2001:db8:77::66 phone 00:01:00:01:2f:00:00:01:02:00:5e:00:77:66
1763900001 5242343 2001:db8:77::67 * 00:03:00:01:02:00:5e:00:77:67
1763900001 5242344 2001:db8:77::68 * 00:04:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff
"""


def test_every_kind_of_line_is_understood() -> None:
    found = parse_leases(FILE.splitlines())
    assert found.leases == (
        Lease("02:00:5e:00:77:66", "192.168.77.66", "phone", 1763900000),
        Lease("02:00:5e:00:77:20", "192.168.77.20", "", 0),
        Lease("02:00:5e:00:77:66", "2001:db8:77::66", "phone", 1763900001),
        Lease("02:00:5e:00:77:67", "2001:db8:77::67", "", 1763900001),
    )
    assert (found.damages, found.damaged) == ((), 0)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1763900000 02:00:5e:00:77:66", "2 words"),
        ("soon 02:00:5e:00:77:66 192.168.77.66 phone *", "no time"),
        ("-1 02:00:5e:00:77:66 192.168.77.66 phone *", "no time"),
        ("1763900000 02:00:5e:00:77 192.168.77.66 phone *", "is no MAC"),
        ("1763900000 01:00:5e:00:77:66 192.168.77.66 phone *", "a group's MAC"),
        ("1763900000 02:00:5e:00:77:66 192.168.77 phone *", "no address"),
        ("1763900000 02:00:5e:00:77:66 fe80::1%eth0 phone *", "a zone"),
    ],
)
def test_a_broken_line_is_told_with_its_number_and_the_others_are_kept(
    line: str, words: str
) -> None:
    found = parse_leases([FILE.splitlines()[0], line, FILE.splitlines()[1]])
    assert len(found.leases) == 2
    assert found.damaged == 1
    assert found.damages[0].startswith("line 2: ")
    assert words in found.damages[0]


def test_a_hostile_host_name_is_made_harmless() -> None:
    line = "1763900000 02:00:5e:00:77:66 192.168.77.66 tv\x1b]0;owned\x07\u202e *"
    assert parse_leases([line]).leases[0].name == "tv ]0;owned"


def test_no_file_is_no_leases_and_an_unreadable_one_is_an_error(tmp_path: Path) -> None:
    assert read_leases(tmp_path / "absent").leases == ()
    with pytest.raises(InputError, match="directory"):
        read_leases(tmp_path)


def test_a_file_that_is_too_large_is_read_as_far_as_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "0 02:00:5e:00:77:20 192.168.77.20 * *\n"
    monkeypatch.setattr(leases, "MOST_BYTES", 10 * len(line) + 5)
    file = tmp_path / "leases"
    file.write_text(line * 20)
    found = read_leases(file)
    assert len(found.leases) == 10
    assert "larger than" in found.damages[0]


@given(st.binary(max_size=2000))
def test_no_bytes_in_a_lease_file_break_the_reader(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    found = parse_leases(text.split("\n"))
    assert len(found.leases) + found.damaged <= text.count("\n") + 1
    assert all(one.isprintable() for one in found.damages)


WORDS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["0", "1763900000", "02:00:5e:00:77:66", "192.168.77.66", "fe80::1", "*"]),
    st.sampled_from(["duid", "06-aa:bb:cc:dd:ee:ff", "00:01:00:01:2f:00:00:01:02:00:5e:00:77:66"]),
)


@given(st.lists(st.lists(WORDS, max_size=7).map(" ".join), max_size=8))
def test_no_order_of_likely_words_breaks_the_reader(lines: list[str]) -> None:
    for one in parse_leases(lines).leases:
        assert one.name.isprintable()
        assert one.until_s >= 0
