"""What a stream knows of translation: without privileges, after losses, when connections end."""

import errno
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fortress_core import (
    Conntrack,
    ConntrackError,
    NatState,
    Stream,
    StreamOptions,
    open_conntrack,
    open_live,
)

from tests.need import ROOT, need
from tests.net.capturing import ports_on
from tests.net.gateway import (
    CLIENT,
    MASQUERADE,
    SERVER,
    WAN,
    Gateway,
    ask_many,
    calling,
    listening,
    new_gateway,
    talk_udp,
)
from tests.net.namespace import PATIENCE_S

DATAGRAM = socket.SOCK_DGRAM
TICK = StreamOptions(tick_ns=100_000_000)
WITHOUT_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway whose clients go out under its own address."""
    need("netns", "nft")
    with new_gateway() as made:
        made.rules(MASQUERADE)
        yield made


@pytest.fixture
def conntrack(gateway: Gateway) -> Iterator[Conntrack]:
    """A socket that is told of the gateway's connections."""
    with gateway.middle.entered():
        made = open_conntrack()
    with made:
        yield made


@pytest.fixture
def stream(gateway: Gateway, conntrack: Conntrack) -> Iterator[Stream]:
    """A stream of both sides that nobody reads yet."""
    with ports_on(gateway.middle, "lan", "wan") as ports:
        made = open_live(ports, options=TICK)
        made.outside([WAN], conntrack)
        with made:
            yield made


def read_until(stream: Stream, is_so: Callable[[NatState], bool]) -> NatState:
    """Read the stream until its state is so."""
    deadline = time.monotonic() + PATIENCE_S
    for _ in stream:
        state = stream.nat()
        if is_so(state):
            return state
        assert time.monotonic() < deadline, state
    raise AssertionError("the stream has ended")


def ask_outside(gateway: Gateway, count: int) -> list[int]:
    """Make so many connections from the client to the server; the client's ports."""
    with listening(gateway.server, DATAGRAM, SERVER, 53) as listener:
        return ask_many(gateway.client, CLIENT, count, (SERVER, 53), listener)


def forget_all(gateway: Gateway) -> None:
    """Have the gateway's kernel forget its connections, as `conntrack -F` does."""
    delete = 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE
    with (
        gateway.middle.entered(),
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netlink,
    ):
        netlink.send(struct.pack("=IHHIIBBH", 20, delete, 5, 1, 0, 0, 0, 0))
        code = struct.unpack_from("=i", netlink.recv(100), 16)[0]
        assert code == 0, os.strerror(-code)


CHILD = """
import json, sys
from fortress_core import Conntrack, ConntrackError, Port, StreamOptions, format_addr
from fortress_core import open_conntrack, open_live

try:
    open_conntrack()
except ConntrackError as error:
    refused = str(error)
ports = [Port(**port) for port in json.loads(sys.argv[1])]
stream = open_live(ports, options=StreamOptions(tick_ns=100_000_000))
stream.outside([1], Conntrack(int(sys.argv[2])))
print(json.dumps([refused, stream.nat().complete, stream.nat().reason]), flush=True)
flows = []
ticks = 0
for batch in stream:
    rows = batch.flows
    for i in range(rows.rows):
        if rows["proto"][i] == 17:
            flows.append([format_addr(rows["orig_addr"][i]), int(rows["orig_pkts"][i])])
    if batch.tick_closed:
        ticks += 1
        if ticks == 1:
            sys.stdin.readline()
            stream.stop()
print(json.dumps([flows, stream.nat().seen_twice, stream.nat().complete]))
"""


def test_a_process_without_capabilities_reads_what_another_opened(
    gateway: Gateway, conntrack: Conntrack
) -> None:
    """Who opened it has asked for the table already; the reader need not."""
    with ports_on(gateway.middle, "lan", "wan") as ports:
        told = json.dumps([{name: getattr(p, name) for name in p.__slots__} for p in ports])
        fds = [conntrack.fd, *(port.fd for port in ports)]
        words = (*WITHOUT_CAPABILITIES, sys.executable, "-c", CHILD, told, str(conntrack.fd))
        pipe = subprocess.PIPE
        child = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, pass_fds=fds, cwd=ROOT)
        with child:
            assert child.stdout is not None
            refused, complete, reason = json.loads(child.stdout.readline())
            ask_outside(gateway, 1)
            out, _ = child.communicate("stop\n", timeout=PATIENCE_S)
    assert "CAP_NET_ADMIN" in refused
    assert (complete, reason) == (True, "")
    assert json.loads(out) == [[[CLIENT, 3]], 6, True]


