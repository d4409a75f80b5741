"""Flow events are valid JSON lines in EVE's words, and say what the columns say."""

import json
from pathlib import Path

import jsonschema
import pytest
from fortress_core import (
    CONN_STATES,
    END_REASONS,
    format_addr,
    format_mac,
    open_capture,
    open_synth,
)

from tests.core.frames import ACK, FIN, START, SYN, Packet, write_pcap
from tests.need import ROOT

SCHEMA = json.loads((ROOT / "docs" / "events.schema.json").read_text())


def lines_of(
    stream: object, in_iface: str = ""
) -> list[tuple[dict[str, object], dict[str, object]]]:
    """Each flow's event and its columns."""
    out = []
    with stream:  # type: ignore[attr-defined]
        for batch in stream:  # type: ignore[attr-defined]
            lines = batch.flow_lines(in_iface).splitlines()
            assert len(lines) == batch.flows.rows
            for i, line in enumerate(lines):
                out.append((json.loads(line), {n: v[i] for n, v in batch.flows.items()}))
    return out


@pytest.mark.parametrize("profile", ["mixed", "fuzz", "scan"])
def test_flow_events_say_what_the_columns_say(profile: str) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    told = lines_of(open_synth(profile, 3, 5000))
    assert told
    for event, row in told:
        validator.validate(event)
        assert event["flow_id"] == row["flow_id"]
        assert event["src_ip"] == format_addr(row["orig_addr"])  # type: ignore[arg-type]
        assert event["dest_ip"] == format_addr(row["resp_addr"])  # type: ignore[arg-type]
        assert (event["src_port"], event["dest_port"]) == (row["orig_port"], row["resp_port"])
        assert event["src_mac"] == format_mac(row["orig_mac"])  # type: ignore[arg-type]
        assert event["community_id"] == row["community_id"].decode()  # type: ignore[attr-defined]
        flow = event["flow"]
        assert isinstance(flow, dict)
        assert flow["pkts_toserver"] == row["orig_pkts"]
        assert flow["pkts_toclient"] == row["resp_pkts"]
        assert flow["bytes_toserver"] == row["orig_bytes"]
        assert flow["bytes_toclient"] == row["resp_bytes"]
        assert flow["age"] == row["duration_ns"] // 1_000_000_000  # type: ignore[operator]
        assert flow["conn_state"] == CONN_STATES[int(row["conn_state"])]  # type: ignore[call-overload]
        assert flow["end_reason"] == END_REASONS[int(row["end_reason"])]  # type: ignore[call-overload]


def test_a_flow_event_reads_like_this(tmp_path: Path) -> None:
    packets = [
        Packet(flags=SYN).at(0.25),
        Packet().turned(flags=SYN | ACK).at(0.5),
        Packet(flags=FIN | ACK).at(1),
        Packet().turned(flags=FIN | ACK).at(2.125),
    ]
    path = write_pcap(tmp_path / "c.pcap", ((p.time_ns, p.frame()) for p in packets))
    [(event, _)] = lines_of(open_capture(path), in_iface="lan0")
    assert event == {
        "timestamp": "2023-11-14T22:13:22.125000+0000", "flow_id": 1, "in_iface": "lan0",
        "event_type": "flow", "src_ip": "192.0.2.10", "src_port": 40000,
        "dest_ip": "198.51.100.20", "dest_port": 80, "src_mac": "02:00:00:00:00:01",
        "proto": "TCP", "community_id": event["community_id"],
        "flow": {
            "pkts_toserver": 2, "pkts_toclient": 2, "bytes_toserver": 80, "bytes_toclient": 80,
            "start": "2023-11-14T22:13:20.250000+0000", "end": "2023-11-14T22:13:22.125000+0000",
            "age": 1, "state": "closed", "reason": "forced", "end_reason": "end_of_input",
            "conn_state": "SF", "history": "ShFf",
        },
    }  # fmt: skip


def test_stamps_of_every_kind_of_year_are_right(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    moments = [datetime(y, m, d, 23, 59, 59, 999999, UTC) for y, m, d in
               ((1970, 1, 1), (1972, 2, 29), (1999, 12, 31), (2000, 2, 29), (2000, 3, 1),
                (2026, 11, 23), (2100, 2, 28), (2100, 3, 1))]  # fmt: skip
    for moment in moments:
        time_ns = int(moment.timestamp()) * 10**9 + 999_999_000
        path = write_pcap(tmp_path / "c.pcap", [(time_ns, Packet().frame())])
        [(event, _)] = lines_of(open_capture(path))
        assert event["timestamp"] == f"{moment:%Y-%m-%dT%H:%M:%S.%f}+0000"


def test_a_column_that_is_needed_is_named() -> None:
    with open_synth("mice", 1, 500, flow_columns=["flow_id"]) as stream:
        batch = next(batch for batch in stream if batch.flows.rows)
        with pytest.raises(ValueError, match="flow lines need the column orig_mac"):
            batch.flow_lines()


def test_an_interface_name_is_escaped(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "c.pcap", [(START, Packet().frame())])
    [(event, _)] = lines_of(open_capture(path), in_iface='a"b\\')
    assert event["in_iface"] == 'a"b\\'
