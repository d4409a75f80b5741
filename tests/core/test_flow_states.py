"""conn_state and history of a TCP flow, case by case, with Zeek's meanings."""

from pathlib import Path

import pytest
from fortress_core import CONN_STATES

from tests.core.frames import ACK, FIN, PSH, RST, SYN, Outcome, Packet, run

# Packets in short: upper case = from the one with port 40000, lower case = the answer.
SHORT = {
    "S": SYN, "H": SYN | ACK, "A": ACK, "D": ACK | PSH, "F": FIN | ACK, "R": RST, "Q": SYN | FIN,
    "X": RST | ACK,
}  # fmt: skip

CASES = [
    # packets, conn_state, history, in words
    ("S", "S0", "S", "an attempt without an answer"),
    ("SSS", "S0", "S", "a repeated attempt"),
    ("Sr", "REJ", "Sr", "an attempt that is refused"),
    ("Sx", "REJ", "Sr", "refused by RST+ACK"),
    ("SR", "RSTOS0", "SR", "given up before an answer"),
    ("SF", "SH", "SF", "closed by the originator without an answer"),
    ("Sh", "S1", "Sh", "answered: open"),
    ("ShA", "S1", "ShA", "open"),
    ("ShADdAa", "S1", "ShADda", "open with data"),
    ("ShADdFfA", "SF", "ShADdFf", "a normal life"),
    ("ShADdFafA", "SF", "ShADdFaf", "closed in four steps"),
    ("ShADdfAFa", "SF", "ShADdfFa", "closed by the responder first"),
    ("ShADdFfAR", "SF", "ShADdFfR", "an RST after FIN both ways changes nothing"),
    ("ShADdF", "S2", "ShADdF", "only the originator closed"),
    ("ShADdf", "S3", "ShADdf", "only the responder closed"),
    ("ShR", "RSTO", "ShR", "a half-open scan of an open port"),
    ("ShADR", "RSTO", "ShADR", "the originator aborts"),
    ("ShADr", "RSTR", "ShADr", "the responder aborts"),
    ("ShADfR", "RSTO", "ShADfR", "the originator aborts after the responder closed"),
    ("ShADFr", "RSTR", "ShADFr", "the responder aborts after the originator closed"),
    ("ShADFRfA", "SF", "ShADFRf", "FIN and RST, then the other side's FIN: normal after all"),
    ("SrR", "REJ", "SrR", "refused, and aborted by the refused"),
    ("h", "OTH", "^h", "a lone answer: the one it is sent to began"),
    ("hr", "RSTRH", "^hr", "an answer, then an RST, and no SYN"),
    ("hf", "SHR", "^hf", "an answer, then a FIN, and no SYN"),
    ("hA", "S1", "^hA", "an answer that is acknowledged: only the SYN is missing"),
    ("A", "OTH", "A", "in the middle of a connection"),
    ("DdDd", "OTH", "Dd", "data both ways in the middle of a connection"),
    ("DdFf", "SF", "DdFf", "the end of a connection"),
    ("DR", "RSTOS0", "DR", "an abort in the middle"),
    ("Dr", "RSTRH", "Dr", "an abort by the other in the middle"),
    ("Q", "SH", "Q", "SYN and FIN in one"),
    ("R", "RSTOS0", "R", "a lone RST"),
    ("SaHhA", "S1", "SaHhA", "an ACK before the answer does not make it partial"),
]


def packets_of(short: str) -> list[Packet]:
    """Packets of a case, a tenth of a second apart."""
    packets = []
    for i, letter in enumerate(short):
        payload = b"data" if letter in "Dd" else b""
        packet = Packet(flags=SHORT[letter.upper()], dport=8080, payload=payload).at(i / 10)
        packets.append(packet if letter.isupper() else packet.turned())
    return packets


def one_flow(outcome: Outcome) -> dict[str, object]:
    assert len(outcome.flows["flow_id"]) == 1
    return {name: values[0] for name, values in outcome.flows.items()}


@pytest.mark.parametrize(("short", "state", "history", "words"), CASES, ids=[c[3] for c in CASES])
def test_tcp_flow_is(tmp_path: Path, short: str, state: str, history: str, words: str) -> None:
    flow = one_flow(run(tmp_path / "c.pcap", packets_of(short)))
    assert CONN_STATES[int(flow["conn_state"])] == state  # type: ignore[call-overload]
    assert flow["history"] == history.encode()


def test_udp_is_answered_or_not(tmp_path: Path) -> None:
    ask = Packet(proto=17, sport=5353, dport=53, payload=b"?")
    assert CONN_STATES[int(one_flow(run(tmp_path / "a", [ask]))["conn_state"])] == "S0"  # type: ignore[call-overload]
    answered = one_flow(run(tmp_path / "b", [ask, ask.turned(payload=b"!!")]))
    assert CONN_STATES[int(answered["conn_state"])] == "SF"  # type: ignore[call-overload]
    assert answered["history"] == b"Dd"


def test_midstream_from_a_well_known_port_is_turned_round(tmp_path: Path) -> None:
    server = Packet(sport=443, dport=50000, payload=b"answer").at(0)
    flow = one_flow(run(tmp_path / "c.pcap", [server, server.turned(payload=b"").at(0.1)]))
    assert (flow["orig_port"], flow["resp_port"]) == (50000, 443)
    assert (flow["orig_pkts"], flow["resp_pkts"]) == (1, 1)
    assert flow["history"] == b"^dA"
    assert flow["midstream"] == 1
    assert flow["resp_iat_mean_ns"] != flow["resp_iat_mean_ns"]  # no gap: NaN
    assert flow["duration_ns"] == 100_000_000


def test_udp_from_a_well_known_port_is_not_turned_round(tmp_path: Path) -> None:
    flow = one_flow(
        run(tmp_path / "c.pcap", [Packet(proto=17, sport=53, dport=50000, payload=b"x")])
    )
    assert flow["orig_port"] == 53
