"""`fortress doctor --bcc` counts what the kernel throws away, or says what BCC lacks."""

import os
import platform
import socket
import sys
import threading
from pathlib import Path

import pytest

from fortress.cli.doctor_bcc import dropped
from tests.need import need


@pytest.fixture
def no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers are named by nobody."""
    monkeypatch.delenv("BCC_KERNEL_SOURCE", raising=False)


def test_without_bcc_it_is_told_how_to_get_it(tmp_path: Path) -> None:
    for python in (tmp_path / "none", Path(sys.executable)):
        told = dropped(python=python)
        assert (told.state, told.how) == ("note", "apt-get install python3-bpfcc")
        assert str(python) in told.what


@pytest.mark.usefixtures("no_source")
def test_what_fails_in_it_is_one_short_line(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'x.c:1: error: no such header' >&2\nexit 1\n")
    broken.chmod(0o700)
    told = dropped(python=broken)
    assert told.state == "note"
    if os.geteuid() == 0 and not Path(f"/lib/modules/{platform.release()}/build").exists():
        assert "BCC_KERNEL_SOURCE" in told.how
    assert len(told.what) < 200
    assert "\n" not in told.what


def test_packets_to_a_port_where_nobody_listens_are_counted() -> None:
    need("bpf")
    over = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(4000):  # compiling takes some seconds, then it counts for three
                sender.sendto(b"nobody", ("127.0.0.1", 9))
                if over.wait(0.01):
                    return

    sending = threading.Thread(target=send)
    sending.start()
    try:
        told = dropped()
    finally:
        over.set()
        sending.join()
    if told.state != "ok":
        assert told.how or "did not start" in told.what
        pytest.skip(f"BCC: {told.what} ({told.how})")
    assert "NO_SOCKET" in told.what or "reason 3" in told.what
