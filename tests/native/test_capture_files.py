"""Capture files of every format, sound and damaged, through the native reader."""

import csv
import gzip
import os
import struct
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.native import capture_bytes as made
from tests.native.programs import built
from tests.need import need

SOUND = {
    "pcap, microseconds": made.pcap(),
    "pcap, microseconds, big-endian": made.pcap(order=">"),
    "pcap, nanoseconds": made.pcap(nano=True),
    "pcap, nanoseconds, big-endian": made.pcap(nano=True, order=">"),
    "pcapng": made.pcapng(),
    "pcapng, big-endian": made.pcapng(order=">"),
    "pcapng, nanoseconds": made.pcapng(options=made.option(9, b"\x09"), units=10**9),
    "pcapng, binary units": made.pcapng(options=made.option(9, b"\x95"), units=2**21),
    "pcapng, tens of nanoseconds": made.pcapng(options=made.option(9, b"\x08"), units=10**8),
    "gzip": gzip.compress(made.pcap()),
    "gzip, two members": gzip.compress(made.pcap()[:100]) + gzip.compress(made.pcap()[100:]),
    "gzip, zeros behind it": gzip.compress(made.pcap()) + bytes(512),
    "gzip, pcapng": gzip.compress(made.pcapng()),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the reader made of files: a row for each frame, words about damage, its exit code."""

    rows: list[dict[str, str]]
    words: str
    code: int

    def column(self, name: str) -> list[int]:
        """Return one column of all frames."""
        return [int(row[name]) for row in self.rows]


@pytest.fixture(scope="module", params=["plain", "sanitized"])
def dump(request: pytest.FixtureRequest) -> Path:
    return built(request.param) / "dump"


def read(dump: Path, *paths: Path | str, given: bytes | None = None) -> Seen:
    done = subprocess.run([dump, *paths], input=given, capture_output=True, check=False, timeout=60)
    rows = list(csv.DictReader(done.stdout.decode().splitlines(), delimiter="\t"))
    return Seen(rows, done.stderr.decode(), done.returncode)


def write(folder: Path, content: bytes, name: str = "capture") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def is_complete(seen: Seen) -> bool:
    found = [{name: int(row[name]) for name in made.EXPECTED[0]} for row in seen.rows]
    for row in found:  # binary units are not exact
        row["time_ns"] = round(row["time_ns"], -3)
    return found == made.EXPECTED and seen.code == 0


@pytest.mark.parametrize("name", SOUND)
def test_every_format_gives_the_same_packets(dump: Path, tmp_path: Path, name: str) -> None:
    assert is_complete(read(dump, write(tmp_path, SOUND[name])))


@pytest.mark.parametrize("name", SOUND)
def test_every_format_is_read_from_a_pipe(dump: Path, name: str) -> None:
    assert is_complete(read(dump, "-", given=SOUND[name]))


def test_zstd_is_read(dump: Path, tmp_path: Path) -> None:
    need("zstd")
    for content in (made.pcap(), made.pcapng()):
        packed = subprocess.run(["zstd", "-q"], input=content, capture_output=True, check=True)
        assert is_complete(read(dump, write(tmp_path, packed.stdout)))
        cut = read(dump, write(tmp_path, packed.stdout[:-5]))
        assert cut.code != 0
        assert "zstd stream" in cut.words


def test_a_named_pipe_that_trickles_is_read(dump: Path, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def trickle() -> None:
        with path.open("wb", buffering=0) as pipe:
            for octet in made.pcap():
                pipe.write(bytes([octet]))

    writer = threading.Thread(target=trickle)
    writer.start()
    seen = read(dump, path)
    writer.join()
    assert is_complete(seen)


def test_files_are_read_one_after_the_other(dump: Path, tmp_path: Path) -> None:
    first = write(tmp_path, made.pcap(made.RECORDS[:2]), "first")
    second = write(tmp_path, made.pcapng(), "second")
    seen = read(dump, first, second)
    assert seen.column("src_port") == [1000, 1001, 1000, 1001, 1002, 1003, 1004]


def test_records_across_every_buffer_boundary_are_whole(dump: Path, tmp_path: Path) -> None:
    frame = made.FRAMES[4] + bytes(1000)
    records = tuple(made.Record(frame, made.SECOND + n) for n in range(5000))
    for content in (made.pcap(records), gzip.compress(made.pcap(records), 1)):
        seen = read(dump, write(tmp_path, content))
        assert seen.column("time_ns") == [r.seconds * 10**9 + r.nanoseconds for r in records]
        assert set(seen.column("src_port")) == {1004}


def test_interfaces_of_pcapng_keep_number_link_type_and_time_unit(
    dump: Path, tmp_path: Path
) -> None:
    nano = made.option(9, b"\x09") + made.option(14, struct.pack("<q", 5))
    raw = made.Record(made.FRAMES[1][14:])
    content = (
        made.section()
        + made.interface()
        + made.interface(linktype=101, options=nano)
        + made.packet(made.RECORDS[0])
        + made.packet(raw, number=1, units=10**9)
        + made.section(">")  # interfaces begin anew, in the other byte order
        + made.interface(">", linktype=101)
        + made.packet(raw, order=">")
    )
    seen = read(dump, write(tmp_path, content))
    assert seen.column("iface") == [0, 1, 2]
    assert seen.column("linktype") == [1, 101, 101]
    assert seen.column("src_port") == [1000, 1001, 1001]
    first = made.EXPECTED[0]["time_ns"]
    assert seen.column("time_ns") == [first, first + 5 * 10**9, first]


def test_all_kinds_of_packet_blocks_are_read_and_others_stepped_over(
    dump: Path, tmp_path: Path
) -> None:
    content = (
        made.section()
        + made.interface(snaplen=44)
        + made.block(4, bytes(2_000_000))  # names, more than the buffer
        + made.old_packet(made.RECORDS[1])
        + made.block(0xBAD, b"custom")
        + made.simple_packet(made.Record(made.FRAMES[2][:44], wire=46))
        + made.packet(made.RECORDS[3])
    )
    seen = read(dump, write(tmp_path, content))
    assert seen.column("src_port") == [1001, 1002, 1003]
    assert seen.column("captured_bytes") == [43, 44, 45]
    assert seen.column("wire_bytes") == [43, 46, 45]
    assert seen.column("time_ns")[1] == seen.column("time_ns")[0], "has no stamp: the last one"


def test_a_stamp_beyond_64_bits_of_nanoseconds_is_the_largest(dump: Path, tmp_path: Path) -> None:
    stamp = struct.pack("<III", 0, 2**32 - 1, 2**32 - 1)
    body = stamp + struct.pack("<II", 42, 42) + made.FRAMES[0]
    for options in (b"", made.option(9, b"\x09"), made.option(9, b"\x95")):
        content = made.section() + made.interface(options=options) + made.block(6, body)
        times = read(dump, write(tmp_path, content)).column("time_ns")
        assert times[0] >= 2**63 - 10**10


@pytest.mark.parametrize("wire", [0, 10, 2**31, 2**32 - 1])
def test_an_absurd_wire_length_becomes_the_captured_one(
    dump: Path, tmp_path: Path, wire: int
) -> None:
    record = made.Record(made.FRAMES[3], wire=wire)
    content = made.section() + made.interface() + made.packet(record)
    for file in (made.pcap((record,)), content):
        seen = read(dump, write(tmp_path, file))
        assert seen.column("wire_bytes") == [45]
        assert "absurd lengths 1\n" in seen.words


def test_drops_that_pcapng_tells_of_are_counted(dump: Path, tmp_path: Path) -> None:
    def statistics(card: int, system: int) -> bytes:
        options = made.option(5, struct.pack("<Q", card)) + made.option(
            7, struct.pack("<Q", system)
        )
        return made.block(5, struct.pack("<III", 0, 0, 0) + options)

    sections = (
        made.pcapng() + statistics(1, 2) + statistics(3, 4),
        made.pcapng() + statistics(5, 0),
    )
    seen = read(dump, write(tmp_path, b"".join(sections)))
    assert "drops 12, " in seen.words, "each section's last word: 3 + 4 and 5"


def test_frames_without_octets_are_delivered(dump: Path, tmp_path: Path) -> None:
    seen = read(dump, write(tmp_path, made.pcap((made.Record(b"", wire=60), *made.RECORDS))))
    assert seen.column("captured_bytes") == [0, 42, 43, 44, 45, 46]


two = made.pcap(made.RECORDS[:2])
ng = made.section() + made.interface() + made.packet(made.RECORDS[0])
third = made.packet(made.RECORDS[2])
DAMAGED = {
    "within a record header": (two + bytes(7), 2, len(two), "within a record header (7 of 16"),
    "within a record": (two + made.pcap()[24:60], 2, len(two), "within a record (20 of 42 octets)"),
    "2 GB record": (
        two + struct.pack("<IIII", 1, 1, 2**31, 2**31) + bytes(1000),
        *(2, len(two), "a record of 2147483648 octets"),
    ),
    "record just too large": (
        two + struct.pack("<IIII", 1, 1, 266241, 266241) + bytes(300000),
        *(2, len(two), "a record of 266241 octets"),
    ),
    "unknown link type": (made.pcap(linktype=147), 0, 20, "link type 147"),
    "block within": (ng + third[:40], 1, len(ng), "within a block (40 of 76 octets)"),
    "stepped-over block": (ng + made.block(99, bytes(80))[:40], 1, len(ng), "within a block of 92"),
    "length not a multiple of 4": (
        ng + made.block(6, bytes(40), length=53),
        *(1, len(ng), "a block of type 0x6 with length 53"),
    ),
    "length too small": (ng + made.block(99, b"", length=8), 1, len(ng), "with length 8"),
    "packet block too small": (ng + made.block(6, b""), 1, len(ng), "type 0x6 with length 12"),
    "packet block too large": (
        ng + struct.pack("<II", 6, 2**31) + bytes(64),
        *(1, len(ng), "type 0x6 with length 2147483648"),
    ),
    "lengths that differ": (
        ng + third[:-4] + struct.pack("<I", 80),
        *(1, len(ng), "with length 76 before and 80 after it"),
    ),
    "packet beyond its block": (
        ng + made.packet(made.Record(made.FRAMES[0], captured=100)),
        *(1, len(ng), "a packet of 100 octets in a block of 76"),
    ),
    "interface not described": (
        ng + made.packet(made.RECORDS[0], number=7),
        *(1, len(ng), "interface 7, of which nothing was told"),
    ),
    "byte order not told": (
        ng + made.block(0x0A0D0D0A, bytes(16)),
        *(1, len(ng), "byte-order magic 00000000"),
    ),
    "time unit beyond 64 bits": (
        ng + made.interface(options=made.option(9, b"\x20")),
        *(1, len(ng), "interface 1 has a time resolution"),
    ),
    "gzip ends early": (gzip.compress(two)[:-4], 2, len(two), "the gzip stream ends early"),
    "gzip is corrupt": (
        gzip.compress(two)[:-8] + bytes(8),
        *(2, len(two), "the gzip stream is corrupt: incorrect data check"),
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named_with_its_place_and_all_before_it_is_kept(
    dump: Path, tmp_path: Path, name: str
) -> None:
    content, packets, offset, words = DAMAGED[name]
    path = write(tmp_path, content)
    seen = read(dump, path)
    assert len(seen.rows) == packets
    assert f"{path}: damaged at octet {offset}: " in seen.words
    assert words in seen.words
    assert seen.code == 3


def test_damage_ends_one_file_and_the_next_is_read(dump: Path, tmp_path: Path) -> None:
    first = write(tmp_path, two + bytes(7), "first")
    seen = read(dump, first, write(tmp_path, made.pcapng(), "second"))
    assert seen.column("src_port") == [1000, 1001, 1000, 1001, 1002, 1003, 1004]
    assert str(first) in seen.words
    assert seen.code == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 a zip archive", "it begins with 50 4b 03 04"),
        (b"\xd4", "it begins with d4"),
        (made.pcap()[:20], "the file ends within the pcap header (20 of 24 octets)"),
        (made.section()[:10], "the file ends within the pcapng section header"),
        (gzip.compress(b"text that is no capture"), "it begins with 74 65 78 74"),
        (gzip.compress(made.pcap())[:12], "the gzip stream ends early"),
        (b"\x1f\x8bnonsense", "the gzip stream is corrupt"),
        (b"\x28\xb5\x2f\xfdnonsense", "the zstd stream is corrupt"),
        (b"\xfd7zXZ\x00", "compressed with xz; unpack it first"),
        (b"BZh91AY&SY", "compressed with bzip2; unpack it first"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 3, 0, 0, 0, 0, 1), "pcap version 3.0"),
    ],
)
def test_a_file_that_cannot_be_read_at_all_is_refused_by_name(
    dump: Path, tmp_path: Path, content: bytes, words: str
) -> None:
    path = write(tmp_path, content)
    for paths in ((path,), (write(tmp_path, two, "sound"), path)):
        seen = read(dump, *paths)
        assert (seen.rows, seen.code) == ([], 1)
        assert f"{path}: " in seen.words
        assert words in seen.words


def test_a_missing_file_and_a_directory_are_refused_by_name(dump: Path, tmp_path: Path) -> None:
    assert f"{tmp_path}: is a directory" in read(dump, tmp_path).words
    missing = read(dump, tmp_path / "nowhere.pcap")
    assert "nowhere.pcap: cannot open: No such file or directory" in missing.words
    assert missing.code == 1
