"""What the kernel does for us, Debian 12's own does as well; the whole is `./dev vm kernel`."""

import subprocess

from tests.need import ROOT, need

SHORT = (  # a program of each kind is taken and works; a ring, a mirror port, conntrack, a block
    "tests/bpf/test_gate_table.py",
    "tests/bpf/test_gate_attached.py::test_a_veth_keeps_its_super_frames_where_the_kernel_takes_them_whole",
    "tests/bpf/test_tap.py",
    "tests/net/test_af_xdp.py::test_frames_are_the_rows_of_a_file_with_the_same_frames",
    "tests/net/test_nat_state.py::test_a_connection_that_ends_is_forgotten",
    "tests/net/test_live_frames.py::test_a_ring_gives_the_rows_that_a_recorded_file_gives",
    "tests/net/test_guard_elements.py::test_netlink_and_text_leave_the_same_elements",
)


def test_gate_tap_rings_and_blocks_work_on_the_kernel_of_debian_12() -> None:
    need("vm")
    words = (
        ".venv/bin/python",
        "-m",
        "pytest",
        "-q",
        "--color=no",
        "-o",
        "cache_dir=/run/tmp/cache",
    )
    done = subprocess.run(
        (ROOT / "tests" / "vm" / "kernel.sh", *words, *SHORT),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    assert " passed" in done.stdout
