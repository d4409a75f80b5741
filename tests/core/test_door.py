"""The Python door: views without copies, their lifetime, and errors that say what is wrong."""

import ast
import gc
import subprocess
import sys
from pathlib import Path

import fortress_core
import numpy as np
import pytest
from fortress_core import (
    FLOWS,
    INTERVALS,
    PACKETS,
    CaptureError,
    StreamOptions,
    addr_words,
    columns,
    format_addr,
    format_mac,
    open_capture,
    open_synth,
)

from tests.core.frames import START, Packet, collect, write_pcap


def test_every_column_has_a_meaning_and_a_type_numpy_knows() -> None:
    for table in (PACKETS, FLOWS, INTERVALS):
        names = [column.name for column in columns(table)]
        assert len(set(names)) == len(names)
        for column in columns(table):
            assert column.meaning
            assert column.dtype.itemsize
            assert ("_ns" in column.name) <= (column.unit == "ns")
            assert ("_bytes" in column.name) <= (
                column.unit.startswith("bytes") or column.unit == ""
            )
    assert len(columns(FLOWS)) >= 90


def test_a_view_shares_the_batchs_memory_and_keeps_it_alive() -> None:
    with open_synth("mice", 1, 5000) as stream:
        batch = next(batch for batch in stream if batch.flows.rows)
        view, rows = batch.flows["orig_pkts"], batch.flows.rows
        assert np.shares_memory(view, batch.flows["orig_pkts"])
        assert len(view) == rows
        before = view.copy()
    del stream, batch
    gc.collect()
    assert np.array_equal(view, before)


def test_only_chosen_columns_are_there() -> None:
    with open_synth("mice", 1, 500, flow_columns=["orig_pkts", "flow_id"]) as stream:
        batch = next(iter(stream))
        assert batch.flows.names == ("flow_id", "orig_pkts")
        assert set(batch.flows) == {"flow_id", "orig_pkts"}
        with pytest.raises(KeyError):
            batch.flows["resp_pkts"]


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(ValueError, match="no such column of flows: bites, pakets"):
        open_synth("mice", 1, 500, flow_columns=["pakets", "bites", "orig_pkts"])


@pytest.mark.parametrize(("field", "value", "words"), [
    ("tick_ns", 0, "tick_ns: 0 is not between"),
    ("idle_timeout_ns", 10, "idle_timeout_ns: 10 is not between"),
    ("flow_budget_bytes", 100, "flow_budget_bytes: 100 is too small"),
    ("packet_rows", "some", "packet_rows: 'some' is not none, control or all"),
])  # fmt: skip
def test_an_option_out_of_range_is_named(field: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        open_synth("mice", 1, 500, options=StreamOptions(**{field: value}))  # type: ignore[arg-type]


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        open_synth("nonsense", 1, 500)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    good = write_pcap(tmp_path / "good.pcap", [(START, Packet().frame())])
    with pytest.raises(CaptureError) as caught:
        open_capture([good, tmp_path / "absent.pcap"])
    assert caught.value.path == str(tmp_path / "absent.pcap")
    assert "No such file" in str(caught.value)


def test_a_file_that_is_no_capture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("this is no capture")
    with pytest.raises(CaptureError, match="not a capture file"):
        open_capture(path)


def test_everything_before_damage_is_kept(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "cut.pcap", [(START, Packet().frame())] * 3)
    path.write_bytes(path.read_bytes()[:-10])
    with open_capture(path) as stream:
        kept = sum(int(batch.flows["orig_pkts"].sum()) for batch in stream)
        damages = stream.damages()
    assert kept == 2
    assert [damage.path for damage in damages] == [str(path)]
    assert damages[0].offset > 0


def test_a_closed_stream_says_so() -> None:
    stream = open_synth("mice", 1, 100)
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        stream.stats()
    with pytest.raises(ValueError, match="closed"):
        next(iter(stream))
    stream.close()


def test_a_stream_that_ended_stays_ended() -> None:
    with open_synth("mice", 1, 100) as stream:
        assert [batch.end for batch in stream][-1]
        assert list(stream) == []


def test_iterating_again_goes_on_where_it_stopped() -> None:
    with open_synth("mixed", 1, 20_000, batch_packets=64) as stream:
        first = next(iter(stream)).flows["flow_id"].tolist()
        rest = [i for batch in stream for i in batch.flows["flow_id"].tolist()]
    whole = collect(open_synth("mixed", 1, 20_000)).flows["flow_id"].tolist()
    assert sorted(first + rest) == sorted(whole)


def test_packet_rows_are_none_control_or_all() -> None:
    def packets(which: str) -> int:
        options = StreamOptions(packet_rows=which)  # type: ignore[arg-type]
        table = collect(open_synth("mixed", 4, 5000, options=options)).packets
        return len(table["time_ns"]) if table else 0

    assert packets("none") == 0
    assert packets("all") == 5000
    assert packets("control") < 5000


def test_arp_is_a_control_packet_and_no_flow(tmp_path: Path) -> None:
    arp = bytes.fromhex(
        "ffffffffffff020000000001080600010800060400010200000000010a0000010000000000000a000002"
    )
    path = write_pcap(tmp_path / "a.pcap", [(START, arp), (START, Packet().frame())])
    outcome = collect(open_capture(path, options=StreamOptions(packet_rows="control")))
    assert outcome.packets["arp_op"].tolist() == [1]
    assert len(outcome.flows["flow_id"]) == 1
    assert outcome.stats.non_ip == 1


def test_the_library_runs_without_the_interpreter_lock() -> None:
    """Two threads read at once, each its own stream, and both get everything."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        both = list(
            pool.map(lambda seed: collect(open_synth("mixed", seed, 50_000)).stats.packets, (1, 2))
        )
    assert both == [50_000, 50_000]


def test_addresses_and_macs_as_text_and_as_numbers() -> None:
    mapped = np.void(bytes(10) + b"\xff\xff\xc0\x00\x02\x01")
    plain = np.void(bytes.fromhex("20010db8000000000000000000000001"))
    assert format_addr(mapped) == "192.0.2.1"
    assert format_addr(plain) == "2001:db8::1"
    assert format_mac(0x0200000000FF) == "02:00:00:00:00:ff"
    words = addr_words(np.array([mapped, plain], "V16"))
    assert words.dtype == np.uint64
    assert [[hex(w) for w in row] for row in words.tolist()] == [
        ["0x0", "0xffffc0000201"], ["0x20010db800000000", "0x1"],
    ]  # fmt: skip


def test_all_that_is_public_is_there() -> None:
    for name in fortress_core.__all__:
        assert hasattr(fortress_core, name)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        fortress_core.nonsense  # noqa: B018


def test_the_type_checker_sees_the_names_that_are_there() -> None:
    tree = ast.parse(Path(str(fortress_core.__file__)).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        (str(line.module), name.asname)
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for name in line.names
    }
    homes = fortress_core._HOMES.items()
    assert seen == {(f"fortress_core.{home}", name) for home, names in homes for name in names}


def test_a_process_that_reads_no_captures_loads_no_numpy() -> None:
    lines = "import sys; from fortress_core import BpfObject; print('numpy' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
