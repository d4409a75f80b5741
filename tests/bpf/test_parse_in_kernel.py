"""The parser compiled for BPF: the kernel's verifier takes it, and it gives the same columns."""

import sysconfig
from pathlib import Path

import pytest

from tests.native.programs import built, run
from tests.need import ROOT, go_without, need

HERE = ROOT / "tests" / "bpf"
NOT_ALLOWED = "exit 77"  # run_parse: this kernel or user may not load programs


def compiled(source: str, folder: Path, *flags: str) -> Path:
    out = folder / "program.bpf.o"
    include = Path("/usr/include") / str(sysconfig.get_config_var("MULTIARCH"))
    always = ("-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3", f"-I{include}")
    core = f"-I{ROOT / 'core_ext' / 'include'}"
    run("clang-14", *always, *flags, core, "-c", HERE / source, "-o", out)
    return out


@pytest.fixture(scope="module")
def run_parse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("bpf")
    out = tmp_path_factory.mktemp("bpf") / "run_parse"
    library = built("plain").parent / "libfx.a"
    core = f"-I{ROOT / 'core_ext' / 'include'}"
    libraries = ("-lbpf", "-lelf", "-lz", "-lzstd", "-lm")
    run(
        "gcc", "-O2", "-Wall", "-Werror", core, HERE / "run_parse.c", library, *libraries, "-o", out
    )
    return out


def parsed(run_parse: Path, *words: str | Path) -> str:
    try:
        return run(run_parse, *words)
    except AssertionError as failure:
        if NOT_ALLOWED in str(failure):
            go_without("bpf", "this kernel or user may not load BPF programs (run as root)")
        raise


@pytest.fixture(scope="module", params=["xdp, packet memory", "tc, copied headers"])
def parse_program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("bpf")
    folder = tmp_path_factory.mktemp("bpf")
    if request.param.startswith("xdp"):
        return compiled("parse_xdp.bpf.c", folder)
    return compiled("parse_filter.bpf.c", folder, '-DSECTION="tc"')


def test_kernel_and_user_space_read_random_frames_alike(
    run_parse: Path, parse_program: Path
) -> None:
    assert ", 0 differences" in parsed(run_parse, parse_program, "20000")


def test_kernel_and_user_space_read_shipped_captures_alike(
    run_parse: Path, parse_program: Path, samples: Path
) -> None:
    captures = sorted(samples.glob("*.pcap.zst"))
    if not captures:
        pytest.skip("no capture in samples/")
    assert ", 0 differences" in parsed(run_parse, parse_program, "50000", *captures)


def test_the_verifier_takes_the_parser_as_a_socket_filter(run_parse: Path, tmp_path: Path) -> None:
    program = compiled("parse_filter.bpf.c", tmp_path, '-DSECTION="socket"')
    assert "processed" in parsed(run_parse, program, "0")
