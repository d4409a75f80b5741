"""Flows of a live interface by NFStream, in the rivals' environment: `nfstream_live.py INTERFACE`.

Prints NFStream's own counters as JSON, a line a second.
"""

import sys

from nfstream import NFStreamer

streamer = NFStreamer(
    source=sys.argv[1],
    n_dissections=0,
    statistical_analysis=True,
    accounting_mode=1,
    n_meters=1,
    socket_buffer_size=64 << 20,
    performance_report=1,
)
for _ in streamer:
    pass
