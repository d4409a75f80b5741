"""As live_flows.py, with the tap before the ring: `live_tapped.py INTERFACE`."""

import json
import signal
import sys

from fortress_core import StreamOptions, Tap, open_live, open_port

with (
    Tap.load() as tap,
    open_port(sys.argv[1], filter_fd=tap.program_fd) as port,
    open_live([port], options=StreamOptions(tick_ns=100_000_000)) as stream,
):
    stream.shunt(tap.map_fds)
    signal.signal(signal.SIGTERM, lambda number, frame: stream.stop())
    print("ready", flush=True)
    records = 0
    for batch in stream:
        records += batch.flows.rows
    stats, shunted = stream.stats(), stream.shunt_stats()
    [state] = stream.ports()
print(
    json.dumps(
        {
            "packets": stats.packets + shunted.packets,
            "lost": state.drops,
            "flows": stats.flows,
            "counted_in_kernel": shunted.packets,
        }
    )
)
