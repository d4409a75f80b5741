"""What tshark says of each packet, in the words of the packet columns."""

import csv
import functools
import ipaddress
import subprocess
from collections.abc import Iterator
from pathlib import Path

# Protocols the parser follows; with all others off, what they carry stays payload.
PROTOCOLS = (
    *("frame", "eth", "ethertype", "vlan", "ieee8021ad", "llc", "sll", "null", "loop", "raw"),
    *("arp", "ip", "ipv6", "ipv6.hopopts", "ipv6.routing", "ipv6.fraghdr", "ipv6.dstopts", "ah"),
    *("tcp", "udp", "icmp", "icmpv6", "sctp", "gre", "vxlan", "pppoes", "ppp", "chdlc", "ppp_hdlc"),
)
PREFERENCES = (
    *("ip.defragment:FALSE", "ipv6.defragment:FALSE", "tcp.desegment_tcp_streams:FALSE"),
    *("tcp.analyze_sequence_numbers:FALSE", "tcp.relative_sequence_numbers:FALSE"),
    *("udp.process_info:FALSE", "ip.use_geoip:FALSE", "ip.tso_support:TRUE"),
)
FIELDS = (
    *("frame.number", "frame.protocols", "frame.len", "frame.cap_len", "frame.time_epoch"),
    *("eth.src", "eth.dst", "vlan.id", "ieee8021ad.id", "sll.src.eth"),
    *("ip.src", "ip.dst", "ip.proto", "ip.ttl", "ip.dsfield", "ip.len", "ip.hdr_len"),
    *("ip.flags.mf", "ip.frag_offset"),
    *("ipv6.src", "ipv6.dst", "ipv6.nxt", "ipv6.hlim", "ipv6.tclass", "ipv6.plen"),
    *("ipv6.hopopts.nxt", "ipv6.routing.nxt", "ipv6.dstopts.nxt", "ah.next_header"),
    *("ipv6.fraghdr.nxt", "ipv6.fraghdr.offset", "ipv6.fraghdr.more"),
    *("tcp.srcport", "tcp.dstport", "tcp.flags", "tcp.window_size_value", "tcp.seq_raw"),
    *("tcp.ack_raw", "tcp.len", "tcp.hdr_len", "tcp.options.mss_val", "tcp.options.wscale.shift"),
    *("udp.srcport", "udp.dstport", "udp.length", "sctp.srcport", "sctp.dstport"),
    *("icmp.type", "icmp.code", "icmp.ident"),
    *("icmpv6.type", "icmpv6.code", "icmpv6.echo.identifier"),
    *("arp.opcode", "arp.src.hw_mac", "arp.src.proto_ipv4", "arp.dst.proto_ipv4"),
    *("icmpv6.opt.src_linkaddr", "icmpv6.opt.target_linkaddr", "icmpv6.opt.linkaddr"),
)
EXTENSIONS = {
    "ipv6.hopopts": "ipv6.hopopts.nxt",
    "ipv6.routing": "ipv6.routing.nxt",
    "ipv6.dstopts": "ipv6.dstopts.nxt",
    "ipv6.fraghdr": "ipv6.fraghdr.nxt",
    "ah": "ah.next_header",
}


