"""A guard's life: what it starts with, what others do to its tables, how it ends."""

import json
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fortress.errors import GuardError
from tests.need import need
from tests.net.guarded import (
    CAMERA,
    CAMERA_MAC,
    FORTRESS,
    GATEWAY_LAN,
    GATEWAY_WAN,
    LAPTOP,
    OTHER,
    STRANGER,
    Gateway,
    blocked,
    environment_without_session,
    gateway,
    pings,
    plug,
    until,
)
from tests.patience import patient

NET_ADMIN, NET_RAW, BPF = 12, 13, 39


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway without a guard."""
    need("netns", "nft")
    with gateway(tmp_path) as made:
        yield made


def test_a_flushed_ruleset_is_restored_with_every_block(home: Gateway) -> None:
    home.start()
    home.block(STRANGER, seconds=600)
    home.block(CAMERA_MAC, "203.0.113.0/24")
    with home.client() as listening:
        events = listening.subscribe(wait_s=patient(10))
        home.nft("flush ruleset")
        begun_s = time.monotonic()
        restored = next(event for event in events if event.kind == "restored")
        assert time.monotonic() - begun_s < 10  # a second is promised, and shown by the bench
    assert "somebody else" in restored.reason
    listed = home.nft("list ruleset")
    assert all(text in listed for text in (STRANGER, CAMERA_MAC, "203.0.113.0/24"))
    left = [int(word) for word in listed.partition(f"{STRANGER} ")[2].split("expires ")[1][:1]]
    assert left == [9], "nine minutes and something: its end has not moved"
    assert not pings(home.laptop, STRANGER)


def test_a_removed_element_comes_back_and_a_foreign_one_goes(home: Gateway) -> None:
    home.start()
    home.block(STRANGER)
    home.nft(f"delete element inet fortress addr4 {{ {STRANGER} }}")
    until(lambda: STRANGER in home.nft("list map inet fortress addr4"))
    home.nft(f"add element inet fortress addr4 {{ {OTHER} : drop }}")
    until(lambda: OTHER not in home.nft("list map inet fortress addr4"))
    with home.client() as client:
        assert client.status().restored >= 2


def test_other_peoples_tables_are_left_alone(home: Gateway) -> None:
    home.nft("add table inet theirs")
    guard = home.start("--remove")
    home.nft("add chain inet theirs c")
    home.block(STRANGER)
    time.sleep(0.5)
    with home.client() as client:
        assert client.status().restored == 0
    home.stop(guard)
    assert home.nft("list tables").split() == ["table", "inet", "theirs"]


@pytest.mark.parametrize("family", ["inet", "netdev"])
def test_a_foreign_table_of_our_name_stops_the_guard_and_is_not_touched(
    home: Gateway, family: str
) -> None:
    home.nft(f"add table {family} fortress")
    home.nft(f"add set {family} fortress precious {{ type ipv4_addr ; }}")
    before = home.nft("list ruleset")
    guard = home.begin()
    said = guard.communicate(timeout=patient(20))[1]
    assert guard.returncode == 1
    assert f"nft table {family} fortress exists and is not the guard's" in said
    assert "rename it" in said
    assert "Traceback" not in said
    assert home.nft("list ruleset") == before


def test_two_guards_do_not_fight(home: Gateway) -> None:
    home.start()
    second = home.begin()
    said = second.communicate(timeout=patient(20))[1]
    assert second.returncode == 1
    assert "another guard holds" in said
    assert home.answers()


def test_a_killed_guard_that_starts_again_knows_and_enforces_everything(home: Gateway) -> None:
    guard = home.start()
    home.block(STRANGER, seconds=600)
    home.block(CAMERA)
    with home.client() as client:
        client.remove([CAMERA])
    home.kill(guard)
    home.nft("flush ruleset")
    assert pings(home.laptop, STRANGER)
    home.start()
    assert not pings(home.laptop, STRANGER)
    with home.client() as client:
        stands = {one.target: one.left_s for one in client.blocks()}
    assert list(stands) == [STRANGER]
    assert stands[STRANGER] is not None
    assert 560 < stands[STRANGER] < 600


def test_blocks_in_the_kernel_are_taken_over_when_the_state_file_is_lost(home: Gateway) -> None:
    guard = home.start()
    home.block(STRANGER, seconds=600)
    home.kill(guard)
    (home.folder / "state" / "blocks.jsonl").unlink()
    home.start()
    assert not pings(home.laptop, STRANGER)
    assert [line["target"] for line in home.audit("adopted")] == [STRANGER]


def test_a_damaged_state_file_is_set_aside_and_told(home: Gateway) -> None:
    guard = home.start()
    home.block(STRANGER, seconds=600)
    home.kill(guard)
    file = home.folder / "state" / "blocks.jsonl"
    file.write_bytes(b"\xff\x00 nonsense\n" + file.read_bytes())
    home.start()
    assert file.with_suffix(".damaged").exists()
    with home.client() as client:
        assert any("set aside" in one for one in client.status().troubles)
        assert [one.target for one in client.blocks()] == [STRANGER]


@pytest.mark.parametrize(("option", "answered"), [("--keep", 0), ("--remove", 1)])
def test_on_stop_the_operator_chooses_what_becomes_of_blocks(
    home: Gateway, option: str, answered: int
) -> None:
    until(lambda: pings(home.laptop, STRANGER))
    guard = home.start(option)
    home.block(STRANGER, seconds=600)
    home.stop(guard)
    assert not home.socket.exists()
    assert pings(home.laptop, STRANGER) == answered


def test_a_port_that_is_made_anew_is_guarded_again(home: Gateway) -> None:
    home.start()
    home.block(CAMERA_MAC)
    home.namespace.ip("link del p-camera")
    with home.client() as client:
        until(lambda: client.status().ports_absent == ("p-camera",))
    plug(home, home.camera, "p-camera", CAMERA_MAC)
    home.namespace.ip("link set p-camera master br-lan")
    home.camera.ip(f"addr add {CAMERA}/24 dev eth0")
    with home.client() as client:
        until(lambda: client.status().ports_absent == ())
    assert not pings(home.camera, LAPTOP)
    assert 'device "p-camera"' in home.nft("list table netdev fortress")


def test_who_becomes_precious_is_unblocked_and_who_is_precious_is_refused(home: Gateway) -> None:
    home.start()
    with home.client() as client:
        for text in (GATEWAY_LAN, GATEWAY_WAN, "192.168.77.0/24", "02:00:5e:00:77:01", "fe80::1"):
            (outcome,) = client.add([blocked(text)])
            assert not outcome.done
            assert "never blocked" in outcome.reason, text
    home.block(STRANGER)
    home.namespace.ip(f"route add default via {STRANGER}")
    until(lambda: pings(home.namespace, STRANGER))
    assert "the network has changed" in home.audit("unblock")[0]["why"]
    with home.client() as client:
        assert "a default gateway" in client.add([blocked(STRANGER)])[0].reason


def test_an_operators_session_is_not_blocked_by_the_operator(home: Gateway) -> None:
    home.start()
    with home.client(session=LAPTOP) as client:
        assert "own SSH session" in client.add([blocked(LAPTOP)])[0].reason
        assert "own SSH session" in client.add([blocked("192.168.77.16/28")])[0].reason
    with home.client() as client:
        assert client.add([blocked(LAPTOP)])[0].done


def test_the_guard_holds_three_capabilities_and_can_run_nothing(home: Gateway) -> None:
    guard = home.start()
    status = Path(f"/proc/{_guard_pid(home)}/status").read_text()
    held = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    wanted = f"{1 << NET_ADMIN | 1 << NET_RAW | 1 << BPF:016x}"
    assert [held[name] for name in ("CapPrm", "CapEff", "CapBnd")] == [wanted] * 3
    assert [held[name] for name in ("CapInh", "CapAmb")] == ["0" * 16] * 2
    assert held["NoNewPrivs"] == "1"
    assert held["Threads"] == "1"
    assert guard.poll() is None


def test_the_guard_process_maps_no_numerics(home: Gateway) -> None:
    home.start()
    with home.client() as client:
        client.open_port("br-lan", 1 << 20).close()
    maps = Path(f"/proc/{_guard_pid(home)}/maps").read_text()
    assert "libnftables" in maps
    assert not any(word in maps for word in ("numpy", "onnxruntime", "pydantic", "openblas"))


def test_who_is_in_no_group_may_not_ask(home: Gateway) -> None:
    home.start()
    home.socket.chmod(0o666)
    for folder in (home.folder, *home.folder.parents):
        if folder.is_relative_to("/tmp"):
            folder.chmod(0o755)
    (home.folder / "run").chmod(0o755)
    words = [str(FORTRESS), "block", "list", "--guard-config", str(home.toml)]
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patient(30))
    if "Permission denied" in done.stderr and "fortress: " not in done.stderr:
        pytest.skip("this checkout is not for everyone to read")
    assert done.returncode == 1
    assert "may not ask the guard" in done.stderr


def test_a_granted_port_sees_packets_and_brings_a_tap(home: Gateway) -> None:
    from fortress_core import bpf_available

    home.start()
    with home.client() as client:
        grant = client.open_port("br-lan", 1 << 20)
        assert grant.port.interface == "br-lan"
        assert grant.port.ring_bytes == 1 << 20
        if not (why := bpf_available()):
            assert grant.tap_reason == ""
            assert grant.tap_program_fd is not None
            assert grant.tap_map_fds is not None
        else:
            assert grant.tap_reason == why
        grant.close()
        with pytest.raises(GuardError, match="nowhere"):
            client.open_port("nowhere", 1 << 20)
        assert client.status().pid


def test_a_list_of_a_hundred_thousand_loads_in_one_transaction(home: Gateway) -> None:
    home.config += "[feeds.big]\nmost = 150000\n"
    guard = home.start()
    until(lambda: pings(home.laptop, STRANGER))
    texts = [f"100.{64 + (i >> 16)}.{i >> 8 & 255}.{i & 255}" for i in range(100_000)]
    with home.client() as client:
        before = _generation(home)
        loaded = client.load_feed("big", [*texts, STRANGER, GATEWAY_WAN, "192.168.0.0/16"], 3600)
        assert _generation(home) - before <= 2, "one, and one of who looks after what was missed"
        assert (loaded.entries, loaded.refused) == (100_001, 2)
        assert client.explain(STRANGER).feeds == ("big",)
        assert client.status().feeds == {"big": 100_001}
    assert not pings(home.laptop, STRANGER)
    home.kill(guard)
    home.start()
    assert not pings(home.laptop, STRANGER)
    with home.client() as client:
        client.load_feed("big", texts[:10], 3600)
        assert client.status().feeds == {"big": 10}
    assert pings(home.laptop, STRANGER)


def test_the_commands_block_list_explain_undo(home: Gateway) -> None:
    home.start()

    def fortress(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [str(FORTRESS), *words, "--guard-config", str(home.toml)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=patient(30),
            env=environment_without_session(),
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done

    fortress("block", "add", STRANGER, CAMERA_MAC, "--for", "15m", "--why", "scans us")
    (first, _) = map(json.loads, fortress("block", "list", "--json").stdout.splitlines())
    assert (first["target"], first["action"], first["why"]) == (STRANGER, "BLOCK", "scans us")
    assert "no end" not in fortress("block", "list").stdout
    assert "is blocked" in fortress("block", "explain", STRANGER).stdout
    assert "undone" in fortress("block", "undo").stdout
    assert fortress("block", "list").stdout == "nothing is blocked\n"
    refused = fortress("block", "add", GATEWAY_LAN, code=1)
    assert refused.stderr == (
        f"fortress: {GATEWAY_LAN}: is never blocked: an address of this machine\n"
    )
    assert "no address" in fortress("block", "add", "example.org", code=2).stderr
    assert "is not blocked" in fortress("block", "del", OTHER, code=1).stderr
    status = json.loads(fortress("guard", "status", "--json").stdout)
    assert status["blocks"] == 0
    assert status["refusals"] == 2


def test_without_a_guard_the_command_says_how_to_start_one(home: Gateway) -> None:
    words = [str(FORTRESS), "block", "list", "--guard-config", str(home.toml)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=patient(30))
    assert done.returncode == 1
    assert "no guard at" in done.stderr
    assert "fortress guard run" in done.stderr


def _guard_pid(home: Gateway) -> int:
    with home.client() as client:
        return client.status().pid


def _generation(home: Gateway) -> int:
    """The number of nftables' ruleset: each transaction adds one."""
    monitor = home.namespace.command("python3", "-c", _GENERATION)
    return int(subprocess.run(monitor, capture_output=True, text=True, check=True).stdout)


