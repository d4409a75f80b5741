# SPDX-License-Identifier: Apache-2.0
"""`fortress doctor --bcc`: which packets the kernel throws away here, and why, counted by BCC.

BCC is Debian's (python3-bpfcc) and belongs to the system's own interpreter, which is started for
it: nothing in Fortress needs it, and nothing of it is imported here.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from fortress.cli.check import Check

SYSTEM_PYTHON = Path("/usr/bin/python3")
SECONDS = 3
MOST_REASONS = 5
_WAIT_S = 60.0  # compiling takes 3 s of processor time
_HEADERS = "BCC_KERNEL_SOURCE"
_FORMATS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_NAMED = re.compile(r"\{ (\d+), \"(\w+)\" \}")

# By the system's interpreter. args[2] is the reason, since Linux 5.17.
_PROGRAM = """
import json, sys, time
try:
    from bcc import BPF
except ImportError:
    sys.exit(3)
counted = BPF(text='''
BPF_HASH(reasons, u32, u64, 512);
RAW_TRACEPOINT_PROBE(kfree_skb)
{
    u32 reason = (u32)ctx->args[2];
    reasons.increment(reason);
    return 0;
}
''')
time.sleep(float(sys.argv[1]))
print(json.dumps({key.value: value.value for key, value in counted["reasons"].items()}))
"""


def dropped(seconds: float = SECONDS, python: Path = SYSTEM_PYTHON) -> Check:
    """The reasons with the most packets, or a note that says what BCC lacks and how to get it."""
    install = "apt-get install python3-bpfcc"
    if not python.exists():
        return Check("BCC", "note", f"no {python}", install)
    environ = {"PATH": os.defpath, **_source()}
    try:
        done = subprocess.run(
            [python, "-I", "-c", _PROGRAM, str(seconds)],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + _WAIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check("BCC", "note", f"no answer within {seconds + _WAIT_S:g} s")
    if done.returncode == 3:
        return Check("BCC", "note", f"{python} has no module bcc", install)
    line = next((one for one in done.stdout.splitlines() if one.startswith("{")), "")
    if done.returncode or not line:  # BCC's own warnings go to standard output as well
        return _failed(done.stderr)
    counts = {int(reason): int(count) for reason, count in json.loads(line).items()}
    return Check("BCC", "ok", f"packets thrown away in {seconds:g} s: {_told(counts, _names())}")


def _failed(said: str) -> Check:
    release = platform.release()
    if os.geteuid() != 0:
        return Check("BCC", "note", "only root may load its programs", "run doctor as root")
    if not _source() and not Path(f"/lib/modules/{release}/build").exists():
        how = f"apt-get install linux-headers-{release}, or name a tree like it in {_HEADERS}"
        return Check("BCC", "note", f"it compiles with kernel headers; none of {release} here", how)
    words = next((line for line in said.splitlines() if "error:" in line), "")
    last = said.strip().rpartition("\n")[2]
    return Check("BCC", "note", f"its program did not start: {(words or last)[:160]}")


def _source() -> dict[str, str]:
    """Where BCC finds headers when they are not the running kernel's own, and its version then."""
    source = os.environ.get(_HEADERS, "")
    if not source:
        return {}
    numbers = [int(part) for part in re.findall(r"\d+", platform.release())[:3]]
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    code = (major << 16) + (minor << 8) + min(patch, 255)
    return {_HEADERS: source, "BCC_LINUX_VERSION_CODE": str(code)}


def _names() -> Mapping[int, str]:
    """Words for the reasons, where tracefs is mounted."""
    for root in _FORMATS:
        try:
            text = Path(root, "events/skb/kfree_skb/format").read_text(encoding="ascii")
        except OSError:
            continue
        return {int(number): word for number, word in _NAMED.findall(text)}
    return {}


def _told(counts: Mapping[int, int], names: Mapping[int, str]) -> str:
    """The most frequent reasons in words, the others summed up."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{count} {names.get(why, f'reason {why}')}" for why, count in ranked[:MOST_REASONS]]
    if rest := sum(count for _, count in ranked[MOST_REASONS:]):
        told.append(f"{rest} for others")
    return ", ".join(told) or "none"