def test_lost_events_are_told_and_made_good_by_the_whole_table(
    gateway: Gateway, conntrack: Conntrack, stream: Stream
) -> None:
    narrow = socket.socket(fileno=os.dup(conntrack.fd))
    with narrow:
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    ask_outside(gateway, 300)
    state = read_until(stream, lambda state: state.overruns > 0)
    assert not state.complete
    assert "whole table" in state.reason
    assert state.mappings < 300
    state = read_until(stream, lambda state: state.complete)
    assert state.mappings == 300


def test_without_events_the_table_is_read_every_second_and_that_is_told(
    gateway: Gateway, stream: Stream
) -> None:
    gateway.middle.run("sh", "-c", "echo 0 > /proc/sys/net/netfilter/nf_conntrack_events")
    ask_outside(gateway, 5)
    state = read_until(stream, lambda state: state.mappings == 5)
    assert "nf_conntrack_events" in state.reason
    assert not state.complete
    ask_outside(gateway, 5)
    begun_s = time.monotonic()
    assert read_until(stream, lambda state: state.mappings == 10).malformed == 0
    assert time.monotonic() - begun_s < 3


def test_a_connection_that_ends_is_forgotten(gateway: Gateway, stream: Stream) -> None:
    ask_outside(gateway, 20)
    assert read_until(stream, lambda state: state.mappings == 20).complete
    forget_all(gateway)
    state = read_until(stream, lambda state: state.mappings == 0)
    assert (state.added, state.ended, state.complete) == (20, 20, True)


def test_connections_older_than_the_first_listener_are_forgotten_too(gateway: Gateway) -> None:
    """The kernel tells no end of them; two readings of the table without them do."""
    ask_outside(gateway, 20)
    with gateway.middle.entered():
        conntrack = open_conntrack()
    with (
        conntrack,
        ports_on(gateway.middle, "lan", "wan") as ports,
        open_live(ports, options=TICK) as stream,
    ):
        stream.outside([WAN], conntrack)
        assert stream.nat().mappings == 20
        forget_all(gateway)
        for number in range(2):
            conntrack.ask()
            read_until(stream, lambda state, number=number: state.readings > 2 + number)
        assert read_until(stream, lambda state: state.mappings == 0).complete


def test_a_new_socket_takes_the_place_of_one_that_is_no_use(
    gateway: Gateway, stream: Stream
) -> None:
    ask_outside(gateway, 3)
    with gateway.middle.entered(), open_conntrack() as fresh:
        stream.replace_conntrack(fresh)
    state = stream.nat()
    assert (state.mappings, state.complete) == (3, True)
    with listening(gateway.server, DATAGRAM, SERVER, 53) as listener:
        talk_udp(calling(gateway.client, DATAGRAM, CLIENT), (SERVER, 53), listener, 1)
    assert read_until(stream, lambda state: state.mappings == 4).complete


def test_what_cannot_be_translated_with_is_refused(gateway: Gateway, conntrack: Conntrack) -> None:
    with ports_on(gateway.middle, "lan") as ports, open_live(ports) as stream:
        assert stream.nat() == NatState(0, 0, 0, 0, 0, 0, 0, 0, 0, True, "")
        with pytest.raises(ConntrackError, match="does not translate"):
            stream.replace_conntrack(conntrack)
        with pytest.raises(ValueError, match="no port 64"):
            stream.outside([64], conntrack)
        with Path("/dev/null").open("rb") as file, pytest.raises(ConntrackError, match="no socket"):
            stream.outside([0], Conntrack(file.fileno()))
        stream.outside([0], conntrack)
        stream.outside([], None)  # what faces outside may change


def test_a_socket_may_not_be_opened_without_the_capability() -> None:
    script = "from fortress_core import open_conntrack; open_conntrack()"
    words = (*WITHOUT_CAPABILITIES, sys.executable, "-c", script)
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert os.strerror(errno.EPERM) in done.stderr
    assert "fortress guard" in done.stderr
