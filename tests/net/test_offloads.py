"""Super-frames: cards and the kernel join packets before a tap sees them, and cut them after it."""

import contextlib
import os
import platform
import socket
import subprocess
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from fortress_core import FLOWS, columns

from fortress.features.flow import FEATURES, flow_matrix
from tests.core.frames import Outcome, Table
from tests.net.capturing import capturing, differing, ports_on
from tests.net.namespace import PATIENCE_S, Namespace, new_namespace

MEGABYTES = 8
PORT = 5201
SOL_UDP, UDP_SEGMENT = 17, 103
TIMES = [c.name for c in columns(FLOWS) if c.unit in ("ns", "us") or c.name.endswith("_per_s")]
# A gap inside a super-frame is told as 0 and its time goes to the gap before or after: never more
# than what GRO or the sender's queue held a packet back. On a loaded machine that is scheduling.
HELD_BACK_NS = 1_000_000_000


@pytest.fixture
def street(namespace: Namespace) -> Iterator[tuple[Namespace, Namespace]]:
    """A sender behind `near` and a receiver behind `far`, and a bridge between them.

    All happens on one processor: a veth has a queue for each, and answers sent from two of them
    pass one another.
    """
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})
    with new_namespace() as sender, new_namespace() as receiver:
        for place, end, middle, address in (
            (sender, "near", "left", "10.7.0.1"),
            (receiver, "far", "right", "10.7.0.2"),
        ):
            namespace.veth(middle, end)
            namespace.ip(f"link set {end} netns {place.name}")
            place.ip(f"addr add {address}/24 dev {end}")
            place.ip(f"link set {end} up")
        namespace.bridge("bridge", "left", "right")
        yield sender, receiver
    os.sched_setaffinity(0, processors)


def switch(place: Namespace, interface: str, state: str, *features: str) -> None:
    """Switch offloads of an interface on or off."""
    words = [word for feature in features for word in (feature, state)]
    place.run("ethtool", "-K", interface, *words)


def hold_for_gro(place: Namespace, interface: str) -> None:
    """Let GRO wait a millisecond for more packets: a virtual wire brings them one by one."""
    setting = f"echo 1000000 > /sys/class/net/{interface}/gro_flush_timeout"
    words = ["ip", "netns", "exec", place.name, "sh", "-c", setting]  # with a /sys of its own
    subprocess.run(words, check=True)


def transfer(sender: Namespace, receiver: Namespace) -> None:
    """Send some megabytes over TCP and wait for their end."""
    got = []

    def drain(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while chunk := connection.recv(1 << 20):
                got.append(len(chunk))

    with receiver.entered():
        listener = socket.create_server(("10.7.0.2", PORT))
    with listener:
        reader = threading.Thread(target=drain, args=[listener])
        reader.start()
        with sender.entered(), socket.create_connection(("10.7.0.2", PORT), PATIENCE_S) as out:
            for _ in range(MEGABYTES):
                out.sendall(os.urandom(1 << 20))
        reader.join(timeout=PATIENCE_S)
    assert sum(got) == MEGABYTES << 20


def send_datagrams(sender: Namespace, receiver: Namespace) -> None:
    """Send UDP in super-frames of ten datagrams each."""
    with receiver.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("10.7.0.2", PORT))
        with sender.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.setsockopt(SOL_UDP, UDP_SEGMENT, 1200)
            for _ in range(20):
                out.sendto(bytes(11_500), ("10.7.0.2", PORT))


@contextlib.contextmanager
def both_ends(sender: Namespace, receiver: Namespace) -> Iterator[list[Outcome]]:
    """What is seen at the sender's and at the receiver's end, there after the body."""
    seen: list[Outcome] = []
    with (
        ports_on(sender, "near") as near,
        ports_on(receiver, "far") as far,
        capturing(near) as here,
        capturing(far) as there,
    ):
        yield seen
    assert here.outcome is not None
    assert there.outcome is not None
    seen += [here.outcome, there.outcome]


def super_frames(outcome: Outcome) -> int:
    """How many frames were more than one packet on the wire."""
    return int((outcome.packets["wire_segments"] > 1).sum())


def the_flow(outcome: Outcome, proto: int) -> Table:
    """The one flow of a protocol."""
    chosen = outcome.flows["proto"] == proto
    assert chosen.sum() == 1
    return {name: values[chosen] for name, values in outcome.flows.items()}


