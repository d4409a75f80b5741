# SPDX-License-Identifier: Apache-2.0
"""One row of float32 numbers a flow: what the flow classifier sees, in training and at work alike.

A feature is one row of FEATURES: its name, its definition, the flow columns it reads, and how. None
reads an address, a MAC, a VLAN, the originator's port, a time of day, a TTL, a window, a TCP
option, a size with headers in it, a rate or a length of time below a second: those tell where a
capture was taken rather than what a flow does (measured: models/flow-classifier/card.md). Of the
responder's port only the class of its service is known. A value that does not exist (no reply, no
gap) is ABSENT, so that the matrix never holds NaN or infinity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from fortress_core import FULL_PACKETS

Float32 = npt.NDArray[np.float32]

ABSENT = -1.0
LARGEST = 1e30
FULL_SIZE = np.float32(1500)  # bytes; a larger "packet" is several that a network card put together
MIN_PACKETS = 4
_BLOCK_ROWS = 2048  # a block of every column and of the matrix stays in the second-level cache
_TCP, _UDP, _ICMP, _ICMP6 = 6, 17, 1, 58
_SIDES = (("orig", "originator"), ("resp", "responder"))
_SERVICES = (
    ("names", (53, 5353, 5355)),
    ("web", (80, 8000, 8008, 8080, 8888)),
    ("tls", (443, 853, 8443)),
    ("ssh", (22,)),
    ("login", (21, 23, 1433, 3306, 3389, 5432, 5900)),
    ("windows", (88, 135, 139, 389, 445)),
    ("mail", (25, 110, 143, 465, 587, 993, 995)),
    ("system", (67, 123, 161, 1900)),
)


@dataclass(frozen=True, slots=True)
class Feature:
    """A number about a flow: `compute` maps its columns, as float32 arrays, to an array of the same
    length.
    """

    name: str
    meaning: str
    columns: tuple[str, ...]
    compute: Callable[..., Float32]


def flow_matrix(flows: Mapping[str, npt.ArrayLike]) -> Float32:
    """The features of every flow, shape (flows, features), in the order of FEATURES.

    A row depends on its own flow alone. Raises KeyError with the name of a column that is not
    there.
    """
    columns = {name: np.asarray(flows[name]) for name in _FEATURE_COLUMNS}
    rows = len(columns[_FEATURE_COLUMNS[0]])
    matrix = np.empty((rows, len(FEATURES)), np.float32)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for start in range(0, rows, _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            part = {
                name: column[block].astype(np.float32, copy=False)
                for name, column in columns.items()
            }
            into = matrix[block]
            for index, feature in enumerate(FEATURES):
                into[:, index] = feature.compute(*(part[name] for name in feature.columns))
            np.nan_to_num(into, copy=False, nan=ABSENT, posinf=LARGEST, neginf=-LARGEST)
    return matrix


def judgeable(flows: Mapping[str, npt.ArrayLike]) -> npt.NDArray[np.bool_]:
    """Which flows are conversations seen from their start: payload both ways, MIN_PACKETS or more.

    The rest (a lone SYN, a refused connection, the middle of something) look alike whether meant
    well or not; what many of them mean together is for the windows and rule detectors to say.
    """
    packets = np.asarray(flows["orig_pkts"]) + np.asarray(flows["resp_pkts"])
    spoke = np.asarray(flows["orig_data_pkts"]) > 0
    answered = np.asarray(flows["resp_data_pkts"]) > 0
    whole = np.asarray(flows["midstream"]) == 0
    judged: npt.NDArray[np.bool_] = spoke & answered & whole & (packets >= MIN_PACKETS)
    return judged


def fingerprint(names: Iterable[str]) -> str:
    """A hash of features by name, order and definition: 16 hexadecimal digits.

    A model carries the fingerprint of what it was trained on; a feature that is renamed, moved or
    defined anew changes it.
    """
    known = {feature.name: feature for feature in FEATURES}
    digest = hashlib.sha256(f"conversations of {MIN_PACKETS} packets\x1e".encode())
    for name in names:
        feature = known.get(name)
        words = (name, feature.meaning, *feature.columns) if feature else (name,)
        digest.update("\x1f".join(words).encode() + b"\x1e")
    return digest.hexdigest()[:16]


def _same(value: Float32) -> Float32:
    return value


def _is(*protocols: int) -> Callable[[Float32], Float32]:
    def compute(proto: Float32) -> Float32:
        found = np.zeros(len(proto), np.bool_)
        for one in protocols:
            found |= proto == one
        return found.astype(np.float32)

    return compute


def _serves(*ports: int) -> Callable[[Float32], Float32]:
    known = np.zeros(1 << 16, np.float32)
    known[list(ports)] = 1

    def compute(port: Float32) -> Float32:
        return known[port.astype(np.uint16)]

    return compute


def _full_size(size: Float32) -> Float32:
    return np.minimum(size, FULL_SIZE)


def _ratio(part: Float32, whole: Float32) -> Float32:
    """part / whole; NaN, which becomes ABSENT, where whole is 0."""
    ratio: Float32 = np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
    return ratio


def _ratio_of_first(part: Float32, whole: Float32) -> Float32:
    """The same for parts that only the first packets of a direction have."""
    return _ratio(part, np.minimum(whole, np.float32(FULL_PACKETS)))


def _count(name: str, meaning: str) -> Feature:
    return Feature(name, meaning, (name,), _same)


def _of(name: str, meaning: str, part: str, whole: str) -> Feature:
    return Feature(name, f"{meaning} ({part} / {whole})", (part, whole), _ratio)


def _of_first(name: str, meaning: str, part: str, whole: str) -> Feature:
    words = f"{meaning}, of those looked at ({part} / {whole}, at most {FULL_PACKETS})"
    return Feature(name, words, (part, whole), _ratio_of_first)


FEATURES: tuple[Feature, ...] = (
    Feature("tcp", "1 = TCP", ("proto",), _is(_TCP)),
    Feature("udp", "1 = UDP", ("proto",), _is(_UDP)),
    Feature("icmp", "1 = ICMP or ICMPv6", ("proto",), _is(_ICMP, _ICMP6)),
    *(_count(f"{side}_pkts", f"packets of the {who}") for side, who in _SIDES),
    *(_count(f"{side}_data_pkts", f"packets with payload of the {who}") for side, who in _SIDES),
    *(_count(f"{side}_payload_bytes", f"payload bytes of the {who}") for side, who in _SIDES),
    _of("pkts_ratio", "packets back for packets sent", "resp_pkts", "orig_pkts"),
    _of("payload_ratio", "bytes back for bytes sent", "resp_payload_bytes", "orig_payload_bytes"),
    *(
        _of(f"{side}_data_share", "packets with payload", f"{side}_data_pkts", f"{side}_pkts")
        for side, _ in _SIDES
    ),
    *(
        Feature(
            f"{side}_payload_{statistic}",
            f"{statistic} of the {who}'s payloads in bytes, at most {FULL_SIZE:.0f}",
            (f"{side}_payload_{statistic}",),
            _full_size,
        )
        for side, who in _SIDES
        for statistic in ("max", "mean", "std")
    ),
    _of("iat_spread", "unevenness of the gaps between packets", "iat_std_ns", "iat_mean_ns"),
    _of("iat_peak", "largest gap by the mean gap", "iat_max_ns", "iat_mean_ns"),
    *(
        _of(
            f"{side}_iat_spread",
            f"unevenness of the gaps between the {who}'s packets",
            f"{side}_iat_std_ns",
            f"{side}_iat_mean_ns",
        )
        for side, who in _SIDES
    ),
    _count("idle_count", "gaps longer than 1 s"),
    _of("idle_spread", "unevenness of the gaps longer than 1 s", "idle_std_ns", "idle_mean_ns"),
    *(
        _count(f"{side}_{flag}", f"packets with {flag.upper()} of the {who}")
        for flag in ("syn", "fin", "rst")
        for side, who in _SIDES
    ),
    *(
        _of_first(f"{side}_psh_share", "packets with PSH", f"{side}_psh", f"{side}_pkts")
        for side, _ in _SIDES
    ),
    _of_first(
        "orig_retransmit_share",
        "payload packets sent again",
        "orig_retransmits",
        "orig_data_pkts",
    ),
    *(
        _count(f"{side}_entropy", f"bits a byte of the first 64 payload bytes of the {who}")
        for side, who in _SIDES
    ),
    *(
        Feature(
            f"serves_{name}",
            f"1 = the responder's port is one of {', '.join(map(str, ports))}",
            ("resp_port",),
            _serves(*ports),
        )
        for name, ports in _SERVICES
    ),
    Feature(
        "serves_low",
        "1 = the responder's port is below 1024",
        ("resp_port",),
        lambda port: (port < 1024).astype(np.float32),
    ),
)
_FEATURE_COLUMNS: tuple[str, ...] = tuple(
    dict.fromkeys(name for feature in FEATURES for name in feature.columns)
)
COLUMNS: tuple[str, ...] = (*_FEATURE_COLUMNS, "midstream")
