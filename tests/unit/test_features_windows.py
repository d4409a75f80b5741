"""What the windows say of rows whose truth is known."""

import numpy as np
import pytest

from fortress.features.refusals import REMEMBERED
from fortress.features.windows import TABLES, Windows
from fortress.qsecbit import Pipeline
from tests.detectors.world import ICMP, SECOND, START_NS, UDP, World, columns, mac

PIPELINE = Pipeline()


def _tables(world: World, windows: Windows | None = None) -> list[dict]:
    windows = windows or Windows()
    told = []
    for second in sorted({*world.intervals, *world.flows, *world.packets}):
        intervals = columns(world.intervals.get(second, []), PIPELINE.reads_interval_columns)
        flows = columns(world.flows.get(second, []), PIPELINE.reads_flow_columns)
        packets = columns(world.packets.get(second, []), PIPELINE.reads_packet_columns)
        ns = START_NS + second * SECOND
        told.append(windows.observe(ns, intervals, flows, packets) | windows.at_once(ns, intervals))
    return told


def _rows(tables: dict, name: str) -> int:
    return len(tables.get(name, {}).get("row", ()))


def _last(world: World, table: str) -> dict[str, float]:
    for tables in reversed(_tables(world)):
        if tables.get(table) and len(tables[table]["row"]):
            return {name: float(column[-1]) for name, column in tables[table].items()}
    raise AssertionError(f"{table} has no rows")


def test_every_table_has_the_columns_it_promises() -> None:
    world = World()
    for i in range(60):
        world.flow(1, "10.0.0.9", "10.0.0.1", 1000 + i, "REJ")
        world.flow(1, "10.0.0.9", f"10.0.1.{i + 1}", 445, "S0")
        world.flow(i * 20, "10.0.0.7", "10.0.0.1", 22, said=(2000, 2400))
        world.arp(1, 2, "10.0.0.1", "02:00:00:00:00:aa", "10.0.0.5")
    seen = {}
    for tables in _tables(world):
        seen |= {name: set(table) for name, table in tables.items() if table}
    assert seen == {name: set(meant) for name, meant in TABLES.items()}


def test_closed_ports_of_a_pair_are_counted_once_each() -> None:
    world = World()
    for again in range(2):
        for port in range(20):
            world.flow(1 + again, "10.0.0.9", "10.0.0.1", 100 + port, "REJ")
    assert len(_tables(world)[1]["pairs"]) == 0  # nothing new was tried
    world.flow(4, "10.0.0.9", "10.0.0.1", 99, "REJ")
    pair = _last(world, "pairs")
    assert 17 < pair["ports"] < 25
    assert pair["failed"] == 41
    assert pair["fine"] == 0


def test_an_answer_in_a_later_second_takes_the_failure_back() -> None:
    world = World()
    for port in range(14):
        world.flow(1, "10.0.0.9", "10.0.0.1", 100 + port, "S0")
    for port in range(6):
        world.answer_late(2, "10.0.0.9", "10.0.0.1", 100 + port)
    world.flow(3, "10.0.0.9", "10.0.0.1", 999, "S0")
    pair = _last(world, "pairs")
    assert (pair["failed"], pair["fine"]) == (9, 6)
    assert pair["ports"] <= 9


def test_one_direction_of_a_connection_alone_is_no_failure() -> None:
    """On an asymmetric route the originator goes on after its SYN: somebody must have answered."""
    world = World()
    for port in range(40):
        world.flow(1, "10.0.0.9", "10.0.0.1", 100 + port, "S0", flags=2 | 16, pkts=(8, 0))
    assert all(not tables.get("pairs") for tables in _tables(world))


def test_a_server_cut_at_midstream_is_no_scanner_of_its_clients() -> None:
    world = World()
    for port in range(40):
        world.flow(1, "10.0.0.1", "10.0.0.9", 40_000 + port, "OTH", flags=16, midstream=True)
        world.flow(
            1, "10.0.0.1", "10.0.0.9", 40_000 + port, "OTH", proto=UDP, source_port=53, pkts=(1, 0)
        )
    assert all(not tables.get("pairs") for tables in _tables(world))


def test_traceroute_ports_are_left_out() -> None:
    world = World()
    for hop in range(90):
        world.flow(1, "10.0.0.9", "203.0.113.5", 33_434 + hop, "OTH", proto=UDP, pkts=(1, 0))
    assert all(not tables.get("pairs") for tables in _tables(world))


