"""Lines that many blocks have in common: of the audit, and of the guard's own file."""

import json
from pathlib import Path

from fortress.respond.audit import Audit
from fortress.respond.block import parse_target
from fortress.respond.ledger import Clocks, Held, Ledger, Terms
from fortress.verdict import Action

TEXTS = ["203.0.113.7", "2001:db8::1", "2001:db8:7::/64", "02:00:00:00:00:01"]
WHY = 'said "so" – with {braces}, \\ and ünïcode'
CLOCKS = Clocks(lambda: 100.0, lambda: 1_700_000_000.0)


def test_lines_of_a_crowd_are_those_of_each_alone(tmp_path: Path) -> None:
    alone, crowd = (
        Audit(tmp_path / "alone", CLOCKS.wall_s),
        Audit(tmp_path / "crowd", CLOCKS.wall_s),
    )
    for facts in ({"why": WHY, "seconds": None, "signatures": [1, 2]}, {}):
        alone.write("block", [{"target": text, **facts} for text in TEXTS], "uid 0 pid 1")
        crowd.write_alike("block", TEXTS, facts, "uid 0 pid 1")
    assert (tmp_path / "crowd").read_text() == (tmp_path / "alone").read_text()
    assert crowd.lines == alone.lines == 2 * len(TEXTS)
    for audit in (alone, crowd):
        audit.close()


def test_blocks_of_one_request_have_one_term_before_and_after_a_restart(tmp_path: Path) -> None:
    first = Terms(Action.BLOCK, 700.0, 1.0, WHY, "operator", (7,))
    other = Terms(Action.LIMIT, None, 2.0, "", "automatic")
    ledger = Ledger(tmp_path / "blocks.jsonl", CLOCKS)
    blocks = [Held(parse_target(text), first) for text in TEXTS]
    blocks.append(Held(parse_target("198.51.100.1"), other))
    ledger.put(blocks)
    ledger.close()
    for line in (tmp_path / "blocks.jsonl").read_text().splitlines():
        json.loads(line)
    again = Ledger(tmp_path / "blocks.jsonl", CLOCKS)
    assert list(again.held.values()) == blocks
    assert len({id(one.terms) for one in again.held.values()}) == 2
    again.close()


def test_a_damaged_line_among_others_of_its_request_is_left_out_alone(tmp_path: Path) -> None:
    terms = Terms(Action.BLOCK, 700.0, 1.0, WHY, "operator", (7,))
    ledger = Ledger(tmp_path / "blocks.jsonl", CLOCKS)
    ledger.put([Held(parse_target(f"203.0.113.{i}"), terms) for i in range(6)])
    ledger.drop(["203.0.113.5"])
    ledger.close()
    file = tmp_path / "blocks.jsonl"
    lines = file.read_text().splitlines()
    lines[2] = lines[2].replace("203.0.113.1", '203.0.113.1"')
    lines[3] = lines[3].replace("203.0.113.2", "203.0.113.999")
    lines[4] = lines[4][:-9]
    file.write_text("\n".join(lines))
    again = Ledger(file, CLOCKS)
    assert list(again.held) == ["203.0.113.0", "203.0.113.4"]
    assert any("3 damaged lines" in one for one in again.troubles)
    again.close()
