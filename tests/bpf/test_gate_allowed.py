"""What the gate needs from the system: capabilities, and neither locked memory nor kernel BTF."""

import subprocess
import sys

import pytest
from fortress_core import BpfError, BpfObject

from tests.bpf.gate_runs import need_gate

LOAD = """
import sys
from fortress_core import BpfError, Gate, GateEntry, GateKey
try:
    with Gate.load(entries=1000, prefixes=1000) as gate:
        gate.add([GateEntry(GateKey.parse("192.0.2.1"))])
        print("loaded", gate.held)
except BpfError as error:
    print(error.code, error)
"""
LITTLE_MEMORY = "import resource; resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))"
NO_BTF = "mount -t tmpfs none /sys/kernel/btf && test ! -e /sys/kernel/btf/vmlinux && exec "


def told(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_capabilities_the_error_names_those_it_needs() -> None:
    need_gate()
    none = ("--bounding-set=-all", "--inh-caps=-all")
    words = told("setpriv", *none, sys.executable, "-c", LOAD)
    assert words.startswith("1 ")  # EPERM
    assert "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN" in words


def test_three_capabilities_are_all_it_needs() -> None:
    need_gate()
    kept = "--bounding-set=-all,+bpf,+perfmon,+net_admin"
    assert told("setpriv", kept, "--inh-caps=-all", sys.executable, "-c", LOAD) == "loaded 1\n"


def test_the_one_that_is_easily_forgotten_is_named() -> None:
    need_gate()
    kept = "--bounding-set=-all,+bpf,+net_admin"
    words = told("setpriv", kept, "--inh-caps=-all", sys.executable, "-c", LOAD)
    assert words.startswith("13 ")  # EACCES
    assert "needs CAP_PERFMON" in words


def test_a_limit_on_locked_memory_that_cannot_be_raised_does_no_harm() -> None:
    need_gate()
    assert told(sys.executable, "-c", LITTLE_MEMORY + LOAD) == "loaded 1\n"


def test_a_kernel_that_tells_no_types_does_no_harm() -> None:
    need_gate()
    command = f"{NO_BTF} {sys.executable} -c '{LOAD}'"
    assert told("unshare", "--mount", "sh", "-c", command) == "loaded 1\n"


def test_an_object_that_is_not_there_is_named() -> None:
    need_gate()
    with pytest.raises(BpfError, match=r"nonsense\.bpf\.o.*reinstall"):
        BpfObject.load("nonsense")


def test_sizes_and_constants_that_are_not_there_are_named() -> None:
    need_gate()
    with pytest.raises(BpfError, match="no map nonsense"):
        BpfObject.load("gate", entries={"nonsense": 1})
    with pytest.raises(BpfError, match="no constant nonsense"):
        BpfObject.load("gate", constants={"nonsense": 1})
