"""What `source = auto` chooses, and what it says of that; what passes by unseen is told as well."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.frames import Packet
from tests.need import need
from tests.net.agents import Site, site, until
from tests.net.namespace import new_namespace

NO_BPF = ("setpriv", "--bounding-set=-bpf,-perfmon,-sys_admin", "--inh-caps=-all")


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Site]:
    """A gateway with a LAN, and a mirror port: up, without an address."""
    need("netns")
    with site(tmp_path) as made, new_namespace() as switch:
        made.gateway.ip(f"link add mirror0 type veth peer name eth0 netns {switch.name}")
        switch.ip("link set eth0 up")
        made.gateway.ip("link set mirror0 up")
        yield made


def chosen(lan: Site) -> tuple[str, str]:
    """The source that the agent has chosen, and the note that says why."""
    status = lan.ask("/status").json
    (note,) = [one for one in status["notes"] if one.startswith("capture: ")]
    return status["source"], note


def test_a_port_that_the_kernel_works_with_gets_a_packet_ring(lan: Site) -> None:
    agent = lan.start("--interface", "lan0")
    source, why = chosen(lan)
    assert source == "packet"
    assert "a packet ring: lan0 has an IPv4 address" in why
    lan.stop(agent)


def test_a_mirror_port_gets_af_xdp(lan: Site) -> None:
    need("bpf")
    agent = lan.start("--interface", "mirror0")
    source, why = chosen(lan)
    assert source == "af_xdp"
    assert "AF_XDP: the mirror port's frames come here alone" in why
    lan.stop(agent)


def test_without_bpf_a_mirror_port_gets_a_plain_ring_and_the_reason(lan: Site) -> None:
    agent = lan.begin_as(NO_BPF, "--interface", "mirror0")
    until(lambda: agent.poll() is not None or lan.state() == "running")
    source, why = chosen(lan)
    assert source == "packet"
    assert "it looks like a mirror port, but there is no AF_XDP: " in why
    lan.stop(agent)


def test_several_ports_and_a_port_without_a_carrier_get_packet_rings(lan: Site) -> None:
    agent = lan.start("--interface", "lan0", "--interface", "mirror0")
    assert "several interfaces are watched together" in chosen(lan)[1]
    lan.stop(agent)
    lan.gateway.ip("link set mirror0 down")
    agent = lan.begin("--interface", "mirror0")
    until(lambda: agent.poll() is not None or lan.state() == "running")
    assert "mirror0 is not up" in chosen(lan)[1], "it may be about to get an address"
    lan.stop(agent)


def test_a_flowtable_beside_a_bridge_makes_the_sensor_stale_with_that_reason(lan: Site) -> None:
    gateway = lan.gateway
    gateway.ip("link add br0 type bridge")
    gateway.ip("link set mirror0 master br0")
    gateway.ip("link set br0 up")
    rules = (
        "add table inet home; add flowtable inet home fast"
        " { hook ingress priority 0; devices = { mirror0, lan0 }; }"
    )
    done = subprocess.run(
        gateway.command("nft", rules), capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"needs flowtables in the kernel (CONFIG_NF_FLOW_TABLE): {done.stderr.strip()}")
    agent = lan.start("--interface", "br0")
    until(lambda: lan.sensor("br0")["state"] == "stale")
    assert lan.sensor("br0")["reason"] == "flowtable home fast forwards packets past it (mirror0)"
    gateway.run("nft", "delete table inet home")
    until(lambda: lan.sensor("br0")["state"] == "live")
    lan.stop(agent)


def test_a_mirror_port_that_is_made_anew_is_watched_again(lan: Site) -> None:
    need("bpf")
    agent = lan.start("--interface", "mirror0")
    assert chosen(lan)[0] == "af_xdp"
    before = lan.sensor("mirror0")["facts"]["ifindex"]
    lan.gateway.ip("link del mirror0")
    until(lambda: lan.sensor("mirror0")["state"] == "stale")
    until(lambda: lan.sensor("mirror0")["reason"] == "mirror0 does not exist")
    with new_namespace() as switch:
        lan.gateway.ip(f"link add mirror0 type veth peer name eth0 netns {switch.name}")
        switch.ip("link set eth0 up")
        lan.gateway.ip("link set mirror0 up")
        until(lambda: lan.sensor("mirror0")["state"] == "live", within_s=30)
        facts = lan.sensor("mirror0")["facts"]
        assert facts["ifindex"] != before
        with switch.sender("eth0") as sender:
            for _ in range(50):
                sender.send(Packet(proto=17, payload=b"seen again").frame())
        until(lambda: lan.sensor("mirror0")["facts"]["packets"] >= facts["packets"] + 50)
    assert lan.ask("/status").json["source"] == "af_xdp"
    lan.stop(agent)
