# SPDX-License-Identifier: Apache-2.0
"""Starts the guard: folders and socket, then confinement, then everything else."""

from __future__ import annotations

import fcntl
import grp
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from fortress.errors import GuardError, OutputError
from fortress.notify import Notifier
from fortress.respond.backend import Backend
from fortress.respond.guard import Guard
from fortress.respond.guard_settings import GuardSettings
from fortress.respond.nft_rules import Layout
from fortress.respond.nftables import NftBackend
from fortress.respond.port_grants import PortGrants
from fortress.respond.privileges import allow_locked_memory, confine, settle
from fortress.respond.serve import Means, Server
from fortress.respond.watch import WorldWatch
from fortress.respond.xdp import XdpBackend

MIRROR_BYTES = 1 << 30  # as much as capture.ring_mib may say


def run_guard(settings: GuardSettings) -> None:
    """Guard until asked to stop; GuardError or OutputError when it cannot begin."""
    folders = (settings.state, settings.audit.parent, settings.socket.parent)
    for folder in folders:
        _make_folder(folder)
    lock = _lock(settings.state / "guard.lock")
    try:
        with _listen(settings) as listener:
            allow_locked_memory(MIRROR_BYTES)
            confined = confine(folders)
            with PortGrants(settings.capture) as grants:
                backends = _backends(settings)
                settle()
                _serve(settings, listener, Means(backends, grants, confined))
    finally:
        os.close(lock)


def _serve(settings: GuardSettings, listener: socket.socket, means: Means) -> None:
    notifier = Notifier(os.environ)
    world = WorldWatch(settings)
    guard = Guard(settings, means.backends)
    try:
        server = Server(guard, listener, world, means)
        server.start()
        server.run(lambda: notifier.ready(f"{len(guard.ledger.held)} blocks stand"))
    finally:
        notifier.stopping()
        guard.close(keep=settings.on_stop == "keep")
        settings.socket.unlink(missing_ok=True)
        world.close()


def _backends(settings: GuardSettings) -> Sequence[Backend]:
    backends: list[Backend] = []
    for name in settings.backends:
        if name == "nftables":
            backends.append(NftBackend(Layout(settings.rates, settings.limits.most_blocks)))
        else:
            alone = "nftables" not in settings.backends
            most = settings.limits.most_blocks
            ports, state = settings.wan_ports, settings.state
            backends.append(XdpBackend(settings.rates, ports, most, state, alone=alone))
    return backends


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: {error.strerror}; the guard must be able to make it"
        ) from error


def _lock(file: Path) -> int:
    try:
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OutputError(f"{file}: {error.strerror}; the guard must own it") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise GuardError(f"another guard holds {file}", "there is one guard on a machine") from None
    return fd


def _listen(settings: GuardSettings) -> socket.socket:
    """A listening socket that only root, its owner and the groups of [access] can reach."""
    path, access = settings.socket, settings.access
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        path.unlink(missing_ok=True)  # the lock says that nobody serves it
        listener.bind(str(path))
        groups = [one for one in (access.agent, access.operators) if one]
        if groups:
            # one group can own a file: with two, who may connect is left to the peer check
            os.chown(path, -1, grp.getgrnam(groups[0]).gr_gid)
        path.chmod(0o666 if len(set(groups)) > 1 else 0o660)
        listener.listen(16)
    except OSError as error:
        listener.close()
        raise OutputError(f"{path}: {error.strerror}") from error
    return listener