def test_failures_on_ports_all_over_have_less_aim_than_those_on_one() -> None:
    spread, aimed = World(), World()
    for i in range(64):
        spread.flow(1, "10.0.0.9", f"203.0.113.{i + 1}", 20_000 + 97 * i, "S0")
        spread.flow(1, "10.0.0.9", f"203.0.114.{i + 1}", 6881, "S0")
        aimed.flow(1, "10.0.0.9", f"203.0.113.{i + 1}", 445, "S0")
    assert _last(spread, "sweeps")["aim"] == 0.5
    assert _last(aimed, "sweeps")["aim"] == 1
    assert 55 < _last(aimed, "sweeps")["targets"] < 75


def test_local_is_the_part_of_a_sweep_that_looks_at_private_addresses() -> None:
    world = World()
    for i in range(30):
        world.flow(1, "10.0.0.9", f"203.0.113.{i + 1}", 445, "S0")
    for i in range(10):
        world.flow(2, "10.0.0.9", f"10.0.1.{i + 1}", 445, "S0")
    for i in range(40):
        world.flow(200, "10.0.0.9", f"10.0.2.{i + 1}", 445, "S0")
    _, before, after = (tables["sweeps"] for tables in _tables(world) if _rows(tables, "sweeps"))
    assert (before["local"][0], before["local_slow"][0]) == (0.25, 0.25)
    assert (after["local"][0], after["local_slow"][0]) == (1, 0.625)


def test_a_flood_is_measured_exactly() -> None:
    world = World()
    for i in range(300):
        world.flow(1, f"198.51.100.{i % 100 + 1}", "10.0.0.1", 80, "S0", pkts=(2, 0))
    world.flow(1, "10.0.0.3", "10.0.0.1", 80, "SF", pkts=(6, 5))
    target = _last(world, "targets")
    assert target["pkts"] == 606
    assert target["half_open"] == 300
    assert target["flows"] == 301
    assert target["sources"] == 101
    assert target["ports"] == 1
    assert target["top_share"] == pytest.approx(6 / 600), "of what nobody answers"
    assert target["source_entropy"] == pytest.approx(np.log2(100), abs=0.01)


def test_a_quiet_second_has_no_targets() -> None:
    world = World()
    for _ in range(40):
        world.flow(1, "10.0.0.3", "10.0.0.1", 80, "SF", pkts=(6, 5))
    assert _tables(world)[0]["targets"] == {}


def test_a_call_every_minute_has_its_median_gap_and_no_spread() -> None:
    world = World()
    for i in range(12):
        world.flow(60 * i, "10.0.0.7", "203.0.113.1", 8081, said=(100, 200))
    service = _last(world, "services")
    assert service["gap_s"] == 60
    assert service["gap_spread"] == 0
    assert service["size_spread"] == 0
    assert service["gaps"] == 11
    assert service["span_s"] == 660
    assert service["bursts"] == 0


def test_a_busy_service_has_bursts_and_no_rhythm() -> None:
    world = World()
    for i in range(200):
        world.flow(i, "10.0.0.7", "203.0.113.1", 443)
    assert all(not tables.get("services") for tables in _tables(world))


def test_a_service_tells_how_often_both_sides_spoke_in_a_call() -> None:
    world = World()
    for i in range(9):
        world.flow(i * 30, "10.0.0.7", "10.0.0.1", 22, data_pkts=(15, 19 + i))
    assert _last(world, "services")["exchanges"] == 15


def test_logins_that_are_let_in_are_told_from_those_that_are_not() -> None:
    world = World()
    for i in range(6):
        world.flow(i, "10.0.0.7", "10.0.0.1", 22, said=(2000, 2400))
    world.flow(7, "10.0.0.7", "10.0.0.1", 22, said=(5000, 90_000))
    world.flow(8, "10.0.0.7", "10.0.0.1", 22, said=(2000, 2400))
    login = _last(world, "logins")
    assert (login["tries"], login["others"]) == (7, 1)
    assert login["server_bytes"] == 2400
    assert login["spread"] == pytest.approx(0, abs=1e-3)


def test_a_refusal_counts_while_the_connection_is_open_and_not_again_when_it_closes() -> None:
    world = World()
    world.flow(0, "10.0.0.7", "10.0.0.1", 22, "S1", said=(1187, 1773))
    world.goes_on(3, (1271, 1849))
    assert _last(world, "logins")["tries"] == 1
    world.goes_on(6, (1355, 1925))
    world.goes_on(9, (1407, 1969), "SF")
    world.flow(12, "10.0.0.7", "10.0.0.1", 22, said=(1407, 1969))
    login = _last(world, "logins")
    assert (login["tries"], login["others"], login["server_bytes"]) == (2, 0, 1969)


