"""Minutes of devices: what each did, with whom, how much and how often in vain."""

import ipaddress
from pathlib import Path

import numpy as np
import pytest
from fortress_core import StreamOptions, open_capture

from fortress.features import host
from tests.need import ROOT

SECRET = 5
NAMES = [feature.name for feature in host.FEATURES]
MINUTE = host.WINDOW_NS


def address(text: str) -> bytes:
    packed = ipaddress.ip_address(text).packed
    return packed if len(packed) == 16 else b"\0" * 10 + b"\xff\xff" + packed


def flows(*told: tuple[str, str, int, int, int]) -> dict[str, np.ndarray]:
    """Ended TCP flows: (originator, responder, port, conn_state, bytes sent); answered by 100."""
    rows = len(told)
    return {
        "last_ns": np.zeros(rows, np.int64),
        "orig_addr": np.frombuffer(b"".join(address(one[0]) for one in told), "V16"),
        "resp_addr": np.frombuffer(b"".join(address(one[1]) for one in told), "V16"),
        "orig_mac": np.zeros(rows, np.uint64),
        "resp_mac": np.zeros(rows, np.uint64),
        "orig_port": np.full(rows, 40_000, np.uint16),
        "resp_port": np.array([one[2] for one in told], np.uint16),
        "proto": np.full(rows, 6, np.uint8),
        "conn_state": np.array([one[3] for one in told], np.uint8),
        "orig_pkts": np.full(rows, 4, np.uint64),
        "resp_pkts": np.full(rows, 3, np.uint64),
        "orig_bytes": np.array([one[4] for one in told], np.uint64),
        "resp_bytes": np.full(rows, 100, np.uint64),
    }


def counted(windows: host.Windows, row: int) -> dict[str, float]:
    told = dict(zip(NAMES, np.expm1(windows.matrix[row]).tolist(), strict=True))
    told["failed_share"] = float(windows.matrix[row, NAMES.index("failed_share")])
    return told


def minute_of(table: dict[str, np.ndarray]) -> host.Windows:
    minutes = host.Minutes(SECRET)
    assert minutes.observe(0, host.rows_of_flows(table, SECRET)) is None
    closed = minutes.close()
    assert closed is not None
    return closed


def test_a_minute_counts_what_a_device_did_and_what_was_done_to_it() -> None:
    windows = minute_of(
        flows(
            ("10.0.0.2", "10.0.0.9", 22, 5, 1000),
            ("10.0.0.2", "93.184.216.34", 443, 5, 500),
            ("10.0.0.2", "93.184.216.34", 4444, 6, 60),
        )
    )
    assert len(windows.keys) == 2
    low = [int(word) & 0xFF for word in windows.addresses.low]
    told, near = counted(windows, low.index(2)), counted(windows, low.index(9))
    assert told["flows_out"] == pytest.approx(3)
    assert told["failed"] == pytest.approx(1)
    assert told["failed_share"] == pytest.approx(1 / 3)
    assert told["login_flows"] == pytest.approx(1)
    assert told["other_flows"] == pytest.approx(2)
    assert told["bytes_up"] == pytest.approx(1560, rel=1e-5)
    assert told["bytes_down"] == pytest.approx(300, rel=1e-5)
    assert told["peers"] == pytest.approx(2, rel=0.05)
    assert told["near_peers"] == pytest.approx(1, rel=0.05)
    assert told["targets"] == pytest.approx(3, rel=0.05)
    assert near["flows_in"] == pytest.approx(1)
    assert near["clients"] == pytest.approx(1, rel=0.05)
    assert near["flows_out"] == 0


def test_hosts_outside_are_no_devices() -> None:
    windows = minute_of(flows(("93.184.216.34", "10.0.0.2", 22, 1, 60)))
    assert len(windows.keys) == 1
    assert counted(windows, 0)["flows_in"] == pytest.approx(1)


