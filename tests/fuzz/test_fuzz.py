"""The fuzz targets, for a short while; `./dev fuzz MINUTES` gives them longer."""

import os

from tests.fuzz import seeds
from tests.native.programs import run
from tests.need import ROOT, need


def test_fuzzers_find_nothing_in_a_minute() -> None:
    need("fuzzer")
    seconds = os.environ.get("FORTRESS_FUZZ_SECONDS", "60")
    said = run(ROOT / "tests" / "fuzz" / "run.sh", seconds)
    assert said.count("nothing found") == len(list((ROOT / "tests" / "fuzz").glob("fuzz_*.c")))


def test_every_row_of_the_parser_table_is_a_seed() -> None:
    table = (ROOT / "tests" / "native" / "test_parse.c").read_text()
    assert len(seeds.parse_seeds()) == table.count('\t{ "')
