"""Capture → all flow columns through `fortress_core`; prints what it found as JSON.

core_flows.py CAPTURE [--count]       --count: also how many different 5-tuples, which costs time
"""

import json
import sys

import numpy as np
from fortress_core import StreamOptions, open_capture

PORTED = (6, 17, 132)


def main(path: str, count: bool) -> None:
    rows = packets = calls = 0
    keys = []
    options = StreamOptions(packet_rows="none", keep_intervals=False)
    with open_capture([path], options=options) as stream:
        for batch in stream:
            calls += 1
            rows += batch.flows.rows
            packets += int(batch.flows["orig_pkts"].sum() + batch.flows["resp_pkts"].sum())
            if count:
                keys.append(flow_keys(batch.flows))
        stats = stream.stats()
    found = {
        "packets": packets,
        "records": rows,
        "calls": calls,
        "flows_peak": stats.flows_peak,
        "memory_bytes": stats.memory_bytes,
        "all_packets": stats.packets,
    }
    if count:
        found["flows"] = len(np.unique(np.concatenate(keys)))
    print(json.dumps(found))


def flow_keys(flows: object) -> np.ndarray:
    """A value for each flow that is the same for all flows of its 5-tuple, in either direction."""
    rows = flows.rows
    ported = np.isin(flows["proto"], PORTED)
    ends = np.zeros((rows, 2, 18), np.uint8)
    for side, name in enumerate(("orig", "resp")):
        ends[:, side, :16] = flows[f"{name}_addr"].view(np.uint8).reshape(rows, 16)
        port = np.where(ported, flows[f"{name}_port"], 0).astype(">u2")
        ends[:, side, 16:] = port.view(np.uint8).reshape(rows, 2)
    ends = np.sort(ends.reshape(rows, 2, 18).view("S18")[..., 0], axis=1)
    key = np.zeros((rows, 37), np.uint8)
    key[:, :36] = np.ascontiguousarray(ends).view(np.uint8).reshape(rows, 36)
    key[:, 36] = flows["proto"]
    return key.view("V37")[:, 0]


main(sys.argv[1], sys.argv[2:] == ["--count"])