def assert_same_flow(one: Outcome, other: Outcome, proto: int) -> None:
    """All but times is the same, value by value, and so are features; times within what was held
    back.
    """
    a, b = the_flow(one, proto), the_flow(other, proto)
    assert differing(a, b, but=[*TIMES, "flow_id", "sequence_gap_us", "sequence_size"]) == []
    first = [sizes[sizes > 0].tolist() for sizes in (a["sequence_size"][0], b["sequence_size"][0])]
    shorter = min(map(len, first))  # answers come in between, here sooner than there
    assert first[0][:shorter] == first[1][:shorter]
    assert shorter >= 8
    for name in TIMES:
        if name.endswith("_ns") and not name.startswith(("first", "last", "active", "idle")):
            np.testing.assert_allclose(a[name], b[name], atol=HELD_BACK_NS, err_msg=name)
    same_times = {name: a[name] if name in TIMES else values for name, values in b.items()}
    for feature, x, y in zip(FEATURES, flow_matrix(a)[0], flow_matrix(same_times)[0], strict=True):
        assert x == y, feature.name
    chosen = (one.packets["proto"] == proto, other.packets["proto"] == proto)
    wire = [
        int(o.packets["wire_bytes"][c].sum()) for o, c in zip((one, other), chosen, strict=True)
    ]
    assert wire[0] == wire[1], "octets on the wire, headers of every segment included"


def test_what_gro_joins_counts_as_what_was_on_the_wire(
    street: tuple[Namespace, Namespace], namespace: Namespace
) -> None:
    sender, receiver = street
    switch(sender, "near", "off", "tso", "gso")
    switch(namespace, "right", "off", "tso", "gso")  # else a veth expects no work for GRO
    switch(receiver, "far", "on", "gro")
    hold_for_gro(receiver, "far")
    with both_ends(sender, receiver) as seen:
        transfer(sender, receiver)
    assert super_frames(seen[0]) == 0
    assert super_frames(seen[1]) > 20
    assert_same_flow(*seen, proto=6)
    assert seen[1].stats.malformed == 0


def test_what_the_card_will_cut_counts_as_what_will_be_on_the_wire(
    street: tuple[Namespace, Namespace], namespace: Namespace
) -> None:
    """The frames that go out have no checksums yet either, and are not called bad for it."""
    sender, receiver = street
    switch(namespace, "right", "off", "tso", "gso")
    with both_ends(sender, receiver) as seen:
        transfer(sender, receiver)
    assert super_frames(seen[0]) > 20
    assert super_frames(seen[1]) == 0
    assert_same_flow(*seen, proto=6)
    assert seen[0].stats.malformed == 0
    assert seen[0].stats.undecodable == 0


def test_datagrams_that_the_card_will_cut_count_one_by_one(
    street: tuple[Namespace, Namespace], namespace: Namespace
) -> None:
    release = tuple(int(word) for word in platform.release().split(".")[:2])
    if release < (6, 2):
        pytest.skip("Linux before 6.2 has no place for UDP segments in a packet socket's header")
    sender, receiver = street
    switch(namespace, "right", "off", "tso", "gso", "tx-udp-segmentation")
    with both_ends(sender, receiver) as seen:
        send_datagrams(sender, receiver)
    assert super_frames(seen[0]) == 20
    assert super_frames(seen[1]) == 0
    assert the_flow(seen[0], 17)["orig_pkts"].tolist() == [200]
    assert_same_flow(*seen, proto=17)


def test_a_transfer_is_the_same_flow_with_offloads_on_and_off(
    street: tuple[Namespace, Namespace], namespace: Namespace
) -> None:
    """Two transfers are never packet for packet the same: a packet sent again, another answer."""
    sender, receiver = street
    flows = []
    for state in ("off", "on"):
        for place, interface in ((sender, "near"), (receiver, "far"), (namespace, "right")):
            switch(place, interface, state, "gso", "tso", "gro")
        with both_ends(sender, receiver) as seen:
            transfer(sender, receiver)
        flows.append(the_flow(seen[1], 6))
        assert (super_frames(seen[1]) > 0) == (state == "on")
    off, on = flows
    for name in ("resp_payload_bytes", "conn_state", "orig_mss", "orig_syn", "history"):
        assert off[name].tolist() == on[name].tolist(), name
    for name in (
        "orig_payload_bytes",
        "orig_pkts",
        "orig_bytes",
        "orig_size_mean",
        "orig_payload_mean",
    ):
        np.testing.assert_allclose(on[name], off[name], rtol=0.02, err_msg=name)
    assert off["orig_size_max"] == on["orig_size_max"] == 1500