def test_a_minute_is_handed_out_when_the_next_begins_and_none_is_lost() -> None:
    minutes = host.Minutes(SECRET)
    rows = host.rows_of_flows(flows(("10.0.0.2", "10.0.0.9", 80, 5, 100)), SECRET)
    assert minutes.observe(MINUTE - 1, rows) is None
    closed = minutes.observe(MINUTE, rows)
    assert closed is not None
    assert closed.start_ns == 0
    again = minutes.observe(5 * MINUTE, None)
    assert again is not None
    assert (again.start_ns, len(again.keys)) == (MINUTE, 2)
    assert minutes.observe(6 * MINUTE, None) is None


def test_a_clock_that_steps_back_drops_the_minute_under_way() -> None:
    minutes = host.Minutes(SECRET)
    rows = host.rows_of_flows(flows(("10.0.0.2", "10.0.0.9", 80, 5, 100)), SECRET)
    minutes.observe(9 * MINUTE, rows)
    assert minutes.observe(MINUTE, None) is None
    assert minutes.close() is None


def test_more_devices_than_there_is_room_for_are_left_out_and_counted() -> None:
    minutes = host.Minutes(SECRET, capacity=8)
    many = flows(*((f"10.0.1.{n}", "93.184.216.34", 80, 5, 100) for n in range(1, 21)))
    before = minutes.memory_bytes
    minutes.observe(0, host.rows_of_flows(many, SECRET))
    closed = minutes.close()
    assert closed is not None
    assert len(closed.keys) == 8
    assert minutes.table.refusals == 12
    assert minutes.memory_bytes == before


def test_a_device_behind_a_known_mac_is_one_whatever_its_addresses() -> None:
    table = flows(
        ("10.0.0.2", "93.184.216.34", 80, 5, 100), ("10.0.0.3", "93.184.216.34", 80, 5, 100)
    )
    table["orig_mac"][:] = 0x020000000001
    assert minute_of(table).keys.tolist() == [0x020000000001]
    minutes = host.Minutes(SECRET)
    routed = host.rows_of_flows(table, SECRET, gateways=(0x020000000001,))
    minutes.observe(0, routed)
    closed = minutes.close()
    assert closed is not None
    assert len(closed.keys) == 2


@pytest.mark.parametrize("tick_ns", [1_000_000_000, 100_000_000])
def test_minutes_of_a_capture_do_not_depend_on_the_length_of_ticks(tick_ns: int) -> None:
    told = of_capture(ROOT / "samples" / "beaconing.pcap.zst", tick_ns)
    whole = of_capture(ROOT / "samples" / "beaconing.pcap.zst", 1_000_000_000)
    assert len(told) >= 5
    for one, other in zip(told, whole, strict=True):
        assert set(one.keys.tolist()) == set(other.keys.tolist())
        a, b = (part.matrix[np.argsort(part.keys)] for part in (one, other))
        failed = [NAMES.index("failed"), NAMES.index("failed_share")]
        assert np.allclose(np.delete(a, failed, 1), np.delete(b, failed, 1), atol=1e-5)
        assert np.abs(a - b).max() < 1.2  # an answer in the tick after a minute's last


def of_capture(path: Path, tick_ns: int) -> list[host.Windows]:
    minutes, found = host.Minutes(SECRET), []
    options = StreamOptions(packet_rows="none", keep_intervals=True, tick_ns=tick_ns)
    with open_capture(
        [path], options=options, interval_columns=list(host.INTERVAL_COLUMNS), flow_columns=[]
    ) as stream:
        for batch in stream:
            rows = None
            if batch.intervals.rows:
                rows = host.rows_of_intervals(batch.intervals, SECRET)
            found.append(minutes.observe(batch.tick_ns, rows))
    return [one for one in (*found, minutes.close()) if one is not None]


def test_the_fingerprint_changes_with_names_and_order() -> None:
    assert host.fingerprint(NAMES) == host.fingerprint(NAMES)
    assert host.fingerprint(NAMES[::-1]) != host.fingerprint(NAMES)
    assert host.fingerprint(NAMES[1:]) != host.fingerprint(NAMES)
