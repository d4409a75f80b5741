"""Flows with statistics by NFStream, in the rivals' environment; `--count` prints counts."""

import json
import sys

from nfstream import NFStreamer

streamer = NFStreamer(
    source=sys.argv[1],
    n_dissections=0,
    statistical_analysis=True,
    accounting_mode=1,
    idle_timeout=120,
    active_timeout=1800,
    n_meters=1,
)
if sys.argv[2:] == ["--count"]:
    packets = records = 0
    pairs = set()
    for flow in streamer:
        records += 1
        packets += flow.bidirectional_packets
        ports = (0, 0) if flow.protocol in (1, 58) else (flow.src_port, flow.dst_port)
        ends = sorted(((flow.src_ip, ports[0]), (flow.dst_ip, ports[1])))
        pairs.add((flow.protocol, *ends))
    print(json.dumps({"packets": packets, "flows": len(pairs), "records": records}))
else:
    for _ in streamer:
        pass
