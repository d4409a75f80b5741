"""Flows of a live interface by Fortress's core: `live_flows.py INTERFACE [FILTER_FD]`.

Prints "ready", and when it is told to stop (SIGTERM) what it has seen, as JSON.
"""

import json
import signal
import sys

from fortress_core import StreamOptions, open_live, open_port

filter_fd = int(sys.argv[2]) if sys.argv[2:] else None
with (
    open_port(sys.argv[1], filter_fd=filter_fd) as port,
    open_live([port], options=StreamOptions(tick_ns=100_000_000)) as stream,
):
    signal.signal(signal.SIGTERM, lambda number, frame: stream.stop())
    print("ready", flush=True)
    records = 0
    for batch in stream:
        records += batch.flows.rows
    stats = stream.stats()
    [state] = stream.ports()
print(json.dumps({"packets": stats.packets, "lost": state.drops, "flows": stats.flows}))
