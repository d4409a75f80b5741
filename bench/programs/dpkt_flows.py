"""Packets and bytes of each flow with dpkt, in the rivals' environment; prints counts."""

import json
import sys

import dpkt


def main(path: str) -> None:
    flows: dict[tuple[object, ...], list[int]] = {}
    packets = 0
    with open(path, "rb") as file:  # noqa: PTH123
        for _, frame in dpkt.pcap.Reader(file):
            try:
                ip = dpkt.ethernet.Ethernet(frame).data
            except (dpkt.dpkt.UnpackError, ValueError, IndexError):
                continue
            if not isinstance(ip, (dpkt.ip.IP, dpkt.ip6.IP6)):
                continue
            packets += 1
            ported = isinstance(ip.data, (dpkt.tcp.TCP, dpkt.udp.UDP, dpkt.sctp.SCTP))
            a = (ip.src, ip.data.sport if ported else 0)
            b = (ip.dst, ip.data.dport if ported else 0)
            flow = flows.setdefault((ip.p, a, b) if a < b else (ip.p, b, a), [0, 0])
            flow[0] += 1
            flow[1] += len(ip)
    print(json.dumps({"packets": packets, "flows": len(flows), "records": len(flows)}))


main(sys.argv[1])
