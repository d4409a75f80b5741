"""What `fortress doctor` tells of interfaces is what the kernel has."""

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fortress_core import open_xdp_port

from fortress.cli.doctor_ports import Link, hidden, links, ports
from fortress.kernel.offloads import features_on
from tests.e2e.command import FORTRESS, environment
from tests.need import need
from tests.net.namespace import Namespace, new_namespace


@pytest.fixture
def lan() -> Iterator[Namespace]:
    """A namespace with a wire of an unusual MTU."""
    need("netns")
    with new_namespace() as space:
        space.veth("lan", "wire")
        space.ip("link set lan mtu 1400")
        yield space


def test_driver_mtu_and_the_mode_of_an_attached_program_are_told(lan: Namespace) -> None:
    need("bpf")
    with lan.entered():
        (link,) = links(["lan"])
        assert (link.driver, link.mtu, link.xdp) == ("veth", 1400, "")
        assert link.can_native in (True, None)
        assert {one.name for one in links()} == {"lan", "wire"}, "loopback is left out"
        with open_xdp_port("lan") as port:
            assert links(["lan"])[0].xdp == port.mode
        assert links(["lan"])[0].xdp == ""


def test_features_of_the_driver_are_read_by_name(lan: Namespace) -> None:
    need("ethtool")
    for word in ("on", "off"):
        words = ("ethtool", "-K", "lan", "rx-gro-list", word)
        subprocess.run(lan.command(*words), check=True, capture_output=True)
        with lan.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            assert ("rx-gro-list" in features_on(any_socket, "lan")) == (word == "on")


def test_a_kernel_without_flowtables_hides_nothing(lan: Namespace) -> None:
    with lan.entered():
        assert (hidden().state, hidden().what) == ("ok", "none that hides packets")


def test_a_user_without_capabilities_is_told_in_one_short_line_each(tmp_path: Path) -> None:
    need("netns")
    tmp_path.chmod(0o500)
    bare = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    more = {"FORTRESS_RESPOND__GUARD": str(tmp_path / "guard.sock")}
    done = subprocess.run(
        [*bare, *FORTRESS, "doctor", "--json"],
        env=environment(tmp_path / "state") | more,
        check=False,
        capture_output=True,
        text=True,
    )
    told = {check["name"]: check for check in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    assert str(tmp_path / "state") in told["state"]["what"]
    assert "FORTRESS_STATE_DIR" in told["state"]["how"]
    assert [told[name]["state"] for name in ("BPF", "XDP", "flowtable")] == ["note"] * 3
    assert "root" in told["BPF"]["how"]
    assert max(len(check["what"]) for check in told.values()) < 200
    assert "libbpf:" not in done.stdout
    assert done.stdout.count(more["FORTRESS_RESPOND__GUARD"]) == 1, "its absence is told once"


def test_what_is_named_and_not_there_is_told_and_loopback_alone_too(lan: Namespace) -> None:
    with lan.entered():
        assert [(one.name, one.state) for one in ports(["lan", "nowhere0"])] == [
            ("lan", "ok"),
            ("nowhere0", "note"),
        ]
        lan.ip("link del lan")
        (none,) = ports(())
    assert none.what == "none but loopback in this network namespace"


def test_a_driver_that_forwards_by_itself_is_a_note_with_the_remedy() -> None:
    told = Link("eth0", 1500, "mlx5_core", "", can_native=True, has_tc_offload=True).check()
    assert told.state == "note"
    assert told.how == "ethtool -K eth0 hw-tc-offload off"
    assert (
        Link("eth0", 1500, "igb", "", can_native=None, has_tc_offload=False).check().state == "ok"
    )
