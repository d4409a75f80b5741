"""A share of the flows: whole ones, chosen by a key that nobody outside knows."""

import numpy as np
import pytest
from fortress_core import StreamOptions, open_synth

PACKETS = 40_000


def flows(share: float, key: tuple[int, int] = (1, 2)) -> tuple[dict[bytes, int], int, int]:
    """Packets by flow, packets seen and packets left out when a share is looked at."""
    names = ["orig_addr", "resp_addr", "orig_port", "resp_port", "orig_pkts", "resp_pkts"]
    options = StreamOptions(keep_intervals=False, hash_key=key)
    found: dict[bytes, int] = {}
    with open_synth("mixed", 7, PACKETS, options=options, flow_columns=names) as stream:
        stream.sample(share)
        for batch in stream:
            rows = [batch.flows[name] for name in names]
            for at in range(batch.flows.rows):
                ends = b"".join(column[at].tobytes() for column in rows[:4])
                found[ends] = found.get(ends, 0) + int(rows[4][at]) + int(rows[5][at])
        stats = stream.stats()
    return found, stats.packets, stats.packets_shed


def test_flows_are_kept_whole_or_not_at_all() -> None:
    every, packets, shed = flows(1.0)
    some, packets_of_some, shed_of_some = flows(0.25)
    assert (shed, packets) == (0, packets_of_some)
    assert all(every[ends] == count for ends, count in some.items())
    assert shed_of_some == sum(every.values()) - sum(some.values())


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_the_share_is_about_what_was_asked_for(share: float) -> None:
    every, some = flows(1.0)[0], flows(share)[0]
    expected = share * len(every)
    spread = np.sqrt(expected * (1 - share))
    assert abs(len(some) - expected) < 6 * spread


def test_what_is_kept_depends_on_the_key() -> None:
    assert flows(0.5, (1, 2))[0].keys() != flows(0.5, (3, 4))[0].keys()


def test_a_smaller_share_is_a_part_of_a_larger_one() -> None:
    assert flows(0.125)[0].keys() <= flows(0.5)[0].keys()
