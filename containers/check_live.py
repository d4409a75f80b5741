"""Attack the gateway in a network namespace, and look at what the agent and the guard in their
containers there make of it: alert, block in the kernel, privileges, and the operator's word.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

GATEWAY = "192.168.77.1"
AGENT = "http://127.0.0.1:9090"
SETGID, SETUID, NET_ADMIN, NET_RAW, PERFMON, BPF = 6, 7, 12, 13, 38, 39
NOBODY = 65534
GUARD_KEEPS = 1 << NET_ADMIN | 1 << NET_RAW | 1 << BPF
WAIT_S = 60.0
T = TypeVar("T")


def main() -> int:
    """Print what was found; an AssertionError names what is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stranger", help="the attacker's network namespace")
    for name in ("guard", "agent", "powercap"):
        parser.add_argument(name, help=f"the {name}'s container")
    given = parser.parse_args()
    has_begun = time.monotonic()
    status = until(running, "the agent runs")
    print(f"agent after {time.monotonic() - has_begun:.1f} s: {'; '.join(status['notes'])}")
    holds_only(given.guard, uid=0, capabilities=GUARD_KEEPS, bounding=GUARD_KEEPS | 1 << PERFMON)
    holds_only(given.agent, uid=1000, capabilities=0, bounding=0)
    holds_only(given.powercap, uid=NOBODY, capabilities=0, bounding=1 << SETUID | 1 << SETGID)
    energy = until(lambda: (ask("/status") or {}).get("energy"), "energy")
    assert energy["source"] == "rapl", energy
    is_confined(given.agent)
    for container in (given.guard, given.agent):
        podman("healthcheck", "run", container)
    told = json.loads(podman("exec", given.guard, "fortress", "guard", "status", "--json"))
    assert told["backends"] == ["nftables", "xdp"], told
    assert not told["troubles"], told["troubles"]
    print(f"guard: {', '.join(told['backends'])}; holds {', '.join(told['confined'])}")
    assert pings(given.stranger), "the gateway answers before the attack"
    scan(given.stranger)
    alert = until(lambda: found("/findings", "findings"), "a finding")[-1]["alert"]
    print(f"alert: {alert['signature']}, risk {alert['risk']}")
    block = until(lambda: found("/blocks", "blocks"), "a block")[0]
    assert block["target"] in nft(), f"{block['target']} is not in nft's sets"
    assert until(xdp, "the gate on lan0")["prog"]["name"], "no XDP program"
    assert not pings(given.stranger), "the attacker is still answered"
    print(f"block: {block['target']} stands in nft and XDP, the attacker's pings are not answered")
    before = pid(given.agent)
    os.kill(before, signal.SIGKILL)
    assert not pings(given.stranger), "the block does not outlive the agent"
    until(lambda: running() and pid(given.agent) != before, "the killed agent is started again")
    until(lambda: found("/blocks", "blocks"), "the block, told by the new agent")
    print("agent killed: the block stood, and it was started again")
    listed = podman("exec", given.guard, "fortress", "block", "list")
    assert block["target"] in listed, listed
    podman("exec", given.guard, "fortress", "block", "del", block["target"])
    assert block["target"] not in nft(), f"{block['target']} is still in nft's sets"
    assert pings(given.stranger), "unblocked, and still not answered"
    print("unblocked by the operator, answered again")
    return 0


def until(found: Callable[[], T], what: str) -> T:
    """What is found, once it is something."""
    end_s = time.monotonic() + WAIT_S
    while not (value := found()):
        assert time.monotonic() < end_s, f"not within {WAIT_S:g} s: {what}"
        time.sleep(0.1)
    return value


def ask(path: str) -> Any:
    """The agent's answer, None while there is none."""
    try:
        with urllib.request.urlopen(f"{AGENT}{path}", timeout=5) as answer:
            return json.load(answer)
    except (urllib.error.URLError, OSError):
        return None


def running() -> Any:
    """The status of an agent whose sensors are all at work; None before."""
    status = ask("/status")
    return status if status and status["state"] == "running" else None


def found(path: str, key: str) -> Any:
    """The rows that the agent has under a path."""
    return (ask(path) or {}).get(key)


def scan(stranger: str) -> None:
    """A real port scan; once it is blocked nothing answers any more, so it is given 5 s."""
    words = ["nmap", "-n", "-Pn", "-sS", "-T4", "--host-timeout", "5s", "-p", "1-2000", GATEWAY]
    subprocess.run(["ip", "netns", "exec", stranger, *words], check=False, capture_output=True)


def pings(stranger: str) -> bool:
    """Whether the gateway answers one of two pings."""
    words = ["ip", "netns", "exec", stranger, "ping", "-n", "-c", "2", "-i", "0.3", "-W", "1"]
    return subprocess.run([*words, GATEWAY], check=False, capture_output=True).returncode == 0


def nft() -> str:
    """The guard's tables as the kernel has them."""
    done = subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True)
    return done.stdout


def xdp() -> Any:
    """The XDP program on the gateway's interface; None while there is none."""
    done = subprocess.run(
        ["ip", "-j", "link", "show", "lan0"], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)[0].get("xdp")


def podman(*words: str) -> str:
    """What podman prints; its error is raised with its words."""
    done = subprocess.run(["podman", *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"podman {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def pid(container: str) -> int:
    """The container's first process."""
    return int(podman("inspect", "--format", "{{.State.Pid}}", container))


def holds_only(container: str, *, uid: int, capabilities: int, bounding: int) -> None:
    """The container's first process has this user and exactly these capabilities."""
    text = Path(f"/proc/{pid(container)}/status").read_text()
    told = {line.partition(":")[0]: line.partition(":")[2].split() for line in text.splitlines()}
    sets = {name: int(told[name][0], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
    expected = {"CapInh": 0, "CapPrm": capabilities, "CapEff": capabilities, "CapAmb": 0}
    assert sets == expected, f"{container}: {sets}, not {expected}"
    bound = int(told["CapBnd"][0], 16)
    assert bound == bounding, f"{container}: CapBnd {bound:x}, not {bounding:x}"
    assert set(told["Uid"]) == {str(uid)}, f"{container}: uid {told['Uid']}"
    assert told["NoNewPrivs"] == ["1"], f"{container}: may gain privileges"
    assert told["Seccomp"] == ["2"], f"{container}: no seccomp filter"
    print(f"{container}: uid {uid}, CapEff {sets['CapEff']:x}, CapBnd {bound:x}, seccomp")


def is_confined(container: str) -> None:
    """Neither a file beside its volumes, nor a namespace, nor a kernel program can be made."""
    text = (
        "import ctypes, errno, os, pathlib\n"
        "try: pathlib.Path('/written').touch(); raise SystemExit('/ can be written')\n"
        "except OSError as error: assert error.errno == errno.EROFS, error\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "bpf = {'x86_64': 321, 'aarch64': 280}[os.uname().machine]\n"
        "for refused in (libc.unshare(0x10000000), libc.syscall(bpf, 5, bytes(128), 128)):\n"
        "    assert (refused, ctypes.get_errno()) == (-1, errno.EPERM), ctypes.get_errno()\n"
    )
    podman("exec", container, "python", "-c", text)


if __name__ == "__main__":
    sys.exit(main())
