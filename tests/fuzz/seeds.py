"""Seeds of the fuzz targets, written into a folder each: `python -m tests.fuzz.seeds FOLDER`."""

import gzip
import re
import struct
import sys
from pathlib import Path

from tests.native import capture_bytes as made
from tests.need import ROOT

# By link type, its number in fuzz_parse.c's table.
LINKTYPES = {1: 0, 0: 1, 12: 2, 14: 2, 101: 3, 108: 4, 113: 5, 276: 6, 229: 7, 147: 8, 9: 9, 104: 9}


def parse_seeds() -> dict[str, bytes]:
    """Return a seed for every row of test_parse.c, its octets behind the two that choose."""
    text = (ROOT / "tests" / "native" / "test_parse.c").read_text()
    macros: dict[str, tuple[list[str], str]] = {}
    text = text.replace("\\\n", " ")
    for name, arguments, body in re.findall(r"#define (\w+)(?:\(([^)]*)\))? (.*)", text):
        macros[name] = ([word.strip() for word in arguments.split(",") if word.strip()], body)
    seeds = {}
    rows = re.findall(r'\{ "[^"]*", (\d+), \d+,\s*(.*?),\s*(?:IS_|"decode)', text, re.DOTALL)
    for number, (linktype, expression) in enumerate(rows):
        octets = bytes.fromhex(expand(expression, macros))
        seeds[f"row{number}"] = bytes([LINKTYPES[int(linktype)], 0]) + octets
    return seeds


def expand(expression: str, macros: dict[str, tuple[list[str], str]]) -> str:
    """Return the hexadecimal text of string literals and macros, as the C preprocessor would."""
    out = []
    for literal, name, arguments in re.findall(r'"([^"]*)"|(\w+)(?:\(([^)]*)\))?', expression):
        if not name:
            out.append(literal)
            continue
        parameters, body = macros[name]
        values = re.findall(r'"[^"]*"', arguments)
        for parameter, value in zip(parameters, values, strict=True):
            body = re.sub(rf"\b{parameter}\b", value, body)
        out.append(expand(body, macros))
    return " ".join(out)


def capture_seeds() -> dict[str, bytes]:
    """Return a small capture file of every format."""
    nano = made.option(9, b"\x09") + made.option(14, struct.pack("<q", 5))
    statistics = made.option(5, struct.pack("<Q", 7)) + made.option(7, struct.pack("<Q", 1))
    every_block = (
        made.section()
        + made.interface(options=nano)
        + made.old_packet(made.RECORDS[0])
        + made.simple_packet(made.RECORDS[1])
        + made.packet(made.RECORDS[2], units=10**9)
        + made.block(5, struct.pack("<III", 0, 1, 2) + statistics)
        + made.block(4, b"names")
        + made.section(">")
        + made.interface(">", linktype=101)
        + made.packet(made.RECORDS[3], order=">")
    )
    return {
        "pcap": made.pcap(),
        "pcap_big": made.pcap(order=">"),
        "pcap_nano": made.pcap(nano=True),
        "pcapng": made.pcapng(),
        "pcapng_big": made.pcapng(order=">"),
        "pcapng_blocks": every_block,
        "gzip": gzip.compress(made.pcap(), mtime=0),
        # a zstd frame of one raw block, whole in 255 octets
        "zstd": b"\x28\xb5\x2f\xfd\x20" + raw_block(made.pcap(made.RECORDS[:2])),
    }


def raw_block(content: bytes) -> bytes:
    """Return size and one last raw block, as RFC 8878 lays them out behind magic and descriptor."""
    return bytes([len(content)]) + (len(content) << 3 | 1).to_bytes(3, "little") + content


def main() -> None:
    """Write the seeds of each target."""
    for target, seeds in (("fuzz_parse", parse_seeds()), ("fuzz_capture", capture_seeds())):
        folder = Path(sys.argv[1]) / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in seeds.items():
            (folder / name).write_bytes(content)
        print(f"{target}: {len(seeds)} seeds")


if __name__ == "__main__":
    main()
