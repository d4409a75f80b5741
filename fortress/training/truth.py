# SPDX-License-Identifier: Apache-2.0
"""What each attack capture really holds, flow by flow: which flows are the attack, which are
bystanders, which are doubtful.

The publisher's label belongs to a whole capture; a capture of an attack holds other traffic too.
Here every attack capture of the shared data has a row: the flows that are the attack (by address,
protocol and port of the responder), what the rest is, and why. Three fates: ATTACK is trained on
and counted; CONTENT is an attack that lies in the bytes of an otherwise ordinary flow (one exploit
request, one download), never trained on and counted apart; the doubtful is dropped.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58


class Fate(IntEnum):
    """What becomes of a flow."""

    DROPPED = -1
    BENIGN = 0
    ATTACK = 1
    CONTENT = 2


@dataclass(frozen=True, slots=True)
class Match:
    """Flows between two networks, either one being the originator; 0 stands for any protocol or
    port.
    """

    here: str = "any"
    there: str = "any"
    proto: int = 0
    ports: tuple[int, ...] = ()
    not_ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Truth:
    """What a capture holds: `kind` of attack, `source` = tool and maker (the unit that is held out
    together).
    """

    kind: str
    source: str
    attack: tuple[Match, ...]
    why: str
    rest: Fate = Fate.DROPPED
    doubtful: tuple[Match, ...] = ()
    fate: Fate = Fate.ATTACK


def _attack(kind: str, source: str, why: str, *rules: Match) -> Truth:
    return Truth(kind, source, rules, why)


def _content(kind: str, source: str, why: str, rule: Match = Match()) -> Truth:
    return Truth(kind, source, (rule,), why, fate=Fate.CONTENT)


def _dropped(kind: str, source: str, why: str) -> Truth:
    return Truth(kind, source, (), why)


def _pair(here: str, there: str, proto: int = 0) -> Match:
    return Match(here, there, proto)


_DNS = Match(proto=UDP, ports=(53,))
_SCAN = "one host tries ports or hosts"
_DENIAL6 = "ICMPv6 flood with chains of extension headers"
_ZEROLOGON = "hundreds of short RPC sessions that each try an empty password"
_CALDERA = "an agent that polls its server for orders"
_HEARTBLEED = "one TLS session with an over-read: the size of one answer is all there is to see"
_DOWNLOAD = "a download whose bytes are malicious and whose flow is a download"
_REQUEST = "an ordinary request and reply with a malicious text"
_PETITPOTAM = Truth(
    "exploit",
    "petitpotam",
    (Match("192.168.0.15", "192.168.0.80", TCP),),
    "forced authentication over one SMB session; around it a desktop goes about its business",
    rest=Fate.BENIGN,
    doubtful=(Match("192.168.0.15", "192.168.0.0/24"), Match("192.168.0.80", "192.168.0.85")),
    fate=Fate.CONTENT,
)

# By the first eight digits of the file name (of the source file's sha256; see labels.tsv).
TRUTHS: Mapping[str, Truth] = {
    # floods
    "4145d77a": _attack("flood", "suricata-dhcp", "10,000 requests at once", Match(ports=(67,))),
    "c3cd2a47": _attack("flood", "thc-ipv6", _DENIAL6, _pair("2001:db8:1::1", "2001:db8:1::2")),
    "d264f119": _attack("flood", "thc-ipv6", _DENIAL6, _pair("2001:db8:1::1", "2001:db8:1::2")),
    "5598ec50": _attack("flood", "thc-ipv6", "echo requests from and to all nodes", Match()),
    "3c42549a": _dropped("flood", "zeek-dhcp", "each flow is one ordinary DHCP exchange"),
    "0db98638": _dropped(
        "flood", "ndpi-netbeui", "an old Windows' broadcasts; no attack to be seen"
    ),
    # scans and probes
    "7aa824ee": _attack("scan", "ndpi-scan", _SCAN, _pair("192.168.1.178", "192.168.1.2", TCP)),
    "045653a7": _attack("scan", "slips-icmp", _SCAN, _pair("192.168.1.109", "any", ICMP)),
    "f1706357": _attack("scan", "zeek-nmap", _SCAN, _pair("192.168.1.71", "192.168.1.0/24")),
    "c7c9763e": _attack("web", "ndpi-nikto", "Nikto's probes", _pair("127.0.0.1", "127.0.0.1")),
    "f9ff4fd2": Truth(
        "scan",
        "slips-bot",
        (Match("192.168.2.16", "any", TCP, not_ports=(22, 53, 80, 443)),),
        "a bot tries telnet and web ports of random hosts; NTP, mDNS and DHCP are the device's own",
        doubtful=(Match(proto=TCP), Match(proto=UDP, ports=(53,)), Match(proto=ICMP)),
        rest=Fate.BENIGN,
    ),
    "53598d17": _dropped(
        "scan", "slips-arp", "an ARP scan has no flows; the UDP flow is a browser's"
    ),
    # guessing
    "087d04aa": _attack("guess", "zeek-ftp", "FTP log-in attempts", Match(proto=TCP, ports=(21,))),
    "33b09dbc": _attack("guess", "zeek-ssh", "SSH log-in attempts", Match(proto=TCP, ports=(22,))),
    "4e61e3b9": _attack("guess", "zerologon", _ZEROLOGON, _pair("172.16.0.10", "172.16.5.59")),
    "5bb737bd": _attack("guess", "zerologon", _ZEROLOGON, _pair("172.16.0.10", "172.16.5.59")),
    "b55da176": _attack("guess", "zerologon", _ZEROLOGON, _pair("172.16.0.10", "172.16.5.58")),
    # command and control
    "4a27268f": _attack("c2", "caldera", _CALDERA, _pair("172.18.0.2", "172.18.0.3")),
    "f87aa87d": _attack("c2", "caldera", _CALDERA, _pair("172.18.0.2", "172.18.0.3")),
    "54ecdfd4": _attack("c2", "caldera", _CALDERA, _pair("172.18.0.2", "172.18.0.3")),
    "fdb6bf27": _attack("c2", "caldera", _CALDERA, _pair("172.18.0.2", "172.18.0.3")),
    "3c44e6af": _attack("c2", "ndpi-shell", "a shell over a plain connection", Match()),
    "c262d2ec": _attack(
        "c2", "ndpi-mining", "miners that talk to their pools for minutes", Match()
    ),
    # tunnels
    "2acd2e5b": _attack("tunnel", "ndpi-icmp", "data in echoes", Match(proto=ICMP)),
    "4cebaf55": _attack("tunnel", "thc-covert", "data in options", _pair("2001:db8:1::1", "any")),
    "601ca473": _attack("tunnel", "dnscat2", "dnscat2 with CNAME", _DNS),
    "0f4fb495": _attack("tunnel", "dnscat2", "dnscat2 with TXT", Match(proto=UDP)),
    "7584cbcb": _attack("tunnel", "iodine", "one query is not", _pair("198.46.158.57", "any", UDP)),
    "4b39b703": _attack("tunnel", "iodine", "iodine", _pair("10.0.2.30", "10.0.2.20", UDP)),
    "706d3f38": _attack("tunnel", "ndpi-bad-dns", "queries like dnscat2's", _DNS),
    "229937eb": _attack("tunnel", "ndpi-dns2tcp", "dns2tcp", Match()),
    "95de88b1": _attack("tunnel", "ndpi-dns-exfil", "a file in queries", _DNS),
    "4f9682b2": _content("tunnel", "ndpi-dns-exf", "one query with a long name"),
    # attacks that lie in the content
    "98066846": _PETITPOTAM,
    "fdc9b56e": _PETITPOTAM,
    "79a2a14d": _PETITPOTAM,
    "765c2903": _PETITPOTAM,
    "1036cb18": _PETITPOTAM,
    "e8ff3b00": _content("lateral", "smb", "a file copied over SMB"),
    "1b673f7f": _content("lateral", "smb", "a file copied over SMB"),
    "4570ba53": _content("lateral", "smb", "psexec", _pair("192.168.10.31", "192.168.10.10", TCP)),
    "a540acd9": _content("exploit", "boa", _REQUEST),
    "373e5605": _content("exploit", "shellshock", _REQUEST),
    "4dea8910": _content("exploit", "cicids-sqli", _REQUEST),
    "6d5df686": _content("exploit", "ndpi-web", _REQUEST),
    "313d1474": _content("exploit", "ndpi-web", _REQUEST),
    "84bef488": _content("exploit", "ndpi-web", _REQUEST),
    "b52c6a09": _content("exploit", "log4j", "a request, an LDAP answer and a shell"),
    "f5b68685": _content("malware", "ndpi-elf", _DOWNLOAD),
    "e2a9e337": _content("malware", "ndpi-exe", _DOWNLOAD),
    "77168b61": _content("malware", "ndpi-exe", _DOWNLOAD),
    "05c08f90": _content("malware", "emotet", _DOWNLOAD),
    "a5dc99de": _content("malware", "trickbot", "one TLS session"),
    "143e28f7": _content("malware", "ndpi-malware", _DOWNLOAD),
    "ac5d0a89": _content("malware", "monero", "the first packets of a peer-to-peer protocol"),
    "28468feb": _content("exploit", "heartbleed", _HEARTBLEED),
    "818df1e9": _content("exploit", "heartbleed", _HEARTBLEED),
    "dfdef4e1": _content("exploit", "heartbleed", _HEARTBLEED),
    "445a9c85": _content("exploit", "heartbleed", _HEARTBLEED),
    "a40cdb48": _content("exploit", "heartbleed", _HEARTBLEED),
}
# The columns that labelling reads (never features).
COLUMNS = ("orig_addr", "resp_addr", "proto", "resp_port", "first_ns", "last_ns")


def fates(truth: Truth, flows: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int8]:
    """The Fate of every flow of a capture, int8: the attack's rules win over the doubtful's, those
    over the rest.
    """
    fate = np.full(len(flows["proto"]), truth.rest, np.int8)
    for rules, verdict in ((truth.doubtful, Fate.DROPPED), (truth.attack, truth.fate)):
        for rule in rules:
            fate[matches(rule, flows)] = verdict
    return fate


def matches(rule: Match, flows: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """Which flows a rule speaks of."""
    orig_here, resp_here = (
        within(flows["orig_addr"], rule.here),
        within(flows["resp_addr"], rule.here),
    )
    orig_there, resp_there = (
        within(flows["orig_addr"], rule.there),
        within(flows["resp_addr"], rule.there),
    )
    hit: npt.NDArray[np.bool_] = (orig_here & resp_there) | (resp_here & orig_there)
    if rule.proto:
        hit &= flows["proto"] == rule.proto
    if rule.ports:
        hit &= np.isin(flows["resp_port"], rule.ports)
    if rule.not_ports:
        hit &= ~np.isin(flows["resp_port"], rule.not_ports)
    return hit


def within(addresses: npt.NDArray[np.void], network: str) -> npt.NDArray[np.bool_]:
    """Which 16-byte addresses (IPv4 mapped) lie in a network; "any" holds all."""
    if network == "any":
        return np.ones(len(addresses), np.bool_)
    net = ipaddress.ip_network(network)
    first, bits = net.network_address.packed, net.prefixlen
    if net.version == 4:
        first, bits = b"\0" * 10 + b"\xff\xff" + first, bits + 96
    mask = ((1 << bits) - 1 << 128 - bits).to_bytes(16, "big")
    octets = np.ascontiguousarray(addresses).view(np.uint8).reshape(len(addresses), 16)
    same: npt.NDArray[np.bool_] = (
        (octets & np.frombuffer(mask, np.uint8)) == np.frombuffer(first, np.uint8)
    ).all(axis=1)
    return same
