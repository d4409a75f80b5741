"""A day on a home's gateway, put together: households at work, and the Internet's noise outside.

Captures of harmless traffic are moved in time, one somewhere in every slot of SLOT_S. Noise goes on
all day: strangers who try a port and leave, those who try hundreds, backscatter, pings.
"""

import random
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.core.frames import ACK, RST, SECOND, START, SYN, Packet

DAY_S, SLOT_S = 24 * 3600, 300
OUR_WAN, WAN_MACS = "203.0.113.77", bytes.fromhex("02005e00510202005e005101")
STRANGERS_A_DAY, SCANNERS_A_DAY, BACKSCATTER_A_DAY = 12_000, 12, 1_500
TRIED = (23, 22, 445, 3389, 8080, 80, 443, 2323, 5555, 1433, 3306, 6379, 8443, 25, 21, 5900)
ASKED = (53, 123, 161, 1900, 5060, 11211, 389, 500)  # by UDP
_LONGEST_S, _NANOSECONDS = 240, 0xA1B23C4D

Record = tuple[int, bytes]  # a time, and a frame


def day(captures: Sequence[Path], path: Path, seed: int) -> Path:
    """A capture file of a whole day; `captures` are played in turn, whatever their number."""
    random_ = random.Random(seed)
    played = [found for one in captures if (found := _from_its_start(one))]
    noise = sorted(_noise(random_), key=lambda record: record[0])
    at = 0
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", _NANOSECONDS, 2, 4, 0, 0, 65535, 1))
        for slot in range(DAY_S // SLOT_S):
            begin = START + slot * SLOT_S * SECOND
            if slot % len(played) == 0:  # people keep no timetable: one would be a beacon
                random_.shuffle(played)
            late_ns = int(random_.uniform(0, SLOT_S - _LONGEST_S) * SECOND)
            rows = [(begin + late_ns + ns, frame) for ns, frame in played[slot % len(played)]]
            while at < len(noise) and noise[at][0] < begin + SLOT_S * SECOND:
                rows.append(noise[at])
                at += 1
            rows.sort(key=lambda record: record[0])
            file.write(b"".join(_written(rows)))
    return path


def _written(rows: Sequence[Record]) -> Iterator[bytes]:
    for time_ns, frame in rows:
        seconds, rest = divmod(time_ns, SECOND)
        yield struct.pack("<IIII", seconds, rest, len(frame), len(frame))
        yield frame


def _from_its_start(path: Path) -> list[Record]:
    """Frames of an Ethernet capture by the time since its first one, of so long at the most."""
    octets = path.read_bytes()
    if octets[:4] == bytes.fromhex("28b52ffd"):
        octets = subprocess.run(["zstdcat", path], check=True, capture_output=True).stdout
    magic, *_, linktype = struct.unpack_from("<IHHiIII", octets.ljust(24, b"\0"))
    if magic not in (_NANOSECONDS, 0xA1B2C3D4) or linktype != 1:
        return []
    unit_ns = 1 if magic == _NANOSECONDS else 1000
    found, at, first_ns = [], 24, None
    while at + 16 <= len(octets):
        seconds, rest, kept, length = struct.unpack_from("<IIII", octets, at)
        frame, at = octets[at + 16 : at + 16 + kept], at + 16 + kept
        ns = seconds * SECOND + rest * unit_ns
        first_ns = ns if first_ns is None else first_ns
        if 0 <= ns - first_ns < _LONGEST_S * SECOND:
            found.append((ns - first_ns, frame + bytes(min(length - kept, 1514))))
    return found


def _noise(random_: random.Random) -> Iterator[Record]:
    for _ in range(STRANGERS_A_DAY):  # one or a few tries
        source, at_s = _stranger(random_), random_.uniform(0, DAY_S - 60)
        for _ in range(random_.choice((1, 1, 1, 2, 3))):
            yield _at(at_s + random_.uniform(0, 30), _try(random_, source))
    for _ in range(SCANNERS_A_DAY):  # hundreds of ports within minutes, as of search engines
        source, at_s = _stranger(random_), random_.uniform(0, DAY_S - 900)
        for port in random_.sample(range(1, 65536), random_.randint(100, 400)):
            asked = Packet(src=source, dst=OUR_WAN, sport=54_321, dport=port, flags=SYN)
            yield _at(at_s + random_.uniform(0, 900), asked)
    for _ in range(BACKSCATTER_A_DAY):  # our address was forged in a flood of others
        source, port = _stranger(random_), random_.choice((80, 443, 53))
        answer = Packet(src=source, dst=OUR_WAN, sport=port, dport=random_.randint(1024, 65535),
                        flags=random_.choice((SYN | ACK, RST | ACK)))  # fmt: skip
        yield _at(random_.uniform(0, DAY_S), answer)


def _try(random_: random.Random, source: str) -> Packet:
    kind, own = random_.random(), random_.randint(1024, 65535)
    if kind < 0.08:
        return Packet(src=source, dst=OUR_WAN, proto=1, sport=8, dport=0, icmp_id=own)
    if kind < 0.25:
        return Packet(src=source, dst=OUR_WAN, proto=17, sport=own, dport=random_.choice(ASKED),
                      payload=bytes(40))  # fmt: skip
    port = random_.choice(TRIED) if random_.random() < 0.7 else random_.randint(1, 65535)
    return Packet(src=source, dst=OUR_WAN, sport=own, dport=port, flags=SYN)


def _stranger(random_: random.Random) -> str:
    first = random_.choice((45, 80, 89, 141, 162, 167, 185, 193, 194, 205))
    return f"{first}.{random_.randrange(256)}.{random_.randrange(256)}.{random_.randint(1, 254)}"


def _at(seconds: float, packet: Packet) -> Record:
    return START + int(seconds * SECOND), WAN_MACS + packet.frame()[12:]
