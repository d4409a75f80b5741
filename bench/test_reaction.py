"""How soon attackers are dropped: a hundred of each kind, each of an address of its own."""

import pytest

from bench.gateway import reacting
from bench.gateway_report import MEDIAN_S, P99_S, RSS_MB
from tests.need import need
from tests.net.house_reaction import Attack, port_scan_attack, syn_flood_attack

ATTACKERS = 100


@pytest.mark.parametrize("kind", [syn_flood_attack(), port_scan_attack()], ids=lambda one: one.name)
def test_an_attacker_is_dropped_soon_after_what_is_too_much(kind: Attack) -> None:
    need("netns", "nft", "lab")
    reaction, megabytes = reacting(kind, ATTACKERS)
    ordered = sorted(reaction.seconds)
    assert len(ordered) == ATTACKERS
    assert reaction.p50 <= MEDIAN_S, ordered
    assert reaction.p99 <= P99_S, ordered
    assert reaction.hits > 0, "by the kernel's own count of each block"
    assert megabytes <= RSS_MB