_GENERATION = """
import socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
s.send(struct.pack("=IHHII", 20, 10 << 8 | 16, 1, 1, 0) + struct.pack("=BBH", 0, 0, 0))
d = s.recv(4096)
at = 20
while at < len(d):
    length, kind = struct.unpack_from("=HH", d, at)
    if kind == 1:
        print(struct.unpack_from(">I", d, at + 4)[0])
        break
    at += (length + 3) & ~3
"""


def test_malformed_messages_are_answered_and_the_guard_lives(home: Gateway, seed: int) -> None:
    home.start()
    rng = random.Random(seed)
    whole = b'{"verb":"add","groups":[{"action":3,"seconds":9,"why":"","origin":"operator"'
    bad = [b"", b"M", b"{}", b"[", whole, b'{"verb":"add","groups":[]}', b"x" * 40_000]
    bad += [rng.randbytes(rng.randrange(1, 300)) for _ in range(60)]
    bad += [whole[: rng.randrange(len(whole))] + rng.randbytes(9) for _ in range(60)]
    for message in bad:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asks:
            asks.settimeout(patient(10))
            asks.connect(str(home.socket))
            asks.send(message)
            answer = asks.recv(65536)
            if message:
                assert json.loads(answer)["ok"] is False, message
            assert asks.recv(65536) == b"" if message != bad[5] else True, "and hung up"
    assert home.answers()


def test_a_client_that_does_not_read_is_hung_up_on(home: Gateway) -> None:
    home.start()
    with home.client() as listening, home.client() as client:
        listening.subscribe()
        for i in range(40):
            client.add([blocked(f"203.{i}.{j}.1") for j in range(100)], confirmed=True)
        assert client.status().blocks == 4000
