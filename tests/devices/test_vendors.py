"""Makers of devices, from tables in the form in which IEEE publishes them."""

from pathlib import Path

import pytest

from fortress.devices import vendors
from fortress.devices.vendors import Vendors

LARGE = """Registry,Assignment,Organization Name,Organization Address
MA-L,D83ADD,Raspberry Pi Trading Ltd,"Maurice Wilkes Building Cambridge GB CB4 0DS"
MA-L,70B3D5,IEEE Registration Authority,445 Hoes Lane Piscataway NJ US 08554
MA-L,001122,"A, maker with\x1b[31m
two lines",Nowhere
MA-L,XYZ,nonsense
MA-L,00112G,nonsense,x
"""
SMALL = """Registry,Assignment,Organization Name,Organization Address
MA-S,70B3D5123,Tiny Meters,Nowhere
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as Debian's ieee-data has it, with two of the three tables."""
    (tmp_path / "oui.csv").write_text(LARGE)
    (tmp_path / "oui36.csv").write_text(SMALL)
    return tmp_path


def test_the_longest_assignment_names_the_maker(folder: Path) -> None:
    known = Vendors(folder)
    assert known.of("d8:3a:dd:01:02:03") == "Raspberry Pi Trading Ltd"
    assert known.of("70:b3:d5:12:30:01") == "Tiny Meters"
    assert known.of("70:b3:d5:99:99:99") == "", "the registry itself makes nothing"
    assert known.of("00:11:22:00:00:01") == "A, maker with [31m two lines"
    assert known.of("00:33:44:00:00:01") == ""


def test_a_made_up_mac_has_no_maker(folder: Path) -> None:
    (folder / "oui.csv").write_text("MA-L,DA3ADD,Nobody,x\n")
    assert Vendors(folder).of("da:3a:dd:01:02:03") == ""


def test_without_tables_nothing_is_known_and_nothing_is_wrong(tmp_path: Path) -> None:
    for known in (Vendors(tmp_path / "absent"), Vendors(None)):
        assert known.of("d8:3a:dd:01:02:03") == ""
        assert known.trouble == ""


def test_tables_that_cannot_be_read_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "mam.csv").mkdir()
    known = Vendors(folder)
    assert known.of("d8:3a:dd:01:02:03") == "Raspberry Pi Trading Ltd"
    assert "mam.csv" in known.trouble
    monkeypatch.setattr(vendors, "_MOST_BYTES", 10)
    known = Vendors(folder)
    assert known.of("d8:3a:dd:01:02:03") == ""
    assert "larger than" in known.trouble