def test_who_is_let_in_after_a_refusal_has_not_guessed() -> None:
    world = World()
    world.flow(0, "10.0.0.7", "10.0.0.1", 22, "S1", said=(1187, 1773))
    world.goes_on(3, (1271, 1849))
    world.goes_on(5, (5000, 9000))
    world.goes_on(70, (5200, 9500), "SF")
    world.flow(72, "10.0.0.7", "10.0.0.1", 22, said=(1407, 1969))
    login = _last(world, "logins")
    assert (login["tries"], login["others"], login["server_bytes"]) == (1, 1, 1969)


def test_more_open_logins_than_are_remembered_are_counted_when_they_close(
    rng: np.random.Generator,
) -> None:
    world = World()
    for _ in range(2 * REMEMBERED + 7):
        world.flow(0, "10.0.0.7", "10.0.0.1", 22, "S1", said=(1187, 1773))
        world.goes_on(1 + int(rng.integers(9)), (1407, 1969), "SF")
    assert _last(world, "logins")["tries"] == 2 * REMEMBERED + 7


def test_a_rival_claim_names_the_side_that_nobody_asked() -> None:
    world = World()
    world.arp(0, 1, "10.0.0.5", "02:00:00:00:00:05", "10.0.0.1")
    world.arp(0, 2, "10.0.0.1", "02:00:00:00:00:aa", "10.0.0.5")
    for second in range(20, 30):
        world.arp(second, 2, "10.0.0.1", "02:00:00:00:00:bb", "10.0.0.5")
    claim = _last(world, "claims")
    assert int(claim["guilty_mac"]) == mac("02:00:00:00:00:bb")
    assert int(claim["other_mac"]) == mac("02:00:00:00:00:aa")
    assert claim["unrequested"] == 10
    assert claim["disputed"] == 1


def test_an_address_that_moves_after_a_long_silence_is_no_conflict() -> None:
    world = World()
    world.arp(0, 1, "10.0.0.5", "02:00:00:00:00:05", "10.0.0.1")
    world.arp(400, 1, "10.0.0.5", "02:00:00:00:00:06", "10.0.0.1")
    assert all(not len(tables["claims"].get("row", ())) for tables in _tables(world))


def test_redundant_gateways_may_share_an_address() -> None:
    world = World()
    world.arp(0, 2, "10.0.0.1", "00:00:5e:00:01:07", "10.0.0.5")
    world.arp(9, 2, "10.0.0.1", "00:00:0c:07:ac:01", "10.0.0.5")
    assert all(not tables["claims"] for tables in _tables(world))


def test_a_clock_that_steps_back_empties_the_windows() -> None:
    windows, world = Windows(), World()
    for port in range(20):
        world.flow(1000, "10.0.0.9", "10.0.0.1", 100 + port, "REJ")
    _tables(world, windows)
    early = World()
    early.flow(1, "10.0.0.9", "10.0.0.1", 300, "REJ")
    assert all(not _rows(tables, "pairs") for tables in _tables(early, windows))
    assert len(windows.tables["fans"]) == 3


def test_memory_is_bounded_and_stated(rng: np.random.Generator) -> None:
    windows = Windows()
    before = windows.memory_bytes
    world = World()
    for i in range(20_000):
        source = f"{11 + i % 80}.{i // 250 % 250}.{i % 250}.7"
        world.flow(i // 5000, source, "10.0.0.1", i % 60_000 + 1, "S0")
    _tables(world, windows)
    assert windows.memory_bytes == before < 64 << 20
    assert all(len(table) <= table.capacity for table in windows.tables.values())
    assert windows.tables["fans"].evictions + windows.tables["fans"].refusals > 0


def test_pings_that_are_answered_count_as_failure_and_success_of_a_sweep() -> None:
    world = World()
    for i in range(30):
        world.flow(1, "10.0.0.9", f"10.0.1.{i + 1}", 0, "OTH", proto=ICMP, pkts=(1, i % 2))
        world.intervals[1][-1]["resp_pkts_total"] = i % 2
    sweep = _last(world, "sweeps")
    assert sweep["port"] == 8
    assert (sweep["failed"], sweep["fine"]) == (30, 15)
    assert 27 < sweep["targets"] < 33