def packets(capture: Path) -> Iterator[dict[str, int]]:
    """Yield for each packet the columns tshark tells of; what it does not tell is absent."""
    words = ["tshark", "-n", "-r", str(capture), "-T", "fields", "-E", "aggregator=,"]
    words += [word for field in FIELDS for word in ("-e", field)]
    words += [word for preference in PREFERENCES for word in ("-o", preference)]
    words += [word for name in other_protocols() for word in ("--disable-protocol", name)]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as tshark:
        assert tshark.stdout is not None
        for row in csv.reader(tshark.stdout, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield columns(dict(zip(FIELDS, row, strict=True)))


@functools.cache
def other_protocols() -> tuple[str, ...]:
    """Return all protocols of this tshark that the parser does not follow."""
    listed = subprocess.run(
        ["tshark", "-G", "protocols"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    names = [line.split("\t")[2] for line in listed.stdout.splitlines()]
    return tuple(name for name in names if name not in PROTOCOLS)


def columns(row: dict[str, str]) -> dict[str, int]:
    """Return the packet columns of one row of fields."""
    found = {field: value.split(",") for field, value in row.items() if value}
    layers = row["frame.protocols"].split(":")
    out = {"wire_bytes": int(row["frame.len"]), "captured_bytes": int(row["frame.cap_len"])}
    for column, field in (
        ("src_mac", "eth.src"),
        ("dst_mac", "eth.dst"),
        ("src_mac", "sll.src.eth"),
    ):
        if field in found:
            out[column] = mac(found[field][0])
    tags = found.get("ieee8021ad.id", []) + found.get("vlan.id", [])
    for column, tag in zip(("vlan_id", "inner_vlan_id"), tags, strict=False):
        out[column] = number(tag)
    if "arp" in layers:
        return out | arp(found)
    if "icmp" in layers or "icmpv6" in layers:  # what is quoted inside is not the packet
        layers = layers[
            : min(layers.index(name) for name in ("icmp", "icmpv6") if name in layers) + 1
        ]
    if "ip" not in layers and "ipv6" not in layers:
        return out | {"ip_version": 0}
    return out | network(layers, found)


def network(layers: list[str], found: dict[str, list[str]]) -> dict[str, int]:
    """Return the columns of the innermost IP layer and what it carries."""
    last = max(i for i, layer in enumerate(layers) if layer in ("ip", "ipv6"))
    kind = layers[last]
    nth = layers[: last + 1].count(kind) - 1

    def take(field: str) -> int:
        return number(found[field][nth])

    out = {
        "ip_version": 4 if kind == "ip" else 6,
        "src_addr": address(found[f"{kind}.src"][nth]),
        "dst_addr": address(found[f"{kind}.dst"][nth]),
    }
    if kind == "ip":
        out["proto"], out["ttl"], out["tos"] = take("ip.proto"), take("ip.ttl"), take("ip.dsfield")
        out["ip_bytes"] = take("ip.len")
        offset, more = take("ip.frag_offset"), take("ip.flags.mf")
        header = take("ip.hdr_len")
    else:
        out["proto"], out["ttl"] = take("ipv6.nxt"), take("ipv6.hlim")
        out["tos"] = take("ipv6.tclass")
        out["ip_bytes"] = 40 + take("ipv6.plen")
        offset, more, header = 0, 0, None
        seen: dict[str, int] = {}
        for layer in layers[last + 1 :]:
            if layer in EXTENSIONS:
                occurrence = seen.get(layer, 0)
                seen[layer] = occurrence + 1
                out["proto"] = number(found[EXTENSIONS[layer]][occurrence])
                if layer == "ipv6.fraghdr":
                    offset = number(found["ipv6.fraghdr.offset"][occurrence])
                    more = number(found["ipv6.fraghdr.more"][occurrence])
    out["fragment"] = 2 if offset else 1 if more else 0
    if out["fragment"] == 2:
        return out | {"src_port": 0, "dst_port": 0}
    return out | transport(layers, last, found, header, out["ip_bytes"])


def transport(
    layers: list[str], last: int, found: dict[str, list[str]], header: int | None, ip_bytes: int
) -> dict[str, int]:
    """Return the columns of the transport header behind layer `last`."""
    inside = layers[last + 1 :]
    for name in ("tcp", "udp", "sctp"):
        if name in inside and f"{name}.srcport" in found:
            nth = layers[:last].count(name)
            if nth >= len(found[f"{name}.srcport"]):
                return {}
            out = {
                "src_port": number(found[f"{name}.srcport"][nth]),
                "dst_port": number(found[f"{name}.dstport"][nth]),
            }
            if name == "tcp" and "tcp.hdr_len" in found:
                out |= tcp(found, nth)
            if name == "udp" and "udp.length" in found:
                out["udp_length"] = number(found["udp.length"][nth])
            return out
    for name, ident in (("icmp", "icmp.ident"), ("icmpv6", "icmpv6.echo.identifier")):
        if name in inside and f"{name}.type" in found:
            out = {"src_port": number(found[f"{name}.type"][0])}
            if f"{name}.code" in found:
                out["dst_port"] = number(found[f"{name}.code"][0])
            if out["src_port"] in (0, 8, 128, 129) and ident in found:
                out["icmp_id"] = number(found[ident][0])
            if name == "icmpv6" and out["src_port"] in (135, 136):
                out["arp_op"] = out["src_port"]
            return out
    return {}


def tcp(found: dict[str, list[str]], nth: int) -> dict[str, int]:
    """Return the columns of the nth TCP header."""
    out = {}
    for column, field in (
        *(("tcp_flags", "tcp.flags"), ("tcp_window", "tcp.window_size_value")),
        *(("tcp_seq", "tcp.seq_raw"), ("tcp_ack", "tcp.ack_raw"), ("payload_bytes", "tcp.len")),
    ):
        if len(found.get(field, ())) > nth:
            out[column] = number(found[field][nth])
    if "tcp_flags" in out:
        out["tcp_flags"] &= 0xFF
    for column, field in (
        ("tcp_mss", "tcp.options.mss_val"),
        ("tcp_wscale", "tcp.options.wscale.shift"),
    ):
        if field in found:
            out[column] = number(found[field][-1])
    return out


def arp(found: dict[str, list[str]]) -> dict[str, int]:
    """Return the columns of an ARP packet for Ethernet and IPv4."""
    if "arp.src.proto_ipv4" not in found or "arp.src.hw_mac" not in found:
        return {}
    return {
        "ip_version": 0,
        "arp_op": number(found["arp.opcode"][0]),
        "arp_mac": mac(found["arp.src.hw_mac"][0]),
        "src_addr": address(found["arp.src.proto_ipv4"][0]),
        "dst_addr": address(found["arp.dst.proto_ipv4"][0]),
    }


def number(text: str) -> int:
    """Return the number tshark printed: decimal, hexadecimal or a truth value."""
    return {"True": 1, "False": 0}.get(text, -1) if text in ("True", "False") else int(text, 0)


def mac(text: str) -> int:
    """Return a hardware address as the column holds it."""
    return int(text.replace(":", ""), 16)


def address(text: str) -> int:
    """Return an address as its 128 bits, IPv4 as ::ffff:a.b.c.d."""
    value = ipaddress.ip_address(text)
    return int(value) | (0xFFFF << 32 if value.version == 4 else 0)
