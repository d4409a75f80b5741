"""A private world for a recording: namespaces that vanish with their first process.

Everything a recording starts lives in one process namespace, everything it writes in a memory file
system over ``/run`` that only its mount namespace sees. When the first process ends, however it
ends, the kernel kills the rest, and with the last process the network namespaces and files are
gone: nothing is left to clean up after Ctrl-C, an error or a kill.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

ROOM = Path("/run/lab")
_CLONE_NEWNS, _CLONE_NEWPID, _PR_SET_PDEATHSIG = 0x0002_0000, 0x2000_0000, 1


class SandboxError(Exception):
    """The private namespaces cannot be made, or a command inside them failed."""


def missing_tools(tools: tuple[str, ...]) -> list[str]:
    """Those of ``tools`` that this machine lacks."""
    return [tool for tool in tools if shutil.which(tool, path=search_path()) is None]


def search_path() -> str:
    """PATH with the system folders that an unprivileged shell leaves out."""
    return os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"


def run_inside(task: Callable[[], int]) -> int:
    """Exit status of ``task``, run as the first process of new process and mount namespaces.

    An interrupt or a termination of the caller kills them at once and is then raised as usual.
    """
    if os.geteuid() != 0:
        raise SandboxError("recording makes network namespaces, which needs root: try sudo")
    libc = ctypes.CDLL(None, use_errno=True)
    sys.stdout.flush()
    outer = os.fork()
    if outer == 0:
        os._exit(_become_first_process(libc, task))
    previous = signal.signal(signal.SIGTERM, _raise_exit)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(outer, 0)[1])
    except BaseException:
        os.kill(outer, signal.SIGKILL)
        os.waitpid(outer, 0)
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)


def _raise_exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _become_first_process(libc: ctypes.CDLL, task: Callable[[], int]) -> int:
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()  # the terminal's Ctrl-C is the caller's to answer
    if libc.unshare(_CLONE_NEWNS | _CLONE_NEWPID) != 0:
        print(f"lab: unshare: {os.strerror(ctypes.get_errno())}", file=sys.stderr, flush=True)
        return 1
    first = os.fork()
    if first:
        return os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
    status = 1
    try:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.environ.update(PATH=search_path(), LC_ALL="C", HOME=str(ROOM))
        _make_private()
        status = task()
    except SandboxError as error:
        print(f"lab: {error}", file=sys.stderr, flush=True)
    except BaseException:  # the first process must not return into the caller's frames
        traceback.print_exc()
    os._exit(status)


def _make_private() -> None:
    """Mount a private /proc and an empty /run."""
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "proc", "proc", "/proc")
    run("mount", "-t", "tmpfs", "-o", "size=2g,mode=755", "lab", "/run")
    for folder in ("sshd", "vsftpd/empty"):  # places that daemons insist on
        Path("/run", folder).mkdir(parents=True)


def run(*command: str) -> str:
    """Standard output of a short command; its failure is a SandboxError that quotes it."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        raise SandboxError(f"{' '.join(command)}: not done in a minute") from None
    if done.returncode != 0:
        raise SandboxError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout
