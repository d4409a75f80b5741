"""Flows of a mirror port by Fortress's core through AF_XDP: `live_xdp.py INTERFACE`.

Prints "ready", and when it is told to stop (SIGTERM) what it has seen, as JSON.
"""

import json
import signal
import sys

from fortress_core import StreamOptions, open_xdp, open_xdp_port

with (
    open_xdp_port(sys.argv[1]) as port,
    open_xdp(port, options=StreamOptions(tick_ns=100_000_000)) as stream,
):
    signal.signal(signal.SIGTERM, lambda number, frame: stream.stop())
    print("ready", flush=True)
    records = 0
    for batch in stream:
        records += batch.flows.rows
    stats = stream.stats()
print(json.dumps({"packets": stats.packets, "lost": stats.kernel_drops, "flows": stats.flows}))
