"""What NFStream finds in captures, kept in `.cache`."""

import hashlib
import ipaddress
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.golden.conversations import PORTED, Conversation, Conversations
from tests.golden.oracle import CACHE
from tests.need import RIVALS_PYTHON

PROGRAM = Path(__file__).with_name("nfstream_program.py")


def of_nfstream(captures: Sequence[Path]) -> Iterator[Conversations]:
    """NFStream's conversations of each capture, times in whole milliseconds."""
    cached = {path: CACHE / f"nfstream-{_digest(path)}.json" for path in captures}
    missing = [path for path in captures if not cached[path].exists()]
    if missing:
        CACHE.mkdir(parents=True, exist_ok=True)
        with subprocess.Popen(
            [RIVALS_PYTHON, PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            for path in missing:
                program.stdin.write(f"{path}\n")
                program.stdin.flush()
                told = json.loads(program.stdout.readline())
                assert told["path"] == str(path)
                cached[path].write_text(json.dumps(told["flows"]))
            program.stdin.close()
    for path in captures:
        yield _conversations(json.loads(cached[path].read_text()))


def _digest(capture: Path) -> str:
    digest = hashlib.sha256(PROGRAM.read_bytes() + capture.read_bytes())
    return digest.hexdigest()[:32]


def _conversations(flows: list[list[object]]) -> Conversations:
    found: dict[bytes, Conversation] = {}
    for proto, source, source_port, to, to_port, packets, octets, first_ms, last_ms in flows:
        ported = proto in PORTED
        ends = sorted((_end(source, source_port * ported), _end(to, to_port * ported)))
        key = bytes([proto]) + b"".join(ends)
        first_ns, last_ns = first_ms * 10**6, last_ms * 10**6
        if key in found:
            before = found[key]
            packets, octets = packets + before.packets, octets + before.bytes
            first_ns, last_ns = min(first_ns, before.first_ns), max(last_ns, before.last_ns)
        found[key] = Conversation(packets, octets, first_ns, last_ns)
    return found


def _end(address: str, port: int) -> bytes:
    value = ipaddress.ip_address(address)
    mapped = value if value.version == 6 else ipaddress.ip_address(f"::ffff:{value}")
    return mapped.packed + port.to_bytes(2, "big")
