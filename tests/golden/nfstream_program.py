"""Conversations by NFStream: reads capture paths on standard input, writes a JSON line for each.

Runs in the rivals' environment (.cache/rivals), where NFStream is, and nothing of Fortress.
"""

import contextlib
import json
import os
import sys

from nfstream import NFStreamer

NEVER_S = 2_000_000_000


def main() -> None:
    for path in map(str.strip, sys.stdin):
        with silenced():
            told = list(flows(path))
        print(json.dumps({"path": path, "flows": told}), flush=True)


def flows(path: str) -> list[tuple[int, str, int, str, int, int, int, int, int]]:
    streamer = NFStreamer(
        source=path,
        decode_tunnels=False,
        snapshot_length=65535,
        n_dissections=0,
        accounting_mode=1,
        idle_timeout=NEVER_S,
        active_timeout=NEVER_S,
        n_meters=1,
    )
    for flow in streamer:
        yield (
            flow.protocol,
            flow.src_ip,
            flow.src_port,
            flow.dst_ip,
            flow.dst_port,
            flow.bidirectional_packets,
            flow.bidirectional_bytes,
            flow.bidirectional_first_seen_ms,
            flow.bidirectional_last_seen_ms,
        )


@contextlib.contextmanager
def silenced():
    """NFStream's C code writes warnings to standard error, one a capture."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


if __name__ == "__main__":
    main()
