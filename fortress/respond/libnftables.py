# SPDX-License-Identifier: Apache-2.0
"""The one door to libnftables: commands as text, one transaction each."""

from __future__ import annotations

import ctypes
import os
import socket
import stat
from contextlib import suppress
from types import TracebackType

from fortress.errors import GuardError

LIBRARY = "libnftables.so.1"
NETLINK_NETFILTER = 12
_DESCRIPTORS = "/proc/self/fd"


class NftError(GuardError):
    """The kernel or libnftables refused a transaction; nothing of it was applied."""


class Nft:
    """A context of libnftables with its netlink socket; close it, or use it as a context."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise NftError(f"{LIBRARY}: {error}", "apt-get install libnftables1") from error
        self._declare()
        self._context: int | None = self._library.nft_ctx_new(0)
        if not self._context:
            raise NftError("libnftables gives no context", "allow netlink sockets (AF_NETLINK)")
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def run(self, commands: str) -> str:
        """Output of commands, applied all together or not at all; NftError has nft's words."""
        library, context = self._library, self._context
        failed = library.nft_run_cmd_from_buffer(context, commands.encode())
        output: bytes = library.nft_ctx_get_output_buffer(context)
        words: bytes = library.nft_ctx_get_error_buffer(context)
        if failed:
            raise NftError(f"nft: {_first_error(words)}", _remedy(words))
        return output.decode()

    def ports(self) -> frozenset[int]:
        """Netlink port ids of this process: what it changes is announced under these."""
        found = set()
        for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208 - numbers are wanted, not paths
            with suppress(OSError):  # the listing's own descriptor is gone by now
                if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                    continue
                with socket.socket(fileno=os.dup(int(name))) as one:
                    if (one.family, one.proto) == (socket.AF_NETLINK, NETLINK_NETFILTER):
                        found.add(one.getsockname()[0])
        return frozenset(found)

    def close(self) -> None:
        """Free the context and its socket; a second call does nothing."""
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None

    def __enter__(self) -> Nft:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def _declare(self) -> None:
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        declared: dict[str, tuple[object, list[object]]] = {
            "nft_ctx_new": (pointer, [ctypes.c_uint32]),
            "nft_ctx_free": (None, [pointer]),
            "nft_ctx_buffer_output": (ctypes.c_int, [pointer]),
            "nft_ctx_buffer_error": (ctypes.c_int, [pointer]),
            "nft_ctx_get_output_buffer": (text, [pointer]),
            "nft_ctx_get_error_buffer": (text, [pointer]),
            "nft_run_cmd_from_buffer": (ctypes.c_int, [pointer, text]),
        }
        for name, (result, arguments) in declared.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments


def _first_error(words: bytes) -> str:
    lines = [line.strip() for line in words.decode(errors="replace").splitlines() if line.strip()]
    errors = [line.partition("Error: ")[2] or line for line in lines if "rror" in line]
    return (errors or lines or ["no reason given"])[0]


def _remedy(words: bytes) -> str:
    if b"not permitted" in words:
        return "run the guard with CAP_NET_ADMIN (as root)"
    if b"No space left" in words or b"Too many open files in system" in words:
        return "the set is full: remove blocks, or raise limits.most_blocks"
    return "see `nft list table inet fortress`; `fortress guard status` tells the guard's view"
