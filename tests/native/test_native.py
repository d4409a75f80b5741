"""The C test programs, plain, with sanitizers, and for aarch64 under an emulator."""

from pathlib import Path

import pytest

from tests.native.programs import built, run
from tests.need import ROOT, need
from tests.shared_data import unpacked

PROGRAMS = sorted(path.stem for path in (ROOT / "tests" / "native").glob("test_*.c"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_native_program_passes(program: str) -> None:
    run(built("plain") / program)


@pytest.mark.parametrize("program", PROGRAMS)
def test_native_program_passes_with_address_and_undefined_behaviour_sanitizers(
    program: str,
) -> None:
    run(built("sanitized") / program)


@pytest.mark.parametrize("program", PROGRAMS)
def test_native_program_passes_on_aarch64_under_qemu(program: str) -> None:
    need("aarch64")
    run("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", built("aarch64") / program)


@pytest.mark.parametrize("profile", ["mixed", "fuzz"])
def test_aarch64_reads_frames_as_x86_does(profile: str) -> None:
    need("aarch64")
    words = ("--synth", profile, "7", "5000")
    theirs = run("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", built("aarch64") / "dump", *words)
    assert theirs.count("\n") == 5001
    assert theirs == run(built("plain") / "dump", *words)


def test_300000_random_and_mutated_frames_never_harm_the_parser(seed: int) -> None:
    run(built("sanitized") / "test_parse_random", "300000", str(seed))


def test_mutated_frames_of_shared_captures_never_harm_the_parser(seed: int) -> None:
    need("shared")
    captures: list[Path] = sorted(unpacked("attack").rglob("*.pcap"))
    assert captures
    run(built("sanitized") / "test_parse_random", "1000", str(seed), *captures)
